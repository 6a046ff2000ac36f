package state

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Evidence is kept in blocks. The newest block stands in the counter's own
// value; a full one moves to a key of its own, where the ring of slots keeps
// as many as the newest maxEvidence events need.
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

// Evidence gives the events that the counter of this scope's last increment
// had counted then: their true number, and the newest of them (at most 100),
// oldest first. A reset after that increment does not lose it. An event counts
// once, however often its evaluation has incremented the counter. Topic ids
// are not remembered. Call it before Commit.
func (s *Scope) Evidence() (total int64, newest []Ref) {
	c := s.counted()
	if c == nil || s.failed() {
		return 0, nil
	}
	full, head := fullBlocks(c.total), headRefs(c.total)
	older := min(full, (maxEvidence-uint64(head)+blockRefs-1)/blockRefs)
	refs := make([]Ref, 0, int(older)*blockRefs+head)
	var err error
	for b := full - older; b < full && err == nil; b++ {
		refs, err = appendRefs(refs, s.block(c, b), blockRefs)
	}
	if err == nil {
		refs, err = appendRefs(refs, c.head, head)
	}
	if err != nil {
		s.tx.fail(s.tx.shard.store.broken(fmt.Errorf("read evidence of %s: %w", s.rule, err)))
		return 0, nil
	}
	return int64(min(c.total, math.MaxInt64)), refs[max(0, len(refs)-maxEvidence):]
}

// block gives a counter's full block number b as this scope sees it.
func (s *Scope) block(c *scopeCounter, b uint64) []byte {
	if c.hasSpill && b == fullBlocks(c.total)-1 {
		return c.spill
	}
	slot := int(b % evidenceSlots)
	if pending := c.entry.block(slot); len(pending) > 0 {
		return pending
	}
	t := s.tx
	t.key = appendBlockKey(t.key[:0], c.entry.key, slot)
	value, _ := t.get(t.key)
	if len(value) == 0 {
		return nil
	}
	return value[1:]
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

func unpackUUID(u []byte) string {
	var s [36]byte
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	for i, at := range uuidDigits {
		s[at], s[at+1] = hexDigits[u[i]>>4], hexDigits[u[i]&15]
	}
	return string(s[:])
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
