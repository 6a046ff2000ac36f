package state

import "time"

// RenewStringSet restarts the default lifetime of a set, as a write at the
// event's time would, if the last write lies at least atMost before that time: a
// set in use stays, at the cost of one write per atMost. A missing or expired
// set is left alone, and so is the lifetime of one with an expiry of its own.
//
// Members that are in the set remember the event, each by itself, if the newest event
// that the member remembers lies at least atMost before this one. A member in use costs
// one write per atMost too, and is not among the oldest, which AddToStringSetEvicting
// lets go.
func (s *Scope) RenewStringSet(name string, atMost time.Duration, members ...string) {
	n := s.named(name)
	m := n.liveSet()
	if m == nil || len(members) > 0 && s.idTooLong() {
		return
	}
	renewed := m.now.expiry == noTime && s.now >= after(m.now.newest, atMost)
	for _, member := range members {
		if len(member) <= maxString && n.met(member, atMost) {
			renewed = true
		}
	}
	if renewed {
		n.renew()
	}
}
