package state

import (
	"encoding/binary"
	"maps"
)

// set is a string set without its members. Each member is a key of its own
// under the set's number, so that no call costs more for a large set. A set
// that is replaced goes on under a new number; the old one is dead, and Sweep
// removes its members by and by.
type set struct {
	exists bool
	number uint64 // unique in the shard; 0: none yet, and no members on disk
	count  int64
	life
}

func (m *set) append(dst []byte) []byte {
	dst = m.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, m.number)
	return binary.AppendUvarint(dst, uint64(m.count))
}

func decodeSet(value []byte) (set, error) {
	r, err := open(value)
	if err != nil {
		return set{}, err
	}
	m := set{exists: true, life: r.life(), number: r.uvarint(), count: int64(r.uvarint())}
	if m.count < 0 || m.count > 0 && m.number == 0 {
		r.fail()
	}
	return m, r.close()
}

// setEntry is a set in a Tx: as it is on disk, and as it is now.
type setEntry struct {
	entry
	disk    set
	now     set
	members map[string]bool // under now.number: true came, false went
	bytes   int             // estimate for members
}

// keptMembers bounds the memory of member tables that are used again.
const keptMembers = 256

func emptied(members map[string]bool) map[string]bool {
	if len(members) > keptMembers {
		return nil
	}
	clear(members)
	return members
}

// setAt gives the set of this changelog key.
func (t *Tx) setAt(key []byte) *setEntry {
	if e, ok := t.sets[string(key)]; ok {
		return e
	}
	e := t.setPool.next()
	*e = setEntry{entry: entry{key: string(key)}, members: emptied(e.members)}
	if value, ok := t.get(key); ok {
		m, err := decodeSet(value)
		t.damaged(key, err)
		e.disk, e.now = m, m
		e.file = filing{exists: true, at: m.filed}
	}
	t.sets[e.key] = e
	return e
}

// take makes what a scope did to the set part of the Tx.
func (e *setEntry) take(t *Tx, m *scopeSet) {
	if m.replaced {
		e.members = emptied(e.members)
		e.bytes = 0
	}
	if e.members == nil {
		e.members = make(map[string]bool, len(m.members))
	}
	for member, in := range m.members {
		if _, ok := e.members[member]; !ok {
			e.bytes += len(member) + memberOverhead
		}
		e.members[member] = in
	}
	e.now = m.set
	if e.now.number == 0 && len(e.members) > 0 {
		e.now.number = t.numberSet()
	}
	e.dirty = true
}

// remove makes the set absent.
func (e *setEntry) remove() {
	e.now, e.bytes, e.dirty = set{}, 0, true
	e.members = emptied(e.members)
}

// has tells whether a member is there.
func (t *Tx) has(e *setEntry, member string) bool {
	if in, ok := e.members[member]; ok {
		return in
	}
	if e.disk.count == 0 || e.now.number != e.disk.number {
		return false
	}
	t.key = appendMemberKey(t.key[:0], e.now.number, member)
	_, ok := t.get(t.key)
	return ok
}

// scopeSet is a set as one evaluation sees it.
type scopeSet struct {
	scope *Scope
	name  string
	entry *setEntry
	set
	dirty    bool
	replaced bool            // members before this evaluation no longer count
	members  map[string]bool // true came, false went
}

// set gives the set of this name, nil when the scope has failed.
func (s *Scope) set(name string) *scopeSet {
	for _, m := range s.sets {
		if m.name == name {
			return m
		}
	}
	if !s.name(kindSet, name) {
		return nil
	}
	e := s.tx.setAt(s.key)
	if s.failed() {
		return nil
	}
	m := s.setPool.next()
	*m = scopeSet{scope: s, name: name, entry: e, set: e.now, members: emptied(m.members)}
	s.sets = append(s.sets, m)
	return m
}

func (m *scopeSet) live() bool {
	s := m.scope
	return m.exists && s.now < m.deadline(s.tx.shard.store.lifetime)
}

func (m *scopeSet) has(member string) bool {
	if in, ok := m.members[member]; ok {
		return in
	}
	return !m.replaced && m.scope.tx.has(m.entry, member)
}

// clear takes every member; a set that has any goes on under a new number.
func (m *scopeSet) clear() {
	m.dirty = true
	if m.count == 0 && len(m.members) == 0 && !m.replaced {
		return
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
	m.newest, m.expiry = m.scope.now, noTime
}

// put sets whether a member is there.
func (m *scopeSet) put(member string, in bool) {
	if m.members == nil {
		m.members = map[string]bool{}
	}
	m.members[member] = in
	if in {
		m.count++
	} else {
		m.count--
	}
}

// wrote renews the set's lifetime.
func (m *scopeSet) wrote() {
	m.newest = max(m.newest, m.scope.now)
	m.dirty = true
}

// overlay gives what came and went since the set was on disk; under tells
// whether members on disk count at all.
func (m *scopeSet) overlay() (changes map[string]bool, under bool) {
	e := m.entry
	if m.replaced || len(e.members) == 0 {
		return m.members, !m.replaced && e.disk.count > 0 && e.now.number == e.disk.number
	}
	changes = maps.Clone(e.members)
	maps.Copy(changes, m.members)
	return changes, e.disk.count > 0 && e.now.number == e.disk.number
}
