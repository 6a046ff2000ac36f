package state

import (
	"math"
	"slices"
)

// sweep is how far Sweep has come within a Tx. Its removals are part of the Tx like every
// other change.
type sweep struct {
	going bool // Sweep is at work

	valueAt, pageAt cursor

	dead   []byte // key of the dead set to go on with; nil: the first
	member []byte // key of its member to go on with; nil: the first
	noDead bool   // none is left

	rewound bool   // pages of before a Rewind go in this Tx
	page    []byte // key of the page to go on with; nil: the first

	pages int           // of events that have gone
	gone  [][]byte      // their keys, and those of dead sets and their members
	stale []indexChange // index entries that point at nothing
	arena arena
}

// cursor is how far Sweep has come in an index.
type cursor struct {
	used bool
	from []byte // key to go on with; nil: the first
	at   int64  // no entry is left before this instant
}

func (w *sweep) reset() {
	w.valueAt, w.pageAt = cursor{from: w.valueAt.from[:0]}, cursor{from: w.pageAt.from[:0]}
	w.dead, w.member, w.noDead = w.dead[:0], w.member[:0], false
	w.rewound, w.page = false, w.page[:0]
	w.pages, w.gone, w.stale = 0, w.gone[:0], w.stale[:0]
	w.arena.reset()
}

// afterApply makes the hints follow the sweep.
func (w *sweep) afterApply(h *hints) {
	if w.valueAt.used {
		h.values = w.valueAt.at
	}
	if w.pageAt.used {
		h.pages = w.pageAt.at
	}
	if w.noDead {
		h.dead = false
	}
}

// Sweep removes, in this Tx, the records on which no answer depends any more: values that
// expired more than the store's MaxLateness before the horizon, events that are forgotten,
// members of sets that were replaced or reset. A call takes at most max steps, of which a
// page of events is one, and gives the number of values, events and members that were
// removed; each batch should take some more than it has changes, so that the state does not
// grow. Whether, or when, Sweep was called has no part in the answer of Seen, nor in any
// other answer for an event that is not more than MaxLateness behind the highest horizon so
// far.
func (t *Tx) Sweep(max int) (removed int) {
	t.sweep.going = true
	defer func() { t.sweep.going = false }()
	t.rollback()
	t.invalidate()
	h := t.shard
	for i := range 3 {
		var n, steps int
		switch (h.turn + i) % 3 {
		case 0:
			n, steps = t.sweepPages(max)
		case 1:
			n, steps = t.sweepValues(max)
		case 2:
			n, steps = t.sweepDead(max)
		}
		removed += n
		max -= steps
	}
	h.turn++
	return removed
}

// sweepValues removes values with an expiry too long ago for any event that may still come,
// and files those again that live longer than was known.
func (t *Tx) sweepValues(max int) (removed, steps int) {
	limit := addSaturating(t.horizon(), -int64(t.shard.store.maxLateness))
	steps = t.due(kindValueIndex, &t.sweep.valueAt, t.shard.hints.values, limit, max, func(at int64, entry, _ []byte) {
		key := entry[indexHead:]
		if len(key) == 0 {
			t.damaged(entry, ErrDamaged)
		} else {
			removed += t.sweepValue(at, key, limit)
		}
	})
	return removed, steps
}

func (t *Tx) sweepValue(at int64, key []byte, limit int64) (removed int) {
	switch key[0] {
	case kindHeader, kindWindow:
		if e := t.headerAt(key); t.filedAt(&e.entry, at) {
			return t.dropHeader(e, limit)
		}
	case kindTimeline:
		e := t.timelineAt(key)
		if t.overdue(&e.entry, &e.now.life, e.now.exists, at, limit) {
			removed++
			e.remove()
			t.estimateTimeline(e)
		}
	case kindSuppression:
		e := t.suppressionAt(key)
		if t.overdue(&e.entry, &e.now.life, e.now.exists, at, limit) {
			removed++
			e.now, e.dirty = suppression{}, true
			t.estimateSuppression(e)
		}
	default:
		t.damaged(key, ErrDamaged)
	}
	return removed
}

// overdue tells whether a value with an index entry at this instant can go. The entry of a
// value that lives longer moves.
func (t *Tx) overdue(e *entry, l *life, exists bool, at, limit int64) bool {
	if !t.filedAt(e, at) {
		return false
	}
	if exists && l.deadline(t.shard.store.lifetime) >= limit {
		e.file.renew, e.dirty = true, true
		return false
	}
	return exists
}

// filedAt tells whether an index entry at this instant is the value's own; another one is
// stale.
func (t *Tx) filedAt(e *entry, at int64) bool {
	if t.err == nil && (!e.file.exists || e.file.at != at) {
		t.dropStale(at, []byte(e.key))
		return false
	}
	return t.err == nil
}

func (t *Tx) dropStale(at int64, key []byte) {
	w := &t.sweep
	t.value = appendIndexKey(t.value[:0], kindValueIndex, at, key)
	w.stale = append(w.stale, indexChange{key: w.arena.keep(t.value), remove: true})
}

// due calls fn for max entries of an index that are before limit, in their order, and
// remembers where it stopped.
func (t *Tx) due(kind byte, c *cursor, hint, limit int64, max int, fn func(at int64, key, value []byte)) (steps int) {
	if c.used {
		hint = c.at
	}
	if max <= 0 || hint >= limit {
		return 0
	}
	if len(c.from) == 0 && hint != math.MinInt64 {
		c.from = appendIndexKey(c.from, kind, hint, "") // not through deleted entries
	}
	stopped := false
	t.scan([]byte{kind}, c.from, func(key, value []byte) bool {
		at, _, err := parseIndexKey(key)
		t.damaged(key, err)
		if steps == max || at >= limit || t.err != nil {
			c.from, c.at, stopped = append(c.from[:0], key...), at, true
			return false
		}
		steps++
		fn(at, key, value)
		return true
	})
	c.used = true
	if !stopped {
		c.at = math.MaxInt64
	}
	return steps
}

// sweepDead removes members of dead sets, and each dead set with its last one.
func (t *Tx) sweepDead(max int) (removed, steps int) {
	w := &t.sweep
	if max <= 0 || w.noDead || !t.shard.hints.dead {
		return 0, 0
	}
	w.noDead = true
	t.scan([]byte{kindDeadSet}, w.dead, func(key, _ []byte) bool {
		k, err := parseKey(key)
		if t.damaged(key, err); err != nil {
			return false
		}
		n, done := t.sweepMembers(k.set, max-removed)
		removed += n
		if !done {
			w.dead, w.noDead = append(w.dead[:0], key...), false
			return false
		}
		w.gone = append(w.gone, w.arena.keep(key))
		w.dead, w.member = append(w.dead[:0], successor(key)...), w.member[:0]
		t.grow(1, len(key))
		return true
	})
	return removed, removed
}

// sweepMembers removes at most max members of a dead set.
func (t *Tx) sweepMembers(number uint64, max int) (removed int, done bool) {
	w := &t.sweep
	done = true
	t.scan(appendMemberKey(nil, number, ""), slices.Clone(w.member), func(key, _ []byte) bool {
		if removed == max {
			w.member, done = append(w.member[:0], key...), false
			return false
		}
		w.gone = append(w.gone, w.arena.keep(key))
		t.grow(1, len(key))
		removed++
		return true
	})
	return removed, done
}

// buildSwept adds the sweep's removals to the changes.
func (t *Tx) buildSwept() {
	for _, key := range t.sweep.gone {
		t.remove(key)
	}
	t.index = append(t.index, t.sweep.stale...)
}
