package model

import "fmt"

// Bounds of the router's world. Its scenarios use less of it.
const (
	instances    = 2 // of trailhound: the owner of an input partition, and its former or next one
	partitions   = 2 // of the input topic
	incarnations = 2 // of the input topic: it may be deleted and made again
	epochs       = 3 // of a partition's leader, each after an election that lost records
	offsets      = 3 // of a partition
	shards       = 2
	deadLetter   = shards     // the producer that leads to the dead-letter topic
	producers    = shards + 1 // of an instance
	producerRoom = 3          // records that wait in a producer, or travel in a request
	lateRoom     = 6          // late produce requests: under way, and their sender waits no more

	none = 0xff
)

// event is one event of the input: where it stands, and which producers it matches.
type event struct {
	partition, offset, index uint8
	producers                uint8 // a bit for each shard; bit deadLetter: its record is also a dead letter
}

// routing is the model of the first half: from the input partitions to the work
// partitions. It follows inputs.open, router.run, partitionProducer.run and Service.commit.
type routing struct {
	events []event // of each incarnation, in the order of their sources
	ends   [partitions]uint8
	faults faults
	latest bool // begin at the input's end, which grows while the routers work
	accept bool // the operator accepts each loss that a router stops at (--accept-loss)
	public bool // judge by the events accepted in the end alone, not by committed offsets
	off    routerRules
}

// faults are how often each fault may happen.
type faults struct {
	crashes    uint8 // of an instance: its memory is gone, its requests still travel
	losses     uint8 // requests lost, or executed with the answer lost, or overtaken by their time-out
	rebalances uint8 // the group gives a partition to the other instance, the old one goes on unaware
	remakes    uint8 // the input topic is deleted and made again under its name
	trims      uint8 // retention deletes the oldest record
	expiries   uint8 // the group forgets a position, while no router of the partition runs
	cuts       uint8 // an unclean election loses the end of a partition's log
	returns    uint8 // one brings back a log that an earlier one had cut
	strangers  uint8 // an instance of another configuration starts under the group's name
}

// routerRules are the rules of the protocol that the model leaves out, to see
// that it notices.
type routerRules struct {
	commitAcknowledged bool // R1: commits the read position, not the acknowledged one
	commitDeadLetters  bool // R1: does not wait for dead letters
	commitStart        bool // R1: produces before the start is committed
	oneInFlight        bool // R2: sends the next request of a producer before the answer to the last
	dropRepeats        bool // D2: evaluates repeats too
	compareTopicID     bool // R3: a source is (partition, offset, index)
	comparePartition   bool // R3: a source is (topic id, offset, index)
	compareIndex       bool // R3: a source is (topic id, partition, offset)
	checkTopicID       bool // R4: goes on at the committed offset in any topic of the name
	stopAtLoss         bool // R4: goes on behind records that retention has deleted
	identity           bool // R6: opens an input before the configuration is checked
	startOfLog         bool // R7: with no committed offset, begins where the log begins
	lowestShard        bool // R7: begins where the shard that has come farthest stands
	stopAtTrimmed      bool // R7: goes on behind records that retention has deleted
	compareEpoch       bool // R8: a source is (topic id, partition, offset, index)
	checkOpening       bool // R8: opens at the committed offset without comparing its epoch
	checkFetches       bool // R8: goes on at its position when the leader has changed
	expireAtRest       bool // an assumption: see forget
	commitGeneration   bool // the group takes commits of former owners, too
}

// routerState is the whole world of routers: all there is to know at one moment.
type routerState struct {
	incarnation uint8 // of the input topic
	start, end  [partitions]uint8
	log         [partitions]epochLog
	old         [partitions]oldLog // for an election that brings it back
	owner       [partitions]uint8  // instance that the group gives the partition to
	committed   [partitions]offset // in the group
	delayed     lateCommit
	instances   [instances]instance
	late        [lateRoom]request                                   // sorted
	last        [shards][incarnations][partitions]uint8             // of the detectors: 1 + the last event accepted; 0: none
	accepted    [shards + 1][incarnations][epochs][partitions]uint8 // of the events that matched, how many were accepted, or are in the dead-letter topic
	began       [partitions]uint8                                   // the offset at which the first router began; none: no router yet
	left        faults                                              // that may still happen
	broken      breach
}

// epochLog is a partition's log by leader epochs.
type epochLog struct {
	epoch uint8          // of its leader
	of    [offsets]uint8 // the leader epoch in which the record at an offset was written
	since [epochs]uint8  // the offset at which the records of an epoch begin
}

// oldLog is a log as it was before its end was lost.
type oldLog struct {
	end uint8
	of  [offsets]uint8
}

// offset is a committed offset, its metadata (R4), and the leader epoch of the
// record before it (R8).
type offset struct{ topic, at, epoch uint8 }

// lateCommit is an offset commit under way; its sender has given up waiting.
type lateCommit struct {
	instance, partition uint8
	offset              offset
}

type instance struct {
	routers   [partitions]router
	producers [producers]producer
}

type router struct {
	phase       routerPhase
	topic, read uint8          // next offset to hand to the producers
	epochs      [offsets]uint8 // of the records below, as it has read them
}

type routerPhase uint8

const (
	closed routerPhase = iota
	reading
	stopped // with a sentence for the operator
)

// producer leads to one partition: the batch that waits, and the batch sent and not yet
// acknowledged. The second request is there for mutants that break R2.
type producer struct {
	filling batch
	sending [2]batch
}

