package cloudtrail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"sync"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// isGzip reports whether b begins as a gzip file does (RFC 1952 section 2.3.1).
func isGzip(b []byte) bool {
	return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b
}

// packedMagic is how base64 of a gzip file begins: the magic number, the
// compression method and the upper bits of the flags.
const packedMagic = "H4sI"

// isPacked reports whether b begins as the base64 of a gzip file does.
func isPacked(b []byte) bool {
	return len(b) >= len(packedMagic) && string(b[:len(packedMagic)]) == packedMagic
}

// unquote puts the content of a string, raw with its quotes, into the layer, and returns
// how many bytes count as held for it.
func (d *Decoder) unquote(raw []byte, depth int) (size int, err *DecodeError) {
	if depth == maxEnvelopes {
		return 0, tooManyEnvelopes()
	}
	raw = raw[1 : len(raw)-1]
	size = len(raw)
	if size > measuredText {
		size = jsonscan.UnescapedLen(raw)
	}
	if !d.grow(depth, size) {
		return 0, d.tooLargeToHold()
	}
	d.layers[depth] = jsonscan.AppendUnescaped(d.layers[depth], raw)
	return size, nil
}

// unpack is unquote for a line of base64.
func (d *Decoder) unpack(line []byte, depth int) (size int, err *DecodeError) {
	if depth == maxEnvelopes {
		return 0, tooManyEnvelopes()
	}
	line = bytes.TrimRight(line, " \t\r")
	size = base64.StdEncoding.DecodedLen(len(line))
	if !d.grow(depth, size) {
		return 0, d.tooLargeToHold()
	}
	buf, bad := base64.StdEncoding.AppendDecode(d.layers[depth], line)
	d.layers[depth] = buf
	if bad != nil {
		return 0, problem(ReasonBadGzip, "unpack base64: %v", bad)
	}
	return size, nil
}

// grow empties the layer and makes room for size bytes of a string or of base64 in it. It
// reports false if that is more than may be held, with the layers around it, or if the turn
// was refused.
func (d *Decoder) grow(depth, size int) bool {
	if int64(size) > d.maxHeld()-d.record.held {
		return false
	}
	room, ok := d.room(d.layers[depth], size)
	d.layers[depth] = room
	return ok
}

// release lets go of a layer that was read if it is large: the values beside it may need
// as much for layers of their own.
func (d *Decoder) release(depth int) {
	if cap(d.layers[depth]) > d.scratch() {
		d.layers[depth] = nil
	}
}

// inflater reads a gzip file.
type inflater struct {
	zip    GzipReader
	packed bytes.Reader
	left   int64 // bytes that it may still give

	progress func() // called now and then; nil: nothing is
	since    int    // bytes given since the last call
}

// progressEvery is how many bytes are unpacked between two calls of Decoder.Progress.
const progressEvery = 1 << 20

// inflaters are shared by all decoders: few of them unpack at a time.
var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// errInflated says that a gzip file gives more than it may.
var errInflated = errors.New("unpacks to too much")

// Read implements io.Reader. It ends with errInflated if there is more than may come.
func (z *inflater) Read(p []byte) (int, error) {
	if int64(len(p)) <= z.left {
		n, err := z.zip.Read(p)
		z.left -= int64(n)
		if z.since += n; z.since >= progressEvery && z.progress != nil {
			z.since = 0
			z.progress()
		}
		return n, err
	}
	if z.left > 0 {
		return z.Read(p[:z.left])
	}
	var more [1]byte
	if n, err := z.zip.Read(more[:]); n == 0 {
		return 0, err
	}
	return 0, errInflated
}

// release gives the inflater back.
func (z *inflater) release() {
	z.packed.Reset(nil)
	z.progress = nil
	inflaters.Put(z)
}

// unzip returns the source of the bytes that z unpacks of from; nil: there is none. Bytes
// count once they are passed, so that it does not matter how much z has unpacked ahead.
// Several gzip files at a time, in one another, are rare, and the state of each takes some
// 45 KiB.
func (d *Decoder) unzip(z *inflater, from GzipSource, depth int) (*source, *DecodeError) {
	if depth == maxEnvelopes {
		return nil, tooManyEnvelopes()
	}
	if d.record.exhausted {
		return nil, d.tooLarge()
	}
	z.left, z.progress, z.since = d.limit()-d.record.spent, d.Progress, 0
	if d.record.inflating > 0 && !d.large() {
		return nil, nil
	}
	if err := z.zip.Reset(from); err != nil {
		return nil, d.badGzip(err)
	}
	return d.source(depth+1, d.layers[depth][:0], z), nil
}

// inflated ends the reading of gzip, with the problem at its end.
func (d *Decoder) inflated(s *source, empty bool) *DecodeError {
	switch {
	case !d.charge(s) || errors.Is(s.err, errInflated):
		return d.exhaust()
	case s.err != io.EOF:
		return d.badGzip(s.err)
	case empty:
		return problem(ReasonEmpty, "no event inside")
	}
	return nil
}

// charge counts the bytes of a gzip file that were passed; false: the record unpacks to
// more than it may.
func (d *Decoder) charge(s *source) bool {
	at := s.offset()
	d.record.spent += at - s.charged
	s.charged = at
	return !d.record.exhausted && d.record.spent <= d.limit()
}

// exhaust says, once, that the record unpacks to more than it may: from then on no gzip
// is unpacked.
func (d *Decoder) exhaust() *DecodeError {
	if d.record.exhausted {
		return nil
	}
	d.record.exhausted = true
	return d.tooLarge()
}

func (d *Decoder) badGzip(err error) *DecodeError {
	if errors.Is(err, errInflated) {
		return d.exhaust()
	}
	return problem(ReasonBadGzip, "unpack gzip: %v", err)
}

func (d *Decoder) tooLarge() *DecodeError {
	return problem(ReasonUnpackedTooLarge, "the record unpacks to more than %d bytes", d.limit())
}

// tooLargeToHold is the problem of one value that is passed over.
func (d *Decoder) tooLargeToHold() *DecodeError {
	return problem(ReasonUnpackedTooLarge, "a value takes more than %d bytes when it is unpacked", d.maxHeld())
}

func (d *Decoder) limit() int64 {
	if d.MaxUnpacked == 0 {
		return DefaultMaxUnpacked
	}
	return d.MaxUnpacked
}

// MostEvent is how many bytes an event may have.
func (d *Decoder) MostEvent() int64 { return max(d.maxHeld()/eventShares, leastEvent) }

func (d *Decoder) maxHeld() int64 {
	if d.MaxHeld == 0 {
		return min(DefaultMaxHeld, d.limit())
	}
	return min(d.MaxHeld, d.limit())
}
