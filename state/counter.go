package state

import (
	"encoding/binary"
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

// hold makes the entry the place of the window that a scope has changed; r has the full
// blocks that the window had before.
func (e *headerEntry) hold(t *Tx, c *scopeCounter, r *ring) {
	if e.ring != r {
		e.dropRing() // of a window that begins at the same instant and holds nothing
	}
	if c.hasSpill {
		if r == nil {
			r = t.ringOf(t.nextNumber(), 0)
		}
		slot := (fullBlocks(c.total) - 1) % evidenceSlots
		r.pending[slot] = append(r.pending[slot][:0], c.spill...)
	}
	head, behind := append(e.now.head[:0], c.head...), e.now.older
	e.now = c.counter
	e.now.head, e.now.older, e.now.number = head, behind, 0
	if e.ring = r; r != nil {
		e.now.number = r.number
	}
	e.dirty = true
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

// scopeCounter is the event's window of a counter as one evaluation sees it.
type scopeCounter struct {
	name  string
	entry *headerEntry // of the name
	from  *headerEntry // where the window was found; nil: there is none for the event
	newer bool         // none was found, and older windows than the newest begin after the event
	counter
	dirty     bool
	looked    bool  // it was read or written, and so is evidence
	counted   bool  // the event has been counted since the last start
	repeated  bool  // the evidence holds the event already
	countedAt int64 // if repeated: the time that it has there
	anew      bool  // the window found on disk is gone
	hasSpill  bool
	spill     []byte // the block that this evaluation filled
}

// counter gives the counter of this name, nil when the scope has failed.
func (s *Scope) counter(name string) *scopeCounter {
	for _, c := range s.counters {
		if c.name == name {
			return c
		}
	}
	e := s.header(name)
	if e == nil {
		return nil
	}
	from, newer := s.tx.window(e, s.now)
	if s.failed() {
		return nil
	}
	c := s.counterPool.next()
	head := c.head[:0]
	*c = scopeCounter{name: name, entry: e, from: from, newer: newer, spill: c.spill[:0]}
	if from != nil {
		c.counter = from.now
		head = append(head, from.now.head...)
	}
	c.head = head
	s.counters = append(s.counters, c)
	return c
}

// live tells whether the event has a window, and notes that it was asked for.
func (c *scopeCounter) live(s *Scope) bool {
	if !c.fits(s.now, s.tx.shard.store.lifetime) {
		return false
	}
	c.looked = true
	return true
}

// clear takes everything from the window but its buffers.
func (c *scopeCounter) clear() {
	c.counter = counter{head: c.head[:0]}
	c.looked, c.counted, c.repeated, c.hasSpill = false, false, false, false
	c.anew, c.dirty = true, true
}

// remember counts the event.
func (c *scopeCounter) remember(ref *Ref, now int64) {
	if c.counted {
		return
	}
	if c.total > 0 && c.total%blockRefs == 0 {
		c.spill, c.head, c.hasSpill = c.head, c.spill[:0], true
	}
	c.head = appendRef(c.head, ref, now)
	c.total++
	c.newest = max(c.newest, now)
	c.counted = true
}

// GetCounter gives the count, 0 when the counter is missing or has expired.
func (s *Scope) GetCounter(name string) int64 {
	if c := s.counter(name); c != nil && c.live(s) {
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
	c := s.counter(name)
	if c == nil {
		return 0
	}
	if s.idTooLong() {
		return 0
	}
	if !c.live(s) {
		c.clear()
		c.exists, c.looked = true, true
		c.first, c.newest, c.expiry = s.now, s.now, noTime
	} else if !c.counted && s.repeats(c) {
		return c.count
	}
	c.moveBack(s.now)
	c.count = addSaturating(c.count, n)
	c.remember(&s.at, s.now)
	c.dirty = true
	return c.count
}

// ResetCounter makes the event's window absent: no count, no expiry, no
// evidence. Windows of other times stay.
func (s *Scope) ResetCounter(name string) {
	c := s.counter(name)
	if c == nil || !c.exists {
		return
	}
	if c.looked {
		// The alert that follows a reset shows the evidence that led to it.
		k := s.keptPool.next()
		head, spill := k.head, k.spill
		*k = *c
		c.head, c.spill = head[:0], spill[:0]
		s.looked = append(s.looked, k)
	}
	c.clear()
}

// Window gives the event time of the first event that the counter has
// counted. Not ok: it is missing or has expired.
func (s *Scope) Window(name string) (start time.Time, ok bool) {
	if c := s.counter(name); c != nil && c.live(s) {
		return instant(c.first), true
	}
	return time.Time{}, false
}

// Span gives the time from the first event that the counter has counted to the
// newest one; 0 when it is missing or has expired.
func (s *Scope) Span(name string) time.Duration {
	if c := s.counter(name); c != nil && c.live(s) {
		return time.Duration(stretch(c.first, c.newest))
	}
	return 0
}
