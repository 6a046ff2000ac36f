package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// Parts of the LZ4 frame format
// (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md).
const (
	lz4Magic       = 0x184d2204
	lz4Skippable   = 0x184d2a50 // to 0x184d2a5f
	lz4Window      = 64 << 10   // how far back a linked block reaches
	lz4Ratio       = 255        // a block cannot unpack to more than so many times its size
	lz4Plain       = 1 << 31    // in a block's size: it is not compressed
	lz4Independent = 1 << 5     // flags of a frame
	lz4BlockSums   = 1 << 4
	lz4Size        = 1 << 3
	lz4Sum         = 1 << 2
	lz4Dictionary  = 1 << 0
)

var errLz4 = errors.New("it is no LZ4 frame")

// unpackLz4 appends the unpacked bytes of the frames in src, each block straight to its
// place. It skips the frames' own checksums: the batch has one over all of src, and the
// library's reader spends a third of its time on a second one and on copies.
func unpackLz4(dst, src []byte, limit int) ([]byte, error) {
	dst = room(dst, 4*len(src), limit)
	for r := (lz4Reader{src: src}); ; {
		block, begins, err := r.next()
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
		if begins {
			r.frame.start = len(dst)
		}
		if dst, err = r.frame.append(dst, block, limit); err != nil {
			return dst, err
		}
		if len(dst) > limit {
			return dst, errTooLarge
		}
	}
}

// lz4Reader goes through the blocks of frames, without unpacking them.
type lz4Reader struct {
	src   []byte
	frame lz4Frame
	in    bool // src begins in the middle of a frame
}

// lz4Block is a block as it stands in its frame.
type lz4Block struct {
	bytes []byte
	plain bool // it is not compressed
}

// next returns the next block, and whether it is the first of its frame; io.EOF behind the
// last frame.
func (r *lz4Reader) next() (b lz4Block, begins bool, err error) {
	for {
		if !r.in {
			if err := r.open(); err != nil {
				return b, false, err
			}
			if !r.in {
				continue
			}
			begins = true
		}
		b, ok, err := r.block()
		if err != nil || ok {
			return b, begins, err
		}
		r.in, begins = false, false
	}
}

// open reads the header of a frame, or steps over one that is to be skipped.
func (r *lz4Reader) open() error {
	src := r.src
	if len(src) == 0 {
		return io.EOF
	}
	if len(src) < 8 {
		return io.ErrUnexpectedEOF
	}
	magic := binary.LittleEndian.Uint32(src)
	if magic&^0xf == lz4Skippable {
		n := uint64(binary.LittleEndian.Uint32(src[4:]))
		if n > uint64(len(src)-8) {
			return io.ErrUnexpectedEOF
		}
		r.src = src[8+n:]
		return nil
	}
	if magic != lz4Magic {
		return errLz4
	}
	r.frame = lz4Frame{flags: src[4], most: lz4BlockSize(src[5])}
	header := 7 // magic, flags, block size, checksum
	if r.frame.flags&lz4Size != 0 {
		header += 8
	}
	switch {
	case r.frame.flags>>6 != 1, r.frame.most == 0:
		return errLz4
	case r.frame.flags&lz4Dictionary != 0:
		return errors.New("its LZ4 frame needs a dictionary")
	case len(src) < header:
		return io.ErrUnexpectedEOF
	}
	r.src, r.in = src[header:], true
	return nil
}

// block reads a block; not ok: the frame ends.
func (r *lz4Reader) block() (b lz4Block, ok bool, err error) {
	src := r.src
	if len(src) < 4 {
		return b, false, io.ErrUnexpectedEOF
	}
	size := binary.LittleEndian.Uint32(src)
	src = src[4:]
	if size == 0 { // the end mark
		if r.frame.flags&lz4Sum != 0 {
			if len(src) < 4 {
				return b, false, io.ErrUnexpectedEOF
			}
			src = src[4:]
		}
		r.src = src
		return b, false, nil
	}
	n := int(size &^ lz4Plain)
	after := n
	if r.frame.flags&lz4BlockSums != 0 {
		after += 4
	}
	if n > r.frame.most || after > len(src) {
		return b, false, io.ErrUnexpectedEOF
	}
	r.src = src[after:]
	return lz4Block{src[:n], size&lz4Plain != 0}, true, nil
}

// lz4BlockSize returns the largest block of a frame with this descriptor; 0: it is
// malformed.
func lz4BlockSize(descriptor byte) int {
	if n := descriptor >> 4 & 7; n >= 4 {
		return 1 << (8 + 2*n)
	}
	return 0
}

type lz4Frame struct {
	flags byte
	most  int // bytes that a block may unpack to
	start int // of the frame in the slice that it is appended to
}

// append appends the unpacked bytes of a block; errTooLarge: dst would be longer than
// limit.
func (f *lz4Frame) append(dst []byte, b lz4Block, limit int) ([]byte, error) {
	if b.plain {
		return append(dst, b.bytes...), nil
	}
	return f.block(dst, b.bytes, limit)
}

// block appends the unpacked bytes of one compressed block. Linked blocks refer back to the
// frame's bytes before them. A block does not tell its unpacked size, and many frames
// promise 4 MiB for each: it is tried in the room at hand, which grows by half until it is
// enough, or the limit is met.
func (f *lz4Frame) block(dst, src []byte, limit int) ([]byte, error) {
	at, whole := len(dst), min(f.most, lz4Ratio*len(src))
	most := min(whole, max(limit-at, 0))
	for place := min(max(cap(dst)-at, 2*len(src)), most); ; place = min(place+place/2, most) {
		dst = slices.Grow(dst, place)
		var before []byte
		if f.flags&lz4Independent == 0 {
			before = dst[max(f.start, at-lz4Window):at]
		}
		n, err := lz4.UncompressBlockWithDict(src, dst[at:at+place], before)
		if err == nil {
			return dst[:at+n], nil
		}
		if place == most && most < whole {
			return dst, errTooLarge
		}
		if place == most {
			return dst, fmt.Errorf("a block of %d bytes: %w", len(src), err)
		}
	}
}
