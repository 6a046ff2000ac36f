package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go/compress"
)

// Codecs are the compressions of record batches by their names, as compression.type has them.
var Codecs = map[string]compress.Compression{
	"none": compress.None, "gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd,
}

// errTooLarge says that compressed data unpacks beyond the limit.
var errTooLarge = errors.New("it unpacks beyond the limit")

// xerialMagic starts snappy data as Java's clients write it: a header of 16 bytes, then
// blocks with their length before them. Other clients write one bare block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

// xerialVersions end the header: its version, and the oldest version that can read it.
var xerialVersions = []byte{0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialHeader = 16

	// snappyBlock is the most bytes of a block. Java takes 32 KiB; such blocks take 4 %
	// more of our time, and larger ones than ours more of the broker's.
	snappyBlock = 128 << 10

	// pieceBytes is the bytes of records that a Batch packs at a time.
	pieceBytes = 64 << 10

	// snappyRatio is above the densest packing of snappy (64 bytes in 3). A block that
	// claims more is malformed, and gets no memory.
	snappyRatio = 32

	// A zstd block yields at most 128 KiB, and has a header (RFC 8878, 3.1.1.2).
	zstdBlock       = 128 << 10
	zstdBlockHeader = 3
	zstdRaw         = 0 // types of blocks: stored, and one byte repeated
	zstdRepeat      = 1
)

// coder holds the state of the codecs that have some, for use by one goroutine at a time.
type coder struct {
	source bytes.Reader
	sink   appender
	gunzip *gzip.Reader
	gzip   *gzip.Writer
	lz4    *lz4.Writer
	block  []byte // of snappy
}

var coders pool[coder]

// appender is a byte slice to write to.
type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

// The zstd coders are safe for concurrent use, and hold memory for as many uses at a time
// as there are processors. The encoder takes its 3 MB at once, so it is made at its first
// use. Both hold channels: a coder made in a testing/synctest bubble is of no use outside
// it. The encoder's window is larger than most batches.
var (
	zstdEncoder = sync.OnceValue(newZstdEncoder)
	zstdDecoder = newZstdDecoder()
)

func newZstdEncoder() *zstd.Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // an option that the library does not take: every test would meet it
	}
	return z
}

func newZstdDecoder() *zstd.Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		panic(err) // as above
	}
	return z
}

// Pack appends src, compressed, to dst.
func Pack(codec compress.Compression, dst, src []byte) ([]byte, error) {
	switch codec {
	case compress.None:
		return append(dst, src...), nil
	case compress.Zstd:
		return zstdEncoder().EncodeAll(src, dst), nil
	case compress.Snappy:
		return packSnappy(dst, src), nil
	case compress.Gzip, compress.Lz4:
		c := coders.get()
		defer coders.put(c)
		return c.pack(codec, dst, src)
	}
	return dst, fmt.Errorf("no compression has the number %d", codec)
}

// packSnappy appends src in blocks as Java writes them.
func packSnappy(dst, src []byte) []byte {
	return snappyBlocks(append(append(dst, xerialMagic...), xerialVersions...), src)
}

// snappyBlocks appends further blocks. A broker that checks a batch unpacks one after the
// other; a single bare block it has to copy, and unpack, as a whole. The encoder works in
// memory of a coder: it wants room for incompressible data, and every buffer that batches
// are encoded to would keep that much.
func snappyBlocks(dst, src []byte) []byte {
	c := coders.get()
	defer coders.put(c)
	for len(src) > 0 {
		n := min(len(src), snappyBlock)
		c.block = s2.EncodeSnappy(c.block[:cap(c.block)], src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.block)))
		dst = append(dst, c.block...)
		src = src[n:]
	}
	return dst
}

