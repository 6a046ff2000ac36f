package state

import (
	"slices"
	"strings"
)

// timelinePart is a part as one evaluation sees it.
type timelinePart struct {
	entry *timelineEntry
	timeline
	dirty bool
}

// scopeTimeline is a timeline as one evaluation sees it.
type scopeTimeline struct {
	scope  *Scope
	name   string
	head   *timelinePart
	blocks map[int64]*timelinePart // those that were read, by the instant in their keys

	alone    bool // the event lies too far back to be kept
	own      Entry
	given    []Entry // by Within
	consumed []Entry
}

// timeline gives the timeline of this name, nil when the scope has failed.
func (s *Scope) timeline(name string) *scopeTimeline {
	for _, l := range s.timelines {
		if l.name == name {
			return l
		}
	}
	if !s.name(kindTimeline, name) {
		return nil
	}
	e := s.tx.timelineAt(s.key)
	if s.failed() {
		return nil
	}
	l := &scopeTimeline{scope: s, name: name, head: &timelinePart{entry: e, timeline: e.now}, blocks: map[int64]*timelinePart{}}
	s.timelines = append(s.timelines, l)
	return l
}

// block gives the block whose key has this instant.
func (l *scopeTimeline) block(first int64) *timelinePart {
	if b := l.blocks[first]; b != nil {
		return b
	}
	t := l.scope.tx
	t.key = appendTimelineKey(t.key[:0], l.head.entry.key, first)
	e := t.timelineAt(slices.Clone(t.key))
	b := &timelinePart{entry: e, timeline: e.now}
	l.blocks[first] = b
	return b
}

// near gives the instants in the keys of the blocks that are there from one instant to
// another, in their order.
func (l *scopeTimeline) near(from, to int64) (firsts []int64) {
	if l.head.until == noTime || from > to {
		return nil
	}
	t := l.scope.tx
	prefix := append([]byte{kindTimelineBlock}, l.head.entry.key[1:]...)
	note := func(key []byte) bool {
		first := instantOf(key)
		if first <= to && l.blocks[first] == nil {
			firsts = append(firsts, first)
		}
		return first <= to
	}
	t.scan(prefix, appendInstant(slices.Clone(prefix), from), func(key, _ []byte) bool { return note(key) })
	for key, e := range t.timelines {
		if e.file.exists || !strings.HasPrefix(key, string(prefix)) || instantOf([]byte(key)) < from {
			continue
		}
		note([]byte(key))
	}
	for first := range l.blocks {
		if first >= from && first <= to {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return slices.DeleteFunc(slices.Compact(firsts), func(first int64) bool { return !l.block(first).exists })
}

// instantOf gives the instant at the end of a block's key.
func instantOf(key []byte) int64 {
	r := reader{b: key[len(key)-8:]}
	return r.instant()
}

// tooLate tells whether no event in reach of the event at hand can come any more.
func (l *scopeTimeline) tooLate() bool {
	h := l.head
	return h.exists && l.scope.now < addSaturating(h.newest, -addSaturating(h.reach, int64(l.scope.tx.shard.store.maxLateness)))
}

// insert adds an entry to a part; false: it has been there.
func (l *scopeTimeline) insert(p *timelinePart, e Entry) bool {
	for i := range p.entries {
		if e.ID != "" && p.entries[i].ID == e.ID && p.entries[i].Label == e.Label {
			return false
		}
	}
	i, _ := slices.BinarySearchFunc(p.entries, e, compareEntries)
	p.entries = slices.Insert(slices.Clip(slices.Clone(p.entries)), i, e)
	l.changed(p)
	return true
}

func (l *scopeTimeline) changed(p *timelinePart) {
	p.settle(l.head.reach)
	p.dirty = true
	if n := len(p.entries); p != l.head && n > 0 {
		l.head.span = max(l.head.span, nanos(p.entries[n-1].Time)-nanos(p.entries[0].Time))
		l.head.dirty = true
	}
}

// insertBlock adds the event to the block that it belongs to, or a new one.
func (l *scopeTimeline) insertBlock() {
	now := l.scope.now
	at := now
	if firsts := l.near(addSaturating(now, -l.head.span), now); len(firsts) > 0 {
		at = firsts[len(firsts)-1]
	}
	b := l.block(at)
	if !l.insert(b, l.own) {
		return
	}
	l.head.count++
	l.head.dirty = true
	if len(b.entries) > timelineBlock {
		l.move(b, b.entries[len(b.entries)/2:], b.entries[:len(b.entries)/2])
	}
	l.bound()
}

// spill moves the older half of the head to a block.
func (l *scopeTimeline) spill() {
	half := len(l.head.entries) / 2
	moved := l.head.entries[:half]
	l.head.until = max(l.head.until, nanos(moved[half-1].Time))
	l.move(l.head, moved, l.head.entries[half:])
}

// move takes entries out of a part, where others stay, to the block of their first instant.
func (l *scopeTimeline) move(from *timelinePart, moved, stay []Entry) {
	to := l.block(nanos(moved[0].Time))
	if to == from {
		return // all of one instant: the block becomes larger
	}
	from.entries = slices.Clone(stay)
	to.entries = slices.Concat(to.entries, moved)
	slices.SortFunc(to.entries, compareEntries)
	l.changed(to)
	l.changed(from)
}

// bound keeps the timeline within as many entries as a set may have members: the oldest
// blocks give way, since an event must not go unseen for what lies days before it. Enough go
// at a time that the look through all of them is rare.
func (l *scopeTimeline) bound() {
	limit := int64(l.scope.tx.shard.store.maxSetMembers)
	if l.head.count <= limit {
		return
	}
	l.head.count = int64(len(l.head.entries))
	firsts := l.near(noTime+1, l.head.until)
	for i := len(firsts) - 1; i >= 0; i-- {
		b := l.block(firsts[i])
		if n := int64(len(b.entries)); l.head.count+n <= limit-limit/8 {
			l.head.count += n
			continue
		}
		l.scope.evicted += len(b.entries)
		b.entries = nil
		l.changed(b)
	}
	l.head.dirty = true
}

// evidence gives the events that the timeline has contributed: those that were consumed,
// else those that Within gave.
func (l *scopeTimeline) evidence(dst []Ref) []Ref {
	entries := l.consumed
	if len(entries) == 0 {
		entries = l.given
	}
	for i := range entries {
		dst = append(dst, entries[i].Ref)
	}
	return dst
}

// commit hands what the evaluation did to the Tx.
func (l *scopeTimeline) commit() {
	t := l.scope.tx
	keep := func(p *timelinePart) {
		if p.dirty {
			p.entry.now, p.entry.dirty = p.timeline, true
			t.measureTimeline(p.entry)
		}
	}
	keep(l.head)
	for _, b := range l.blocks {
		keep(b)
	}
}
