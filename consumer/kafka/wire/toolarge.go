package wire

import (
	"fmt"
	"io"
	"slices"
)

// tooLarge steps over a record that takes more memory than a record may, if its offset is
// below the one asked for, and ends the cursor otherwise.
func (c *Cursor) tooLarge(size int) {
	s := c.section()
	offset, begins, ok := s.offset(c.rest)
	if !ok && len(c.rest) < streamStep && c.inPieces() {
		if err := c.some(0); err != nil {
			c.cannotUnpack(s, err)
		}
		return
	}
	switch {
	case !ok:
		c.err = c.f.badRecord(s, fmt.Sprintf("its record %d of %d is malformed", s.count-c.left+1, s.count))
	case offset >= c.f.from:
		c.err = &CorruptError{
			Topic: c.f.topic, Partition: c.f.partition, Offset: offset, Next: offset + 1, Record: size, Bytes: begins,
			Reason: fmt.Sprintf("the record at offset %d takes %d bytes, and %d are read at most (limits.max_unpacked)", offset, size, c.memory.most),
		}
	default:
		if err := c.discard(size); err != nil {
			c.cannotUnpack(s, err)
		} else if c.left--; c.left == 0 {
			c.ended()
		}
	}
}

// discard steps over size bytes.
func (c *Cursor) discard(size int) error {
	for {
		n := min(size, len(c.rest))
		size -= n
		c.rest = c.rest[n:]
		switch {
		case size == 0:
			return nil
		case !c.inPieces():
			return io.ErrUnexpectedEOF
		}
		if err := c.some(0); err != nil {
			return err
		}
	}
}

// offset reads the offset of the record at the start of b, and the beginning of its value,
// if the key is there. b need not hold more than the record's head.
func (s *section) offset(b []byte) (offset int64, value []byte, ok bool) {
	var at int
	number := func() (v int64) {
		v, n := varint(b[min(at, len(b)):])
		ok = n > 0
		at += n
		return v
	}
	if number(); !ok {
		return 0, nil, false
	}
	at++ // attributes
	if number(); !ok {
		return 0, nil, false
	}
	if offset = number(); !ok || offset < 0 || offset > int64(s.lastDelta) {
		return 0, nil, false
	}
	offset += s.base
	if key := number(); ok && key <= int64(len(b)-at) {
		at += int(max(key, 0))
		if number(); ok {
			value = slices.Clone(b[at:])
		}
	}
	return offset, value, true
}
