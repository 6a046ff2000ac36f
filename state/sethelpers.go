package state

import "strings"

// Set is a view of a string set: the scope's state of it at the moment of each call, its
// own changes included. It is valid as long as its scope. The zero Set is empty.
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
	return m.first(min(n, int(m.count)))
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

// AddToStringSetEvicting adds one member. In a full set the oldest members give way to it:
// those with the earliest time of their newest remembered event (which brought the member,
// or met it by RenewStringSet), of several the first by their bytes. An eighth of
// Options.MaxSetMembers goes at once, as all members are read to find the oldest; where
// that limit was lowered, as many more as there are too many. The evicted are given oldest
// first, and Evicted counts them.
func (s *Scope) AddToStringSetEvicting(name, member string) (evicted []string) {
	m := s.set(name)
	if m == nil {
		return nil
	}
	m.start()
	limit := s.tx.shard.store.maxSetMembers
	if full := m.count > 0 && m.count >= int64(limit); full && len(member) <= maxString && !m.has(member) && !s.idTooLong() {
		evicted = m.oldest(int(m.count) - limit + max(1, limit/8))
		for _, gone := range evicted {
			m.put(gone, false)
		}
		s.evicted += len(evicted)
	}
	before := m.count
	if !m.add(member) {
		return nil
	}
	if m.count > before {
		m.wrote()
	}
	return evicted
}

// Evicted gives how many members of full sets and entries of full timelines have given
// way to others in this evaluation.
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
	if s.idTooLong() {
		return false
	}
	m.put(strings.Clone(member), true)
	return true
}

// RemoveFromStringSet takes members out and gives the set without them. A member that is
// not there has no effect.
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
