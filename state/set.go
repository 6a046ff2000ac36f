package state

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"
)

// set is a string set without its members. Each member is a key of its own under the set's
// number, so that no call costs more for a large set. A set that is replaced goes on under
// a new number; the old one is dead, and Sweep removes its members.
type set struct {
	exists bool
	number uint64 // unique in the shard; 0: none yet, and no members on disk
	count  int64
	life
}

func (m *set) append(dst []byte) []byte {
	dst = binary.AppendUvarint(m.life.append(dst), m.number)
	return binary.AppendUvarint(dst, uint64(m.count))
}

// set decodes the bytes of append.
func (r *reader) set() set {
	m := set{exists: true}
	m.life, _ = r.lifeWith(0)
	m.number, m.count = r.uvarint(), int64(r.uvarint())
	if m.count < 0 || m.count > 0 && m.number == 0 {
		r.fail()
	}
	return m
}

// setEntry is a set in a Tx: as it is on disk, and as it is now.
type setEntry struct {
	header  *headerEntry
	disk    set
	now     set
	members map[string]member // under now.number: came, met again or went
	bytes   int               // estimate for members
	names   *memberNames      // in their order, as far as they were read; nil: not asked for
	events  *memberEvents     // the events that the members remember; nil: not asked for
}

// onDisk tells whether members on disk count.
func (e *setEntry) onDisk() bool { return e.disk.count > 0 && e.now.number == e.disk.number }

// emptied returns a member table to use again.
func emptied(members map[string]member) map[string]member {
	if len(members) > keptMembers {
		return nil
	}
	clear(members)
	return members
}

// newSet makes the entry of a set as it is on disk.
func (t *Tx) newSet(e *headerEntry, disk set) *setEntry {
	m := t.setPool.next()
	*m = setEntry{header: e, disk: disk, now: disk, members: emptied(m.members)}
	return m
}

func (e *setEntry) remove() {
	e.now, e.header.dirty = set{}, true
	e.forgetMembers()
}

func (e *setEntry) forgetMembers() {
	e.members, e.bytes = emptied(e.members), 0
	e.names, e.events = nil, nil
}

// member is a member of a set: the event that brought it and, if others met it,
// the newest of them, as a block of evidence.
type member struct {
	in    bool // false: it went
	block []byte
}

// checkMember reports a block that is not that of a member.
func checkMember(block []byte) (n int, err error) {
	r := reader{b: block}
	topic := r.part()
	for n < 2 && (n == 0 || len(r.b) > 0) && !r.bad {
		r.ref(topic)
		n++
	}
	return n, r.close()
}

// memberOf gives a member; the block is valid until the next read.
func (t *Tx) memberOf(e *setEntry, name string) (member, bool) {
	if m, ok := e.members[name]; ok {
		return m, m.in
	}
	if !e.onDisk() {
		return member{}, false
	}
	if t.key = appendMemberKey(t.key[:0], e.now.number, name); !bytes.Equal(t.key, t.memberKey) {
		value, ok := t.get(t.key)
		if !ok || len(value) == 0 {
			return member{}, ok
		}
		t.memberKey, t.memberBlock = append(t.memberKey[:0], t.key...), append(t.memberBlock[:0], value[1:]...)
	}
	return member{in: true, block: t.memberBlock}, true
}

// liveSet gives the set, nil if none is there for the event or the scope has failed, and
// notes that it was asked for.
func (n *named) liveSet() *setEntry {
	if n == nil || n.scope.failed() {
		return nil
	}
	m := n.header.set
	if m == nil || !m.now.exists || n.scope.now >= m.now.deadline(n.scope.tx.shard.store.lifetime) {
		return nil
	}
	n.setLooked = true
	return m
}

// has tells whether the set has a member.
func (n *named) has(name string) bool {
	_, ok := n.scope.tx.memberOf(n.header.set, name)
	return ok
}

// clear takes every member; a set that has any goes on under a new number.
func (n *named) clear() {
	t, was := n.scope.tx, n.header.set
	t.save(n.header)
	switch {
	case was == nil:
		n.header.set = t.newSet(n.header, set{})
	case was.now.count > 0:
		if n.setLooked { // the alert that follows shows the evidence from before
			n.scope.endedSets = append(n.scope.endedSets, was)
		}
		m := t.newSet(n.header, was.disk)
		m.now = was.now
		m.now.number, m.now.count = 0, 0
		n.header.set, n.setLooked = m, false
	}
}

// start makes a set that is missing or has expired exist, empty.
func (n *named) start() {
	if n.liveSet() != nil {
		return
	}
	n.clear()
	m := &n.header.set.now
	m.exists, m.newest, m.expiry = true, n.scope.now, noTime
	n.setLooked = true
}

// put brings a member in, with the event, or takes it out.
func (n *named) put(name string, in bool) {
	now := member{in: in}
	if in {
		now.block = appendRef(nil, &n.scope.at, n.scope.now)
		n.header.set.now.count++
	} else {
		n.header.set.now.count--
	}
	n.scope.tx.change(n.header.set, name, now)
}

// change makes a member come, be met again, or go.
func (t *Tx) change(e *setEntry, name string, now member) {
	t.changeEvents(e, name, now)
	e.changeNames(name, now)
	if e.members == nil {
		e.members = map[string]member{}
	}
	t.undo.members = saveItem(t.undo.members, e.members, name)
	if was, ok := e.members[name]; ok {
		e.bytes += len(now.block) - len(was.block)
	} else {
		e.bytes += len(name) + memberOverhead + len(now.block)
	}
	e.members[name] = now
}

// met notes that the event met a member, unless the newest event that the member
// remembers lies less than atMost before it; noted tells whether it did.
func (n *named) met(name string, atMost time.Duration) (noted bool) {
	s, e := n.scope, n.header.set
	v, ok := s.tx.memberOf(e, name)
	if !ok {
		return false
	}
	first, last, err := spanOf(v.block)
	if err != nil {
		s.brokenEvidence(err)
		return false
	}
	if s.now < last || s.now < after(last, atMost) {
		return false
	}
	s.tx.save(n.header)
	block := append([]byte(nil), v.block[:first]...)
	s.tx.change(e, strings.Clone(name), member{in: true, block: appendRef(block, &s.at, s.now)})
	return true
}

// spanOf reads the block of a member: the end of the event that brought it, and the time
// of the newest one.
func spanOf(block []byte) (first int, last int64, err error) {
	r := reader{b: block}
	topic := r.part()
	last = r.ref(topic).at
	if first = len(block) - len(r.b); len(r.b) > 0 && !r.bad {
		last = r.ref(topic).at
	}
	return first, last, r.close()
}

// renew renews the set's lifetime.
func (n *named) renew() {
	n.scope.tx.save(n.header)
	n.header.set.now.newest = max(n.header.set.now.newest, n.scope.now)
}
