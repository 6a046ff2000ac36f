package wire

import (
	"encoding/binary"
	"math"
)

// reader decodes the body of a response. From the first field on that does not fit, bad is
// set and every field is zero, so that only the end is checked.
type reader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes, in place.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) bool() bool { return r.int8() != 0 }

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uuid() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt32 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// raw reads a (nullable) string without a copy; null is nil.
func (r *reader) raw() []byte {
	n := r.int16()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

// string reads a (nullable) string; null is "".
func (r *reader) string() string { return string(r.raw()) }

// compact reads a (nullable) compact string; null is "".
func (r *reader) compact() string {
	n := r.uvarint()
	if n == 0 {
		return ""
	}
	return string(r.take(n - 1))
}

// bytes reads (nullable) bytes in place; null is nil.
func (r *reader) bytes() []byte {
	n := r.int32()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

// compactBytes is bytes for the flexible versions.
func (r *reader) compactBytes() []byte {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	return r.take(n - 1)
}

// array reads the length of a (nullable) array with elements of least bytes or more. It is
// never more than the rest of the response can hold.
func (r *reader) array(least int) int { return r.fits(int(r.int32()), least) }

// compactArray is array for the flexible versions.
func (r *reader) compactArray(least int) int { return r.fits(r.uvarint()-1, least) }

func (r *reader) fits(n, least int) int {
	if n <= 0 {
		return 0
	}
	if n > len(r.b)/least {
		r.bad, r.b = true, nil
		return 0
	}
	return n
}

func (r *reader) compactInt32s() []int32 {
	all := make([]int32, r.compactArray(4))
	for i := range all {
		all[i] = r.int32()
	}
	return all
}

// tags steps over the tagged fields of a flexible version (KIP-482).
func (r *reader) tags() { r.eachTag(func(int, *reader) {}) }

// eachTag gives the tagged fields of a flexible version. A field too short for the bytes
// that read takes of it makes the response malformed.
func (r *reader) eachTag(read func(tag int, field *reader)) {
	for range r.fits(r.uvarint(), 2) {
		tag := r.uvarint()
		field := reader{b: r.take(r.uvarint()), bad: r.bad}
		read(tag, &field)
		r.bad = r.bad || field.bad
	}
}

func appendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendString(b []byte, s string) []byte {
	return append(appendInt16(b, int16(len(s))), s...)
}

// appendNullable writes "" as null.
func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return appendInt16(b, -1)
	}
	return appendString(b, s)
}

func appendBytes(b, v []byte) []byte {
	return append(appendInt32(b, int32(len(v))), v...)
}

func appendCompact(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
}

// putCount fills in the length of an array, not known when the array began.
func putCount(b []byte, n uint32) { binary.BigEndian.PutUint32(b, n) }
