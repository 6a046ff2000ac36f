package model

import "fmt"

// Bounds of the model of alignment.
const (
	aligned = 3 // partitions
	allowed = 1 // events.max_drift
)

// aligning is the model of alignment: the routers of partitions with a backlog, on
// two instances. A router that is further than max_drift ahead of the slowest one
// waits. An instance knows the acknowledged positions of its own partitions, and the
// committed ones of the others, as of some time ago.
type aligning struct {
	times  [aligned][]uint8 // event times of each partition's records, which rise
	home   [aligned]uint8   // the instance that has the partition
	faults alignFaults
	off    alignRules
}

// alignFaults are how often each fault may happen.
type alignFaults struct {
	crashes    uint8 // of an instance, which begins again at its committed positions
	stalls     uint8 // a partition cannot be read: no leader, an open transaction, no owner
	recoveries uint8 // it can be read again
}

// alignRules are the rules that the model leaves out, to see that it notices.
type alignRules struct {
	waits        bool // a partition does not wait for a slower one
	leaveOut     bool // one that cannot be read is not left out
	waiting      bool // one that waits for a slower one is left out, as if it could not be read
	takeBack     bool // one that was left out stays so when it moves again
	skipEnded    bool // one at its end counts as the slowest
	countNew     bool // one that has published nothing yet does not count
	acknowledged bool // a router publishes its read position, not the acknowledged one
	ownTime      bool // a router takes its own time, too, from its published position
}

type alignState struct {
	parts  [aligned]alignPart
	left   alignFaults
	passed bool // a record was handed on too far ahead of another partition
}

// alignPart is one partition. All positions count records.
type alignPart struct {
	read, acked, committed uint8
	seen                   uint8 // as the other instance knows it
	reached                uint8 // the highest position ever acknowledged: shards have the records below it
	stuck                  bool
	leftOut                [instances]bool // by instance
	excused                [instances]bool // leftOut, as it should be
}

func (m *aligning) initial() alignState { return alignState{left: m.faults} }

// time is the newest event time of the first records of a partition; 0: of none.
func (m *aligning) time(p int, position uint8) uint8 {
	if position == 0 {
		return 0
	}
	return m.times[p][position-1]
}

func (m *aligning) ended(p int, position uint8) bool { return int(position) == len(m.times[p]) }

// known is the position of a partition as an instance knows it.
func (m *aligning) known(s *alignState, i uint8, p int) uint8 {
	if m.home[p] == i {
		return s.parts[p].acked
	}
	return s.parts[p].seen
}

// waits tells whether the router of a partition holds back its next record.
func (m *aligning) waits(s *alignState, p int) bool {
	i := m.home[p]
	own := s.parts[p].read
	if m.off.ownTime {
		own = s.parts[p].committed
	}
	for q := range s.parts {
		at := m.known(s, i, q)
		switch {
		case q == p || s.parts[q].leftOut[i]:
		case m.ended(q, at) && !m.off.skipEnded:
		case at == 0 && m.off.countNew:
		case m.time(p, own) > m.time(q, at)+allowed:
			return !m.off.waits
		}
	}
	return false
}

// next yields the steps that are possible in s.
func (m *aligning) next(s *alignState, yield func(Step, alignState)) {
	for p := range s.parts {
		n := uint8(p)
		m.advance(*s, p, yield)
		c := &s.parts[p]
		if c.acked < c.read {
			t := *s
			t.parts[p].acked = c.read
			t.parts[p].reached = max(c.reached, c.read)
			t.parts[p].moves(m, m.home[p])
			yield(say("partition %d: all %d records read are acknowledged", n, c.read), t)
		}
		if c.committed < c.acked {
			t := *s
			t.parts[p].committed = c.acked
			yield(say("partition %d commits and publishes position %d", n, c.acked), t)
		}
		m.publish(*s, p, yield)
		m.giveUp(s, p, yield)
		m.stall(s, p, yield)
	}
	m.crash(s, yield)
}

