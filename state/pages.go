package state

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// Events that are remembered are written in pages, a few for all events of one Tx: a record
// for each event would be most of the bytes of the changelog and the database. A page is
// never changed. It goes as a whole, once all events that it lists are forgotten; an event
// that is remembered anew is listed once more, in another page.
const (
	pageSpan   = 10 * time.Minute // of the instants in a page
	pageEvents = 256              // in a page at most
)

// remembered is an event, and the instant of the horizon until which it is remembered.
type remembered struct {
	hash  [16]byte
	until int64
}

// pageID names a page within its shard. Pages and sets take their numbers in turn from
// one counter, so that a later page has a higher one.
type pageID struct {
	number uint64
	end    int64 // of the span: once the horizon has been there, all events on the page are forgotten
}

type page struct {
	pageID
	events []remembered
}

// pageEnd gives the end of the span of the pages that list an event.
func pageEnd(until int64) int64 {
	span := int64(pageSpan)
	at := until % span
	if at < 0 {
		at += span
	}
	return addSaturating(until, span-at)
}

// buildPages makes pages of the events that the Tx remembers.
func (t *Tx) buildPages() {
	byEnd := func(a, b remembered) int { return cmp.Compare(pageEnd(a.until), pageEnd(b.until)) }
	if !slices.IsSortedFunc(t.events, byEnd) {
		slices.SortStableFunc(t.events, byEnd)
	}
	for left := t.events; len(left) > 0; {
		p := page{pageID: pageID{number: t.pos.next + uint64(len(t.pages)), end: pageEnd(left[0].until)}}
		n := 1
		for n < min(len(left), pageEvents) && pageEnd(left[n].until) == p.end {
			n++
		}
		p.events, left = left[:n], left[n:]
		t.pages = append(t.pages, p)
		k := parts{kind: kindPage, page: p.pageID}
		t.key = k.append(t.key[:0])
		t.value = appendPage(t.value[:0], p.events)
		t.put(t.key, t.value)
		t.key, t.value = p.appendIndex(t.key[:0], t.value[:0], n)
		t.index = append(t.index, indexChange{key: t.arena.keep(t.key), value: t.arena.keep(t.value)})
		t.hints.pages = min(t.hints.pages, p.end)
	}
}

// appendIndex gives the entry of the page in the index by which Sweep finds it.
func (p *pageID) appendIndex(key, value []byte, events int) (k, v []byte) {
	k = binary.BigEndian.AppendUint64(appendIndexKey(key, kindPageIndex, p.end, ""), p.number)
	return k, binary.AppendUvarint(append(value, formatVersion), uint64(events))
}

func parsePageIndex(key, value []byte) (p pageID, events int, err error) {
	k := reader{b: key}
	k.byte()
	p = pageID{end: k.instant(), number: k.fixed64()}
	if err := k.close(); err != nil {
		return p, 0, err
	}
	r, err := open(value)
	if err != nil {
		return p, 0, err
	}
	n := r.uvarint()
	if n == 0 || n > pageEvents {
		r.fail()
	}
	return p, int(n), r.close()
}

func appendPage(dst []byte, events []remembered) []byte {
	dst = append(dst, formatVersion)
	for _, e := range events {
		dst = appendTime(append(dst, e.hash[:]...), e.until)
	}
	return dst
}

// decodePage appends the events that the page with this end lists.
func decodePage(dst []remembered, value []byte, end int64) ([]remembered, error) {
	r, err := open(value)
	if err != nil {
		return dst, err
	}
	had := len(dst)
	for len(r.b) > 0 && !r.bad {
		e := remembered{r.hash(), r.time()}
		if e.until == noTime || pageEnd(e.until) != end {
			r.fail()
		}
		dst = append(dst, e)
	}
	if n := len(dst) - had; n == 0 || n > pageEvents {
		r.fail()
	}
	return dst, r.close()
}

// sweepPages removes pages of events that are forgotten; removed counts the events.
func (t *Tx) sweepPages(max int) (removed, steps int) {
	w := &t.sweep
	if w.rewound || !w.pageAt.used && t.rewoundOver() {
		return t.sweepRewound(max)
	}
	steps = t.due(kindPageIndex, &w.pageAt, t.shard.hints.pages, t.pos.reached, max, func(_ int64, key, value []byte) {
		p, events, err := parsePageIndex(key, value)
		if t.damaged(key, err); err != nil {
			return
		}
		t.dropPage(p, key)
		removed += events
	})
	return removed, steps
}

// rewoundOver tells whether the events of pages from before a Rewind are all forgotten.
func (t *Tx) rewoundOver() bool {
	r := &t.pos.rewound
	return r.before > 0 && r.until != noTime && r.until < t.pos.reached
}

// sweepRewound removes pages of which Rewind has made all events forgotten, in the order of
// their numbers: the index has them under the instants that they list. A Tx that does so
// leaves the index to the next one, as that names the same pages.
func (t *Tx) sweepRewound(max int) (removed, steps int) {
	w := &t.sweep
	w.rewound = true
	if max <= 0 || !t.rewoundOver() {
		return 0, 0
	}
	var events []remembered
	var index []byte
	more, before := false, t.pos.rewound.before
	t.scan([]byte{kindPage}, w.page, func(key, value []byte) bool {
		k, err := parseKey(key)
		if err == nil && k.page.number >= before {
			return false
		}
		if more = err == nil && steps == max; more {
			w.page = append(w.page[:0], key...)
			return false
		}
		if err == nil {
			events, err = decodePage(events[:0], value, k.page.end)
		}
		if t.damaged(key, err); err != nil {
			return false
		}
		steps++
		removed += len(events)
		index, _ = k.page.appendIndex(index[:0], nil, len(events))
		t.dropPage(k.page, index)
		return true
	})
	if !more && t.err == nil {
		t.pos.rewound.until, w.page = noTime, appendNumberKey(w.page[:0], kindPage, before)
	}
	return removed, steps
}

// dropPage removes a page and its entry in the index.
func (t *Tx) dropPage(p pageID, index []byte) {
	w := &t.sweep
	k := parts{kind: kindPage, page: p}
	t.key = k.append(t.key[:0])
	w.pages++
	w.gone = append(w.gone, w.arena.keep(t.key))
	w.stale = append(w.stale, indexChange{key: w.arena.keep(index), remove: true})
	t.grow(1, len(t.key))
}
