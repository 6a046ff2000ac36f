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
	// Codec compresses the records. It is set before the first Append.
	//
	// Snappy is a sequence of blocks, so with it records are packed as they come: they are
	// in the processor's cache then, and a batch takes little more memory than its final
	// bytes.
	Codec compress.Compression

	packed    []byte // blocks of the first records
	raw       int    // bytes of the records in packed
	records   []byte // records not packed yet
	count     int
	firstTime int64
	maxTime   int64
}

// BatchOptions names the producer of a batch.
type BatchOptions struct {
	// Of an idempotent or transactional producer, with sequence numbers that count the
	// records of a partition; as in NoProducer for any other.
	ProducerID int64
	Epoch      int16
	Sequence   int32 // of the first record

	Transactional bool
}

// NoProducer are the options of a batch without an idempotent producer.
var NoProducer = BatchOptions{ProducerID: -1, Epoch: -1, Sequence: -1}

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
	if b.Codec == compress.Snappy && len(b.records) >= pieceBytes {
		b.packAhead()
	}
}

func (b *Batch) packAhead() {
	if b.raw == 0 {
		b.packed = packSnappy(b.packed, b.records)
	} else {
		b.packed = snappyBlocks(b.packed, b.records)
	}
	b.raw += len(b.records)
	b.records = keep(b.records)
}

// Len returns the number of records.
func (b *Batch) Len() int { return b.count }

// Size returns the most bytes that Encode appends, 0 for an empty batch. A topic's
// max.message.bytes limits this number, also where the topic's compression.type packs the
// batch anew.
func (b *Batch) Size() int {
	if b.count == 0 {
		return 0
	}
	return batchHeader + b.raw + len(b.records)
}

// Held returns the number of bytes that the batch takes in memory.
func (b *Batch) Held() int { return len(b.packed) + len(b.records) }

// SizeWith returns the Size after an Append of that record.
func (b *Batch) SizeWith(timestampMS int64, key, value []byte, headers ...Header) int {
	first := b.firstTime
	if b.count == 0 {
		first = timestampMS
	}
	_, whole := recordSize(timestampMS-first, int64(b.count), key, value, headers)
	return batchHeader + b.raw + len(b.records) + whole
}

// Reset empties the batch and keeps its memory, unless the last records used little of it.
func (b *Batch) Reset() {
	b.packed, b.records = keep(b.packed), keep(b.records)
	b.raw, b.count, b.firstTime, b.maxTime = 0, 0, 0, 0
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
	codec := b.Codec
	var err error
	if b.raw > 0 {
		dst = snappyBlocks(append(dst, b.packed...), b.records)
	} else if dst, err = Pack(codec, dst, b.records); err != nil {
		return dst[:start], fmt.Errorf("encode a record batch: %w", err)
	}
	if whole := b.raw + len(b.records); codec != compress.None && len(dst)-start-batchHeader >= whole {
		codec = compress.None
		if dst, err = b.unpacked(dst[:start+batchHeader]); err != nil {
			return dst[:start], fmt.Errorf("encode a record batch: %w", err)
		}
	}
	b.fill(dst[start:], codec, o)
	return dst, nil
}

// unpacked appends the records as they were added.
func (b *Batch) unpacked(dst []byte) ([]byte, error) {
	var err error
	if b.raw > 0 {
		dst, err = unpack(b.Codec, dst, b.packed, len(dst)+b.raw)
	}
	return append(dst, b.records...), err
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