// advance reads a record and hands it on.
func (m *aligning) advance(s alignState, p int, yield func(Step, alignState)) {
	c := &s.parts[p]
	if c.stuck || m.ended(p, c.read) || m.waits(&s, p) {
		return
	}
	for q := range s.parts {
		d := &s.parts[q]
		if q != p && !d.excused[m.home[p]] && !m.ended(q, d.reached) && m.time(p, c.read) > m.time(q, d.reached)+allowed {
			s.passed = true
		}
	}
	c.read++
	yield(say("partition %d hands on record %d, of time %d", uint8(p), c.read-1, m.time(p, c.read)), s)
}

// publish lets the other instance know of a position.
func (m *aligning) publish(s alignState, p int, yield func(Step, alignState)) {
	c := &s.parts[p]
	at := c.committed
	if m.off.acknowledged {
		at = c.read
	}
	if at <= c.seen {
		return
	}
	c.seen = at
	c.moves(m, 1-m.home[p])
	yield(say("the other instance learns of position %d of partition %d", at, uint8(p)), s)
}

// moves takes back a partition that was left out, once an instance sees it moving.
func (c *alignPart) moves(m *aligning, i uint8) {
	c.excused[i] = false
	c.leftOut[i] = c.leftOut[i] && m.off.takeBack
}

// giveUp leaves out a partition that has not moved for some time. That such a partition
// cannot be read is an assumption about time: a record that was read is acknowledged,
// committed and known everywhere long before.
func (m *aligning) giveUp(s *alignState, p int, yield func(Step, alignState)) {
	c := &s.parts[p]
	for i := range uint8(instances) {
		at := c.acked
		if m.home[p] != i {
			at = c.seen
		}
		still := c.stuck || m.off.waiting && m.waits(s, p)
		if !still || c.leftOut[i] || m.ended(p, c.read) || at != c.read || m.off.leaveOut {
			continue
		}
		t := *s
		t.parts[p].leftOut[i], t.parts[p].excused[i] = true, c.stuck
		yield(say("instance %d leaves out partition %d, which does not move", i, uint8(p)), t)
	}
}

// stall makes a partition unreadable, or readable again.
func (m *aligning) stall(s *alignState, p int, yield func(Step, alignState)) {
	c := &s.parts[p]
	t := *s
	t.parts[p].stuck = !c.stuck
	switch {
	case c.stuck && s.left.recoveries > 0:
		t.left.recoveries--
		yield(say("partition %d can be read again", uint8(p)), t)
	case !c.stuck && s.left.stalls > 0 && !m.ended(p, c.read):
		t.left.stalls--
		yield(say("partition %d cannot be read any more", uint8(p)), t)
	}
}

// crash ends an instance and starts it again: its routers begin where they had
// committed.
func (m *aligning) crash(s *alignState, yield func(Step, alignState)) {
	for i := range uint8(instances) {
		if s.left.crashes == 0 {
			return
		}
		t := *s
		t.left.crashes--
		for p := range t.parts {
			c := &t.parts[p]
			c.leftOut[i], c.excused[i] = false, false
			if m.home[p] == i {
				c.read, c.acked = c.committed, c.committed
			}
		}
		yield(say("instance %d crashes and starts again", i), t)
	}
}

// wrong: a partition has passed another by more than max_drift.
func (m *aligning) wrong(s *alignState) string {
	if s.passed {
		return "a partition hands on a record further ahead of another one than max_drift, and that one is not left out"
	}
	return ""
}

// missing: a partition that can be read waits for ever.
func (m *aligning) missing(s *alignState) string {
	for p := range s.parts {
		if c := &s.parts[p]; !c.stuck && !m.ended(p, c.read) {
			return fmt.Sprintf("partition %d waits for ever, at position %d", p, c.read)
		}
	}
	return ""
}
