package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/segmentio/kafka-go/compress"
)

// section is the records of one batch, as they came.
type section struct {
	base      int64
	epoch     int32 // of the leader that wrote the batch; -1: not known
	last      int32 // epoch of the batch before
	lastDelta int32
	firstTime int64
	appended  int64 // time of all records when the topic says LogAppendTime; else unset
	byBroker  bool  // the topic says LogAppendTime
	count     int
	codec     compress.Compression
	records   []byte
}

// header is the fixed part of a batch; its field batch has all bytes of it.
type header struct {
	base       int64
	next       int64 // first offset behind the batch
	epoch      int32 // of the leader; the checksum does not cover it
	attributes uint16
	producer   int64
	count      int32
	batch      []byte
}

func (h *header) codec() compress.Compression { return compress.Compression(h.attributes & codecMask) }
func (h *header) control() bool               { return h.attributes&controlBit != 0 }
func (h *header) transactional() bool         { return h.attributes&transactionalBit != 0 }
func (h *header) records() []byte             { return h.batch[batchHeader:] }

// take checks the batches of a response, and leaves out those that a reader must not see.
// It stops before a damaged batch behind sound ones, so that the sound ones are delivered
// and the next fetch meets the error. A batch that was cut off at the end is ignored:
// brokers fill MaxBytes that way.
func (f *Fetched) take(set []byte) error {
	for len(set) > 0 {
		h, rest, err := f.split(set)
		if err == nil && h.batch != nil {
			err = f.follows(&h)
		}
		switch {
		case err != nil && f.Next > f.from:
			return nil
		case err != nil:
			return err
		case h.batch == nil:
			return f.cutOff(set)
		}
		f.add(&h)
		if h.next > f.Next {
			f.Next, f.LastEpoch = h.next, h.epoch
		}
		set = rest
	}
	return nil
}

// cutOff judges a set that begins with an incomplete batch.
func (f *Fetched) cutOff(set []byte) error {
	if f.Next > f.from || len(set) < logOverhead {
		return nil
	}
	// The first batch always comes whole (KIP-74), else nothing would ever move.
	return f.damaged(&header{base: int64(binary.BigEndian.Uint64(set))}, "the broker sent only its beginning")
}

// split reads the header of the first batch of set and checks its checksum. A
// header without a batch means that the set ends before the batch does.
func (f *Fetched) split(set []byte) (h header, rest []byte, err error) {
	if len(set) <= atMagic {
		return h, nil, nil
	}
	be := binary.BigEndian
	h.base = int64(be.Uint64(set))
	if magic := int8(set[atMagic]); magic != recordFormatMagic {
		return h, nil, f.corrupt(&h, fmt.Sprintf("it is in message format version %d, and only version 2 (Kafka 0.11 and newer) is read: let a current producer or broker rewrite the topic", magic))
	}
	length := int(int32(be.Uint32(set[atLength:]))) + logOverhead
	if length < batchHeader {
		return h, nil, f.corrupt(&h, fmt.Sprintf("it claims a length of %d bytes, and its header alone takes %d", length, batchHeader))
	}
	if length > len(set) {
		return h, nil, nil
	}
	batch := set[:length:length]
	lastDelta := int32(be.Uint32(batch[atLastDelta:]))
	h.epoch = max(int32(be.Uint32(batch[atLeaderEpoch:])), noEpoch)
	h.attributes = be.Uint16(batch[atAttributes:])
	h.producer = int64(be.Uint64(batch[atProducerID:]))
	h.count = int32(be.Uint32(batch[atCount:]))
	h.batch = batch
	plausible := h.base >= 0 && h.base <= math.MaxInt64-math.MaxInt32-1 && lastDelta >= 0 && h.count >= 0
	if plausible {
		h.next = h.base + int64(lastDelta) + 1
	}
	if want, got := be.Uint32(batch[atCRC:]), crc32.Checksum(batch[atAttributes:], castagnoli); want != got {
		return h, nil, f.damaged(&h, fmt.Sprintf("its checksum is %08x, and its bytes give %08x: it was damaged on disk or on its way", want, got))
	}
	if !plausible {
		return h, nil, f.corrupt(&h, fmt.Sprintf("its header says base offset %d, last offset delta %d, %d records", h.base, lastDelta, h.count))
	}
	return h, set[length:], nil
}

func (f *Fetched) damaged(h *header, reason string) error {
	return &CorruptError{Topic: f.topic, Partition: f.partition, Offset: h.base, Next: h.next, Damaged: true, Reason: reason}
}

func (f *Fetched) corrupt(h *header, reason string) error {
	return &CorruptError{Topic: f.topic, Partition: f.partition, Offset: h.base, Next: h.next, Reason: reason}
}

// add makes a section of a batch, unless the batch has no records for the reader.
func (f *Fetched) add(h *header) {
	if f.filter.drops(h) || h.count == 0 || h.next <= f.Next {
		return
	}
	f.sections = append(f.sections, section{
		base:      h.base,
		epoch:     h.epoch,
		last:      f.LastEpoch,
		lastDelta: int32(h.next - h.base - 1),
		firstTime: int64(binary.BigEndian.Uint64(h.batch[atFirstTime:])),
		appended:  int64(binary.BigEndian.Uint64(h.batch[atMaxTime:])),
		byBroker:  h.attributes&logAppendTimeBit != 0,
		count:     int(h.count),
		codec:     h.codec(),
		records:   h.records(),
	})
}

// abortFilter leaves out the batches of aborted transactions (KIP-98): the broker tells the
// first offset of each aborted transaction in the fetched range, and its producer's batches
// are dropped from there to the abort marker.
type abortFilter struct {
	on       bool
	expected []abortedTransaction // by first offset, once sorted
	begun    int                  // elements of expected that have begun
	sorted   bool
	aborting map[int64]struct{} // producers inside an aborted transaction at the current batch
}

type abortedTransaction struct{ producer, first int64 }

func (a *abortFilter) reset(on bool) {
	a.on, a.sorted, a.begun, a.expected = on, false, 0, a.expected[:0]
	clear(a.aborting)
}

// drops says whether the reader must not see the batch. It must be called for each batch,
// in order.
func (a *abortFilter) drops(h *header) bool {
	if !a.on {
		return h.control()
	}
	a.begin(h.next)
	if h.control() {
		if aborts(h) {
			delete(a.aborting, h.producer)
		}
		return true
	}
	if !h.transactional() {
		return false
	}
	_, aborting := a.aborting[h.producer]
	return aborting
}

// begin notes the aborted transactions that begin before an offset.
func (a *abortFilter) begin(before int64) {
	if !a.sorted {
		slices.SortFunc(a.expected, func(x, y abortedTransaction) int { return cmp.Compare(x.first, y.first) })
		a.sorted = true
	}
	for ; a.begun < len(a.expected) && a.expected[a.begun].first < before; a.begun++ {
		if a.aborting == nil {
			a.aborting = make(map[int64]struct{})
		}
		a.aborting[a.expected[a.begun].producer] = struct{}{}
	}
}

// aborts says whether a control batch is an abort marker: its one record has the key
// (version int16, type int16), and type 0 is abort. Control batches are not compressed. A
// control batch that compaction has emptied ends nothing.
func aborts(h *header) bool {
	var r Record
	if h.count == 0 {
		return false
	}
	if _, ok := r.read(h.records()); !ok || len(r.Key) < 4 {
		return false
	}
	return binary.BigEndian.Uint16(r.Key[2:]) == 0
}
