package model

import "testing"

// A record for both shards; one with two events, both for shard 0; one for shard 1
// that is also a dead letter.
var threeRecords = routing{
	events: []event{{0, 0, 0, 0b011}, {0, 1, 0, 0b001}, {0, 1, 1, 0b001}, {0, 2, 0, 0b110}},
	ends:   [partitions]uint8{3, 0},
}

// Less to read, so that more can go wrong within the same number of states.
var twoRecords = routing{
	events: []event{{0, 0, 0, 0b001}, {0, 1, 0, 0b011}},
	ends:   [partitions]uint8{2, 0},
}

// Its second record is a dead letter and nothing else.
var oneDeadLetter = routing{
	events: []event{{0, 0, 0, 0b011}, {0, 1, 0, 0b100}, {0, 2, 0, 0b011}},
	ends:   [partitions]uint8{3, 0},
}

// Three records for one shard, or for both.
var cutRecords = routing{
	events: []event{{0, 0, 0, 0b011}, {0, 1, 0, 0b001}, {0, 2, 0, 0b011}},
	ends:   [partitions]uint8{3, 0},
}

// Two partitions with events for the same shards and producers.
var twoPartitions = routing{
	events: []event{{0, 0, 0, 0b001}, {0, 1, 0, 0b011}, {1, 0, 0, 0b001}, {1, 1, 0, 0b010}},
	ends:   [partitions]uint8{2, 2},
}

func (m routing) with(f faults) *routing {
	m.faults = f
	return &m
}

func (m routing) fromLatest(f faults) *routing {
	m.faults, m.latest = f, true
	return &m
}

// accepting is a scenario in which the operator accepts every loss that a router stops at.
func (m routing) accepting(f faults) *routing {
	m.faults, m.accept = f, true
	return &m
}

func (m routing) without(f faults, off routerRules) *routing {
	m.faults, m.off, m.public = f, off, true
	return &m
}

// Every work partition holds, after repeats are dropped, the matching events of
// the input in order, none missing; and no committed offset lies above something
// that was not acknowledged (PROTOCOL R1–R5, D2).
func TestRouter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		m     *routing
		least int // states; fewer would prove less than it seems
	}{
		{"nothing goes wrong", threeRecords.with(faults{}), 179},
		{"crashes", threeRecords.with(faults{crashes: 2}), 181_000},
		{"a crash and a lost answer", threeRecords.with(faults{crashes: 1, losses: 1}), 92_000},
		{"a zombie", threeRecords.with(faults{rebalances: 1}), 48_000},
		{"a zombie and lost answers", twoRecords.with(faults{rebalances: 1, losses: 2}), 37_000},
		{"a zombie and a crash", twoRecords.with(faults{rebalances: 1, crashes: 1}), 20_000},
		{"a zombie, a crash and a lost answer", twoRecords.with(faults{rebalances: 1, crashes: 1, losses: 1}), 128_000},
		{"the input is made again", twoRecords.with(faults{remakes: 1, crashes: 1, losses: 1}), 62_000},
		{"retention deletes what was not read", threeRecords.with(faults{trims: 1, crashes: 1}), 27_000},
		{"begin at the end", twoRecords.fromLatest(faults{crashes: 1, rebalances: 1}), 22_000},
		{"two partitions, a crash", twoPartitions.with(faults{crashes: 1}), 114_000},
		{"two partitions, a zombie", twoPartitions.with(faults{rebalances: 1}), 59_000},
		{"the position expires", threeRecords.with(faults{expiries: 1, crashes: 1, trims: 1}), 49_000},
		{"the position expires, a zombie", twoRecords.with(faults{expiries: 1, crashes: 1, rebalances: 1}), 36_000},
		{"the position expires, a late request", twoRecords.with(faults{expiries: 1, crashes: 1, losses: 1}), 4_000},
		{"an unclean election", cutRecords.with(faults{cuts: 1, crashes: 1}), 498_000},
		{"an unclean election, accepted", cutRecords.accepting(faults{cuts: 1, crashes: 1}), 492_000},
		{"an unclean election, accepted, a zombie", twoRecords.accepting(faults{cuts: 1, rebalances: 1}), 94_000},
		{"an unclean election, accepted, a late request", twoRecords.accepting(faults{cuts: 1, losses: 1, crashes: 1}), 135_000},
		{"two unclean elections, accepted", cutRecords.accepting(faults{cuts: 2}), 158_000},
		{"an unclean election, and the position expires", twoRecords.accepting(faults{cuts: 1, crashes: 1, expiries: 1}), 35_000},
		{"two partitions, a lost answer", twoPartitions.with(faults{losses: 1}), 6_000},
	} {
		t.Run(tt.name, func(t *testing.T) { holds(t, tt.m, tt.least) })
	}
}

