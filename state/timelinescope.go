package state

import (
	"slices"
	"sort"
	"strings"
)

// scopeTimeline is a timeline as one evaluation sees it.
type scopeTimeline struct {
	scope *Scope
	name  string
	entry *timelineEntry
	timeline
	dirty   bool
	written map[uint64][]Entry // blocks that this evaluation has written

	alone    []Entry // of the event, which is too late to be kept
	asked    bool    // Within was called
	span     int64   // the longest that it was called with
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
	l := s.timelinePool.next()
	head, blocks := append(l.head[:0], e.now.head...), append(l.blocks[:0], e.now.blocks...)
	*l = scopeTimeline{scope: s, name: name, entry: e, timeline: e.now}
	l.head, l.blocks = head, blocks
	s.timelines = append(s.timelines, l)
	return l
}

// take makes what a scope did to the timeline part of the Tx.
func (e *timelineEntry) take(l *scopeTimeline) {
	l.settle()
	head, blocks := append(e.now.head[:0], l.head...), append(e.now.blocks[:0], l.blocks...)
	e.now = l.timeline
	e.now.head, e.now.blocks = head, blocks
	if !l.exists {
		e.now = timeline{}
	}
	for number, entries := range l.written {
		e.blocks[number] = timelineBlockEntry{entries: entries, dirty: true}
	}
	for number := range e.blocks {
		if !e.has(number) {
			delete(e.blocks, number)
		}
	}
	e.dirty = true
}

// block gives the entries of the block at a place of the directory. They are not
// changed in place.
func (l *scopeTimeline) block(i int) []Entry {
	if entries, ok := l.written[l.blocks[i].number]; ok {
		return entries
	}
	return l.scope.tx.timelineBlockAt(l.entry, l.blocks[i])
}

// write replaces the entries of the block at a place of the directory; with none, the
// block goes.
func (l *scopeTimeline) write(i int, entries []Entry) {
	number := l.blocks[i].number
	if len(entries) == 0 {
		delete(l.written, number)
		l.blocks = slices.Delete(l.blocks, i, i+1)
		return
	}
	if l.written == nil {
		l.written = map[uint64][]Entry{}
	}
	l.written[number], l.blocks[i] = entries, extentOf(number, entries)
}

// insertBlock makes a block at a place of the directory.
func (l *scopeTimeline) insertBlock(i int, entries []Entry) {
	number := uint64(0)
	for _, b := range l.blocks {
		number = max(number, b.number+1)
	}
	l.blocks = slices.Insert(l.blocks, i, blockExtent{number: number})
	l.write(i, entries)
}

// floor is the instant before which events stand alone: none that is so late for the
// newest one as the store's MaxLateness reaches back to it.
func (l *scopeTimeline) floor() int64 {
	store := l.scope.tx.shard.store
	if !l.exists || l.reach == 0 || store.noHorizon {
		return noTime
	}
	return behind(l.newest, l.reach, int64(store.maxLateness))
}

// prune drops entries that no event reaches which does not stand alone.
func (l *scopeTimeline) prune() { l.forget(behind(l.floor(), l.reach, 0)) }

// behind gives the instant that events reach back to which are so late for an instant.
func behind(at, reach, lateness int64) int64 {
	return addSaturating(addSaturating(at, -reach), -lateness)
}

// standAlone notes that the event is too late to be kept.
func (l *scopeTimeline) standAlone(own Entry) {
	if slices.ContainsFunc(l.alone, func(e Entry) bool { return e.same(&own) }) {
		return
	}
	if len(l.alone) == 0 {
		l.scope.alone++
	}
	own.Label, own.ID, own.Source.Topic = strings.Clone(own.Label), strings.Clone(own.ID), strings.Clone(own.Source.Topic)
	l.alone = append(l.alone, own)
}

// holds tells whether an entry is there already, as near as the reach.
func (l *scopeTimeline) holds(own *Entry) (found bool) {
	now := l.scope.now
	l.near(addSaturating(now, -l.reach), addSaturating(now, l.reach), func(entries []Entry) {
		for i := range entries {
			found = found || entries[i].same(own)
		}
	})
	return found
}

