package rules

import (
	"bytes"
	"encoding/base64"
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

// isPacked reports whether b begins as the base64 of a gzip file does.
func isPacked(b []byte) bool {
	return len(b) >= len(packedMagic) && string(b[:len(packedMagic)]) == packedMagic
}

// unquote reads what a string holds. raw has its quotes.
func (d *Decoder) unquote(raw []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	d.layers[depth] = appendUnescaped(d.layers[depth][:0], raw[1:len(raw)-1])
	return d.stream(d.layers[depth], depth+1)
}

// unpack reads what a line of base64 holds.
func (d *Decoder) unpack(line []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	line = bytes.TrimRight(line, " \t\r")
	buf, err := base64.StdEncoding.AppendDecode(d.layers[depth][:0], line)
	d.layers[depth] = buf
	if err != nil {
		return d.hold(ReasonBadGzip, fmt.Sprintf("unpack base64: %v", err))
	}
	return d.stream(buf, depth+1)
}

// unzip reads what a gzip file holds.
func (d *Decoder) unzip(b []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	buf, err := d.inflate(d.layers[depth][:0], b)
	d.layers[depth] = buf
	switch {
	case err != nil:
		return d.hold(ReasonBadGzip, fmt.Sprintf("unpack gzip: %v", err))
	case d.left < 0:
		return d.hold(ReasonUnpackedTooLarge, fmt.Sprintf("the record unpacks to more than %d bytes", d.limit()))
	}
	return d.stream(buf, depth+1)
}

// inflate appends what the gzip file b holds. It gives up as soon as the record
// has unpacked to more than it may; d.left is negative then.
func (d *Decoder) inflate(dst, b []byte) ([]byte, error) {
	d.packed.Reset(b)
	if err := d.gzip.Reset(&d.packed); err != nil {
		return dst, err
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := d.gzip.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if d.left -= int64(n); d.left < 0 || err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func (d *Decoder) limit() int64 {
	if d.MaxUnpacked == 0 {
		return DefaultMaxUnpacked
	}
	return d.MaxUnpacked
}
