package state

import (
	"crypto/sha256"
	"time"
)

// EventKey names an event within a rule and key.
type EventKey [16]byte

// EventKey gives the name of an event within a rule and key.
func (t *Tx) EventKey(rule, key, eventID string) (k EventKey) {
	// Each part carries its length, so that no two triples read the same.
	b := appendPart(appendPart(t.key[:0], rule), key)
	b = append(b, eventID...)
	t.key = b
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

// Seen tells whether the event was evaluated before for its rule and key: it was
// remembered, and no horizon so far has passed the instant until which it is. The removals
// of Sweep, and their time, have no part in the answer.
func (t *Tx) Seen(k EventKey) bool {
	if t.err != nil {
		return false
	}
	until, ok := t.seen[k]
	if !ok {
		var err error
		if until, err = t.shard.known.until(t.shard, k); err != nil {
			t.fail(err)
			return false
		}
		if t.rewound {
			until = min(until, t.pos.rewound.until) // of a page from before this Tx
		}
	}
	return until != noTime && t.pos.reached <= until
}

// rememberUntil bounds the time for which the events so far are remembered. Those of this
// Tx are few, and changed; those in pages have the bound in rewound.
func (t *Tx) rememberUntil(most int64) {
	for k, until := range t.seen {
		t.seen[k] = min(until, most)
	}
	for i := range t.events {
		t.events[i].until = min(t.events[i].until, most)
	}
	t.rewound = true
	t.pos.rewound = rewound{before: t.pos.next, until: most}
}

// Remember remembers an event that was evaluated, until the horizon has once been more than
// within beyond its time and beyond the newest time of the shard: a copy of even a late
// event may come as far back as the slowest partition is. An evaluation that was rejected
// must not be remembered, so that the event can be sent again (PROTOCOL D12).
func (t *Tx) Remember(k EventKey, eventTime time.Time, within time.Duration) {
	if t.err != nil {
		return
	}
	until := after(max(nanos(eventTime), t.pos.stream), within)
	t.grow(0, len(k)+6)
	if n := len(t.events); n == 0 || pageEnd(t.events[n-1].until) != pageEnd(until) {
		t.grow(1, 32) // another page
	}
	t.invalidate()
	t.seen[k] = until
	t.events = append(t.events, remembered{k, until})
}
