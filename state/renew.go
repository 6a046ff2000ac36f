package state

import "time"

// RenewStringSet restarts the default lifetime of a set, as a write at the
// event's time would, if the last write lies at least atMost before that time: a
// set in use stays, at the cost of one write per atMost. A missing or expired
// set and one with an expiry of its own are left alone. With the renewal it is
// noted that the event met these members, as far as they are there.
func (s *Scope) RenewStringSet(name string, atMost time.Duration, members ...string) {
	m := s.set(name)
	if m == nil || !m.live() || m.expiry != noTime || s.now < after(m.newest, atMost) {
		return
	}
	if len(s.at.ID) > maxEventID {
		s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
		return
	}
	m.newest = s.now
	m.dirty = true
	for _, member := range members {
		if len(member) <= maxString {
			m.met(member)
		}
	}
}
