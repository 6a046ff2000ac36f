package state

import "time"

// RenewStringSet restarts the default lifetime of a set, as a write at the
// event's time would, if the last write lies at least atMost before that time: a
// set in use stays, at the cost of one write per atMost. A missing or expired
// set and one with an expiry of its own are left alone.
func (s *Scope) RenewStringSet(name string, atMost time.Duration) {
	m := s.set(name)
	if m == nil || !m.live() || m.expiry != noTime || s.now < after(m.newest, atMost) {
		return
	}
	m.newest = s.now
	m.dirty = true
}
