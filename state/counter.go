package state

import (
	"encoding/binary"
	"math"
	"time"
)

// counter is a count and what is known of the events that it counted. Its
// newest write is the newest event that it counted.
type counter struct {
	exists bool
	count  int64
	total  uint64 // events counted
	first  int64  // event time of the first of them: the window's start
	life
	head []byte // the newest events, at most blockRefs
}

func (c *counter) append(dst []byte) []byte {
	dst = c.life.append(append(dst, formatVersion))
	dst = binary.AppendVarint(dst, c.count)
	dst = binary.AppendUvarint(dst, c.total)
	dst = appendTime(dst, c.first)
	return append(dst, c.head...)
}

// decodeCounter reads a counter; its head aliases the value.
func decodeCounter(value []byte) (counter, error) {
	r, err := open(value)
	if err != nil {
		return counter{}, err
	}
	c := counter{exists: true, life: r.life(), count: r.varint(), total: r.uvarint(), first: r.time(), head: r.rest()}
	if r.bad || c.total == 0 || c.first == noTime {
		return counter{}, ErrDamaged
	}
	return c, checkBlock(c.head, headRefs(c.total))
}

// counterEntry is a counter in a Tx: as it is on disk, and as it is now.
type counterEntry struct {
	entry
	now    counter
	slots  int      // blocks on disk
	blocks [][]byte // full since, by slot; empty: as on disk
}

// block gives what a slot has from now on; empty: what is on disk.
func (e *counterEntry) block(slot int) []byte {
	if len(e.blocks) == 0 {
		return nil // most counters never fill one
	}
	return e.blocks[slot]
}

// counterAt gives the counter of this changelog key.
func (t *Tx) counterAt(key []byte) *counterEntry {
	if e, ok := t.counters[string(key)]; ok {
		return e
	}
	e := t.counterPool.next()
	head, blocks := e.now.head[:0], e.blocks
	*e = counterEntry{entry: entry{key: string(key)}, blocks: blocks}
	for i := range blocks {
		blocks[i] = blocks[i][:0]
	}
	if value, ok := t.get(key); ok {
		c, err := decodeCounter(value)
		t.damaged(key, err)
		e.now = c
		e.file = filing{exists: true, at: c.filed}
		e.slots = e.now.slots()
	}
	e.now.head = append(head, e.now.head...)
	t.counters[e.key] = e
	return e
}

// take makes what a scope did to the counter part of the Tx.
func (e *counterEntry) take(c *scopeCounter) {
	// Blocks of an earlier window may stay: a slot that is used has been filled
	// in this one.
	if c.hasSpill {
		if e.blocks == nil {
			e.blocks = make([][]byte, evidenceSlots)
		}
		slot := (fullBlocks(c.total) - 1) % evidenceSlots
		e.blocks[slot] = append(e.blocks[slot][:0], c.spill...)
	}
	head := append(e.now.head[:0], c.head...)
	e.now = c.counter
	e.now.head = head
	e.dirty = true
}

// remove makes the counter absent.
func (e *counterEntry) remove() {
	e.now = counter{head: e.now.head[:0]}
	e.dirty = true
}

// scopeCounter is a counter as one evaluation sees it.
type scopeCounter struct {
	name  string
	entry *counterEntry
	counter
	dirty    bool
	counted  bool // the event has been counted since the last start
	hasSpill bool
	spill    []byte // the block that this evaluation filled
}

// counter gives the counter of this name, nil when the scope has failed.
func (s *Scope) counter(name string) *scopeCounter {
	for _, c := range s.counters {
		if c.name == name {
			return c
		}
	}
	if !s.name(kindCounter, name) {
		return nil
	}
	e := s.tx.counterAt(s.key)
	if s.failed() {
		return nil
	}
	c := s.counterPool.next()
	head := append(c.head[:0], e.now.head...)
	*c = scopeCounter{name: name, entry: e, counter: e.now, spill: c.spill[:0]}
	c.head = head
	s.counters = append(s.counters, c)
	return c
}

func (c *scopeCounter) live(s *Scope) bool {
	return c.exists && s.now < c.deadline(s.tx.shard.store.lifetime)
}

// clear takes everything from the counter but its buffers.
func (c *scopeCounter) clear() {
	c.counter = counter{head: c.head[:0]}
	c.counted, c.hasSpill, c.dirty = false, false, true
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

// IncrementCounterBy adds n, which may be 0 or negative, and gives the new
// count; it saturates instead of overflowing. A counter that is missing or has
// expired starts at n, without an expiry of its own; another keeps the expiry
// that it has. The event becomes part of the counter's evidence.
func (s *Scope) IncrementCounterBy(name string, n int64) int64 {
	c := s.counter(name)
	if c == nil {
		return 0
	}
	if len(s.at.ID) > maxEventID {
		s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
		return 0
	}
	if !c.live(s) {
		c.clear()
		c.exists = true
		c.first, c.newest, c.expiry = s.now, s.now, noTime
	}
	c.count = addSaturating(c.count, n)
	c.remember(&s.at, s.now)
	c.dirty = true
	s.lastCounted, s.hasKept = c, false
	return c.count
}

// ResetCounter makes the counter absent: no count, no expiry, no evidence.
func (s *Scope) ResetCounter(name string) {
	c := s.counter(name)
	if c == nil || !c.exists {
		return
	}
	if c == s.lastCounted && !s.hasKept {
		// The alert that follows a reset shows what led to it.
		s.kept, *c = *c, scopeCounter{name: c.name, entry: c.entry, counter: counter{head: s.kept.head}, spill: s.kept.spill}
		s.hasKept = true
	}
	c.clear()
}

// counted gives the counter of the last increment as it was then.
func (s *Scope) counted() *scopeCounter {
	if s.hasKept {
		return &s.kept
	}
	return s.lastCounted
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
		if d := c.newest - c.first; d >= 0 {
			return time.Duration(d)
		}
		return math.MaxInt64 // centuries: it does not fit
	}
	return 0
}
