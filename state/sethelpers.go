package state

import (
	"slices"
	"strings"
)

// Set is a view of a string set: what a scope sees at the moment of each call,
// its own changes included. It is valid as long as its scope. The zero Set is
// empty.
type Set struct{ m *scopeSet }

// view gives the set as it is, nil when it is missing, expired or out of reach.
func (v Set) view() *scopeSet {
	if v.m == nil || v.m.scope.failed() || !v.m.live() {
		return nil
	}
	return v.m
}

// Len gives the number of members.
func (v Set) Len() int {
	if m := v.view(); m != nil {
		return int(m.count)
	}
	return 0
}

// Has tells whether member is in the set, as a whole string.
func (v Set) Has(member string) bool {
	m := v.view()
	return m != nil && len(member) <= maxString && m.has(member)
}

// Members gives all members, sorted by their bytes. It reads each of them;
// First is the call for an alert.
func (v Set) Members() []string { return v.First(v.Len()) }

// First gives the first n members in the order of Members, all if there are
// not as many.
func (v Set) First(n int) []string {
	m := v.view()
	if m == nil || n <= 0 {
		return nil
	}
	changes, onDisk := m.overlay()
	var came []string
	for member, now := range changes {
		if now.in {
			came = append(came, member)
		}
	}
	slices.Sort(came)
	n = min(n, int(m.count))
	if !onDisk {
		return came[:min(n, len(came))]
	}
	return m.scope.tx.members(m.number, changes, came, n)
}

// members merges the members on disk with what came and went since.
func (t *Tx) members(number uint64, changes map[string]member, came []string, n int) []string {
	out := make([]string, 0, n)
	t.key = appendMemberKey(t.key[:0], number, "")
	t.scan(t.key, nil, func(key, _ []byte) bool {
		member := string(key[len(t.key):])
		for len(came) > 0 && len(out) < n && came[0] < member {
			out, came = append(out, came[0]), came[1:]
		}
		if _, changed := changes[member]; !changed && len(out) < n {
			out = append(out, member)
		}
		return len(out) < n
	})
	return append(out, came[:min(n-len(out), len(came))]...)
}

// GetStringSet gives the set of this name, empty when it is missing or has
// expired.
func (s *Scope) GetStringSet(name string) Set { return Set{s.set(name)} }

// PutStringSet replaces the members; with none the set is empty. An expiry
// that SetKeyExpiration gave it stays.
func (s *Scope) PutStringSet(name string, members ...string) {
	m := s.set(name)
	if m == nil {
		return
	}
	looked := m.looked
	m.start()
	m.looked = looked // the members that go are evidence only if they were read
	m.clear()
	m.wrote()
	m.looked = true
	for _, member := range members {
		if !m.add(member) {
			return
		}
	}
}

// AddToStringSet adds members and gives the set, and those that were new in
// the order given. When all were there nothing is written, and the lifetime
// goes on as it was: RenewStringSet is for that.
func (s *Scope) AddToStringSet(name string, members ...string) (Set, []string) {
	m := s.set(name)
	if m == nil || len(members) == 0 {
		return Set{m}, nil
	}
	m.start()
	var added []string
	for _, member := range members {
		before := m.count
		if !m.add(member) {
			return Set{m}, nil
		}
		if m.count > before {
			added = append(added, member)
			m.wrote()
		}
	}
	return Set{m}, added
}

// AddToStringSetEvicting adds one member. In a full set the oldest member gives
// way to it: the one whose newest remembered event (which brought it, or met it
// by RenewStringSet) has the earliest time, of several the first by its bytes.
// Only then are all members read.
func (s *Scope) AddToStringSetEvicting(name, member string) (evicted string, ok bool) {
	m := s.set(name)
	if m == nil {
		return "", false
	}
	m.start()
	if len(member) > maxString || m.has(member) || s.failed() {
		m.add(member)
		return "", false
	}
	if ok = m.count > 0 && m.count >= int64(s.tx.shard.store.maxSetMembers); ok {
		if evicted = m.oldest(); s.failed() {
			return "", false
		}
		m.put(evicted, false)
		s.evicted++
	}
	if !m.add(member) {
		return "", false
	}
	m.wrote()
	return evicted, ok
}

// Evicted gives how many members have given way to others in this evaluation.
func (s *Scope) Evicted() int { return s.evicted }

// add puts one member in; false means that a bound was met and the scope has
// failed.
func (m *scopeSet) add(member string) bool {
	s := m.scope
	switch limit := int64(s.tx.shard.store.maxSetMembers); {
	case len(member) > maxString:
		s.refuse(reasonMemberTooLong, "a member of set %q has %d bytes, at most %d are kept", m.name, len(member), maxString)
		return false
	case m.has(member) || s.failed():
		return !s.failed()
	case m.count >= limit:
		s.refuse(reasonSetFull, "set %q has its %d members already", m.name, limit)
		return false
	}
	if len(s.at.ID) > maxEventID {
		s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
		return false
	}
	m.put(strings.Clone(member), true)
	return true
}

// RemoveFromStringSet takes members out and gives what remains. A member that
// is not there has no effect.
func (s *Scope) RemoveFromStringSet(name string, members ...string) Set {
	m := s.set(name)
	if m == nil || !m.live() {
		return Set{m}
	}
	for _, member := range members {
		if len(member) <= maxString && m.has(member) {
			m.put(strings.Clone(member), false)
			m.wrote()
		}
	}
	return Set{m}
}

// ResetStringSet makes the set absent.
func (s *Scope) ResetStringSet(name string) {
	if m := s.set(name); m != nil && m.exists {
		m.clear()
		m.exists = false
	}
}
