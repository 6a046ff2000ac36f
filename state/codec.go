package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// formatVersion is the first byte of every value, in the changelog and on disk.
const formatVersion = 1

// ErrFormat says that a changelog record has a format version, or a kind of
// key, that this build does not know: it was written by a newer one. Such a
// record is never skipped; the shard goes back to a member that can read it.
var ErrFormat = errors.New("state record has a format that this build does not know: run the build that wrote it, or a newer one")

// ErrDamaged says that a record has a form that no build writes.
var ErrDamaged = errors.New("state record is damaged")

// reader takes a record apart. At the first part that no encoder of this package writes,
// bad is set, and every further result is zero.
type reader struct {
	b   []byte
	bad bool
}

// open starts reading a value behind its version byte.
func open(value []byte) (reader, error) {
	if len(value) == 0 {
		return reader{}, ErrDamaged
	}
	if value[0] != formatVersion {
		return reader{}, fmt.Errorf("%w (version %d)", ErrFormat, value[0])
	}
	return reader{b: value[1:]}, nil
}

// close reports a record that was not well-formed, or not read to its end.
func (r *reader) close() error {
	if r.bad || len(r.b) > 0 {
		return ErrDamaged
	}
	return nil
}

func (r *reader) fail() {
	r.bad = true
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// uvarint accepts only the shortest encoding, so that a value has one form.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) int32() int32 {
	v := r.varint()
	if v != int64(int32(v)) {
		r.fail()
		return 0
	}
	return int32(v)
}

// take gives the next n bytes; they alias the record.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// part gives a length-prefixed string; it aliases the record.
func (r *reader) part() []byte { return r.take(r.uvarint()) }

func (r *reader) hash() (h [16]byte) {
	copy(h[:], r.take(16))
	return h
}

// rest gives the bytes not yet read.
func (r *reader) rest() []byte { return r.take(uint64(len(r.b))) }

func appendPart[T []byte | string](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendTime writes nanoseconds since 1970 as whole seconds, doubled, plus one
// when a fraction follows: event times mostly have none and take five bytes.
func appendTime(dst []byte, n int64) []byte {
	sec, frac := n/int64(time.Second), n%int64(time.Second)
	if frac < 0 {
		sec, frac = sec-1, frac+int64(time.Second)
	}
	if frac == 0 {
		return binary.AppendVarint(dst, sec<<1)
	}
	dst = binary.AppendVarint(dst, sec<<1|1)
	return binary.AppendUvarint(dst, uint64(frac))
}

func (r *reader) time() int64 {
	v := r.varint()
	sec, frac := v>>1, int64(0)
	if v&1 == 1 {
		f := r.uvarint()
		if f == 0 || f >= uint64(time.Second) {
			r.fail()
		}
		frac = int64(f)
	}
	const last = math.MaxInt64 / int64(time.Second)
	n := sec*int64(time.Second) + frac // wraps at either end
	if sec < -last-1 || sec > last || (n < 0) != (sec < 0) {
		r.fail()
	}
	if r.bad {
		return 0
	}
	return n
}
