package cloudtrail

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// GzipReader unpacks a gzip file member by member (RFC 1952 section 2.2). White space
// and zero bytes before, between and behind its members are passed over: they are left
// by tools that join files, and by those that pad them to a block.
//
// The zero value is ready for Reset. Not for concurrent use.
type GzipReader struct {
	zip    gzip.Reader
	src    GzipSource
	broken error // stays: a reader does not go on behind damage

	given int64 // bytes that Read has given
	whole int64 // of them, those of members that are complete
}

// GzipSource is the input of a GzipReader, which reads no more of it than it uses.
type GzipSource interface {
	io.Reader
	io.ByteScanner
}

// Reset begins another file. The error is that of its first header.
func (g *GzipReader) Reset(src GzipSource) error {
	g.src, g.given, g.whole = src, 0, 0
	g.broken = g.member()
	return g.broken
}

// Read implements io.Reader. An error but for io.EOF tells the damage because of which the
// file cannot be unpacked to its end; all bytes given before it lie before the damage.
func (g *GzipReader) Read(p []byte) (int, error) {
	for g.broken == nil {
		n, err := g.zip.Read(p)
		g.given += int64(n)
		if err == io.EOF {
			g.whole = g.given
			err = g.next()
		}
		g.broken = err
		if n > 0 {
			return n, nil
		}
		if len(p) == 0 {
			return 0, g.broken
		}
	}
	return 0, g.broken
}

// Whole is how many of the bytes that were given are of members read to their end with a
// right checksum.
func (g *GzipReader) Whole() int64 { return g.whole }

// next goes on with the next member; io.EOF: there is none.
func (g *GzipReader) next() error {
	err := g.member()
	if err == nil || err == io.EOF {
		return err
	}
	return fmt.Errorf("behind a complete member: %w", err)
}

func (g *GzipReader) member() error {
	for {
		c, err := g.src.ReadByte()
		if err != nil {
			return err
		}
		if !gzipPadding(c) {
			break
		}
	}
	if err := g.src.UnreadByte(); err != nil {
		return err
	}
	if err := g.zip.Reset(g.src); err != nil {
		return err
	}
	g.zip.Multistream(false)
	return nil
}

func gzipPadding(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0 }

// BeginsGzip reports whether b begins as a gzip file does, be it behind padding. Not
// sure: b is too short to tell.
func BeginsGzip(b []byte) (is, sure bool) {
	i := 0
	for i < len(b) && gzipPadding(b[i]) {
		i++
	}
	b = b[i:]
	return isGzip(b), len(b) >= 2 || len(b) == 1 && b[0] != 0x1f
}

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
