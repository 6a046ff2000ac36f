package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/segmentio/kafka-go/compress"
)

// The fixed part of a record batch of magic 2 (KIP-98). Positions in bytes.
const (
	atLength      = 8
	atLeaderEpoch = 12
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21 // the CRC covers everything from here on
	atLastDelta   = 23
	atFirstTime   = 27
	atMaxTime     = 35
	atProducerID  = 43
	atEpoch       = 51
	atSequence    = 53
	atCount       = 57
	batchHeader   = 61

	logOverhead = 12 // base offset and length, which the length does not count
)

// Attributes of a record batch.
const (
	codecMask         = 0x07
	logAppendTimeBit  = 0x08
	transactionalBit  = 0x10
	controlBit        = 0x20
	recordFormatMagic = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a record batch under construction. The zero value is empty and ready;
// after Reset its memory serves the next batch. Not for concurrent use.
type Batch struct {
	records   []byte
	count     int
	firstTime int64
	maxTime   int64
}

// BatchOptions says how a batch is compressed, and by whom it is produced.
type BatchOptions struct {
	Codec compress.Compression

	// Of an idempotent or transactional producer, whose sequence numbers count
	// records per partition; all three are -1 for any other.
	ProducerID int64
	Epoch      int16
	Sequence   int32 // of the first record

	Transactional bool
}

// Append adds a record. The time is in milliseconds since 1970. A nil key or value
// is null. Everything is copied.
func (b *Batch) Append(timestampMS int64, key, value []byte, headers ...Header) {
	if b.count == 0 {
		b.firstTime, b.maxTime = timestampMS, timestampMS
	}
	b.maxTime = max(b.maxTime, timestampMS)
	time, offset := timestampMS-b.firstTime, int64(b.count)
	body, _ := recordSize(time, offset, key, value, headers)
	b.records = appendRecord(b.records, body, time, offset, key, value, headers)
	b.count++
}

// Len returns the number of records.
func (b *Batch) Len() int { return b.count }

// Size returns the number of bytes that Encode appends at most, 0 for an empty
// batch. It is the number that a topic's max.message.bytes limits.
func (b *Batch) Size() int {
	if b.count == 0 {
		return 0
	}
	return batchHeader + len(b.records)
}

// SizeWith returns what Size would be after Append of that record.
func (b *Batch) SizeWith(timestampMS int64, key, value []byte, headers ...Header) int {
	first := b.firstTime
	if b.count == 0 {
		first = timestampMS
	}
	_, whole := recordSize(timestampMS-first, int64(b.count), key, value, headers)
	return batchHeader + len(b.records) + whole
}

// Reset empties the batch and keeps its memory, if the last records made use of it.
func (b *Batch) Reset() {
	b.records, b.count, b.firstTime, b.maxTime = keep(b.records), 0, 0, 0
}

// Encode appends the batch in Kafka's record format (magic 2) to dst. Records that
// compression would not make smaller go uncompressed. The batch stays as it is.
func (b *Batch) Encode(dst []byte, o BatchOptions) ([]byte, error) {
	if b.count == 0 {
		return dst, errors.New("encode a record batch: it holds no records, and brokers refuse that")
	}
	start := len(dst)
	var blank [batchHeader]byte
	dst = append(dst, blank[:]...)
	codec := o.Codec
	dst, err := pack(codec, dst, b.records)
	if err != nil {
		return dst[:start], fmt.Errorf("encode a record batch: %w", err)
	}
	if codec != compress.None && len(dst)-start-batchHeader >= len(b.records) {
		codec = compress.None
		dst = append(dst[:start+batchHeader], b.records...)
	}
	b.fill(dst[start:], codec, o)
	return dst, nil
}

// fill writes the header of an encoded batch, last of all its checksum.
func (b *Batch) fill(batch []byte, codec compress.Compression, o BatchOptions) {
	attributes := uint16(codec)
	if o.Transactional {
		attributes |= transactionalBit
	}
	be := binary.BigEndian
	be.PutUint32(batch[atLength:], uint32(len(batch)-logOverhead))
	be.PutUint32(batch[atLeaderEpoch:], 0xffffffff) // -1: the broker sets it
	batch[atMagic] = recordFormatMagic
	be.PutUint16(batch[atAttributes:], attributes)
	be.PutUint32(batch[atLastDelta:], uint32(b.count-1))
	be.PutUint64(batch[atFirstTime:], uint64(b.firstTime))
	be.PutUint64(batch[atMaxTime:], uint64(b.maxTime))
	be.PutUint64(batch[atProducerID:], uint64(o.ProducerID))
	be.PutUint16(batch[atEpoch:], uint16(o.Epoch))
	be.PutUint32(batch[atSequence:], uint32(o.Sequence))
	be.PutUint32(batch[atCount:], uint32(b.count))
	be.PutUint32(batch[atCRC:], crc32.Checksum(batch[atAttributes:], castagnoli))
}