// makeRoom sees to it that there is room for one more entry: the oldest give way, since an
// event must not go unseen for what lies days before it. Enough go at a time that most
// events find room. What no event can meet any more does not count.
func (l *scopeTimeline) makeRoom() {
	most := l.scope.tx.shard.store.maxSetMembers
	if l.count() < most {
		return
	}
	l.trim()
	if over := l.count() - most; over >= 0 {
		n := max(over+1, most/8)
		l.evict(n)
		l.scope.evicted += n
	}
	l.merge()
	l.dirty = true
}

// trim drops what no event can meet any more. The horizon counts as well: what is so far
// behind it Sweep may have removed.
func (l *scopeTimeline) trim() {
	store := l.scope.tx.shard.store
	reach := l.reach
	if reach == 0 {
		reach = int64(store.lifetime)
	}
	old := max(behind(l.floor(), l.reach, 0), behind(l.scope.tx.horizon(), reach, int64(store.maxLateness)))
	l.forget(old)
	if len(l.blocks) > 0 && l.blocks[0].first < old {
		l.write(0, slices.Clone(between(l.block(0), old, l.newest)))
	}
}

// evict drops the oldest n entries.
func (l *scopeTimeline) evict(n int) {
	for n > 0 && len(l.blocks) > 0 {
		count := l.blocks[0].count
		if count <= n {
			l.write(0, nil)
		} else if entries := l.block(0); len(entries) == count {
			l.write(0, slices.Clone(entries[n:]))
		} else {
			return // the Tx has failed
		}
		n -= min(n, count)
	}
	l.head = slices.Delete(l.head, 0, min(n, len(l.head)))
}

// forget drops entries from before an instant, as far as that needs no look at a block.
func (l *scopeTimeline) forget(old int64) {
	n := 0
	for n < len(l.blocks) && l.blocks[n].last < old {
		delete(l.written, l.blocks[n].number)
		n++
	}
	if n > 0 {
		l.blocks, l.dirty = slices.Delete(l.blocks, 0, n), true
	}
	if len(l.head) > 0 && len(l.blocks) == 0 && nanos(l.head[0].Time) < old {
		n := sort.Search(len(l.head), func(i int) bool { return nanos(l.head[i].Time) >= old })
		l.head, l.dirty = slices.Delete(l.head, 0, n), true
	}
}

// insert adds an entry where it belongs.
func (l *scopeTimeline) insert(own Entry) {
	now, last := l.scope.now, len(l.blocks)-1
	if last < 0 || now >= l.blocks[last].last {
		i, _ := slices.BinarySearchFunc(l.head, own, compareEntries)
		if l.head = slices.Insert(l.head, i, own); len(l.head) > timelineHead {
			l.spill()
		}
		return
	}
	at := max(0, sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].first > now })-1)
	entries := slices.Clone(l.block(at))
	i, _ := slices.BinarySearchFunc(entries, own, compareEntries)
	entries = slices.Insert(entries, i, own)
	if len(entries) <= timelineBlock {
		l.write(at, entries)
		return
	}
	half := len(entries) / 2
	l.write(at, entries[:half:half])
	l.insertBlock(at+1, entries[half:])
}

// spill moves the older half of the head to the newest block, or to a new one.
func (l *scopeTimeline) spill() {
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

// near calls fn for the entries from one instant to another, part by part.
func (l *scopeTimeline) near(from, to int64, fn func(entries []Entry)) {
	i := sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].last >= from })
	for ; i < len(l.blocks) && l.blocks[i].first <= to; i++ {
		fn(between(l.block(i), from, to))
	}
	fn(between(l.head, from, to))
}

// merge joins neighbours that have become small, so that the directory has about as
// many blocks as the entries need.
func (l *scopeTimeline) merge() {
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
func (l *scopeTimeline) appendEvidence(dst []Ref) []Ref {
	entries := l.consumed
	if len(entries) == 0 && l.asked {
		entries = l.around(l.span)
	}
	for i := range entries {
		dst = append(dst, entries[i].Ref)
	}
	return dst
}
