package state

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Entry is one event of a timeline, as [Scope.Within] gives it. Its Time is that of
// the event.
type Entry struct {
	Label string
	Ref
}

// A timeline keeps its newest entries in its own value, and older ones in blocks of their
// own, of which the value has a directory. An evaluation reads and writes the value, which
// mostly is all, and the blocks that are near its event. Blocks do not overlap, and no
// entry of the value is older than the last one of a block.
const (
	timelineHead  = 64  // entries in the value; with one more, the older half moves to a block
	timelineBlock = 128 // entries in a block; one more splits it
)

// timeline is the value of a timeline.
type timeline struct {
	exists bool
	life
	reach  int64         // longest span that Within was asked for, in nanoseconds; 0: not asked yet
	blocks []blockExtent // oldest first
	stored int           // entries in the blocks
	head   []Entry       // the newest entries, in the order of compareEntries
}

// blockExtent is the entry of a block in the directory of its timeline.
type blockExtent struct {
	number      uint64 // names it within the timeline
	count       int
	first, last int64 // instants of its entries
}

func extentOf(number uint64, entries []Entry) blockExtent {
	return blockExtent{number, len(entries), nanos(entries[0].Time), nanos(entries[len(entries)-1].Time)}
}

// compareEntries orders entries by time, then by source.
func compareEntries(a, b Entry) int {
	return cmp.Or(compareRefs(a.Ref, b.Ref), strings.Compare(a.ID, b.ID), strings.Compare(a.Label, b.Label))
}

// same tells whether two entries are of one event, under one label.
func (e *Entry) same(o *Entry) bool {
	if e.Label != o.Label || e.ID != o.ID {
		return false
	}
	return e.ID != "" || compareRefs(e.Ref, o.Ref) == 0
}

func (l *timeline) count() int { return l.stored + len(l.head) }

// first is the instant of the oldest entry; noTime: there is none.
func (l *timeline) first() int64 {
	switch {
	case len(l.blocks) > 0:
		return l.blocks[0].first
	case len(l.head) > 0:
		return nanos(l.head[0].Time)
	}
	return noTime
}

// last is the instant of the newest entry; noTime: there is none.
func (l *timeline) last() int64 {
	switch {
	case len(l.head) > 0:
		return nanos(l.head[len(l.head)-1].Time)
	case len(l.blocks) > 0:
		return l.blocks[len(l.blocks)-1].last
	}
	return noTime
}

// settle makes the timeline's life follow its entries. Entries beyond the shard's newest
// event time are left from before a Rewind, and do not lengthen it.
func (l *timeline) settle(stream int64) {
	if l.exists = l.count() > 0; !l.exists {
		*l = timeline{}
		return
	}
	l.expiry = noTime
	if l.reach > 0 {
		last := l.newest
		if stream != noTime {
			last = min(last, stream)
		}
		l.expiry = after(last, time.Duration(l.reach))
	}
}

func (l *timeline) append(dst []byte) []byte {
	dst = l.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, uint64(l.reach))
	dst = binary.AppendUvarint(dst, uint64(len(l.blocks)))
	for _, b := range l.blocks {
		dst = binary.AppendUvarint(dst, b.number)
		dst = binary.AppendUvarint(dst, uint64(b.count))
		dst = appendTime(appendTime(dst, b.first), b.last)
	}
	return appendEntries(dst, l.head)
}

func decodeTimeline(value []byte) (timeline, error) {
	r, err := open(value)
	if err != nil {
		return timeline{}, err
	}
	l := timeline{exists: true, life: r.life(), reach: int64(r.uvarint())}
	last := int64(noTime)
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		b := blockExtent{number: r.uvarint()}
		count := r.uvarint()
		if b.first, b.last = r.time(), r.time(); count == 0 || count > timelineBlock || b.first == noTime || b.first < last || b.last < b.first {
			r.fail()
		}
		b.count, last = int(count), b.last
		l.blocks, l.stored = append(l.blocks, b), l.stored+b.count
	}
	l.head = r.entries()
	if n := len(l.head); n > 0 {
		if nanos(l.head[0].Time) < last {
			r.fail()
		}
		last = nanos(l.head[n-1].Time)
	}
	if l.reach < 0 || last == noTime || l.newest < last {
		r.fail()
	}
	if err := r.close(); err != nil {
		return timeline{}, err
	}
	return l, nil
}

// decodeTimelineBlock reads the entries of a block.
func decodeTimelineBlock(value []byte) ([]Entry, error) {
	r, err := open(value)
	if err != nil {
		return nil, err
	}
	entries := r.entries()
	if len(entries) == 0 {
		r.fail()
	}
	if err := r.close(); err != nil {
		return nil, err
	}
	return entries, nil
}

// appendEntries writes how many entries there are, their events as a block of evidence
// has them, and, if any has a label, the labels.
func appendEntries(dst []byte, entries []Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	if len(entries) == 0 {
		return dst
	}
	block, labelled := dst[len(dst):], byte(0)
	for i := range entries {
		e := &entries[i]
		block = appendRef(block, &e.Ref, nanos(e.Time))
		if e.Label != "" {
			labelled = 1
		}
	}
	if dst = append(append(dst, block...), labelled); labelled == 0 {
		return dst
	}
	for i := range entries {
		dst = appendPart(dst, entries[i].Label)
	}
	return dst
}

// entries reads the entries that appendEntries has written: at most a block's worth.
func (r *reader) entries() []Entry {
	n := r.uvarint()
	if n > timelineBlock {
		r.fail()
	}
	if n == 0 || r.bad {
		return nil
	}
	entries := r.events(int(n))
	switch r.byte() {
	case 0:
	case 1:
		some := false
		for i := range entries {
			entries[i].Label = string(r.part())
			some = some || entries[i].Label != ""
		}
		if !some {
			r.fail()
		}
	default:
		r.fail()
	}
	if !r.bad && !slices.IsSortedFunc(entries, compareEntries) {
		r.fail()
	}
	return entries
}

// events reads n events of a block. Their ids share one string: they are many, and
// an evaluation mostly looks at none of them.
func (r *reader) events(n int) []Entry {
	topic := r.part()
	name, entries := string(topic), make([]Entry, n)
	var ends [timelineBlock]int
	ids := make([]byte, 0, n*36)
	for i := range n {
		b := r.ref(topic)
		if r.bad {
			return nil
		}
		if b.packed {
			ids = appendUUID(ids, b.id)
		} else {
			ids = append(ids, b.id...)
		}
		ends[i] = len(ids)
		e := &entries[i]
		e.Time, e.Source = instant(b.at), Source{Topic: name, Partition: b.partition, Offset: b.offset, Index: b.index}
		if string(b.topic) != name {
			e.Source.Topic = string(b.topic)
		}
	}
	all, start := string(ids), 0
	for i := range entries {
		entries[i].ID, start = all[start:ends[i]], ends[i]
	}
	return entries
}
