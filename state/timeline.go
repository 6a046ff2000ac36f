package state

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Entry is one event of a timeline.
type Entry struct {
	Label string
	Ref
}

// A timeline is kept in parts, each a record of its own: the head has the newest entries,
// blocks have older ones. An evaluation reads and writes the parts that are near its event.
const (
	timelineHead  = 64 // entries of the head, from which on half of them move to a block
	timelineBlock = 128
)

// timeline is one part. The fields from reach on are those of a head.
type timeline struct {
	exists bool
	life
	entries []Entry // by time, then source; not changed in place

	reach int64 // longest span that was asked for, in nanoseconds
	until int64 // no entry of a block is later; noTime: there are no blocks
	span  int64 // from the first to the last entry of any block, at most, in nanoseconds
	count int64 // of all entries, at most
}

func (l *timeline) append(dst []byte) []byte {
	dst = l.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, uint64(l.reach))
	dst = binary.AppendUvarint(dst, uint64(l.count))
	if l.until == noTime {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(appendTime(append(dst, 1), l.until), uint64(l.span))
	}
	var refs []byte
	labelled := byte(0)
	for i := range l.entries {
		e := &l.entries[i]
		refs = appendRef(refs, &e.Ref, nanos(e.Time))
		if e.Label != "" {
			labelled = 1
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.entries)))
	dst = appendPart(dst, refs)
	if dst = append(dst, labelled); labelled == 0 {
		return dst
	}
	for i := range l.entries {
		dst = appendPart(dst, l.entries[i].Label)
	}
	return dst
}

func decodeTimeline(value []byte) (timeline, error) {
	r, err := open(value)
	if err != nil {
		return timeline{}, err
	}
	l := timeline{exists: true, life: r.life(), reach: r.nonNegative(), count: r.nonNegative(), until: noTime}
	switch r.byte() {
	case 0:
	case 1:
		l.until, l.span = r.time(), r.nonNegative()
	default:
		r.fail()
	}
	n, refs := r.uvarint(), r.part()
	if n > uint64(len(refs)) { // each takes some bytes
		r.fail()
	}
	if r.bad {
		return timeline{}, ErrDamaged
	}
	if n > 0 {
		if err := checkBlock(refs, int(n)); err != nil {
			return timeline{}, err
		}
		all, err := appendRefs(nil, refs, int(n))
		if err != nil {
			return timeline{}, err
		}
		l.entries = make([]Entry, n)
		for i := range all {
			l.entries[i].Ref = all[i]
		}
	} else if len(refs) > 0 || l.until == noTime {
		r.fail()
	}
	l.readLabels(&r)
	if !slices.IsSortedFunc(l.entries, compareEntries) {
		r.fail()
	}
	return l, r.close()
}

func (l *timeline) readLabels(r *reader) {
	switch r.byte() {
	case 0:
		return
	case 1:
	default:
		r.fail()
	}
	some := false
	for i := range l.entries {
		l.entries[i].Label = string(r.part())
		some = some || l.entries[i].Label != ""
	}
	if !some {
		r.fail()
	}
}

func (r *reader) nonNegative() int64 {
	v := r.uvarint()
	if int64(v) < 0 {
		r.fail()
		return 0
	}
	return int64(v)
}

func compareEntries(a, b Entry) int {
	return cmp.Or(compareRefs(a.Ref, b.Ref), strings.Compare(a.Label, b.Label))
}

// settle makes the life of a part follow its entries: it is absent once no event in reach
// of the newest of them can come.
func (l *timeline) settle(reach int64) {
	at := l.until
	if n := len(l.entries); n > 0 {
		at = max(at, nanos(l.entries[n-1].Time))
	}
	if l.exists = at != noTime; !l.exists {
		return
	}
	l.newest, l.expiry = at, noTime
	if reach > 0 {
		l.expiry = after(at, time.Duration(reach))
	}
}

// timelineEntry is a part in a Tx.
type timelineEntry struct {
	entry
	now timeline
}

// timelineAt gives the part of this changelog key.
func (t *Tx) timelineAt(key []byte) *timelineEntry {
	if e, ok := t.timelines[string(key)]; ok {
		return e
	}
	e := &timelineEntry{entry: entry{key: string(key)}, now: timeline{until: noTime}}
	if value, ok := t.get(key); ok {
		l, err := decodeTimeline(value)
		t.damaged(key, err)
		if err == nil {
			e.now = l
		}
		e.file = filing{exists: true, at: l.filed}
	}
	t.timelines[e.key] = e
	return e
}

func (e *timelineEntry) remove() { e.now, e.dirty = timeline{until: noTime}, true }

func (t *Tx) buildTimeline(e *timelineEntry) {
	switch {
	case !e.dirty:
	case !e.now.exists:
		t.drop(&e.entry)
	default:
		t.file(&e.entry, &e.now.life)
		t.value = e.now.append(t.value[:0])
		t.put(t.named(e.key), t.value)
	}
}

func (t *Tx) measureTimeline(e *timelineEntry) {
	size := len(e.key) + valueOverhead
	for i := range e.now.entries {
		size += 40 + len(e.now.entries[i].Label)
	}
	t.measure(&e.entry, 1, size)
}
