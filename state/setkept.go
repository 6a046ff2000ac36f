package state

// keptSetEvents is a cache, by the set's number, of the events that the members of large
// sets remember, from one Tx to the next: an alert of a full set would read all members in
// each Tx. It follows Apply.
type keptSetEvents map[uint64]*memberEvents

// keep takes over a set's events from an applied Tx.
func (h *Shard) keep(e *setEntry) {
	switch {
	case e.now.exists && e.events != nil && len(e.events.members) >= largeSet:
		if h.setEvents == nil {
			h.setEvents = keptSetEvents{}
		}
		for number := range h.setEvents {
			if len(h.setEvents) < keptEventsOf {
				break
			}
			delete(h.setEvents, number)
		}
		h.setEvents[e.now.number] = e.events
	case len(e.members) > 0 || e.now.number != e.disk.number:
		delete(h.setEvents, e.disk.number)
	}
}

// kept gives the cached events of a set as the Tx has it; nil: none, or not enough.
func (t *Tx) kept(e *setEntry) *memberEvents {
	v := t.shard.setEvents[e.disk.number]
	if v == nil || !e.onDisk() {
		return nil
	}
	delete(t.shard.setEvents, e.disk.number) // the Tx changes it, and may be discarded
	for name := range e.members {
		t.key = appendMemberKey(t.key[:0], e.disk.number, name)
		if value, was := t.get(t.key); was && len(value) > 0 {
			t.brokenMember(e, v.drop(value[1:]))
		}
	}
	for _, now := range e.members {
		if now.in {
			t.brokenMember(e, v.add(now.block))
		}
	}
	v.sort()
	if !v.whole && len(v.newest) < leastEvents {
		return nil
	}
	return v
}
