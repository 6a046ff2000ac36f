package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// The index of the events that are remembered is kept in pages, a few for all that one
// Tx remembers: an entry for each event would be half of what the database has to write
// for it. A page is never changed when what it lists is remembered anew; Sweep sees then
// that its entry is not true any more.
const (
	pageSpan   = 10 * time.Minute // of the instants in a page
	pageEvents = 256              // in a page at most
)

// remembered is an event, and the instant of stream time until which it is remembered.
type remembered struct {
	hash  [16]byte
	until int64
}

// pageEnd gives the instant under which an event is filed: the end of its page's span.
// When stream time is there, all that the page lists is forgotten.
func pageEnd(until int64) int64 {
	span := int64(pageSpan)
	at := until % span
	if at < 0 {
		at += span
	}
	return addSaturating(until, span-at)
}

// file puts events into pages in a batch. The pages of a batch have a number that no
// other batch gives: the offset of the changelog behind it.
func (h *Shard) file(b *pebble.Batch, events []remembered, number int64) error {
	slices.SortFunc(events, func(a, b remembered) int {
		return cmp.Or(cmp.Compare(a.until, b.until), bytes.Compare(a.hash[:], b.hash[:]))
	})
	var key, value []byte
	for n := uint32(0); len(events) > 0; n++ {
		end, count := pageEnd(events[0].until), 1
		for count < min(len(events), pageEvents) && pageEnd(events[count].until) == end {
			count++
		}
		key = appendPageKey(key[:0], end, number, n)
		value = appendPage(value[:0], events[:count])
		if err := h.set(b, key, value); err != nil {
			return err
		}
		events = events[count:]
	}
	return nil
}

func appendPageKey(dst []byte, end, number int64, n uint32) []byte {
	dst = binary.BigEndian.AppendUint64(appendIndexKey(dst, kindSeenIndex, end, ""), uint64(number))
	return binary.BigEndian.AppendUint32(dst, n)
}

func appendPage(dst []byte, events []remembered) []byte {
	dst = append(dst, formatVersion)
	for _, e := range events {
		dst = appendTime(append(dst, e.hash[:]...), e.until)
	}
	return dst
}

// decodePage appends what a page lists, which is filed under an instant.
func decodePage(dst []remembered, value []byte, end int64) ([]remembered, error) {
	r, err := open(value)
	if err != nil {
		return dst, err
	}
	for len(r.b) > 0 && !r.bad {
		e := remembered{r.hash(), r.time()}
		if e.until == noTime || pageEnd(e.until) != end {
			r.fail()
		}
		dst = append(dst, e)
	}
	if len(dst) == 0 {
		r.fail()
	}
	return dst, r.close()
}

// sweepSeen removes events that are forgotten.
func (t *Tx) sweepSeen(max int) (removed, steps int) {
	w := &t.sweep
	steps = t.due(kindSeenIndex, &w.seen, t.shard.hints.seen, t.pos.stream, max, func(end int64, key, value []byte, left int) (steps int, done bool) {
		var err error
		w.page, err = decodePage(w.page[:0], value, end)
		if t.damaged(key, err); err != nil {
			return 0, false
		}
		events := w.page
		if bytes.Equal(key, w.partly) {
			events = events[w.swept:]
		}
		w.partly = w.partly[:0]
		now := events[:min(left, len(events))]
		for _, e := range now {
			if t.forget(e) {
				removed++
			}
		}
		if len(now) < len(events) {
			w.partly, w.swept = append(w.partly, key...), len(w.page)-len(events)+len(now)
			w.rest = appendPage(w.rest[:0], events[len(now):])
			return len(now), false
		}
		w.stale = append(w.stale, indexChange{key: w.arena.keep(key), remove: true})
		return len(now), true
	})
	return removed, steps
}

// forget removes an event that a page lists, unless the entry is not true any more.
func (t *Tx) forget(e remembered) bool {
	now, changed := t.seen[e.hash]
	if changed {
		return false // removed, or remembered anew
	}
	now.disk = e.until
	if e.until < t.shard.doubtful {
		now.disk = t.seenOnDisk(e.hash)
	}
	if now.disk != e.until {
		return false
	}
	t.seen[e.hash] = seenEvent{disk: e.until, now: noTime}
	t.grow(1, 1+len(e.hash))
	return true
}
