package state

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// An entry is of use as long as an event within its reach may come. No event that is
// admitted lies further behind the horizon than the store's MaxLateness: the event's own
// partition holds the horizon back, also one that was idle or not known until then.

// outdated is the instant before which entries are of no use; noTime: each may be.
func (l *lookedTimeline) outdated() int64 {
	store := l.scope.tx.shard.store
	reach := l.reach
	if reach == 0 { // Within was not called yet: the timeline has the default lifetime
		reach = int64(store.lifetime)
	}
	return addSaturating(addSaturating(l.scope.tx.horizon(), -reach), -int64(store.maxLateness))
}

// prune drops entries that are of no use, as far as that needs no look at a block.
func (l *lookedTimeline) prune() {
	if first := l.first(); first != noTime {
		if old := l.outdated(); first < old {
			l.forget(old)
		}
	}
}

// forget drops entries from before an instant, by whole blocks.
func (l *lookedTimeline) forget(old int64) {
	l.change()
	n := l.blockAt(old)
	for i := range n {
		l.stored -= l.blocks[i].count
		l.scope.tx.dropBlock(l.entry, l.blocks[i].number)
	}
	l.blocks = slices.Delete(l.blocks, 0, n)
	if len(l.blocks) > 0 {
		return
	}
	if n := sort.Search(len(l.head), func(i int) bool { return nanos(l.head[i].Time) >= old }); n > 0 {
		l.head = slices.Delete(l.head, 0, n)
	}
}

// makeRoom sees to it that there is room for one more entry.
func (l *lookedTimeline) makeRoom() {
	most := l.scope.tx.shard.store.maxSetMembers
	if l.count() < most {
		return
	}
	l.near.forget()
	if old := l.outdated(); old != noTime {
		l.forget(old)
		l.evict(noTime, old-1, math.MaxInt)
	}
	if over := l.count() + 1 - most; over > 0 {
		n := l.evictIdle(max(over, most/8))
		for n < over && !l.scope.failed() {
			n += l.evictFurthest()
		}
		l.scope.evicted += n
	}
	l.merge()
}

// interval is a stretch of event time, both ends included.
type interval struct{ from, to int64 }

// evictIdle drops up to n entries that are out of reach of the event and of the newest
// event of each input partition, near which most events come. Those that lie beyond all
// of these are left from before a Rewind, and go first; then the oldest.
func (l *lookedTimeline) evictIdle(n int) (evicted int) {
	busy := l.busy()
	end := int64(noTime)
	for _, b := range busy {
		end = max(end, b.to)
	}
	if end < math.MaxInt64 {
		evicted = l.evict(end+1, math.MaxInt64, n)
	}
	from := int64(noTime)
	for _, b := range busy {
		if from < b.from {
			evicted += l.evict(from, b.from-1, n-evicted)
		}
		if from = max(from, b.to); from < math.MaxInt64 {
			from++
		}
	}
	return evicted
}

// busy gives the neighbourhoods of the event and of the newest event of each input
// partition, by their start.
func (l *lookedTimeline) busy() []interval {
	around := func(at int64) interval {
		return interval{addSaturating(at, -l.reach), addSaturating(at, l.reach)}
	}
	list := l.scope.tx.sources.list
	busy := append(make([]interval, 0, len(list)+1), around(l.scope.now))
	for i := range list {
		if list[i].newest != noTime {
			busy = append(busy, around(list[i].newest))
		}
	}
	slices.SortFunc(busy, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	return busy
}

// evict drops the oldest entries from one instant to another, both included, up to n.
func (l *lookedTimeline) evict(from, to int64, n int) (evicted int) {
	for i := l.blockAt(from); evicted < n && i < len(l.blocks) && l.blocks[i].first <= to; {
		b := l.blocks[i]
		if b.first >= from && b.last <= to && b.count <= n-evicted {
			l.write(i, nil)
			evicted += b.count
			continue
		}
		entries := l.block(i)
		if l.scope.failed() {
			return evicted
		}
		kept, gone := cutOut(entries, from, to, n-evicted)
		if gone > 0 {
			l.write(i, kept)
			evicted += gone
		}
		if len(kept) > 0 {
			i++
		}
	}
	if kept, gone := cutOut(l.head, from, to, n-evicted); gone > 0 {
		l.change()
		l.head = append(l.head[:0], kept...)
		evicted += gone
	}
	return evicted
}

// cutOut gives entries without the oldest n of those from one instant to another, and
// how many these are.
func cutOut(entries []Entry, from, to int64, n int) (kept []Entry, gone int) {
	out := between(entries, from, to)
	if gone = min(len(out), n); gone <= 0 {
		return entries, 0
	}
	i := sort.Search(len(entries), func(i int) bool { return nanos(entries[i].Time) >= from })
	return slices.Concat(entries[:i], entries[i+gone:]), gone
}

// evictFurthest drops the entry that is furthest from the event in time; of two, the
// older one.
func (l *lookedTimeline) evictFurthest() int {
	now, first, last := l.scope.now, l.first(), l.last()
	if stretch(first, now) >= stretch(now, last) {
		return l.evict(first, first, 1)
	}
	if n := len(l.head); n > 0 {
		l.change()
		l.head = l.head[:n-1]
		return 1
	}
	i := len(l.blocks) - 1
	entries := l.block(i)
	if l.scope.failed() {
		return 0
	}
	l.write(i, slices.Clone(entries[:len(entries)-1]))
	return 1
}
