package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Evidence is kept in blocks. The newest block stands in the counter's own
// value; a full one moves to a key of its own, under a number that the window
// keeps wherever it stands, where the ring of slots keeps as many as the newest
// maxEvidence events need.
const (
	maxEvidence   = 100 // events that a counter remembers
	blockRefs     = 16  // events in a full block
	evidenceSlots = (maxEvidence + blockRefs - 2) / blockRefs
	maxEventID    = 512 // bytes of an event id in evidence
)

// fullBlocks is the number of blocks that were ever full and moved away from a
// counter of this total.
func fullBlocks(total uint64) uint64 { return (total - 1) / blockRefs }

// slots is the number of slots in which the counter has blocks: the first ones.
func (c *counter) slots() int {
	if !c.exists {
		return 0
	}
	return int(min(fullBlocks(c.total), evidenceSlots))
}

// headRefs is the number of events in the newest block.
func headRefs(total uint64) int { return int((total-1)%blockRefs) + 1 }

const (
	flagPackedID = 1 << iota // the id is a UUID in 16 bytes
	flagOwnTopic             // the topic is not that of the block
)

// appendRef adds an event to a block: the topic of its first event, then for
// each event flags, id, perhaps a topic, time, partition, offset and index.
func appendRef(block []byte, ref *Ref, at int64) []byte {
	if len(block) == 0 {
		block = appendPart(block, ref.Source.Topic)
	}
	flagsAt := len(block)
	block = append(block, 0)
	if packed, ok := packUUID(ref.ID); ok {
		block[flagsAt] |= flagPackedID
		block = append(block, packed[:]...)
	} else {
		block = appendPart(block, ref.ID)
	}
	if string(blockTopic(block)) != ref.Source.Topic {
		block[flagsAt] |= flagOwnTopic
		block = appendPart(block, ref.Source.Topic)
	}
	block = appendTime(block, at)
	block = binary.AppendVarint(block, int64(ref.Source.Partition))
	block = binary.AppendVarint(block, ref.Source.Offset)
	return binary.AppendVarint(block, int64(ref.Source.Index))
}

func blockTopic(block []byte) []byte {
	r := reader{b: block}
	return r.part()
}

// blockRef is one event of a block, its strings aliasing the block.
type blockRef struct {
	packed           bool
	id, topic        []byte
	at, offset       int64
	partition, index int32
}

// ref reads the next event of a block of this topic.
func (r *reader) ref(topic []byte) (b blockRef) {
	flags := r.byte()
	if b.packed = flags&flagPackedID != 0; b.packed {
		b.id = r.take(16)
	} else if b.id = r.part(); isUUID(b.id) {
		r.fail()
	}
	if b.topic = topic; flags&flagOwnTopic != 0 {
		if b.topic = r.part(); string(b.topic) == string(topic) {
			r.fail()
		}
	}
	b.at, b.partition, b.offset, b.index = r.time(), r.int32(), r.varint(), r.int32()
	if flags > flagPackedID|flagOwnTopic || b.at == noTime {
		r.fail()
	}
	return b
}

// checkBlock reports a block that does not hold n events.
func checkBlock(block []byte, n int) error {
	r := reader{b: block}
	topic := r.part()
	for ; n > 0 && !r.bad; n-- {
		r.ref(topic)
	}
	return r.close()
}

// appendRefs adds the n events of a block to dst, oldest first.
func appendRefs(dst []Ref, block []byte, n int) ([]Ref, error) {
	r := reader{b: block}
	topic := r.part()
	name := string(topic)
	for ; n > 0; n-- {
		b := r.ref(topic)
		ref := Ref{Time: instant(b.at), Source: Source{Topic: name, Partition: b.partition, Offset: b.offset, Index: b.index}}
		if b.packed && !r.bad {
			ref.ID = unpackUUID(b.id)
		} else {
			ref.ID = string(b.id)
		}
		if string(b.topic) != name {
			ref.Source.Topic = string(b.topic)
		}
		dst = append(dst, ref)
	}
	return dst, r.close()
}

