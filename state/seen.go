package state

import (
	"crypto/sha256"
	"time"
)

// Seen tells whether this event was evaluated before for this rule and key,
// and remembers it if not. It is forgotten once stream time is more than
// within behind its event time, both as they were when it was remembered. An
// event without an id is never remembered.
//
// Unlike what a Scope does, this stays when the evaluation is dropped: an
// event that a rule cannot digest is refused once.
func (t *Tx) Seen(rule, key, eventID string, eventTime time.Time, within time.Duration) bool {
	if eventID == "" || t.err != nil {
		return false
	}
	h := t.seenHash(rule, key, eventID)
	until, ok := t.seen[h]
	if !ok {
		var err error
		if until, err = t.shard.known.until(t.shard, h); err != nil {
			t.fail(err)
			return false
		}
	}
	if until != noTime && t.pos.stream <= until {
		return true
	}
	if until = after(nanos(eventTime), within); until < t.pos.stream {
		return false // as good as forgotten
	}
	t.grow(0, len(h)+6)
	if n := len(t.events); n == 0 || pageEnd(t.events[n-1].until) != pageEnd(until) {
		t.grow(1, 32) // another page
	}
	t.touch()
	t.seen[h] = until
	t.events = append(t.events, remembered{h, until})
	return false
}

// seenHash names an event within a rule and key. Each part carries its length,
// so that no two triples read the same.
func (t *Tx) seenHash(rule, key, eventID string) (h [16]byte) {
	b := appendPart(appendPart(t.key[:0], rule), key)
	b = append(b, eventID...)
	t.key = b
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}
