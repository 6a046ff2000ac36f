package state

import (
	"slices"
	"sort"
)

// lookedTimeline is a timeline that an evaluation has asked for, and the evaluation's own
// view of it.
type lookedTimeline struct {
	scope *Scope
	name  string
	entry *timelineEntry
	*timeline

	near     nearEntries
	asked    bool  // Within was called
	span     int64 // the longest that it was called with
	consumed []Entry
}

// nearEntries are the entries around the event, once they were looked for.
type nearEntries struct {
	known   bool
	span    int64   // as far as this on either side of it
	entries []Entry // in the order of compareEntries
}

// forget makes the next caller look again.
func (n *nearEntries) forget() { n.known = false }

// insert adds the event's own entry.
func (n *nearEntries) insert(own Entry) {
	if n.known {
		i, _ := slices.BinarySearchFunc(n.entries, own, compareEntries)
		n.entries = slices.Insert(n.entries, i, own)
	}
}

// timeline gives the timeline of this name, nil when the scope has failed.
func (s *Scope) timeline(name string) *lookedTimeline {
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
	l := s.timelinePool.next()
	*l = lookedTimeline{scope: s, name: name, entry: e, timeline: &e.now, near: nearEntries{entries: l.near.entries[:0]}, consumed: l.consumed[:0]}
	s.timelines = append(s.timelines, l)
	return l
}

// change is called before the evaluation changes the timeline.
func (l *lookedTimeline) change() { l.scope.tx.saveTimeline(l.entry) }

// block gives the entries of the block at a place of the directory. They are not
// changed in place.
func (l *lookedTimeline) block(i int) []Entry {
	return l.scope.tx.timelineBlockAt(l.entry, l.blocks[i])
}

// blockAt gives the place of the first block that ends at an instant or later.
func (l *lookedTimeline) blockAt(at int64) int {
	return sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].last >= at })
}

// write replaces the entries of the block at a place of the directory; with none, the
// block goes.
func (l *lookedTimeline) write(i int, entries []Entry) {
	l.change()
	number := l.blocks[i].number
	l.stored += len(entries) - l.blocks[i].count
	if len(entries) == 0 {
		l.scope.tx.dropBlock(l.entry, number)
		l.blocks = slices.Delete(l.blocks, i, i+1)
		return
	}
	l.scope.tx.writeBlock(l.entry, number, entries)
	l.blocks[i] = extentOf(number, entries)
}

// insertBlock makes a block at a place of the directory.
func (l *lookedTimeline) insertBlock(i int, entries []Entry) {
	l.change()
	l.blocks = slices.Insert(l.blocks, i, blockExtent{number: l.entry.next})
	l.entry.next++
	l.write(i, entries)
}

// holds tells whether an entry is there already, as near as the reach.
func (l *lookedTimeline) holds(own *Entry) bool {
	near := l.around(l.reach)
	for i := range near {
		if near[i].same(own) {
			return true
		}
	}
	return false
}

// around gives the entries within a span around the event. They are valid until the
// timeline changes.
func (l *lookedTimeline) around(span int64) []Entry {
	now := l.scope.now
	if l.near.known && span <= l.near.span {
		return between(l.near.entries, addSaturating(now, -span), addSaturating(now, span))
	}
	n := nearEntries{known: true, span: span, entries: l.near.entries[:0]}
	from, to := addSaturating(now, -span), addSaturating(now, span)
	for i := l.blockAt(from); i < len(l.blocks) && l.blocks[i].first <= to; i++ {
		n.entries = append(n.entries, between(l.block(i), from, to)...)
	}
	if l.scope.failed() {
		return nil
	}
	n.entries = append(n.entries, between(l.head, from, to)...)
	if !slices.IsSortedFunc(n.entries, compareEntries) { // some of one instant, in several parts
		slices.SortFunc(n.entries, compareEntries)
	}
	l.near = n
	return n.entries
}

// insert adds an entry where it belongs.
func (l *lookedTimeline) insert(own Entry) {
	now, last := l.scope.now, len(l.blocks)-1
	if last < 0 || now >= l.blocks[last].last {
		i, _ := slices.BinarySearchFunc(l.head, own, compareEntries)
		if l.head = slices.Insert(l.head, i, own); len(l.head) > timelineHead {
			l.spill()
		}
		return
	}
	at := max(0, sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].first > now })-1)
	entries := l.block(at)
	if l.scope.failed() {
		return
	}
	i, _ := slices.BinarySearchFunc(entries, own, compareEntries)
	all := append(append(append(make([]Entry, 0, len(entries)+1), entries[:i]...), own), entries[i:]...)
	if len(all) <= timelineBlock {
		l.write(at, all)
		return
	}
	half := len(all) / 2
	l.write(at, all[:half:half])
	l.insertBlock(at+1, all[half:])
}

// spill moves the older half of the head to the newest block, or to a new one.
func (l *lookedTimeline) spill() {
	const half = timelineHead / 2
	moved := slices.Clone(l.head[:half])
	l.head = slices.Delete(l.head, 0, half)
	last := len(l.blocks) - 1
	if last < 0 || l.blocks[last].count+half > timelineBlock {
		l.insertBlock(last+1, moved)
		return
	}
	l.write(last, joined(l.block(last), moved))
}

// joined gives the entries of two parts in their order.
func joined(a, b []Entry) []Entry {
	all := slices.Concat(a, b)
	if !slices.IsSortedFunc(all, compareEntries) { // some of one instant
		slices.SortFunc(all, compareEntries)
	}
	return all
}

// between gives those of sorted entries that lie from one instant to another, both
// included.
func between(entries []Entry, from, to int64) []Entry {
	i := sort.Search(len(entries), func(i int) bool { return nanos(entries[i].Time) >= from })
	n := sort.Search(len(entries)-i, func(n int) bool { return nanos(entries[i+n].Time) > to })
	return entries[i : i+n]
}

// merge joins neighbours that have become small, so that the directory has about as
// many blocks as the entries need.
func (l *lookedTimeline) merge() {
	for i := 0; i+1 < len(l.blocks); {
		if l.blocks[i].count+l.blocks[i+1].count > timelineBlock/2 {
			i++
			continue
		}
		all := joined(l.block(i), l.block(i+1))
		if l.scope.failed() {
			return
		}
		l.write(i+1, nil)
		l.write(i, all)
	}
}

// appendEvidence adds the events that the timeline has contributed to a finding: those
// that were consumed, else those that Within gave.
func (l *lookedTimeline) appendEvidence(dst []Ref) []Ref {
	entries := l.consumed
	if len(entries) == 0 && l.asked {
		entries = l.around(l.span)
	}
	for i := range entries {
		dst = append(dst, entries[i].Ref)
	}
	return dst
}
