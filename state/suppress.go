package state

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"time"
)

// suppression holds back alerts of one dedup string around those that were sent. Its newest
// write is the end of the newest alert's span. With nothing held back it expires there;
// else it has the default lifetime from there, so that the next alert can tell the number.
type suppression struct {
	exists bool
	held   int64
	alerts []alertSpan // that were sent, sorted; not changed in place
	life
}

// alertSpan is a row of sent alerts, from the first to the last, each less than twice the
// span of suppression after the one before. Any event between first and last is nearer than
// that span to an alert of the row, so that the other alerts need not be kept.
type alertSpan struct{ first, last int64 }

// maxAlertSpans bounds the alerts of one suppression. Of more, the one that is farthest
// from the event gives way: a finding there may be sent once more. With a span of five
// minutes that takes a week in which no two alerts are nearer than ten minutes.
const maxAlertSpans = 1000

func (u *suppression) append(dst []byte) []byte {
	dst = u.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, uint64(u.held))
	for _, a := range u.alerts {
		dst = appendTime(appendTime(dst, a.first), a.last-a.first) // of centuries it wraps, and back
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
		a := alertSpan{first: r.time()}
		a.last = a.first + r.time()
		if a.first <= last || a.last < a.first || len(u.alerts) == maxAlertSpans {
			r.fail()
		}
		u.alerts, last = append(u.alerts, a), a.last
	}
	if u.held < 0 || len(u.alerts) == 0 {
		r.fail()
	}
	return u, r.close()
}

// near tells whether an alert that was sent is less than span away.
func (u *suppression) near(now int64, span time.Duration) bool {
	i := sort.Search(len(u.alerts), func(i int) bool { return after(u.alerts[i].last, span) > now })
	return i < len(u.alerts) && u.alerts[i].first < after(now, span)
}

// sent gives the alerts with one more, which is near none of them, and without those from
// before the instant forgotten, as no event can meet them any more.
func (u *suppression) sent(now int64, span time.Duration, forgotten int64) []alertSpan {
	old := u.alerts[sort.Search(len(u.alerts), func(i int) bool { return u.alerts[i].last >= forgotten }):]
	i := sort.Search(len(old), func(i int) bool { return old[i].first > now })
	own, from, to := alertSpan{now, now}, i, i
	if i > 0 && after(after(old[i-1].last, span), span) > now {
		own.first, from = old[i-1].first, i-1
	}
	if i < len(old) && old[i].first < after(after(now, span), span) {
		own.last, to = old[i].last, i+1
	}
	alerts := slices.Concat(old[:from], []alertSpan{own}, old[to:])
	if last := len(alerts) - 1; last < maxAlertSpans {
		return alerts
	} else if stretch(alerts[0].last, now) < stretch(now, alerts[last].first) {
		return alerts[:last]
	}
	return alerts[1:]
}

// suppressionEntry is a suppression in a Tx.
type suppressionEntry struct {
	entry
	now suppression

	saved    bool // the open Scope has changed it
	was      suppression
	wasDirty bool
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

// suppression gives the suppression of a dedup string, nil when the scope has
// failed. The string may be of any length: its hash is the key.
func (s *Scope) suppression(dedup string) *suppressionEntry {
	if s.failed() {
		return nil
	}
	s.value = append(s.value[:0], dedup...)
	sum := sha256.Sum256(s.value)
	s.key = append(append(s.key[:0], kindSuppression), s.prefix...)
	s.key = append(s.key, sum[:16]...)
	if e := s.tx.suppressionAt(s.key); !s.failed() {
		return e
	}
	return nil
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
	e := s.suppression(dedup)
	if e == nil {
		return 0, false
	}
	s.tx.saveSuppression(e)
	u := &e.now
	if u.near(s.now, span) {
		u.held = addSaturating(u.held, 1)
		u.expiry = noTime
		return u.held, true
	}
	store := s.tx.shard.store
	if u.exists && s.now < u.deadline(store.lifetime) {
		held = u.held
	}
	limit := addSaturating(s.tx.horizon(), -int64(store.maxLateness))
	alerts := u.sent(s.now, span, addSaturating(limit, -int64(span)))
	until := after(alerts[len(alerts)-1].last, span)
	*u = suppression{exists: true, alerts: alerts, life: life{newest: until, expiry: until}}
	return held, false
}
