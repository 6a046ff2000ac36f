package model

import "fmt"

// Bounds of the model of event time.
const (
	inputs     = 2 // partitions of the input
	mostIDs    = 3 // event ids, from 1
	timingRoom = 2 // old requests under way

	// Distances of event time. They are short, so that ids and values expire within
	// the events of a scenario.
	within   = 2 // events.duplicates_within
	lateness = 4 // events.max_lateness
	lifetime = 2 // of a value that a rule keeps
)

// arrival is one record of the input, which holds one event. A record with an id
// matches a rule, always under the same key; one without an id matches none, and only
// moves event time on.
type arrival struct{ partition, time, id uint8 }

// timing is the model of event time: routers of two partitions hand entries and marks (R9)
// to one shard, which evaluates each id once (D12), refuses late events, forgets ids and
// sweeps values behind its horizon. [routing] and [detecting] show that a work partition
// keeps its order, and that evaluation is sequential and survives a crash; a step of the
// shard is one entry here.
type timing struct {
	arrivals []arrival // in the order in which they are written, over all partitions
	backlog  bool      // all are written before the first router starts
	faults   timingFaults
	off      timingRules
}

// timingFaults are how often each fault may happen.
type timingFaults struct {
	crashes    uint8 // of an instance
	losses     uint8 // requests executed with the answer lost, or overtaken by their time-out
	rebalances uint8 // the group gives a partition to the other instance, the old one goes on unaware
	rejects    uint8 // evaluations that are rejected: a panic, a bound
	restores   uint8 // the shard is restored from its changelog
}

// timingRules are the rules that the model leaves out, to see that it notices.
type timingRules struct {
	ownTime        bool // R9: an event is late behind the newest of any partition
	horizonMin     bool // R9: the horizon is the newest event time of any partition
	everyPartition bool // R9: the horizon leaves out a partition that the shard has not heard of
	entryRevokes   bool // R9: an entry does not end idleness
	idleEver       bool // R9: no partition is ever idle for the horizon
	orderMarks     bool // R9: a mark is taken even if its source is not newer
	behindEntries  bool // R9: an idle mark does not wait for the entries below it
	marksInside    bool // R9: marks are not part of the shard's transaction
	idleCommitted  bool // R9: a router says that it is idle before its position is committed
	opening        bool // R9: a router that has opened supposes that the shard knows that it is not idle
	idleIsNewer    bool // R9: an idle mark and a busy one of the same position have the same source
	highest        bool // R9: an id is forgotten by the horizon of the moment
	moment         bool // R9: a value is swept by the highest horizon so far
	fromStream     bool // an id is remembered from the event's time on, not from the stream's
	dropRepeats    bool // D2
	rejectForgets  bool // D12: a rejected evaluation leaves its id behind
	idleReads      bool // an assumption: see write
}

// timingState is the whole world at one moment.
type timingState struct {
	written   uint8 // of the arrivals
	owner     [inputs]uint8
	committed [inputs]uint8 // offsets in the group
	handed    [inputs]uint8 // offsets below were handed on by the owner, and acknowledged
	routers   [instances][inputs]timeRouter
	late      [timingRoom]handOver
	shard     timeShard
	durable   timeShard // the state that a restore finds, for mutants that keep marks out of the transaction
	results   [mostIDs]result
	left      timingFaults
	broken    timeBreach
}

// timeRouter is the router of one partition on one instance. It has one request
// under way at most (R2).
type timeRouter struct {
	open      bool
	read      uint8 // next offset to hand on
	committed uint8 // offset that it has committed, or opened at
	newest    uint8 // event time of the records read
	told      belief
	sending   handOver
	marked    uint8 // 1 + the position of its last mark that tells the time
}

// belief is the last that a router has told the shard of itself.
type belief uint8

const (
	unknown belief = iota
	busy
	atEnd
)

// handOver is a record of the work partition: an entry, or a mark.
type handOver struct {
	source  uint8 // in its partition; 0: nothing
	arrival uint8 // 1 + its number; 0: a mark
	of      uint8 // partition
	newest  uint8 // event time of the partition so far, of a mark
	idle    bool  // of a mark
}

