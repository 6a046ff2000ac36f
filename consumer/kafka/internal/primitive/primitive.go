// Package primitive reads the primitive types of Kafka's protocol.
// https://kafka.apache.org/protocol#protocol_types
package primitive

import (
	"encoding/binary"
	"math"
)

// Reader decodes bytes that another process has written. From the first field on that does
// not fit, Bad is set and every field is zero, so that only the end is checked. Lengths are
// checked against the bytes left before anything is allocated.
type Reader struct {
	Rest []byte // the bytes not decoded yet
	Bad  bool
}

// Fail makes the rest unreadable.
func (r *Reader) Fail() { r.Bad, r.Rest = true, nil }

// Take returns the next n bytes, in place.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.Rest) {
		r.Fail()
		return nil
	}
	head := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return head
}

// Int8 reads an INT8.
func (r *Reader) Int8() int8 {
	if b := r.Take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Bool reads a BOOLEAN.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int16 reads an INT16.
func (r *Reader) Int16() int16 {
	if b := r.Take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// Int32 reads an INT32.
func (r *Reader) Int32() int32 {
	if b := r.Take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 reads an INT64.
func (r *Reader) Int64() int64 {
	if b := r.Take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// UUID reads a UUID.
func (r *Reader) UUID() (id [16]byte) {
	copy(id[:], r.Take(16))
	return id
}

// Uvarint reads an UNSIGNED_VARINT of at most most.
func (r *Reader) Uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || v > most {
		r.Fail()
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Length reads an UNSIGNED_VARINT that is a length.
func (r *Reader) Length() int { return int(r.Uvarint(math.MaxInt32)) }

// Raw reads a (nullable) string without a copy; null is nil.
func (r *Reader) Raw() []byte {
	n := r.Int16()
	if n == -1 {
		return nil
	}
	return r.Take(int(n))
}

// Text reads a (nullable) string; null is "".
func (r *Reader) Text() string { return string(r.Raw()) }

// CompactText reads a (nullable) compact string; null is "".
func (r *Reader) CompactText() string { return string(r.CompactBytes()) }

// Bytes reads (nullable) bytes in place; null is nil.
func (r *Reader) Bytes() []byte {
	n := r.Int32()
	if n == -1 {
		return nil
	}
	return r.Take(int(n))
}

// CompactBytes is Bytes for the flexible versions.
func (r *Reader) CompactBytes() []byte {
	n := r.Length()
	if n == 0 {
		return nil
	}
	return r.Take(n - 1)
}

// Array reads the length of a (nullable) array with elements of least bytes or more. It is
// never more than the rest can hold.
func (r *Reader) Array(least int) int { return r.fits(int(r.Int32()), least) }

// CompactArray is Array for the flexible versions.
func (r *Reader) CompactArray(least int) int { return r.fits(r.Length()-1, least) }

func (r *Reader) fits(n, least int) int {
	if n > len(r.Rest)/least {
		r.Fail()
		return 0
	}
	return max(n, 0)
}

// CompactInt32s reads a compact array of INT32.
func (r *Reader) CompactInt32s() []int32 {
	all := make([]int32, r.CompactArray(4))
	for i := range all {
		all[i] = r.Int32()
	}
	return all
}

// Tags steps over the tagged fields of a flexible version (KIP-482).
func (r *Reader) Tags() { r.EachTag(func(int, *Reader) {}) }

// EachTag gives the tagged fields of a flexible version. A field too short for the bytes
// that read takes of it makes the whole malformed.
func (r *Reader) EachTag(read func(tag int, field *Reader)) {
	for range r.fits(r.Length(), 2) {
		tag := r.Length()
		field := Reader{Rest: r.Take(r.Length()), Bad: r.Bad}
		read(tag, &field)
		r.Bad = r.Bad || field.Bad
	}
}
