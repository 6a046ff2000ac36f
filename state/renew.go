package state

import "time"

// RenewStringSet restarts the default lifetime of a set, as a write at the
// event's time would, if the last write lies at least atMost before that time: a
// set in use stays, at the cost of one write per atMost. A missing or expired
// set is left alone, and so is the lifetime of one with an expiry of its own.
//
// It is noted that the event met these members, as far as they are there: of each
// member by itself, if the newest event that it remembers lies at least atMost
// before this one. So a member in use costs one write per atMost too, and is not
// among the oldest, which AddToStringSetEvicting lets go.
func (s *Scope) RenewStringSet(name string, atMost time.Duration, members ...string) {
	m := s.set(name)
	if m == nil || !m.live() || len(members) > 0 && s.idTooLong() {
		return
	}
	renewed := m.expiry == noTime && s.now >= after(m.newest, atMost)
	for _, member := range members {
		if len(member) <= maxString && m.met(member, atMost) {
			renewed = true
		}
	}
	if renewed {
		m.wrote()
	}
}
