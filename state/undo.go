package state

import "slices"

// undoLog has the old content of all that the open Scope has changed: a Scope works on the
// values of the Tx themselves, and this is its savepoint. Commit drops the log; rollback,
// with which every other use of the Tx begins, puts the contents back.
type undoLog struct {
	headers      pool[savedHeader]
	members      []savedItem[string, member]
	suppressions []*suppressionEntry
	timelines    []*timelineEntry
	timelinePool pool[timelineEntry] // as they were
	blocks       []savedItem[uint64, timelineBlockEntry]
}

// savedHeader is a header as it was before the evaluation.
type savedHeader struct {
	entry *headerEntry
	was   headerEntry // its head is a copy
	set   set         // of was.set
	bytes int         // of was.set

	ring  *ring // in which a block was filled; nil: none was
	slot  int
	block []byte // that the slot had
}

// savedItem is one item of a map as it was before a change.
type savedItem[K comparable, V any] struct {
	of  map[K]V
	key K
	was V
	had bool
}

// saveItem is called before an evaluation changes an item of a map.
func saveItem[K comparable, V any](log []savedItem[K, V], of map[K]V, key K) []savedItem[K, V] {
	was, had := of[key]
	return append(log, savedItem[K, V]{of, key, was, had})
}

// restoreItems puts the items back, the last change first.
func restoreItems[K comparable, V any](log []savedItem[K, V]) {
	for _, i := range slices.Backward(log) {
		if i.had {
			i.of[i.key] = i.was
		} else {
			delete(i.of, i.key)
		}
	}
}

// save is called before an evaluation changes a header or its set.
func (t *Tx) save(e *headerEntry) *savedHeader {
	if e.saved == nil {
		u := t.undo.headers.next()
		head := append(u.was.now.head[:0], e.now.head...)
		*u = savedHeader{entry: e, was: *e, block: u.block[:0]}
		u.was.now.head = head
		if e.set != nil {
			u.set, u.bytes = e.set.now, e.set.bytes
		}
		e.saved, e.dirty = u, true
	}
	return e.saved
}

// saveSuppression is called before an evaluation changes a suppression.
func (t *Tx) saveSuppression(e *suppressionEntry) {
	if !e.saved {
		e.saved, e.was, e.wasDirty, e.dirty = true, e.now, e.dirty, true
		t.undo.suppressions = append(t.undo.suppressions, e)
	}
}

// saveTimeline is called before an evaluation changes a timeline.
func (t *Tx) saveTimeline(e *timelineEntry) {
	if e.saved != nil {
		return
	}
	was := t.undo.timelinePool.next()
	blocks, head := append(was.now.blocks[:0], e.now.blocks...), append(was.now.head[:0], e.now.head...)
	*was = *e
	was.now.blocks, was.now.head = blocks, head
	e.saved, e.dirty = was, true
	t.undo.timelines = append(t.undo.timelines, e)
}

// rollback ends the open Scope, and takes its changes back.
func (t *Tx) rollback() {
	u := &t.undo
	restoreItems(u.members)
	restoreItems(u.blocks)
	headers := u.headers.items[:u.headers.used]
	for _, h := range headers {
		if r := h.entry.ring; r != nil {
			r.dead = true // it may be of a window that the evaluation has opened
		}
		if h.ring != nil {
			h.ring.pending[h.slot] = append(h.ring.pending[h.slot][:0], h.block...)
		}
	}
	for _, h := range headers {
		e := h.entry
		head := append(e.now.head[:0], h.was.now.head...)
		*e = h.was
		e.now.head = head
		if e.ring != nil {
			e.ring.dead = false
		}
		if m := e.set; m != nil {
			m.now, m.bytes, m.names, m.events = h.set, h.bytes, nil, nil
		}
	}
	for _, e := range u.suppressions {
		e.now, e.dirty = e.was, e.wasDirty
	}
	for _, e := range u.timelines {
		blocks, head := append(e.now.blocks[:0], e.saved.now.blocks...), append(e.now.head[:0], e.saved.now.head...)
		*e = *e.saved
		e.now.blocks, e.now.head = blocks, head
	}
	u.reset()
	t.scope.reset()
}

// reset forgets everything but the buffers.
func (u *undoLog) reset() {
	for _, h := range u.headers.items[:u.headers.used] {
		h.entry.saved = nil
	}
	for _, e := range u.suppressions {
		e.saved = false
	}
	for _, e := range u.timelines {
		e.saved = nil
	}
	u.headers.reset()
	u.timelinePool.reset()
	u.members, u.suppressions = emptiedList(u.members), emptiedList(u.suppressions)
	u.timelines, u.blocks = emptiedList(u.timelines), emptiedList(u.blocks)
}

func emptiedList[T any](list []T) []T {
	if cap(list) > keptItems {
		return nil
	}
	clear(list)
	return list[:0]
}
