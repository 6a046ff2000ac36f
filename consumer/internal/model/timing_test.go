package model

import "testing"

// Event 1 comes by two ways, once by each partition, and partition 0 goes on to a
// time at which it would be forgotten.
var drifting = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 1, 0}, {1, 1, 1}, {0, 5, 2}},
	backlog:  true,
}

// The same, but partition 0 goes on to a time at which it would be late.
var driftingFar = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 1, 0}, {1, 1, 2}, {0, 9, 3}},
	backlog:  true,
}

// The same while the events happen: partition 1 is idle, has something to read
// that matches nothing, and then the copy.
var waking = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 1, 0}, {1, 2, 0}, {1, 2, 1}, {0, 5, 2}},
}

// The same, but the waking event matches a rule.
var wakingMatch = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 1, 0}, {1, 2, 3}, {1, 2, 1}, {0, 5, 2}},
}

// Three events of one value's lifetime, the last by another way.
var counted = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 2, 2}, {0, 9, 0}},
}

// An event that comes far too late, by a partition that has been idle.
var longIdle = timing{
	arrivals: []arrival{{1, 1, 0}, {0, 1, 1}, {0, 9, 0}, {1, 2, 2}},
}

// The same, but with a copy of an event that is forgotten by then.
var longIdleCopy = timing{
	arrivals: []arrival{{1, 1, 0}, {0, 1, 1}, {0, 9, 0}, {1, 2, 1}},
}

// The same, but with two events of one value's lifetime.
var longIdleValue = timing{
	arrivals: []arrival{{1, 1, 0}, {0, 1, 1}, {0, 9, 0}, {1, 2, 2}, {1, 3, 3}},
}

// An event that is behind its stream, and its copy beside it.
var behind = timing{
	arrivals: []arrival{{0, 1, 0}, {0, 5, 0}, {0, 1, 1}, {0, 5, 0}, {0, 1, 1}},
}

// An event that is delivered again after its evaluation was rejected.
var retried = timing{
	arrivals: []arrival{{0, 1, 1}, {1, 1, 2}, {0, 1, 1}},
}

func (m timing) with(f timingFaults) *timing {
	m.faults = f
	return &m
}

func (m timing) without(f timingFaults, off timingRules) *timing {
	m.faults, m.off = f, off
	return &m
}

// With any drift between partitions, any crash, and sweeps at any time: an event that
// is delivered twice in time is evaluated once, one that is delivered in time is not
// late, no sweep changes the outcome of a rule, and a partition at its end does not hold
// up the horizon (PROTOCOL R9, D12).
func TestTiming(t *testing.T) {
	t.Parallel()
	type f = timingFaults
	for _, tt := range []struct {
		name  string
		m     *timing
		least int // states; fewer would prove less than it seems
	}{
		{"a backlog that drifts", drifting.with(f{}), 540},
		{"a backlog that drifts, a crash", drifting.with(f{crashes: 1}), 41_000},
		{"a backlog that drifts, a zombie, a late request", drifting.with(f{rebalances: 1, losses: 1}), 199_000},
		{"a backlog that drifts far, a crash", driftingFar.with(f{crashes: 1}), 55_000},
		{"an idle partition wakes", waking.with(f{}), 4_200},
		{"an idle partition wakes, a crash", waking.with(f{crashes: 1}), 338_000},
		{"an idle partition wakes, a late request", waking.with(f{losses: 1}), 43_000},
		{"an idle partition wakes, a zombie", waking.with(f{rebalances: 1}), 278_000},
		{"a match wakes it, a late request", wakingMatch.with(f{losses: 1}), 62_000},
		{"a value, a crash and a late request", counted.with(f{crashes: 1, losses: 1}), 340_000},
		{"a late event by an idle partition", longIdle.with(f{losses: 1}), 14_000},
		{"a late copy by an idle partition", longIdleCopy.with(f{losses: 1}), 14_000},
		{"late events of a value by an idle partition", longIdleValue.with(f{}), 5_500},
		{"copies behind the stream", behind.with(f{crashes: 1}), 104_000},
		{"a rejected event is retried", retried.with(f{rejects: 1, losses: 1}), 17_000},
	} {
		t.Run(tt.name, func(t *testing.T) { holds(t, tt.m, tt.least) })
	}
}

// The same, with more that goes wrong.
func TestTimingDeep(t *testing.T) {
	t.Run("a crash and a late request", func(t *testing.T) {
		holdsDeep(t, waking.with(timingFaults{crashes: 1, losses: 1}), 2_700_000)
	})
	t.Run("a zombie and a crash", func(t *testing.T) {
		holdsDeep(t, waking.with(timingFaults{rebalances: 1, crashes: 1}), 13_000_000)
	})
}

// Each rule of event time is needed.
func TestTimingRules(t *testing.T) {
	t.Parallel()
	type f = timingFaults
	type off = timingRules
	for _, tt := range []struct {
		name string
		m    *timing
	}{
		{"R9: late is what is behind its own partition", driftingFar.without(f{}, off{ownTime: true})},
		{"R9: the horizon is the least time, not the greatest", drifting.without(f{}, off{horizonMin: true})},
		{"R9: no horizon before every partition was heard of", drifting.without(f{}, off{everyPartition: true})},
		{"R9: an entry ends idleness", wakingMatch.without(f{}, off{entryRevokes: true})},
		{"R9: an idle partition does not hold up the horizon", waking.without(f{}, off{idleEver: true})},
		{"R9: marks are ordered like entries", waking.without(f{losses: 1}, off{orderMarks: true})},
		{"R9: a mark comes behind the entries below it", waking.without(f{}, off{behindEntries: true, idleCommitted: true})},
		{"R9: marks are in the transaction", waking.without(f{restores: 1}, off{marksInside: true})},
		{"R9: commit the position before the idle mark", waking.without(f{crashes: 1}, off{idleCommitted: true})},
		{"R9: a new router says that it is not idle", waking.without(f{crashes: 1}, off{opening: true})},
		{"R9: at one position, an idle mark is newer than a busy one", waking.without(f{}, off{idleIsNewer: true})},
		{"R9: an id is forgotten by the highest horizon so far", longIdleCopy.without(f{}, off{highest: true})},
		{"R9: a value is swept by the horizon of the moment", longIdleValue.without(f{}, off{moment: true})},
		{"an id is remembered from the stream's time on", behind.without(f{}, off{fromStream: true})},
		{"D2: drop repeats", drifting.without(f{losses: 1}, off{dropRepeats: true})},
		{"D12: a rejected evaluation leaves no id", retried.without(f{rejects: 1}, off{rejectForgets: true})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}

// The assumption about time: without it, a run goes wrong.
func TestTimingAssumptions(t *testing.T) {
	t.Parallel()
	t.Run("an idle partition is read before days go by", func(t *testing.T) {
		breaks(t, waking.without(timingFaults{}, timingRules{idleReads: true}))
	})
}