// The sources of one partition in their order: the busy mark at an offset, the idle
// mark, the entry. A mark says that all below the offset was handed on.
func busyAt(offset uint8) uint8  { return 3*offset + 1 }
func idleAt(offset uint8) uint8  { return 3*offset + 2 }
func entryAt(offset uint8) uint8 { return 3*offset + 3 }

// timeShard is the shard's state.
type timeShard struct {
	last    [inputs]uint8 // sources
	newest  [inputs]uint8 // event time
	idle    [inputs]bool
	heard   [inputs]bool
	reached uint8          // the highest horizon so far
	until   [mostIDs]uint8 // by id: remembered until the horizon passes it; 0: not remembered
	gone    [mostIDs]bool  // by id: it is gone from the store
	expires uint8          // when the value expires; 0: there was never one
	writer  uint8          // 1 + the partition that wrote it last, if not idle since; else 0
	swept   bool           // the value is gone from the store
}

// result is the outcome of an id.
type result struct {
	evaluated, rejected, refused bool
	bound                        uint8 // copies that were delivered up to here are duplicates
}

// timeBreach is a violation that lies in a step.
type timeBreach uint8

const (
	timely timeBreach = iota
	twice
	wronglyLate
	sweptTooEarly
	knownByChance
)

func (b timeBreach) String() string {
	return [...]string{
		"",
		"an event was evaluated twice, although its copy was delivered within the time for duplicates",
		"an event was refused as late, although it was delivered in time",
		"an event was evaluated without a value that a sweep had removed, and that had not expired",
		"whether an event was known depended on when a sweep ran",
	}[b]
}

func (m *timing) initial() timingState {
	s := timingState{left: m.faults}
	if m.backlog {
		s.written = uint8(len(m.arrivals))
	}
	return s
}

// end is the end of a partition's log.
func (m *timing) end(s *timingState, p uint8) (n uint8) {
	for _, a := range m.arrivals[:s.written] {
		if a.partition == p {
			n++
		}
	}
	return n
}

// at is the number of the record at an offset of a partition.
func (m *timing) at(p, offset uint8) uint8 {
	for n, a := range m.arrivals {
		if a.partition != p {
			continue
		}
		if offset == 0 {
			return uint8(n)
		}
		offset--
	}
	return none
}

// delivered is the newest event time written anywhere up to a record. It tells how late the
// record's delivery is; the service has no part in that.
func (m *timing) delivered(n uint8) (newest uint8) {
	for _, a := range m.arrivals[:n+1] {
		newest = max(newest, a.time)
	}
	return newest
}

// horizon is the time behind which the shard need not remember: the least of the
// newest times of the partitions that are not idle; of idle ones only, the greatest.
func (m *timing) horizon(s *timeShard) uint8 {
	least, greatest, busy := uint8(none), uint8(0), false
	for p := range inputs {
		if !s.heard[p] {
			if !m.off.everyPartition && !m.off.horizonMin {
				return 0
			}
			continue
		}
		greatest = max(greatest, s.newest[p])
		if !s.idle[p] || m.off.idleEver {
			least, busy = min(least, s.newest[p]), true
		}
	}
	if !busy || m.off.horizonMin {
		return greatest
	}
	return least
}

func (m *timing) wrong(s *timingState) string { return s.broken.String() }

// missing: an event that was neither evaluated nor refused; or a partition at its
// end that holds up the horizon for ever.
func (m *timing) missing(s *timingState) string {
	for i := range s.results {
		r := &s.results[i]
		copies := uint8(0)
		for _, a := range m.arrivals {
			if int(a.id) == i+1 {
				copies++
			}
		}
		if copies > 0 && !r.evaluated && !r.refused && !(r.rejected && copies == 1) {
			return fmt.Sprintf("event %d was never evaluated", i+1)
		}
	}
	for p := range s.shard.idle {
		if !s.shard.idle[p] || m.off.idleEver {
			return fmt.Sprintf("partition %d stands at its end, and holds up the horizon for ever", p)
		}
	}
	return ""
}