// ring is the full blocks of a window in a Tx.
type ring struct {
	number  uint64
	slots   int // on disk: the first ones
	dead    bool
	pending [evidenceSlots][]byte // full since, by slot; empty: as on disk
	read    [evidenceSlots][]byte // from disk, by slot; empty: not yet
}

// ringOf gives a new ring.
func (t *Tx) ringOf(number uint64, slots int) *ring {
	r := t.ringPool.next()
	r.number, r.slots, r.dead = number, slots, false
	for i := range evidenceSlots {
		r.pending[i], r.read[i] = r.pending[i][:0], r.read[i][:0]
	}
	return r
}

// block gives what a slot has, empty if it has nothing.
func (t *Tx) block(r *ring, slot int) []byte {
	if len(r.pending[slot]) > 0 {
		return r.pending[slot]
	}
	if len(r.read[slot]) == 0 && slot < r.slots {
		t.key = appendBlockKey(t.key[:0], r.number, slot)
		if value, _ := t.get(t.key); len(value) > 0 {
			r.read[slot] = append(r.read[slot], value[1:]...)
		}
	}
	return r.read[slot]
}

// buildRing makes changes of what has come and gone.
func (t *Tx) buildRing(r *ring) {
	for slot := range evidenceSlots {
		t.key = appendBlockKey(t.key[:0], r.number, slot)
		switch {
		case r.dead && slot < r.slots:
			t.remove(t.key)
		case !r.dead && len(r.pending[slot]) > 0:
			t.value = append(append(t.value[:0], formatVersion), r.pending[slot]...)
			t.put(t.key, t.value)
		}
	}
}

// blocks calls fn for the blocks of the newest events of a window, oldest
// first, until it gives false. The first skip events of a block of n are
// beyond the maxEvidence newest.
func (s *Scope) blocks(c *scopeCounter, fn func(block []byte, n, skip int) bool) {
	full, head := fullBlocks(c.total), headRefs(c.total)
	older := min(full, (maxEvidence-uint64(head)+blockRefs-1)/blockRefs)
	skip := max(0, int(older)*blockRefs+head-maxEvidence)
	for b := full - older; b < full; b++ {
		if !fn(s.block(c, b), blockRefs, skip) {
			return
		}
		skip = 0
	}
	fn(c.head, head, 0)
}

// block gives a window's full block number b as this scope sees it.
func (s *Scope) block(c *scopeCounter, b uint64) []byte {
	switch {
	case c.hasSpill && b == fullBlocks(c.total)-1:
		return c.spill
	case c.from == nil || c.from.ring == nil:
		return nil
	}
	return s.tx.block(c.from.ring, int(b%evidenceSlots))
}

// repeats tells whether the window has counted the event in an earlier evaluation.
func (s *Scope) repeats(c *scopeCounter) bool {
	if c.repeated || s.at.ID == "" {
		return c.repeated
	}
	if id, packed := packUUID(s.at.ID); packed {
		c.repeated = s.holdsID(c, true, id[:])
	} else {
		c.repeated = s.holdsID(c, false, []byte(s.at.ID))
	}
	return c.repeated
}

func (s *Scope) holdsID(c *scopeCounter, packed bool, id []byte) (found bool) {
	s.blocks(c, func(block []byte, n, skip int) bool {
		if !bytes.Contains(block, id) {
			return true // nearly always, and much faster than to read each event
		}
		r := reader{b: block}
		topic := r.part()
		for i := range n {
			if b := r.ref(topic); i >= skip && b.packed == packed && bytes.Equal(b.id, id) {
				found = true
				return false
			}
		}
		if err := r.close(); err != nil {
			s.brokenEvidence(err)
		}
		return true
	})
	return found
}

func (s *Scope) brokenEvidence(err error) {
	s.tx.fail(s.tx.shard.store.broken(fmt.Errorf("read evidence of %s: %w", s.rule, err)))
}

