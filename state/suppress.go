package state

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"time"
)

// suppression holds back alerts of one dedup string around those that were sent. Its
// newest write is the end of the span of the newest of them. With nothing held back it
// expires there; else it has the default lifetime from there, so that the next alert can
// tell the number.
type suppression struct {
	exists bool
	held   int64
	alerts []int64 // event times of the alerts that were sent, sorted; not changed in place
	life
}

// maxSuppressionAlerts bounds the alerts that a suppression remembers: a week of one every
// ten minutes. Beyond it the oldest give way.
const maxSuppressionAlerts = 1000

func (u *suppression) append(dst []byte) []byte {
	dst = u.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, uint64(u.held))
	for _, at := range u.alerts {
		dst = appendTime(dst, at)
	}
	return dst
}

func decodeSuppression(value []byte) (suppression, error) {
	r, err := open(value)
	if err != nil {
		return suppression{}, err
	}
	u := suppression{exists: true, life: r.life(), held: int64(r.uvarint())}
	for last := int64(noTime); len(r.b) > 0; {
		at := r.time()
		if at <= last || len(u.alerts) == maxSuppressionAlerts {
			r.fail()
		}
		u.alerts, last = append(u.alerts, at), at
	}
	if u.held < 0 || len(u.alerts) == 0 {
		r.fail()
	}
	return u, r.close()
}

// sent gives the alerts with one more, without those that no event can meet any more.
func (u *suppression) sent(at, forgotten int64) []int64 {
	i, _ := slices.BinarySearch(u.alerts, at)
	alerts := slices.Insert(slices.Clone(u.alerts), i, at)
	i, _ = slices.BinarySearch(alerts, forgotten)
	return alerts[max(min(i, len(alerts)-1), len(alerts)-maxSuppressionAlerts):]
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

// Suppress lets one alert of a dedup string pass in a span of event time, on either side
// of it. It is for the engine, not for rules. An event less than span before or after an
// alert that was sent gives true, and how many have been held back since the last one that
// was sent. Else the alert is sent, and held is how many were held back before it. A span
// of 0 suppresses nothing.
func (s *Scope) Suppress(dedup string, span time.Duration) (held int64, suppressed bool) {
	if span <= 0 {
		return 0, false
	}
	u := s.suppression(dedup)
	if u == nil {
		return 0, false
	}
	u.dirty = true
	i := sort.Search(len(u.alerts), func(i int) bool { return after(u.alerts[i], span) > s.now })
	if i < len(u.alerts) && u.alerts[i] < after(s.now, span) {
		u.held = addSaturating(u.held, 1)
		u.expiry = noTime
		return u.held, true
	}
	store := s.tx.shard.store
	if u.exists && s.now < u.deadline(store.lifetime) {
		held = u.held
	}
	limit := addSaturating(s.tx.horizon(), -int64(store.maxLateness))
	alerts := u.sent(s.now, addSaturating(limit, -int64(span)))
	until := after(alerts[len(alerts)-1], span)
	u.suppression = suppression{exists: true, alerts: alerts, life: life{newest: until, expiry: until}}
	return held, false
}
