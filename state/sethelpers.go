package state

import "strings"

// Set is a view of a string set: the scope's state of it at the moment of each call, its
// own changes included. It is valid as long as its scope. The zero Set is empty.
type Set struct{ n *named }

// Len gives the number of members.
func (v Set) Len() int {
	if m := v.n.liveSet(); m != nil {
		return int(m.now.count)
	}
	return 0
}

// Has tells whether member is in the set, as a whole string.
func (v Set) Has(member string) bool {
	return v.n.liveSet() != nil && len(member) <= maxString && v.n.has(member)
}

// Members gives all members, sorted by their bytes. It reads each of them;
// First is the call for an alert.
func (v Set) Members() []string { return v.First(v.Len()) }

// First gives the first n members in the order of Members, all if there are
// not as many.
func (v Set) First(n int) []string {
	m := v.n.liveSet()
	if m == nil || n <= 0 {
		return nil
	}
	return v.n.scope.tx.first(m, min(n, int(m.now.count)))
}

// GetStringSet gives the set of this name, empty when it is missing or has
// expired.
func (s *Scope) GetStringSet(name string) Set { return Set{s.named(name)} }

// PutStringSet replaces the members; with none the set is empty. An expiry
// that SetKeyExpiration gave it stays.
func (s *Scope) PutStringSet(name string, members ...string) {
	n := s.named(name)
	if n == nil {
		return
	}
	looked := n.setLooked
	n.start()
	n.setLooked = looked // the members that go are evidence only if they were read
	n.clear()
	n.renew()
	n.setLooked = true
	for _, member := range members {
		if !n.add(member) {
			return
		}
	}
}

// AddToStringSet adds members and gives the set, and those that were new in
// the order given. When all were there nothing is written, and the lifetime
// goes on as it was: RenewStringSet is for that.
func (s *Scope) AddToStringSet(name string, members ...string) (Set, []string) {
	n := s.named(name)
	if n == nil || len(members) == 0 {
		return Set{n}, nil
	}
	n.start()
	var added []string
	for _, member := range members {
		before := n.header.set.now.count
		if !n.add(member) {
			return Set{n}, nil
		}
		if n.header.set.now.count > before {
			added = append(added, member)
		}
	}
	return Set{n}, added
}

// AddToStringSetEvicting adds one member. In a full set the oldest members give way to it:
// those with the earliest time of their newest remembered event (which brought the member,
// or met it by RenewStringSet), of several the first by their bytes. An eighth of
// Options.MaxSetMembers goes at once, as all members are read to find the oldest; where
// that limit was lowered, as many more as there are too many. The evicted are given oldest
// first, and Evicted counts them.
func (s *Scope) AddToStringSetEvicting(name, member string) (evicted []string) {
	n := s.named(name)
	if n == nil {
		return nil
	}
	n.start()
	m, limit := n.header.set, s.tx.shard.store.maxSetMembers
	if full := m.now.count > 0 && m.now.count >= int64(limit); full && len(member) <= maxString && !n.has(member) && !s.idTooLong() {
		evicted = s.tx.oldest(m, int(m.now.count)-limit+max(1, limit/8))
		s.tx.save(n.header)
		m.names = nil // to read them again is less than to take so many out
		for _, gone := range evicted {
			n.put(gone, false)
		}
		s.evicted += len(evicted)
	}
	if !n.add(member) {
		return nil
	}
	return evicted
}

// Evicted gives how many members of full sets and entries of full timelines have given
// way to others in this evaluation.
func (s *Scope) Evicted() int { return s.evicted }

// add puts one member in; false means that a bound was met and the scope has
// failed.
func (n *named) add(member string) bool {
	s := n.scope
	switch limit := int64(s.tx.shard.store.maxSetMembers); {
	case len(member) > maxString:
		s.refuse(reasonMemberTooLong, "a member of set %q has %d bytes, at most %d are kept", n.name, len(member), maxString)
		return false
	case n.has(member) || s.failed():
		return !s.failed()
	case n.header.set.now.count >= limit:
		s.refuse(reasonSetFull, "set %q has its %d members already", n.name, limit)
		return false
	}
	if s.idTooLong() {
		return false
	}
	n.renew()
	n.put(strings.Clone(member), true)
	return true
}

// RemoveFromStringSet takes members out and gives the set without them. A member that is
// not there has no effect.
func (s *Scope) RemoveFromStringSet(name string, members ...string) Set {
	n := s.named(name)
	if n.liveSet() == nil {
		return Set{n}
	}
	for _, member := range members {
		if len(member) <= maxString && n.has(member) {
			n.renew()
			n.put(strings.Clone(member), false)
		}
	}
	return Set{n}
}

// ResetStringSet makes the set absent.
func (s *Scope) ResetStringSet(name string) {
	if n := s.named(name); n != nil && n.header.set != nil && n.header.set.now.exists {
		n.clear()
		n.header.set.now.exists = false
	}
}
