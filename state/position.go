package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Position tells how far a shard has come.
type Position struct {
	Work        int64     // next offset of the work partition; -1: none yet
	Changelog   int64     // next offset of the changelog partition; 0: nothing restored
	StreamTime  time.Time // newest event time evaluated; zero: no event yet
	Fingerprint []byte    // of the rules and parameters of the last change; nil: none yet
}

// position is the part of it that travels in the changelog.
type position struct {
	work        int64
	stream      int64  // noTime: no event yet
	next        uint64 // number of the next set or page
	fingerprint []byte
}

var noPosition = position{work: -1, stream: noTime, next: 1}

func (p *position) append(dst []byte) []byte {
	dst = binary.AppendVarint(append(dst, formatVersion), p.work)
	dst = appendTime(dst, p.stream)
	dst = binary.AppendUvarint(dst, p.next)
	return append(dst, p.fingerprint...)
}

func decodePosition(value []byte) (position, error) {
	r, err := open(value)
	if err != nil {
		return noPosition, err
	}
	p := position{work: r.varint(), stream: r.time(), next: r.uvarint()}
	if b := r.rest(); len(b) > 0 {
		p.fingerprint = slices.Clone(b)
	}
	if p.next == 0 {
		r.fail()
	}
	return p, r.close()
}

// same tells whether nothing but the work offset differs.
func (p *position) same(q *position) bool {
	return p.stream == q.stream && p.next == q.next && string(p.fingerprint) == string(q.fingerprint)
}

// origin names an input partition, sourcePosition the last event taken from it.
type origin struct {
	topicID   [16]byte
	partition int32
}

type sourcePosition struct {
	epoch  int32
	offset int64
	index  int32
}

func (p sourcePosition) append(dst []byte) []byte {
	dst = binary.AppendVarint(append(dst, formatVersion), int64(p.epoch))
	dst = binary.AppendVarint(dst, p.offset)
	return binary.AppendVarint(dst, int64(p.index))
}

func decodeSource(value []byte) (sourcePosition, error) {
	r, err := open(value)
	if err != nil {
		return sourcePosition{}, err
	}
	p := sourcePosition{epoch: r.int32(), offset: r.varint(), index: r.int32()}
	return p, r.close()
}

func (t *Tx) source(o origin) (sourcePosition, bool) {
	if p, ok := t.sources[o]; ok {
		return p, true
	}
	p, ok := t.shard.sources[o]
	return p, ok
}

// Newer tells whether src comes after the last source of its (TopicID,
// Partition), by this Tx's own Advance too. What is not newer has been
// evaluated before. Where one of the two epochs is not known, (Offset, Index)
// decides.
func (t *Tx) Newer(src Source) bool {
	last, ok := t.source(origin{src.TopicID, src.Partition})
	return !ok || last.before(sourcePosition{src.Epoch, src.Offset, src.Index})
}

func (p sourcePosition) before(q sourcePosition) bool {
	if p.epoch >= 0 && q.epoch >= 0 && p.epoch != q.epoch {
		return p.epoch < q.epoch
	}
	return cmp.Or(cmp.Compare(p.offset, q.offset), cmp.Compare(p.index, q.index)) < 0
}

// Advance remembers src as the last source of its (TopicID, Partition).
func (t *Tx) Advance(src Source) {
	t.touch()
	o := origin{src.TopicID, src.Partition}
	if _, ok := t.sources[o]; !ok {
		t.grow(1, 32)
	}
	t.sources[o] = sourcePosition{src.Epoch, src.Offset, src.Index}
}

// Source gives the last source of an input partition, without its Topic; not ok: none
// yet.
func (t *Tx) Source(topicID [16]byte, partition int32) (last Source, ok bool) {
	p, ok := t.source(origin{topicID, partition})
	return Source{TopicID: topicID, Partition: partition, Epoch: p.epoch, Offset: p.offset, Index: p.index}, ok
}

// SetWorkOffset sets the next offset of the work partition.
func (t *Tx) SetWorkOffset(next int64) {
	t.touch()
	t.pos.work = next
}

// WorkOffset gives the next offset of the work partition; -1: none yet.
func (t *Tx) WorkOffset() int64 { return t.pos.work }

// Observe moves stream time on to eventTime, if that is newer.
func (t *Tx) Observe(eventTime time.Time) {
	if n := nanos(eventTime); n > t.pos.stream {
		t.touch()
		t.pos.stream = n
	}
}

// StreamTime gives the newest event time observed; zero: no event yet.
func (t *Tx) StreamTime() time.Time { return instant(t.pos.stream) }

// SetFingerprint sets what Position gives as Fingerprint.
func (t *Tx) SetFingerprint(b []byte) {
	if !bytes.Equal(b, t.pos.fingerprint) {
		t.touch()
		t.pos.fingerprint = slices.Clone(b)
	}
}

// PutMeta keeps a small record for Shard.Meta under a name; nil removes it, an
// empty value does not.
func (t *Tx) PutMeta(name string, value []byte) {
	t.touch()
	t.grow(1, len(name)+len(value))
	t.meta[strings.Clone(name)] = slices.Clone(value)
}