// Evidence gives the events that are remembered with what this evaluation has
// read or written: the windows of counters, the first 100 members of sets, and of timelines
// the entries that were consumed or else given, as they stood after it, or before a reset. These are the true number of events, each of which counts once as far
// as their ids are remembered, and the newest of them (at most 100), in the
// order of their times, then of their sources. Topic ids are not remembered.
// Call it before Commit.
func (s *Scope) Evidence() (total int64, newest []Ref) {
	if s.failed() {
		return 0, nil
	}
	values := 0
	for _, c := range s.looked {
		values++
		total, newest = addSaturating(total, events(c)), s.appendEvidence(newest, c)
	}
	for _, c := range s.counters {
		if c.looked {
			values++
			total, newest = addSaturating(total, events(c)), s.appendEvidence(newest, c)
		}
	}
	had := len(newest)
	newest = s.appendSets(newest)
	for _, l := range s.timelines {
		newest = l.appendEvidence(newest)
	}
	total = addSaturating(total, int64(len(newest)-had))
	if s.failed() {
		return 0, nil
	}
	slices.SortStableFunc(newest, compareRefs)
	if values > 1 || len(newest) > had {
		n := len(newest)
		newest = distinct(newest)
		total -= int64(n - len(newest))
	}
	return total, newest[max(0, len(newest)-maxEvidence):]
}

// appendSets adds the events of the members of sets.
func (s *Scope) appendSets(dst []Ref) []Ref {
	for _, m := range s.lookedSets {
		dst = m.appendEvidence(dst)
	}
	for _, m := range s.sets {
		if m.looked {
			dst = m.appendEvidence(dst)
		}
	}
	return dst
}

func events(c *scopeCounter) int64 { return int64(min(c.total, math.MaxInt64)) }

// appendEvidence adds the newest events of a window.
func (s *Scope) appendEvidence(dst []Ref, c *scopeCounter) []Ref {
	s.blocks(c, func(block []byte, n, skip int) bool {
		had := len(dst)
		dst = slices.Grow(dst, n)
		var err error
		if dst, err = appendRefs(dst, block, n); err != nil {
			s.brokenEvidence(err)
			return false
		}
		dst = slices.Delete(dst, had, had+skip)
		return true
	})
	return dst
}

func compareRefs(a, b Ref) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Source.Topic, b.Source.Topic), cmp.Compare(a.Source.Partition, b.Source.Partition),
		cmp.Compare(a.Source.Offset, b.Source.Offset), cmp.Compare(a.Source.Index, b.Source.Index))
}

// distinct removes events that came from several values out of sorted ones.
func distinct(refs []Ref) []Ref {
	return slices.CompactFunc(refs, func(a, b Ref) bool { return a.ID == b.ID && compareRefs(a, b) == 0 })
}

const hexDigits = "0123456789abcdef"

// packUUID gives the 16 bytes of a UUID in its canonical form: 36 bytes, lower
// case. Other spellings keep their own bytes.
func packUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	for i, at := range uuidDigits {
		hi, lo := unhex[s[at]], unhex[s[at+1]]
		if hi|lo > 15 {
			return u, false
		}
		u[i] = hi<<4 | lo
	}
	return u, true
}

func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	_, ok := packUUID(string(s))
	return ok
}

func unpackUUID(u []byte) string { return string(appendUUID(nil, u)) }

// appendUUID adds the canonical form of the 16 bytes of a UUID.
func appendUUID(dst, u []byte) []byte {
	var s [36]byte
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	for i, at := range uuidDigits {
		s[at], s[at+1] = hexDigits[u[i]>>4], hexDigits[u[i]&15]
	}
	return append(dst, s[:]...)
}

// uuidDigits tells where the two digits of each byte stand.
var uuidDigits = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// unhex gives the value of a lower-case digit, 255 for every other byte.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(hexDigits) {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()
