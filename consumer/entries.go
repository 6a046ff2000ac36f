package consumer

import (
	"encoding/binary"
	"fmt"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/wire"
)

const bundleHead = 2 // version and compression

// entryWriter is a work record that is being made of entries. Its value is
//
//	version | compression | n × (length | entry), packed
//
// where the compression has Kafka's number for it. Brokers unpack a batch that is packed
// as a whole, to look at each of its records. They have half as much to do where the batch
// is not packed, its records are, and each holds some dozens of events.
type entryWriter struct {
	formats formats
	codec   compress.Compression
	entries []byte
	value   []byte // of the last record
}

// add appends an entry, the concatenation of head and event.
func (b *entryWriter) add(head, event []byte) {
	b.entries = binary.AppendUvarint(b.entries, uint64(len(head)+len(event)))
	b.entries = append(append(b.entries, head...), event...)
}

// size returns an upper bound, to within a few bytes, of a record of the entries added.
func (b *entryWriter) size() int { return len(b.entries) }

// full says whether the entries are to become a record.
func (b *entryWriter) full() bool { return len(b.entries) >= bundleBytes }

// record returns the value of a record of all entries added, and begins another one. The
// value is valid until the next call. Entries that cannot be packed, or would not become
// smaller, are stored as they are.
func (b *entryWriter) record() []byte {
	head := [bundleHead]byte{b.formats.orOwn().writes, byte(b.codec)}
	value, err := wire.Pack(b.codec, append(b.value[:0], head[:]...), b.entries)
	if err != nil || len(value) >= bundleHead+len(b.entries) {
		head[1] = byte(compress.None)
		value = append(append(value[:0], head[:]...), b.entries...)
	}
	b.entries, b.value = b.entries[:0], value
	if cap(b.entries) > 4*bundleBytes { // from an event of unusual size
		b.entries, b.value = nil, nil
	}
	return value
}

// entryReader are those of a work record that have not been read yet.
type entryReader struct {
	formats  formats
	rest     []byte
	unpacked wire.Unpacked
}

// open begins with the value of a record. Errors wrap errWorkFormat or errWorkCorrupt.
func (e *entryReader) open(value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("%w: it is empty", errWorkCorrupt)
	}
	if newest := e.formats.orOwn().reads; value[0] == 0 || value[0] > newest {
		return fmt.Errorf("%w: version %d, this build reads versions 1 to %d", errWorkFormat, value[0], newest)
	}
	if len(value) < bundleHead {
		return fmt.Errorf("%w: it ends in the middle of its head", errWorkCorrupt)
	}
	codec, packed := compress.Compression(value[1]), value[bundleHead:]
	e.rest = packed
	if codec != compress.None {
		if err := e.unpacked.Set(codec, packed); err != nil {
			return fmt.Errorf("%w: %d bytes of %v data: %w", errWorkCorrupt, len(packed), codec, err)
		}
		e.rest = e.unpacked.Bytes
	}
	if len(e.rest) == 0 { // no build writes an empty record, and it must not pass for an evaluated one
		return fmt.Errorf("%w: it holds no event", errWorkCorrupt)
	}
	return nil
}

// more tells whether entries are left, even damaged ones.
func (e *entryReader) more() bool { return len(e.rest) > 0 }

// next returns the next entry. Errors wrap errWorkCorrupt.
func (e *entryReader) next() ([]byte, error) {
	size, n := binary.Uvarint(e.rest)
	if n <= 0 || size > uint64(len(e.rest)-n) {
		return nil, fmt.Errorf("%w: it ends in the middle of an event", errWorkCorrupt)
	}
	end := n + int(size)
	entry := e.rest[n:end:end]
	e.rest = e.rest[end:]
	return entry, nil
}

// close gives back the memory that the entries lie in.
func (e *entryReader) close() {
	e.rest = nil
	e.unpacked.Close()
}
