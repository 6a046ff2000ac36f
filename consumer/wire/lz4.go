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

// unpackLz4 appends what the frames in src unpack to, each block straight to its
// place. The frames' own checksums are not looked at: the batch has one over all of
// src, and the library's reader spends a third of its time on a second one and on
// copies.
func unpackLz4(dst, src []byte, limit int) ([]byte, error) {
	dst = room(dst, 4*len(src), limit)
	for len(src) > 0 {
		if len(src) < 8 {
			return dst, io.ErrUnexpectedEOF
		}
		magic := binary.LittleEndian.Uint32(src)
		if magic&^0xf == lz4Skippable {
			n := uint64(binary.LittleEndian.Uint32(src[4:]))
			if n > uint64(len(src)-8) {
				return dst, io.ErrUnexpectedEOF
			}
			src = src[8+n:]
			continue
		}
		if magic != lz4Magic {
			return dst, errLz4
		}
		f := lz4Frame{flags: src[4], most: lz4BlockSize(src[5]), start: len(dst), limit: limit}
		header := 7 // magic, flags, block size, checksum
		if f.flags&lz4Size != 0 {
			header += 8
		}
		switch {
		case f.flags>>6 != 1, f.most == 0:
			return dst, errLz4
		case f.flags&lz4Dictionary != 0:
			return dst, errors.New("its LZ4 frame needs a dictionary")
		case len(src) < header:
			return dst, io.ErrUnexpectedEOF
		}
		var err error
		if dst, src, err = f.unpack(dst, src[header:]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// lz4BlockSize returns the largest block that a frame of this description holds; 0
// when there is none such.
func lz4BlockSize(descriptor byte) int {
	if n := descriptor >> 4 & 7; n >= 4 {
		return 1 << (8 + 2*n)
	}
	return 0
}

type lz4Frame struct {
	flags byte
	most  int // bytes that a block may unpack to
	start int // of the frame in dst
	limit int
}

// unpack appends the blocks at the start of src, and returns what follows the frame.
func (f *lz4Frame) unpack(dst, src []byte) (out, rest []byte, err error) {
	for {
		if len(src) < 4 {
			return dst, nil, io.ErrUnexpectedEOF
		}
		size := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if size == 0 { // the end mark
			break
		}
		n := int(size &^ lz4Plain)
		after := n
		if f.flags&lz4BlockSums != 0 {
			after += 4
		}
		if n > f.most || after > len(src) {
			return dst, nil, io.ErrUnexpectedEOF
		}
		if size&lz4Plain != 0 {
			dst = append(dst, src[:n]...)
		} else if dst, err = f.block(dst, src[:n]); err != nil {
			return dst, nil, err
		}
		if len(dst) > f.limit {
			return dst, nil, errTooLarge
		}
		src = src[after:]
	}
	if f.flags&lz4Sum == 0 {
		return dst, src, nil
	}
	if len(src) < 4 {
		return dst, nil, io.ErrUnexpectedEOF
	}
	return dst, src[4:], nil
}

// block appends what one compressed block unpacks to. Linked blocks refer to what
// the frame has unpacked to before. A block does not say how long it becomes, and
// many frames promise 4 MiB for each: it is tried with the place that there is, and
// that grows by half until it is enough.
func (f *lz4Frame) block(dst, src []byte) ([]byte, error) {
	at, most := len(dst), min(f.most, lz4Ratio*len(src))
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
		if place == most {
			return dst, fmt.Errorf("a block of %d bytes: %w", len(src), err)
		}
	}
}
