package wire

import (
	"fmt"

	"github.com/segmentio/kafka-go/compress"
)

// Each calls yield for every record from the requested offset on, in order, until
// yield returns false. Control records never come, and those of aborted
// transactions only without ReadCommitted. The *Record is one and the same each
// time, and its bytes are valid until yield returns. A batch that cannot be
// unpacked, or whose records cannot be read, gives a *CorruptError, after the
// records before the bad one.
func (f *Fetched) Each(yield func(*Record) bool) error {
	c := &f.cursor
	*c = f.Cursor()
	defer c.Close()
	for c.Next() {
		if !yield(&c.Record) {
			return nil
		}
	}
	return c.Err()
}

// Cursor returns a cursor before the first record, for those who read several
// fetches side by side: Each with the loop on the caller's side. The next fetch into
// f ends its use.
func (f *Fetched) Cursor() Cursor { return Cursor{f: f} }

// Cursor steps through the records of a fetch. Only one batch is unpacked at a time,
// and of one that is packed in blocks only a block, just before its records are read:
// they are still in the processor's cache then.
type Cursor struct {
	Record Record // valid until the next call of Next or Close

	f      *Fetched
	batch  int     // number of the section behind the current one
	left   int     // records of the current section
	rest   []byte  // of them, as far as they are unpacked
	blocks []byte  // of snappy, behind rest
	room   int     // bytes that blocks may unpack to
	buffer *[]byte // of what is unpacked; nil: nothing was
	err    error
}

// Next reads the next record into c.Record; false at the end and at an error.
func (c *Cursor) Next() bool {
	for c.err == nil {
		if c.left == 0 {
			if !c.open() {
				return false
			}
			continue
		}
		if len(c.blocks) > 0 && !holdsRecord(c.rest) {
			c.more()
			continue
		}
		s := &c.f.sections[c.batch-1]
		var ok bool
		if c.rest, ok = s.next(c.rest, &c.Record); !ok {
			c.err = c.f.badRecord(s, fmt.Sprintf("its record %d of %d is malformed", s.count-c.left+1, s.count))
			return false
		}
		if c.left--; c.left == 0 && len(c.rest)+len(c.blocks) > 0 {
			c.err = c.f.badRecord(s, fmt.Sprintf("%d bytes are left behind its %d records", len(c.rest)+len(c.blocks), s.count))
		}
		if c.Record.Offset >= c.f.from {
			return true
		}
	}
	return false
}

// open goes on to the next section; false when there is none, or it cannot be
// unpacked.
func (c *Cursor) open() bool {
	if c.batch == len(c.f.sections) {
		return false
	}
	s := &c.f.sections[c.batch]
	c.batch++
	c.left, c.rest, c.blocks = s.count, s.records, nil
	if s.codec == compress.None {
		return true
	}
	if c.buffer == nil {
		c.buffer = unpacked.get(c.f.unpacked)
	}
	if s.codec == compress.Snappy && isXerial(s.records) {
		c.rest, c.blocks, c.room = (*c.buffer)[:0], s.records[xerialHeader:], c.f.unpackLimit()
		return true
	}
	var err error
	if *c.buffer, err = unpack(s.codec, (*c.buffer)[:0], s.records, c.f.unpackLimit()); err != nil {
		return c.cannotUnpack(s, err)
	}
	c.rest = *c.buffer
	return true
}

// more unpacks another block behind the beginning of a record. That is moved to the
// start of the buffer, once: there it stays, however many blocks the record lies in.
func (c *Cursor) more() {
	b := *c.buffer
	if len(c.rest) < len(b) {
		b = b[:copy(b, c.rest)]
	}
	had := len(b)
	var err error
	if b, c.blocks, err = nextSnappyBlock(b, c.blocks, had+c.room); err != nil {
		c.cannotUnpack(&c.f.sections[c.batch-1], err)
		return
	}
	c.room -= len(b) - had
	c.rest = b
	*c.buffer = b
}

// holdsRecord says whether b begins with all bytes of a record, or with what cannot
// become one.
func holdsRecord(b []byte) bool {
	length, n := varint(b)
	return n < 0 || n > 0 && length <= int64(len(b)-n)
}

func (c *Cursor) cannotUnpack(s *section, err error) bool {
	c.err = c.f.badRecord(s, fmt.Sprintf("%v data of %d bytes: %v", s.codec, len(s.records), err))
	return false
}

// Err returns the *CorruptError that ended the cursor; nil at the end of the fetch.
func (c *Cursor) Err() error { return c.err }

// Close gives the cursor's memory back.
func (c *Cursor) Close() {
	if c.buffer != nil {
		c.f.unpacked = cap(*c.buffer)
		unpacked.put(c.buffer)
	}
	c.buffer, c.rest, c.blocks = nil, nil, nil
	c.left, c.batch = 0, len(c.f.sections)
}

func (f *Fetched) unpackLimit() int {
	if f.limit > 0 {
		return f.limit
	}
	return maxUnpacked
}

func (f *Fetched) badRecord(s *section, reason string) error {
	return f.corrupt(&header{base: s.base, next: s.base + int64(s.lastDelta) + 1}, reason)
}

// next reads the record at the start of b.
func (s *section) next(b []byte, r *Record) (rest []byte, ok bool) {
	rest, ok = r.read(b)
	if !ok || r.Offset < 0 || r.Offset > int64(s.lastDelta) {
		return nil, false
	}
	r.Epoch, r.LastEpoch = s.epoch, s.epoch
	if r.Offset == 0 {
		r.LastEpoch = s.last
	}
	r.Offset += s.base
	if s.byBroker {
		r.Timestamp = s.appended
	} else {
		r.Timestamp += s.firstTime
	}
	return rest, true
}
