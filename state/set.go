package state

import (
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

// set reads what append has written.
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

// keptMembers bounds the memory of member tables that are used again.
const keptMembers = 256

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

// take makes a scope's changes to the set part of the Tx.
func (e *setEntry) take(t *Tx, m *scopeSet) {
	if m.replaced {
		e.forgetMembers()
	}
	t.takeEvents(e, m.members)
	e.takeNames(m.members)
	if e.members == nil {
		e.members = make(map[string]member, len(m.members))
	}
	for name, now := range m.members {
		if was, ok := e.members[name]; !ok {
			e.bytes += len(name) + memberOverhead + len(now.block)
		} else {
			e.bytes += len(now.block) - len(was.block)
		}
		e.members[name] = now
	}
	e.now = m.set
	if e.now.number == 0 && len(e.members) > 0 {
		e.now.number = t.nextNumber()
	}
	e.header.dirty = true
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
	t.key = appendMemberKey(t.key[:0], e.now.number, name)
	value, ok := t.get(t.key)
	if !ok || len(value) == 0 {
		return member{}, ok
	}
	return member{in: true, block: value[1:]}, true
}

// scopeSet is a set as one evaluation sees it.
type scopeSet struct {
	scope *Scope
	name  string
	entry *setEntry
	set
	dirty    bool
	looked   bool              // it was read or written, and so is evidence
	replaced bool              // members before this evaluation no longer count
	members  map[string]member // came, met again or went

	read      string // member that was read last, as it was before this evaluation
	readBlock []byte // empty: none
}

// set gives the set of this name, nil when the scope has failed.
func (s *Scope) set(name string) *scopeSet {
	for _, m := range s.sets {
		if m.name == name {
			return m
		}
	}
	h := s.header(name)
	if h == nil {
		return nil
	}
	if h.set == nil {
		h.set = s.tx.newSet(h, set{})
	}
	e := h.set
	m := s.setPool.next()
	*m = scopeSet{scope: s, name: name, entry: e, set: e.now, members: emptied(m.members), readBlock: m.readBlock[:0]}
	s.sets = append(s.sets, m)
	return m
}

// live tells whether the set is there for the event, and notes that it was asked for.
func (m *scopeSet) live() bool {
	s := m.scope
	if !m.exists || s.now >= m.deadline(s.tx.shard.store.lifetime) {
		return false
	}
	m.looked = true
	return true
}

func (m *scopeSet) has(name string) bool {
	_, ok := m.member(name)
	return ok
}

func (m *scopeSet) member(name string) (member, bool) {
	if v, ok := m.members[name]; ok {
		return v, v.in
	}
	if m.replaced {
		return member{}, false
	}
	if len(m.readBlock) > 0 && m.read == name {
		return member{in: true, block: m.readBlock}, true // a rule looks at a member, and renews it
	}
	v, ok := m.scope.tx.memberOf(m.entry, name)
	if ok {
		m.read, m.readBlock = name, append(m.readBlock[:0], v.block...)
	}
	return v, ok
}

// clear takes every member; a set that has any goes on under a new number.
func (m *scopeSet) clear() {
	m.dirty = true
	if m.count == 0 && len(m.members) == 0 && !m.replaced {
		return
	}
	if m.looked {
		was := *m // the alert that follows shows the evidence from before
		was.readBlock = nil
		m.scope.lookedSets = append(m.scope.lookedSets, &was)
		m.members, m.looked = nil, false
	}
	m.replaced = true
	m.number, m.count = 0, 0
	m.members = emptied(m.members)
}

// start makes a set that is missing or has expired exist, empty.
func (m *scopeSet) start() {
	if m.live() {
		return
	}
	m.clear()
	m.exists = true
	m.looked = true
	m.newest, m.expiry = m.scope.now, noTime
}

// put brings a member in, with the event, or takes it out.
func (m *scopeSet) put(name string, in bool) {
	if m.members == nil {
		m.members = map[string]member{}
	}
	v := member{in: in}
	if in {
		v.block = appendRef(nil, &m.scope.at, m.scope.now)
		m.count++
	} else {
		m.count--
	}
	m.members[name] = v
}

// met notes that the event met a member, unless the newest event that the member
// remembers lies less than atMost before it; noted tells whether it did.
func (m *scopeSet) met(name string, atMost time.Duration) (noted bool) {
	v, ok := m.member(name)
	if !ok {
		return false
	}
	first, last, err := spanOf(v.block)
	if err != nil {
		m.scope.brokenEvidence(err)
		return false
	}
	if m.scope.now < last || m.scope.now < after(last, atMost) {
		return false
	}
	if m.members == nil {
		m.members = map[string]member{}
	}
	block := append([]byte(nil), v.block[:first]...)
	m.members[strings.Clone(name)] = member{in: true, block: appendRef(block, &m.scope.at, m.scope.now)}
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

// wrote renews the set's lifetime.
func (m *scopeSet) wrote() {
	m.newest = max(m.newest, m.scope.now)
	m.dirty = true
}
