package state

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// suppression holds back alerts of one dedup string. Its newest write is the
// end of the span. With nothing held back it expires there; else it has the
// default lifetime from there, so that the next alert can tell the number.
type suppression struct {
	exists bool
	held   int64
	life
}

func (u *suppression) append(dst []byte) []byte {
	dst = u.life.append(append(dst, formatVersion))
	return binary.AppendUvarint(dst, uint64(u.held))
}

func decodeSuppression(value []byte) (suppression, error) {
	r, err := open(value)
	if err != nil {
		return suppression{}, err
	}
	u := suppression{exists: true, life: r.life(), held: int64(r.uvarint())}
	if u.held < 0 {
		r.fail()
	}
	return u, r.close()
}

// suppressionEntry is a suppression in a Tx.
type suppressionEntry struct {
	entry
	now suppression
}

// suppressionAt gives the suppression of this changelog key.
func (t *Tx) suppressionAt(key []byte) *suppressionEntry {
	if e, ok := t.suppressions[string(key)]; ok {
		return e
	}
	e := &suppressionEntry{entry: entry{key: string(key)}}
	if value, ok := t.get(key); ok {
		u, err := decodeSuppression(value)
		t.damaged(key, err)
		e.now = u
		e.file = filing{exists: true, at: u.filed}
	}
	t.suppressions[e.key] = e
	return e
}

// scopeSuppression is a suppression as one evaluation sees it.
type scopeSuppression struct {
	entry *suppressionEntry
	suppression
	dirty bool
}

// suppression gives the suppression of a dedup string, nil when the scope has
// failed. The string may be of any length: its hash is the key.
func (s *Scope) suppression(dedup string) *scopeSuppression {
	if s.failed() {
		return nil
	}
	s.value = append(s.value[:0], dedup...)
	sum := sha256.Sum256(s.value)
	s.key = append(append(s.key[:0], kindSuppression), s.prefix...)
	s.key = append(s.key, sum[:16]...)
	e := s.tx.suppressionAt(s.key)
	if s.failed() {
		return nil
	}
	for i := range s.suppressions {
		if u := &s.suppressions[i]; u.entry == e {
			return u
		}
	}
	s.suppressions = append(s.suppressions, scopeSuppression{entry: e, suppression: e.now})
	return &s.suppressions[len(s.suppressions)-1]
}

// Suppress lets one alert of a dedup string pass in a span of event time. It
// is for the engine, not for rules. While the span of the last alert goes on,
// it gives true and how many have been held back since; an event older than
// that alert falls into its span too. Else the event's time starts a new span,
// and held is how many the last one has held back. A span of 0 suppresses
// nothing.
func (s *Scope) Suppress(dedup string, span time.Duration) (held int64, suppressed bool) {
	if span <= 0 {
		return 0, false
	}
	u := s.suppression(dedup)
	if u == nil {
		return 0, false
	}
	u.dirty = true
	if u.exists && s.now < u.newest {
		u.held = addSaturating(u.held, 1)
		u.expiry = noTime
		return u.held, true
	}
	if u.exists && s.now < u.deadline(s.tx.shard.store.lifetime) {
		held = u.held
	}
	until := after(s.now, span)
	u.suppression = suppression{exists: true, life: life{newest: until, expiry: until}}
	return held, false
}