func (c *coder) pack(codec compress.Compression, dst, src []byte) ([]byte, error) {
	c.sink = dst
	var w io.WriteCloser
	if codec == compress.Gzip {
		if c.gzip == nil {
			c.gzip = gzip.NewWriter(nil)
		}
		c.gzip.Reset(&c.sink)
		w = c.gzip
	} else {
		if c.lz4 == nil {
			c.lz4 = lz4.NewWriter(nil)
			// Java's block size, and no second checksum beside the batch's.
			if err := c.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
				return dst, err
			}
		}
		c.lz4.Reset(&c.sink)
		w = c.lz4
	}
	_, err := w.Write(src)
	err = errors.Join(err, w.Close())
	dst, c.sink = c.sink, nil
	return dst, err
}

// unpack appends the unpacked bytes of src to dst. It fails with errTooLarge when dst would
// become longer than limit, and takes memory in proportion to the bytes that really come,
// not to the size that src claims.
func unpack(codec compress.Compression, dst, src []byte, limit int) ([]byte, error) {
	switch codec {
	case compress.Snappy:
		return unpackSnappy(dst, src, limit)
	case compress.Zstd:
		return unpackZstd(dst, src, limit)
	case compress.Lz4:
		return unpackLz4(dst, src, limit)
	case compress.Gzip:
		c := coders.get()
		defer coders.put(c)
		return c.ungzip(dst, src, limit)
	}
	return dst, fmt.Errorf("no compression has the number %d", codec)
}

func unpackZstd(dst, src []byte, limit int) ([]byte, error) {
	if _, err := zstdExtent(src); err != nil {
		return dst, err
	}
	out, err := zstdDecoder.DecodeAll(src, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(out) > limit:
		return dst, errTooLarge
	case err != nil:
		return dst, err
	}
	return out, nil
}

// room returns dst with capacity for n more bytes, but not for more than limit in all.
func room(dst []byte, n, limit int) []byte {
	return slices.Grow(dst, max(0, min(n, limit-len(dst))))
}

func isXerial(src []byte) bool {
	return len(src) >= xerialHeader && bytes.HasPrefix(src, xerialMagic)
}

func unpackSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !isXerial(src) {
		return unpackSnappyBlock(dst, src, limit)
	}
	var err error
	for src = src[xerialHeader:]; len(src) > 0 && err == nil; {
		dst, src, err = nextSnappyBlock(dst, src, limit)
	}
	return dst, err
}

// nextSnappyBlock appends the unpacked bytes of the first block in src.
func nextSnappyBlock(dst, src []byte, limit int) (out, rest []byte, err error) {
	if len(src) < 4 {
		return dst, nil, io.ErrUnexpectedEOF
	}
	n := int(binary.BigEndian.Uint32(src))
	if n > len(src)-4 {
		return dst, nil, io.ErrUnexpectedEOF
	}
	dst, err = unpackSnappyBlock(dst, src[4:4+n], limit)
	return dst, src[4+n:], err
}

// snappyBlockSize returns the unpacked size that the first block in src claims; 0:
// malformed.
func snappyBlockSize(src []byte) int {
	n, err := s2.DecodedLen(src[min(4, len(src)):])
	if err != nil {
		return 0
	}
	return n
}

func unpackSnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	switch {
	case err != nil:
		return dst, err
	case n > limit-len(dst):
		return dst, errTooLarge
	case n > snappyRatio*len(src):
		return dst, s2.ErrCorrupt
	}
	dst = slices.Grow(dst, n)
	out, err := s2.Decode(dst[len(dst):len(dst)+n], src)
	return dst[:len(dst)+len(out)], err
}

func (c *coder) ungzip(dst, src []byte, limit int) ([]byte, error) {
	c.source.Reset(src)
	defer c.source.Reset(nil)
	dst = room(dst, 4*len(src), limit)
	if c.gunzip == nil {
		c.gunzip = new(gzip.Reader)
	}
	if err := c.gunzip.Reset(&c.source); err != nil {
		return dst, err
	}
	return readAll(dst, c.gunzip, limit)
}

// readAll appends all of r to dst.
func readAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(readStep, len(dst)/2))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}
