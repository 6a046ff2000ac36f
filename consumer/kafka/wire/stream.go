package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

const (
	// mostStreamed bounds the unpacked size of a batch that is read piece by piece. It is
	// as much as producers can write: lengths in Kafka have 31 bits.
	mostStreamed = math.MaxInt32

	// gzipRatio is the densest packing of gzip: 258 bytes in two bits.
	gzipRatio = 1032

	// streamStep is the bytes of such a batch that are unpacked at a time, if a record does
	// not take more.
	streamStep = 256 << 10
)

// extent is the size of packed data, as known before it is unpacked.
type extent struct {
	size   int // bytes that it unpacks to, at most
	window int // bytes that unpacking refers back to, at most; 0: little, or all
}

// measure returns the extent of the records of a batch; that of gzip is a claim. An error
// says that they cannot be unpacked; data that is malformed otherwise may have any extent.
func measure(codec compress.Compression, src []byte) (extent, error) {
	switch codec {
	case compress.Zstd:
		return zstdExtent(src)
	case compress.Lz4:
		return extent{size: lz4Extent(src)}, nil
	case compress.Snappy:
		n, err := s2.DecodedLen(src)
		return extent{size: n}, err
	case compress.Gzip:
		if n := len(src); n >= 4 { // RFC 1952 section 2.3.1: ISIZE
			return extent{size: min(int(binary.LittleEndian.Uint32(src[n-4:])), gzipRatio*n)}, nil
		}
	}
	return extent{}, nil
}

// zstdExtent goes through the frames (RFC 8878, 3.1). A frame that claims to hold more than
// its blocks can is refused: the library makes room for the claim.
func zstdExtent(src []byte) (e extent, err error) {
	for len(src) >= 4 { // the library, too, takes fewer bytes for the end
		var h zstd.Header
		rest, err := h.DecodeAndStrip(src)
		if err != nil {
			return e, err
		}
		if h.Skippable {
			if uint64(len(rest)) < uint64(h.SkippableSize) {
				return e, io.ErrUnexpectedEOF
			}
			src = rest[h.SkippableSize:]
			continue
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		size, rest, err := zstdBlocks(src[h.HeaderSize:], int(min(window, zstdBlock)))
		if err != nil {
			return e, err
		}
		if h.HasCheckSum {
			if len(rest) < 4 {
				return e, io.ErrUnexpectedEOF
			}
			rest = rest[4:]
		}
		if h.HasFCS {
			if h.FrameContentSize > uint64(size) {
				return e, fmt.Errorf("%d bytes claim to hold %d", len(src)-len(rest), h.FrameContentSize)
			}
			size = int(h.FrameContentSize)
		}
		e.size += size
		e.window = max(e.window, int(min(window, math.MaxInt)))
		src = rest
	}
	return e, nil
}

// zstdBlocks adds up the blocks of a frame. A compressed block unpacks to most bytes at
// most; the other types tell their size (RFC 8878, 3.1.1.2).
func zstdBlocks(src []byte, most int) (size int, rest []byte, err error) {
	for last := false; !last; {
		if len(src) < zstdBlockHeader {
			return size, nil, io.ErrUnexpectedEOF
		}
		head := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
		src = src[zstdBlockHeader:]
		last = head&1 != 0
		n := head >> 3
		switch head >> 1 & 3 {
		case zstdRaw:
			size += n
		case zstdRepeat:
			size += n
			n = 1
		default:
			size += most
		}
		if n > len(src) {
			return size, nil, io.ErrUnexpectedEOF
		}
		src = src[n:]
	}
	return size, src, nil
}

// lz4Extent bounds the unpacked size of the frames, block by block.
func lz4Extent(src []byte) (size int) {
	r := lz4Reader{src: src}
	for {
		block, _, err := r.next()
		if err != nil {
			return size
		}
		if block.plain {
			size += len(block.bytes)
		} else {
			size += min(r.frame.most, lz4Ratio*len(block.bytes))
		}
	}
}

// stream unpacks a batch piece by piece. It is for a goroutine that has the turn.
type stream struct {
	source io.Reader
	left   int // bytes that the batch may still unpack to
	packed bytes.Reader
	coder  *coder // of gzip; nil: there is none
	zstd   *zstd.Decoder
	window int
	lz4    lz4Stream
}

func (s *stream) open(m *Memory, codec compress.Compression, src []byte, window int) error {
	s.left = mostStreamed
	s.packed.Reset(src)
	switch codec {
	case compress.Gzip:
		s.coder = coders.get()
		if s.coder.gunzip == nil {
			s.coder.gunzip = new(gzip.Reader)
		}
		s.source = s.coder.gunzip
		return s.coder.gunzip.Reset(&s.packed)
	case compress.Zstd:
		s.zstd, s.window = m.zstd(), window
		s.source = s.zstd
		return s.zstd.Reset(&s.packed)
	case compress.Lz4:
		s.lz4 = lz4Stream{lz4Reader: lz4Reader{src: src}}
		s.source = &s.lz4
		return nil
	}
	return fmt.Errorf("no compression has the number %d", codec)
}

// Read implements io.Reader. It fails with errTooLarge when more bytes come than a batch
// may hold.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.source.Read(p)
	if s.left -= n; s.left < 0 {
		return n, errTooLarge
	}
	return n, err
}

func (s *stream) close(m *Memory) {
	s.packed.Reset(nil)
	if s.coder != nil {
		coders.put(s.coder)
	}
	if s.zstd != nil {
		m.putZstd(s.zstd, s.window)
	}
	*s = stream{}
}

// lz4Stream unpacks frame by frame and block by block. It holds a block and the window that
// the next block refers back to.
type lz4Stream struct {
	lz4Reader
	out  []byte
	read int // of out
}

// Read implements io.Reader.
func (l *lz4Stream) Read(p []byte) (int, error) {
	for l.read == len(l.out) {
		if drop := len(l.out) - lz4Window; drop > 0 {
			l.out = l.out[:copy(l.out, l.out[drop:])]
			l.read = len(l.out)
			l.frame.start = max(l.frame.start-drop, 0)
		}
		block, begins, err := l.next()
		if err != nil {
			return 0, err
		}
		if begins {
			l.frame.start = len(l.out)
		}
		if l.out, err = l.frame.append(l.out, block, math.MaxInt); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.out[l.read:])
	l.read += n
	return n, nil
}
