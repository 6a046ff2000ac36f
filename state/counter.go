package state

import (
	"encoding/binary"
	"slices"
	"time"
)

// counter is one window of a counter: a count, and the evidence of the events that were
// counted. Its newest write is the newest of these events.
type counter struct {
	exists bool // there is a window
	count  int64
	total  uint64 // events counted
	first  int64  // event time of the oldest of them: the window's start
	life
	number uint64 // of the full blocks of its evidence; 0: there are none
	head   []byte // the newest events, at most blockRefs
	older  older  // of a header alone
}

// flagOlder, among the flags of a life, says that windows older than the
// header's may be there.
const flagOlder = 4

func (c *counter) append(dst []byte) []byte {
	at := len(dst)
	dst = c.life.append(dst)
	if c.older.ttl > 0 {
		dst[at] |= flagOlder
		dst = appendTime(appendTime(dst, c.older.until), c.older.ttl)
	}
	dst = binary.AppendUvarint(binary.AppendVarint(dst, c.count), c.total)
	if c.total == 0 {
		return dst
	}
	dst = appendTime(dst, c.first)
	if c.total > blockRefs {
		dst = binary.AppendUvarint(dst, c.number)
	}
	return append(dst, c.head...)
}

// counter reads a counter, which takes the rest of a record; its head aliases that.
func (r *reader) counter() (c counter) {
	var extra byte
	if c.life, extra = r.lifeWith(flagOlder); extra != 0 {
		if c.older = (older{until: r.time(), ttl: r.time()}); c.older.ttl <= 0 || c.older.until == noTime {
			r.fail()
		}
	}
	c.count = r.varint()
	if c.total = r.uvarint(); c.total == 0 {
		if extra == 0 || c.count != 0 {
			r.fail() // neither a window nor a way to one
		}
		return c
	}
	c.exists, c.first = true, r.time()
	if c.total > blockRefs {
		if c.number = r.uvarint(); c.number == 0 {
			r.fail()
		}
	}
	c.head = r.rest()
	if c.first == noTime || checkBlock(c.head, headRefs(c.total)) != nil {
		r.fail()
	}
	return c
}

// remove makes the window absent, and with it the record of older windows.
func (e *headerEntry) remove() {
	e.dropRing()
	e.now = counter{head: e.now.head[:0]}
	e.dirty = true
}

// vacate makes the window absent. The header keeps its record of older windows.
func (e *headerEntry) vacate() {
	behind := e.now.older
	e.remove()
	if behind.ttl > 0 {
		e.now.older, e.now.newest, e.now.expiry = behind, behind.until, behind.until
	}
}

func (e *headerEntry) dropRing() {
	if e.ring != nil {
		e.ring.dead = true
		e.ring = nil
	}
}

// kept tells whether there is a window, or a way to older ones.
func (c *counter) kept() bool { return c.exists || c.older.ttl > 0 }

// counter gives the name with the event's window, nil when the scope has failed.
func (s *Scope) counter(name string) *named {
	n := s.named(name)
	if n == nil || n.searched {
		return n
	}
	n.window, n.newer = s.tx.window(n.header, s.now)
	if s.failed() {
		return nil
	}
	n.searched = true
	return n
}

// live gives the event's window, nil if it has none or the scope has failed, and notes that
// it was asked for.
func (n *named) live() *counter {
	if n == nil || n.window == nil || !n.window.now.fits(n.scope.now, n.scope.tx.shard.store.lifetime) {
		return nil
	}
	n.looked = true
	return &n.window.now
}

// remember counts the event.
func (n *named) remember() {
	if n.counted {
		return
	}
	s, w := n.scope, n.window
	if c := &w.now; c.total > 0 && c.total%blockRefs == 0 {
		s.tx.spill(w)
	}
	w.now.head = appendRef(slices.Grow(w.now.head, len(s.at.Source.Topic)+len(s.at.ID)+refOverhead), &s.at, s.now)
	w.now.total++
	w.now.newest = max(w.now.newest, s.now)
	n.counted = true
}

// spill moves the newest block of a window, which is full, to a slot of its ring.
func (t *Tx) spill(w *headerEntry) {
	if w.ring == nil {
		w.ring = t.ringOf(0, 0) // Commit gives it a number
	}
	c, u := &w.now, t.save(w)
	u.ring, u.slot = w.ring, int((c.total/blockRefs-1)%evidenceSlots)
	slot := &w.ring.pending[u.slot]
	u.block = append(u.block[:0], *slot...)
	*slot, c.head = append((*slot)[:0], c.head...), c.head[:0]
}

// numberHeader gives a number to the set, and to the full blocks of the window, that need one.
func (t *Tx) numberHeader(e *headerEntry) {
	if m := e.set; m != nil && m.now.number == 0 && len(m.members) > 0 {
		m.now.number = t.nextNumber()
	}
	if e.ring != nil && e.ring.number == 0 {
		e.ring.number = t.nextNumber()
	}
	if e.now.number = 0; e.ring != nil {
		e.now.number = e.ring.number
	}
}

// GetCounter gives the count, 0 when the counter is missing or has expired.
func (s *Scope) GetCounter(name string) int64 {
	if c := s.counter(name).live(); c != nil {
		return c.count
	}
	return 0
}

// IncrementCounter is IncrementCounterBy with 1.
func (s *Scope) IncrementCounter(name string) int64 { return s.IncrementCounterBy(name, 1) }

// IncrementCounterBy adds n, which may be 0 or negative, and gives the new count; it
// saturates instead of overflowing. Without a window for the event a new one opens: it
// starts at n, without an expiry of its own; a window that is open keeps its length, and
// moves back to an event before its start. The event becomes part of the window's evidence.
// An event that the evidence (its newest 100 events) holds by its id since an earlier
// evaluation is not counted again.
func (s *Scope) IncrementCounterBy(name string, n int64) int64 {
	m := s.counter(name)
	if m == nil || s.idTooLong() {
		return 0
	}
	switch c := m.live(); {
	case c == nil:
		m.open()
	case !m.counted && s.repeats(m):
		return c.count
	default:
		m.moveBack()
	}
	if s.failed() {
		return 0
	}
	s.tx.save(m.window)
	m.remember()
	c := &m.window.now
	c.count = addSaturating(c.count, n)
	return c.count
}

// ResetCounter makes the event's window absent: no count, no expiry, no
// evidence. Windows of other times stay.
func (s *Scope) ResetCounter(name string) {
	n := s.counter(name)
	if n == nil || n.window == nil || !n.window.now.exists {
		return
	}
	w := n.window
	s.tx.save(w)
	if n.looked { // the alert that follows shows the evidence that led to the reset
		was := s.endedWindows.next()
		head := was.now.head
		was.now, was.ring = w.now, w.ring
		w.now.head = head
	}
	w.vacate()
	n.looked, n.counted, n.repeated = false, false, false
}

// Window gives the event time of the first event that the counter has
// counted. Not ok: it is missing or has expired.
func (s *Scope) Window(name string) (start time.Time, ok bool) {
	if c := s.counter(name).live(); c != nil {
		return instant(c.first), true
	}
	return time.Time{}, false
}

// Span gives the time from the first event that the counter has counted to the
// newest one; 0 when it is missing or has expired.
func (s *Scope) Span(name string) time.Duration {
	if c := s.counter(name).live(); c != nil {
		return time.Duration(stretch(c.first, c.newest))
	}
	return 0
}