// The same, with more that goes wrong.
func TestRouterDeep(t *testing.T) {
	t.Run("a zombie and a crash", func(t *testing.T) {
		holdsDeep(t, threeRecords.with(faults{rebalances: 1, crashes: 1}), 3_000_000)
	})
	t.Run("two partitions, two zombies", func(t *testing.T) {
		holdsDeep(t, twoPartitions.with(faults{rebalances: 2}), 1_500_000)
	})
}

// Each rule of the router is needed: without it the property breaks.
func TestRouterRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		m    *routing
	}{
		{"R1: commit what is acknowledged, not what was read", threeRecords.without(faults{crashes: 1}, routerRules{commitAcknowledged: true})},
		{"R1: commits wait for dead letters", threeRecords.without(faults{crashes: 1}, routerRules{commitDeadLetters: true})},
		{"R1: commit the start before anything is produced", twoRecords.without(faults{crashes: 1}, routerRules{commitStart: true}).latestToo()},
		{"R2: one request of a producer in flight", threeRecords.without(faults{losses: 1}, routerRules{oneInFlight: true})},
		{"D2: drop repeats", twoRecords.without(faults{losses: 1}, routerRules{dropRepeats: true})},
		{"R3: compare the topic id", twoRecords.without(faults{remakes: 1}, routerRules{compareTopicID: true})},
		{"R3: compare the partition", twoPartitions.without(faults{}, routerRules{comparePartition: true})},
		{"R3: compare the index", threeRecords.without(faults{}, routerRules{compareIndex: true})},
		{"R4: check the topic id of the committed offset", threeRecords.without(faults{remakes: 1}, routerRules{checkTopicID: true})},
		{"R4: stop when records were deleted before they were read", threeRecords.without(faults{trims: 1}, routerRules{stopAtLoss: true})},
		{"R6: touch nothing before the identity is checked", twoRecords.without(faults{strangers: 1}, routerRules{identity: true})},
		{"R7: without a committed offset, begin at the position in the state", twoRecords.without(faults{expiries: 1, crashes: 1, trims: 1}, routerRules{startOfLog: true})},
		{"R7: of the shards, the one that has come least far", twoRecords.without(faults{expiries: 1, crashes: 1}, routerRules{lowestShard: true})},
		{"R7: stop when retention has deleted what is behind that position", twoRecords.without(faults{expiries: 1, crashes: 1, trims: 1}, routerRules{stopAtTrimmed: true})},
		{"R8: compare the leader epoch", acceptAll(cutRecords.without(faults{cuts: 1}, routerRules{compareEpoch: true}))},
		{"R8: check the epoch of the committed offset", cutRecords.without(faults{cuts: 1, crashes: 1}, routerRules{checkOpening: true})},
		{"R8: check the position when the leader has changed", cutRecords.without(faults{cuts: 1}, routerRules{checkFetches: true})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}

// The assumptions of the argument: without each of them, a run goes wrong.
func TestRouterAssumptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		m    *routing
	}{
		{"a position does not expire while a dead letter is on its way", oneDeadLetter.without(faults{expiries: 1, crashes: 1}, routerRules{expireAtRest: true})},
		{"no election brings back what an earlier one has cut", cutRecords.with(faults{cuts: 1, returns: 1})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}

// The argument does not need that the group fences commits: that of a former owner, too,
// lies below all records that are not acknowledged.
func TestRouterNeedsNoFencing(t *testing.T) {
	t.Parallel()
	safe(t, twoRecords.without(faults{rebalances: 1, losses: 1, crashes: 1}, routerRules{commitGeneration: true}), 160_000, mostStates)
}

func acceptAll(m *routing) *routing {
	m.accept = true
	return m
}

func (m *routing) latestToo() *routing {
	m.latest = true
	return m
}
