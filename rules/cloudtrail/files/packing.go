package files

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"trailhound/rules/cloudtrail"
)

// packing is the compression of a stream.
type packing int

const (
	notPacked packing = iota
	packedByGzip
	packedByZstd
	packedByBzip2
)

// maxZstdWindow bounds the window of a zstd file, which is held in memory. zstd -20 needs
// all of it; only --long or --ultra make larger ones.
const maxZstdWindow = 32 << 20

// packingOf tells the packing by the first bytes of the stream: behind padding for gzip,
// and also by skippable frames for zstd. It waits for no more bytes than it needs: a stream
// may come line by line.
func packingOf(b *bufio.Reader) packing {
	switch {
	case beginsZstd(b):
		return packedByZstd
	case beginsBzip2(b):
		return packedByBzip2
	case beginsGzip(b):
		return packedByGzip
	}
	return notPacked
}

// begins tells whether the stream begins with magic.
func begins(b *bufio.Reader, magic string) bool {
	for n := 1; n <= len(magic); n++ {
		if head, err := b.Peek(n); err != nil || head[n-1] != magic[n-1] {
			return false
		}
	}
	return true
}

// beginsGzip looks behind padding, as far as needed and as the buffer reaches.
func beginsGzip(b *bufio.Reader) bool {
	for n := 2; ; n *= 2 {
		ahead, err := b.Peek(min(n, b.Size()))
		if is, sure := cloudtrail.BeginsGzip(ahead); sure || err != nil || n >= b.Size() {
			return is
		}
	}
}

// beginsZstd tells whether the stream begins with the magic number of a frame, or of a
// skippable one (RFC 8878, 3.1).
func beginsZstd(b *bufio.Reader) bool {
	if begins(b, "\x28\xb5\x2f\xfd") {
		return true
	}
	head, err := b.Peek(1)
	return err == nil && head[0]&0xf0 == 0x50 && begins(b, string(head)+"\x2a\x4d\x18")
}

// beginsBzip2 tells whether the stream begins with a header and the first block's magic
// number, or that of an empty stream's end: BZh alone could be text.
func beginsBzip2(b *bufio.Reader) bool {
	if !begins(b, "BZh") {
		return false
	}
	head, _ := b.Peek(4) // a shorter stream fails the next comparison
	return begins(b, string(head)+"\x31\x41\x59\x26\x53\x59") || begins(b, string(head)+"\x17\x72\x45\x38\x50\x90")
}

// layer unpacks one packing of a file, and is used again for the next file.
type layer struct {
	gzip cloudtrail.GzipReader
	zstd *zstd.Decoder // nil: not needed yet
}

func (l *layer) open(p packing, b *bufio.Reader) (io.Reader, error) {
	switch p {
	case packedByZstd:
		return l.openZstd(b)
	case packedByBzip2:
		return bzip2.NewReader(b), nil
	}
	return &l.gzip, l.gzip.Reset(b)
}

func (l *layer) openZstd(b *bufio.Reader) (io.Reader, error) {
	var err error
	if l.zstd == nil {
		// With a concurrency of one the decoder starts no goroutines, and need not be
		// closed.
		l.zstd, err = zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	} else {
		err = l.zstd.Reset(b)
	}
	return zstdReader{l.zstd}, err
}

// zstdReader adds the remedy to the error of a window that is too large.
type zstdReader struct{ *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("it was packed by zstd with a window of more than %d MiB, as --long and --ultra make; unpack it with zstd -d --long=31", maxZstdWindow>>20)
	}
	return n, err
}

// notRead lists the formats that are refused, by their first bytes, with the remedy. JSON
// and text do not begin with any of these.
var notRead = []struct{ magic, what string }{
	{"PK\x03\x04", "it is a zip archive in a stream or inside of another file, which is not read; write it to a file of its own, or unpack it first"},
	{"PK\x05\x06", "it is an empty zip archive"},
	{"\xfd7zXZ\x00", "it is xz, which is not read; unpack it: xz -dc FILE | trailhound detect -"},
	{"7z\xbc\xaf\x27\x1c", "it is a 7z archive, which is not read; unpack it first"},
	{"Rar!\x1a\x07", "it is a rar archive, which is not read; unpack it first"},
	{"\x04\x22\x4d\x18", "it is lz4, which is not read; unpack it: lz4 -dc FILE | trailhound detect -"},
	{"\xff\x06\x00\x00sNaPpY", "it is snappy, which is not read; unpack it first"},
	{"\x1f\x9d", "it is packed by compress, which is not read; unpack it: gzip -dc FILE | trailhound detect -"},
	{"PAR1", "it is Parquet, which is not read; export it as JSON lines"},
	{"ORC", "it is ORC, which is not read; export it as JSON lines"},
	{"Obj\x01", "it is Avro, which is not read; export it as JSON lines"},
}

// tarMagic stands at tarMagicAt in a tar archive (POSIX.1-1988 ustar, and GNU's).
const (
	tarMagic   = "ustar"
	tarMagicAt = 257
)

// unreadable returns the reason why the stream is not read; "" if it may be. It finds a tar
// archive only if the buffer holds enough already.
func unreadable(b *bufio.Reader) string {
	for _, f := range notRead {
		if begins(b, f.magic) {
			return f.what
		}
	}
	head, _ := b.Peek(min(tarMagicAt+len(tarMagic), b.Buffered()))
	if len(head) == tarMagicAt+len(tarMagic) && string(head[tarMagicAt:]) == tarMagic {
		return "it is a tar archive, which is not read; unpack it into a directory first: tar -xf FILE -C DIR"
	}
	return ""
}
