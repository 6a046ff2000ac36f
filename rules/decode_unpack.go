package rules

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// isGzip reports whether b begins as a gzip file does (RFC 1952 section 2.3.1).
func isGzip(b []byte) bool {
	return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b
}

// packedMagic is how base64 of a gzip file begins: the magic number, the
// compression method and the upper bits of the flags.
const packedMagic = "H4sI"

// firstRead is how much of a gzip file is unpacked before its size is asked for.
const firstRead = 16 << 10

// isPacked reports whether b begins as the base64 of a gzip file does.
func isPacked(b []byte) bool {
	return len(b) >= len(packedMagic) && string(b[:len(packedMagic)]) == packedMagic
}

// unquote reads what a string holds. raw has its quotes.
func (d *Decoder) unquote(raw []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	raw = raw[1 : len(raw)-1]
	size := len(raw)
	if size > measuredText {
		size = unescapedLen(raw)
	}
	if !d.grow(depth, size) {
		return d.tooLarge()
	}
	d.layers[depth] = appendUnescaped(d.layers[depth], raw)
	return d.layer(depth, size)
}

// unpack reads what a line of base64 holds.
func (d *Decoder) unpack(line []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	line = bytes.TrimRight(line, " \t\r")
	size := base64.StdEncoding.DecodedLen(len(line))
	if !d.grow(depth, size) {
		return d.tooLarge()
	}
	buf, err := base64.StdEncoding.AppendDecode(d.layers[depth], line)
	d.layers[depth] = buf
	if err != nil {
		return d.hold(ReasonBadGzip, fmt.Sprintf("unpack base64: %v", err))
	}
	return d.layer(depth, size)
}

// grow empties the layer and makes room for size bytes of a string or of base64
// in it. It reports false if the record would unpack to more than the limit.
func (d *Decoder) grow(depth, size int) bool {
	if int64(size) > d.left-d.quoted {
		return false
	}
	d.layers[depth] = d.room(d.layers[depth], size)
	return true
}

// room returns buf, one of the decoder's buffers, emptied and with room for size bytes.
// If the buffers would exceed Scratch, the decoder's turn is waited for.
func (d *Decoder) room(buf []byte, size int) []byte {
	if size <= cap(buf) {
		return buf[:0]
	}
	if d.kept()-cap(buf)+size > d.scratch() {
		d.large()
	}
	return make([]byte, 0, size)
}

// kept is how many bytes of buffers the decoder holds on to.
func (d *Decoder) kept() int {
	n := cap(d.text)
	for _, l := range d.layers {
		n += cap(l)
	}
	return n
}

func (d *Decoder) scratch() int {
	if d.Scratch == 0 {
		return DefaultScratch
	}
	return d.Scratch
}

// layer reads a layer that holds size bytes of a string or of base64.
func (d *Decoder) layer(depth, size int) bool {
	d.quoted += int64(size)
	more := d.inner(depth)
	d.quoted -= int64(size)
	return more
}

// inner reads a layer, and lets go of it if it is large: the values beside it
// may need as much for layers of their own.
func (d *Decoder) inner(depth int) bool {
	more := d.stream(d.layers[depth], depth+1)
	if cap(d.layers[depth]) > d.scratch() {
		d.layers[depth] = nil
	}
	return more
}

// large waits for the decoder's turn to hold more than scratch.
func (d *Decoder) large() {
	if d.Turn != nil && !d.turn {
		d.Turn.Lock()
		d.turn = true
	}
}

// unzip reads what a gzip file holds.
func (d *Decoder) unzip(b []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	buf, err := d.inflate(d.layers[depth][:0], b)
	d.layers[depth] = buf
	if d.left < d.quoted {
		return d.tooLarge()
	}
	if err == nil {
		return d.inner(depth)
	}
	if len(buf) > 0 && !d.inner(depth) {
		return false
	}
	return d.hold(ReasonBadGzip, fmt.Sprintf("unpack gzip: %v", err))
}

func (d *Decoder) tooLarge() bool {
	return d.hold(ReasonUnpackedTooLarge, fmt.Sprintf("the record unpacks to more than %d bytes", d.limit()))
}

// inflate returns what the gzip file b holds, in dst if it is large enough: with an
// error, what its complete members hold. It gives up as soon as the record has unpacked
// to more than it may; d.left is less than d.quoted then.
//
// What does not fit scratch is unpacked twice, first only to learn its size. So
// a bomb gets no memory, and everything else no more than it fills.
func (d *Decoder) inflate(dst, b []byte) ([]byte, error) {
	err := d.open(b)
	if err != nil {
		return dst, err
	}
	for most := max(cap(dst), d.scratch()-d.kept()+cap(dst), firstRead); len(dst) < most; {
		if len(dst) == cap(dst) {
			dst = append(make([]byte, 0, min(most, max(firstRead, 2*cap(dst)))), dst...)
		}
		n, err := d.gunzip(dst[len(dst):min(cap(dst), most)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:d.gzip.Whole()], err
		}
	}
	held := int64(len(dst))
	err = d.discard(dst)
	size := d.gzip.Whole()
	if d.left < d.quoted || err == nil && size == held {
		return dst, nil // nothing came, so that dst is not spoilt
	}
	if size > int64(cap(dst)) {
		d.large()
		dst = make([]byte, size)
	}
	dst = dst[:size]
	if again := d.open(b); again != nil {
		return dst[:0], again
	}
	if _, again := io.ReadFull(&d.gzip, dst); again != nil {
		return dst[:0], again
	}
	return dst, err
}

// discard unpacks the rest, and spoils scratch unless nothing comes.
func (d *Decoder) discard(scratch []byte) error {
	for {
		_, err := d.gunzip(scratch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// open makes b what gunzip reads.
func (d *Decoder) open(b []byte) error {
	d.packed.Reset(b)
	return d.gzip.Reset(&d.packed)
}

// gunzip is a Read that counts. It ends, as at the end, when the record has
// unpacked to more than it may.
func (d *Decoder) gunzip(p []byte) (int, error) {
	n, err := d.gzip.Read(p)
	if d.left -= int64(n); d.left < d.quoted {
		err = io.EOF
	}
	return n, err
}

func (d *Decoder) limit() int64 {
	if d.MaxUnpacked == 0 {
		return DefaultMaxUnpacked
	}
	return d.MaxUnpacked
}
