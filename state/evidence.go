package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Evidence is kept in blocks. The newest block stands in the window's record; a full
// one moves to a key of its own, under a number that the window keeps when its own key
// changes. A ring of slots there holds as many blocks as the newest maxEvidence events
// need.
const (
	maxEvidence   = 100 // events that a counter remembers
	blockRefs     = 16  // events in a full block
	evidenceSlots = (maxEvidence + blockRefs - 2) / blockRefs
	maxEventID    = 512 // bytes of an event id in evidence
	refOverhead   = 20  // bytes of an event in a block besides topic and id, as a rule
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
		own := name
		if string(b.topic) != name {
			own = string(b.topic)
		}
		dst = append(dst, b.ref(own))
	}
	return dst, r.close()
}

// ref gives the event; topic is its topic as a string.
func (b *blockRef) ref(topic string) Ref {
	ref := Ref{Time: instant(b.at), Source: Source{Topic: topic, Partition: b.partition, Offset: b.offset, Index: b.index}}
	if b.packed && len(b.id) == 16 {
		ref.ID = unpackUUID(b.id)
	} else {
		ref.ID = string(b.id)
	}
	return ref
}

// ring is the full blocks of a window in a Tx.
type ring struct {
	number  uint64
	slots   int // on disk: the first ones
	dead    bool
	pending [evidenceSlots][]byte // full since, by slot; empty: as on disk
	read    [evidenceSlots][]byte // from disk, by slot; empty: not yet
}

func (t *Tx) ringOf(number uint64, slots int) *ring {
	r := t.ringPool.next()
	r.number, r.slots, r.dead = number, slots, false
	for i := range evidenceSlots {
		r.pending[i], r.read[i] = r.pending[i][:0], r.read[i][:0]
	}
	return r
}

// block gives the block in a slot, empty if there is none.
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

// buildRing makes changes of the blocks that were filled, or, of a dead ring, of those on
// disk.
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
func (t *Tx) blocks(w *headerEntry, fn func(block []byte, n, skip int) bool) {
	full, head := fullBlocks(w.now.total), headRefs(w.now.total)
	older := min(full, (maxEvidence-uint64(head)+blockRefs-1)/blockRefs)
	skip := max(0, int(older)*blockRefs+head-maxEvidence)
	for b := full - older; b < full; b++ {
		var block []byte
		if w.ring != nil {
			block = t.block(w.ring, int(b%evidenceSlots))
		}
		if !fn(block, blockRefs, skip) {
			return
		}
		skip = 0
	}
	fn(w.now.head, head, 0)
}

// repeats tells whether the window has counted the event in an earlier evaluation.
func (s *Scope) repeats(c *named) bool {
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

func (s *Scope) holdsID(c *named, packed bool, id []byte) (found bool) {
	s.tx.blocks(c.window, func(block []byte, n, skip int) bool {
		if !bytes.Contains(block, id) {
			return true // nearly always, and much faster than to read each event
		}
		r := reader{b: block}
		topic := r.part()
		for i := range n {
			if b := r.ref(topic); i >= skip && b.packed == packed && bytes.Equal(b.id, id) {
				found, c.countedAt = true, b.at
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

// Evidence gives the events remembered by the values that this evaluation has read or
// written, as they stood after the evaluation, or before a reset: those that the windows of
// counters have counted, those that brought the members of sets and those that met them
// last, and of timelines the entries that were consumed, or else given. It gives their
// number, and the newest of them (at most 100), in the order of their times, then of their
// sources. Topic ids are not remembered.
//
// The number is exact for one value: a window counts an event once as far as the id is
// among its newest 100, a set counts an event once however many members it brought or met.
// An event that several values remember counts once if it is among the newest that each of
// them lists: 100 of a counter, 400 of a set. The members of a set are read once for a Tx.
// Call it before Commit.
func (s *Scope) Evidence() (total int64, newest []Ref) {
	if s.failed() {
		return 0, nil
	}
	values := 0
	window := func(w *headerEntry) {
		values++
		total, newest = addSaturating(total, int64(min(w.now.total, math.MaxInt64))), s.appendEvidence(newest, w)
	}
	for _, w := range s.endedWindows.items[:s.endedWindows.used] {
		window(w)
	}
	for _, n := range s.names {
		if n.looked {
			window(n.window)
		}
	}
	sets, most := s.setsLookedAt(), maxEvidence
	if values+len(sets)+len(s.timelines) > 1 {
		most = keptEvents
	}
	for _, m := range sets {
		values++
		var n int64
		n, newest = s.tx.memberEvidence(m, newest, most)
		total = addSaturating(total, n)
	}
	for _, l := range s.timelines {
		values += 2 // an event may stand under several labels
		had := len(newest)
		newest = l.appendEvidence(newest)
		total = addSaturating(total, int64(len(newest)-had))
	}
	if s.failed() {
		return 0, nil
	}
	slices.SortStableFunc(newest, compareEvents)
	if values > 1 {
		n := len(newest)
		newest = distinct(newest)
		total -= int64(n - len(newest))
	}
	return total, newest[max(0, len(newest)-maxEvidence):]
}

// setsLookedAt gives the sets that were read or written, those that were replaced included.
func (s *Scope) setsLookedAt() []*setEntry {
	sets := s.endedSets
	for _, n := range s.names {
		if n.setLooked {
			sets = append(sets, n.header.set)
		}
	}
	return sets
}

// appendEvidence adds the newest events of a window.
func (s *Scope) appendEvidence(dst []Ref, w *headerEntry) []Ref {
	s.tx.blocks(w, func(block []byte, n, skip int) bool {
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

// compareEvents is compareRefs, and tells events of one source apart.
func compareEvents(a, b Ref) int { return cmp.Or(compareRefs(a, b), strings.Compare(a.ID, b.ID)) }

func compareRefs(a, b Ref) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Source.Topic, b.Source.Topic), cmp.Compare(a.Source.Partition, b.Source.Partition),
		cmp.Compare(a.Source.Offset, b.Source.Offset), cmp.Compare(a.Source.Index, b.Source.Index))
}

// distinct removes events that came from several values out of sorted ones.
func distinct(refs []Ref) []Ref {
	return slices.CompactFunc(refs, func(a, b Ref) bool { return a.ID == b.ID && compareRefs(a, b) == 0 })
}
