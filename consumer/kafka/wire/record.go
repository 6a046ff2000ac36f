package wire

import (
	"encoding/binary"
	"iter"
	"time"
)

// Record is one record of a fetch. Its slices are valid until the yield function of
// [Fetched.Each] returns, or the [Cursor] moves on.
type Record struct {
	Offset    int64
	Epoch     int32  // of the leader that wrote the record's batch; -1: not known
	LastEpoch int32  // leader epoch of the log just before Offset, with a record there or without; -1: not known
	Timestamp int64  // milliseconds since 1970: of the producer, or of the broker where the topic says LogAppendTime; -1: none
	Key       []byte // nil: null
	Value     []byte // nil: null

	headerCount int
	headers     []byte // encoded and known to be well-formed
}

// TimeOf returns the time of a record's Timestamp; the zero time for "none" (-1).
func TimeOf(timestampMS int64) time.Time {
	if timestampMS < 0 {
		return time.Time{}
	}
	return time.UnixMilli(timestampMS).UTC()
}

// Header is a name and a value that travel with a record.
type Header struct {
	Key   string
	Value []byte // nil: null
}

// Header returns the value of the last header of that name.
func (r *Record) Header(key string) (value []byte, ok bool) {
	rest := r.headers
	for range r.headerCount {
		var k, v []byte
		k, v, rest, _ = readHeader(rest)
		if string(k) == key {
			value, ok = v, true
		}
	}
	return value, ok
}

// Headers returns the headers in their order. The names are copies, the values
// are not.
func (r *Record) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		rest := r.headers
		for range r.headerCount {
			var k, v []byte
			k, v, rest, _ = readHeader(rest)
			if !yield(Header{Key: string(k), Value: v}) {
				return
			}
		}
	}
}

// read takes the next record off b: KIP-98, record format of magic 2. Offset and
// Timestamp become the deltas to those of the batch. ok is false when b does not
// start with a well-formed record.
func (r *Record) read(b []byte) (rest []byte, ok bool) {
	length, n := varint(b)
	if n <= 0 || length < 1 || length > int64(len(b)-n) {
		return nil, false
	}
	body := b[n : n+int(length)]
	rest = b[n+int(length):]

	body = body[1:] // attributes: none are defined
	if r.Timestamp, n = varint(body); n <= 0 {
		return nil, false
	}
	body = body[n:]
	if r.Offset, n = varint(body); n <= 0 {
		return nil, false
	}
	if r.Key, body, ok = readBytes(body[n:]); !ok {
		return nil, false
	}
	if r.Value, body, ok = readBytes(body); !ok {
		return nil, false
	}
	return rest, r.readHeaders(body)
}

func (r *Record) readHeaders(b []byte) bool {
	count, n := varint(b)
	if n <= 0 || count < 0 || count > int64(len(b)) {
		return false
	}
	r.headerCount, r.headers = int(count), b[n:]
	rest := r.headers
	for range r.headerCount {
		var ok bool
		if _, _, rest, ok = readHeader(rest); !ok {
			return false
		}
	}
	return len(rest) == 0
}

func readHeader(b []byte) (key, value, rest []byte, ok bool) {
	if key, rest, ok = readBytes(b); !ok || key == nil {
		return nil, nil, nil, false
	}
	value, rest, ok = readBytes(rest)
	return key, value, rest, ok
}

// readBytes takes bytes with their length before them off b; length -1 is null.
func readBytes(b []byte) (v, rest []byte, ok bool) {
	length, n := varint(b)
	if n <= 0 || length < -1 || length > int64(len(b)-n) {
		return nil, nil, false
	}
	if length == -1 {
		return nil, b[n:], true
	}
	end := n + int(length)
	return b[n:end:end], b[end:], true
}

// varint is binary.Varint with a short way for one and two bytes, the usual cases.
func varint(b []byte) (int64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	if len(b) > 1 && b[1] < 0x80 {
		u := int64(b[1])<<7 | int64(b[0]&0x7f)
		return u>>1 ^ -(u & 1), 2
	}
	return binary.Varint(b)
}

// recordSize returns the length of a record without and with its length prefix.
func recordSize(timestampDelta, offsetDelta int64, key, value []byte, headers []Header) (body, whole int) {
	body = 1 + varintSize(timestampDelta) + varintSize(offsetDelta) + bytesSize(key) + bytesSize(value) + varintSize(int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		body += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	return body, varintSize(int64(body)) + body
}

func appendRecord(b []byte, body int, timestampDelta, offsetDelta int64, key, value []byte, headers []Header) []byte {
	b = binary.AppendVarint(b, int64(body))
	b = append(b, 0) // attributes
	b = binary.AppendVarint(b, timestampDelta)
	b = binary.AppendVarint(b, offsetDelta)
	b = appendVarBytes(b, key)
	b = appendVarBytes(b, value)
	b = binary.AppendVarint(b, int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		b = binary.AppendVarint(b, int64(len(h.Key)))
		b = append(b, h.Key...)
		b = appendVarBytes(b, h.Value)
	}
	return b
}

func appendVarBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
