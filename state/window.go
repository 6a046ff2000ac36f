package state

import (
	"math"
	"time"
)

// A counter has a window for each stretch of event time in which it counts. The
// newest one, by its start, stands in the name's header: nearly every event
// meets it, or opens the next one. Each older one, which only a late event can
// meet, has a key of its own, by its start.
//
// A window of its own expiry holds the events of [first, expiry). An event before its start
// moves the window back while all counted events still lie within its length. Of windows of
// one length, each begins after the newest event of the one before it, so that only the
// next one behind an event can take it.

// older is the bound on a counter's older windows in the name's header, so that an
// event that cannot meet any need not look for them. It only ever grows.
type older struct {
	until int64 // none begins at this instant, holds an event of it, or of a later one
	ttl   int64 // none is longer; 0: there are none
}

// raise takes in a window; changed tells whether it is news.
func (o *older) raise(first, deadline int64) (changed bool) {
	deadline = max(deadline, addSaturating(first, 1)) // a window that holds nothing has a key all the same
	ttl := stretch(first, deadline)
	switch {
	case ttl == 0: // at the end of time
		return false
	case o.ttl == 0:
		*o = older{until: deadline, ttl: ttl}
		return true
	}
	was := *o
	o.until, o.ttl = max(o.until, deadline), max(o.ttl, ttl)
	return *o != was
}

// stretch gives the time from one instant to a later one, else 0; of centuries,
// the most that fits.
func stretch(from, to int64) int64 {
	if to <= from {
		return 0
	}
	if d := to - from; d > 0 {
		return d
	}
	return math.MaxInt64
}

// holds tells whether an event of this time is within the window.
func (c *counter) holds(now int64, lifetime time.Duration) bool {
	return c.exists && c.first <= now && now < c.deadline(lifetime)
}

// takes tells whether the window can move back to an event before its start.
func (c *counter) takes(now int64) bool {
	return c.exists && now < c.first && (c.expiry == noTime || stretch(now, c.newest) < stretch(c.first, c.expiry))
}

// fits tells whether the window is that of an event of this time, unless a nearer window
// is.
func (c *counter) fits(now int64, lifetime time.Duration) bool {
	return c.holds(now, lifetime) || c.takes(now)
}

// window gives the window of an event: the newest of those that hold it, else the next one
// that begins after it, if that can move back; nil: there is none. Then newer tells that
// older windows begin after the event.
func (t *Tx) window(own *headerEntry, now int64) (w *headerEntry, newer bool) {
	c := &own.now
	if c.holds(now, t.shard.store.lifetime) {
		return own, false
	}
	if c.older.ttl > 0 && now < c.older.until {
		holds, next := t.windowsAround(own, now)
		switch {
		case holds != nil:
			return holds, false
		case next != nil && next.now.takes(now):
			return next, false
		case next != nil:
			return nil, true
		}
	}
	if c.takes(now) {
		return own, false
	}
	return nil, false
}

// windowsAround looks for the newest of the older windows that holds an event
// of this time, and for the first one that begins after it.
func (t *Tx) windowsAround(own *headerEntry, now int64) (holds, next *headerEntry) {
	lifetime := t.shard.store.lifetime
	look := func(w *headerEntry) {
		c := &w.now
		switch {
		case !c.exists || c.deadline(lifetime) <= c.first:
		case c.first > now:
			if next == nil || c.first < next.now.first {
				next = w
			}
		case c.holds(now, lifetime) && (holds == nil || c.first > holds.now.first):
			holds = w
		}
	}
	from := appendWindowKey(nil, own.key, addSaturating(now, -own.now.older.ttl))
	t.scan(from[:len(own.key)], from, func(key, value []byte) bool {
		w, ok := t.headers[string(key)]
		if !ok {
			w = t.loadHeader(key, value, true)
		}
		look(w)
		return next == nil && t.err == nil
	})
	for _, w := range own.opened {
		look(w)
	}
	return holds, next
}

// windowAt gives the entry of the older window that starts at first.
func (t *Tx) windowAt(own *headerEntry, first int64) *headerEntry {
	t.key = appendWindowKey(t.key[:0], own.key, first)
	w, ok := t.headers[string(t.key)]
	switch {
	case ok:
	case own.now.older.ttl == 0 || first >= own.now.older.until:
		w = t.loadHeader(t.key, nil, false) // the usual case: there is nothing to ask the disk for
	default:
		w = t.headerAt(t.key)
	}
	for _, o := range own.opened {
		if o == w {
			return w
		}
	}
	own.opened = append(own.opened, w)
	return w
}

// raiseOlder makes the header's record of older windows hold for the event's window, if the
// evaluation has changed it.
func (t *Tx) raiseOlder(n *named) {
	own, w := n.header, n.window
	if w == nil || w == own || w.saved == nil || !w.now.exists || !own.now.older.raise(w.now.first, w.now.deadline(t.shard.store.lifetime)) {
		return
	}
	own.dirty = true
	if !own.now.exists {
		own.now.newest, own.now.expiry = own.now.older.until, own.now.older.until
	}
	t.estimateHeader(own)
}

// open begins a window at the event, for which there is none: not yet, or not any more.
func (n *named) open() {
	t, own, now := n.scope.tx, n.header, n.scope.now
	closed := n.window != nil && n.window != own // an older one that the evaluation has closed
	if closed {
		t.save(n.window)
		n.window.remove()
	}
	switch {
	case n.window == own: // no older window lies between its start and the event
	case own.now.exists && now >= own.now.first:
		t.retire(own)
		n.window = own
	case !own.now.exists && !n.newer && !closed:
		n.window = own
	default:
		n.window = t.windowAt(own, now)
	}
	w := n.window
	t.save(w)
	w.dropRing() // of a window that begins at the same instant and holds nothing
	w.now = counter{exists: true, first: now, life: life{newest: now, expiry: noTime}, head: w.now.head[:0], older: w.now.older}
	n.looked, n.counted, n.repeated = true, false, false
}

// moveBack starts the window at an event before its start. Its length stays.
func (n *named) moveBack() {
	t, now := n.scope.tx, n.scope.now
	if now >= n.window.now.first {
		return
	}
	if t.save(n.window); n.window != n.header {
		n.window = t.move(n.window, n.header, now)
	}
	c := &n.window.now
	if c.expiry != noTime {
		c.expiry = addSaturating(now, stretch(c.first, c.expiry))
	}
	c.first = now
}

// retire moves the newest window of a counter, which has expired, among the
// older ones.
func (t *Tx) retire(own *headerEntry) {
	t.save(own)
	first, deadline := own.now.first, own.now.deadline(t.shard.store.lifetime)
	if deadline <= first {
		return // it holds nothing
	}
	t.move(own, own, first)
	own.now.older.raise(first, deadline)
}

// move puts a window into the place of an older one that begins at this instant.
func (t *Tx) move(from, own *headerEntry, first int64) *headerEntry {
	w := t.windowAt(own, first)
	t.save(w)
	w.dropRing()
	head := append(w.now.head[:0], from.now.head...)
	w.now, w.ring = from.now, from.ring
	w.now.head, w.now.older = head, older{}
	from.ring = nil
	if from != own {
		from.remove()
	}
	return w
}