// batch is a record batch, by its events (1 + number; the incarnation on top).
type batch [producerRoom]uint8

// request is a produce request under way.
type request struct {
	producer uint8
	batch    batch
}

// breach is a violation that lies in a step rather than in a state.
type breach uint8

const (
	unbroken breach = iota
	gap
	repeat
)

func (b breach) String() string {
	return [...]string{"", "a work record was accepted before one that comes earlier in the input: that one will never be", "an event was evaluated twice"}[b]
}

func (m *routing) initial() routerState {
	s := routerState{left: m.faults, end: m.ends}
	s.delayed.instance = none
	for p := range partitions {
		s.committed[p] = offset{topic: none, at: none}
		s.began[p] = none
	}
	if m.latest {
		s.end = [partitions]uint8{}
	}
	return s
}

// of returns the event that a number in a batch stands for.
func (m *routing) of(n uint8) (e event, topic, epoch uint8) {
	n--
	version := n / uint8(len(m.events))
	return m.events[int(n)%len(m.events)], version / epochs, version % epochs
}

// number is the event number of an event of the scenario.
func (m *routing) number(n int, topic, epoch uint8) uint8 {
	return 1 + (topic*epochs+epoch)*uint8(len(m.events)) + uint8(n)
}

func (b *batch) empty() bool { return b[0] == 0 }

func (b *batch) add(n uint8) bool {
	for i := range b {
		if b[i] == 0 {
			b[i] = n
			return true
		}
	}
	return false
}

// position is the offset that the router of a partition may commit: the lowest
// that is not acknowledged by every producer (ackTracker.position).
func (m *routing) position(in *instance, p uint8) offset {
	r := &in.routers[p]
	at := r.read
	if !m.off.commitAcknowledged {
		at = m.acknowledged(in, p)
	}
	return offset{r.topic, at, r.before(at)}
}

// before is the leader epoch of the record before an offset, as the router knows it.
func (r *router) before(at uint8) uint8 {
	if at == 0 {
		return 0
	}
	return r.epochs[at-1]
}

func (m *routing) acknowledged(in *instance, p uint8) uint8 {
	r := &in.routers[p]
	at := r.read
	for l := range in.producers {
		if l == deadLetter && m.off.commitDeadLetters {
			continue
		}
		for _, c := range [...]*batch{&in.producers[l].filling, &in.producers[l].sending[0], &in.producers[l].sending[1]} {
			for _, n := range c {
				if n == 0 {
					break
				}
				if e, topic, _ := m.of(n); e.partition == p && topic == r.topic {
					at = min(at, e.offset)
				}
			}
		}
	}
	return at
}

// matching counts the events of a partition for a producer that were written in an
// epoch: those below an offset, and those from where the first router began.
func (m *routing) matching(s *routerState, producer int, topic, epoch uint8, p int, below uint8) (n uint8) {
	from := s.began[p]
	switch {
	case epoch > 0:
		from = s.log[p].since[epoch]
	case topic > 0:
		from = 0
	}
	for _, e := range m.events {
		if int(e.partition) == p && e.producers&(1<<producer) != 0 && e.offset < below && e.offset >= from {
			n++
		}
	}
	return n
}

// wrong: an offset was committed although something below it was not accepted,
// or something was accepted out of order.
func (m *routing) wrong(s *routerState) string {
	if s.broken != unbroken {
		return s.broken.String()
	}
	for p := range partitions {
		c := s.committed[p]
		if c.topic == none || m.public {
			continue
		}
		for l := range producers {
			if m.lacks(s, l, c.topic, p, c.at, c.epoch) {
				return fmt.Sprintf("offset %d of partition %d is committed, but something below it was not acknowledged, or not accepted, in %s", c.at, p, outputName(l))
			}
		}
	}
	return ""
}

// lacks tells whether a producer lacks an event below a position, of those that are
// still in the log: records that an election has lost do not count.
func (m *routing) lacks(s *routerState, l int, topic uint8, p int, below, newest uint8) bool {
	for epoch := int(s.log[p].epoch); epoch >= 0; epoch-- {
		if epoch <= int(newest) && s.accepted[l][topic][epoch][p] < m.matching(s, l, topic, uint8(epoch), p, below) {
			return true
		}
		below = min(below, s.log[p].since[epoch])
	}
	return false
}

// missing: an event of the log was not accepted, and no router has stopped for it.
func (m *routing) missing(s *routerState) string {
	for p := range partitions {
		if s.instances[s.owner[p]].routers[p].phase == stopped {
			continue
		}
		for l := range producers {
			if m.lacksOfLog(s, l, p) {
				return fmt.Sprintf("events of partition %d were never accepted in %s", p, outputName(l))
			}
		}
	}
	return ""
}

// lacksOfLog tells whether a producer lacks an event of the log as it is in the end.
func (m *routing) lacksOfLog(s *routerState, l, p int) bool {
	var end [epochs]uint8 // of the log's records of each epoch
	for at := range s.end[p] {
		end[s.log[p].of[at]] = at + 1
	}
	for epoch, below := range end {
		if s.accepted[l][s.incarnation][epoch][p] < m.matching(s, l, s.incarnation, uint8(epoch), p, below) {
			return true
		}
	}
	return false
}

func outputName(l int) string {
	if l == deadLetter {
		return "the dead-letter topic"
	}
	return fmt.Sprintf("shard %d", l)
}
