package state

import (
	"crypto/sha256"
	"time"
)

// seenEvent is an event that a rule and key have evaluated: until when, in
// stream time, it is remembered. noTime: it is not.
type seenEvent struct{ disk, now int64 }

func appendSeen(dst []byte, until int64) []byte {
	return appendTime(append(dst, formatVersion), until)
}

func decodeSeen(value []byte) (until int64, err error) {
	r, err := open(value)
	if err != nil {
		return 0, err
	}
	until = r.time()
	if until == noTime {
		r.fail()
	}
	return until, r.close()
}

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
	e, ok := t.seen[h]
	if !ok {
		e = seenEvent{noTime, noTime}
		if e.disk = t.seenOnDisk(h); t.err != nil {
			return false
		}
		e.now = e.disk
	}
	if e.now != noTime && t.pos.stream <= e.now {
		return true
	}
	until := after(nanos(eventTime), within)
	if until < t.pos.stream {
		return false // as good as forgotten
	}
	if !ok {
		t.grow(1, 1+len(h)+8)
	}
	t.touch()
	e.now = until
	t.seen[h] = e
	return false
}

func (t *Tx) seenOnDisk(h [16]byte) int64 {
	may, err := t.shard.maySee(h)
	if err != nil {
		t.fail(err)
	}
	if !may || err != nil {
		return noTime
	}
	t.key = append(append(t.key[:0], kindSeen), h[:]...)
	value, ok := t.get(t.key)
	if !ok {
		return noTime
	}
	until, err := decodeSeen(value)
	t.damaged(t.key, err)
	return until
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
