package wire

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/compress"
)

// Each calls yield for every record from the requested offset on, in order, until yield
// returns false. Control records are left out, and with ReadCommitted those of aborted
// transactions. The *Record is the same one each time, and its bytes are valid until yield
// returns. A batch that cannot be unpacked, or has an unreadable record, gives a
// *CorruptError, after the records before the bad one; if only a record takes more memory
// than a record may, the *CorruptError names that record alone. Any other error is that of
// Turn.Context.
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

// Skip leaves out the records below an offset, as if the fetch had begun there.
func (f *Fetched) Skip(offset int64) { f.from = max(f.from, offset) }

// Cursor returns a cursor before the first record, for a caller that reads several fetches
// side by side: it is Each with the loop on the caller's side. Such fetches share one Turn.
// The next fetch into f ends the use of the cursor.
func (f *Fetched) Cursor() Cursor {
	turn := f.Turn
	if turn == nil {
		turn = &f.own
		turn.Memory = f.memory
	}
	return Cursor{f: f, turn: turn, memory: turn.memory()}
}

// Cursor steps through the records of a fetch. It unpacks one batch at a time, and of a
// batch packed in blocks one block, just before its records are read: they are still in the
// processor's cache then. A large batch is unpacked only as far as the record at hand.
type Cursor struct {
	Record Record // valid until the next call of Next or Close

	f      *Fetched
	turn   *Turn
	memory *Memory
	batch  int     // number of the section behind the current one
	left   int     // records of the current section not read yet
	rest   []byte  // their bytes, as far as they are unpacked
	blocks []byte  // snappy blocks behind rest
	room   int     // bytes that blocks may unpack to
	buffer *[]byte // for unpacked bytes; nil: none is lent
	taken  int64   // bytes of the memory's room
	locked bool    // the turn is locked for this section
	stream stream  // unpacks behind rest, if it has a source
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
		if c.inPieces() && !holdsRecord(c.rest) {
			c.more()
			continue
		}
		s := c.section()
		var ok bool
		if c.rest, ok = s.next(c.rest, &c.Record); !ok {
			c.err = c.f.badRecord(s, fmt.Sprintf("its record %d of %d is malformed", s.count-c.left+1, s.count))
			return false
		}
		if c.left--; c.left == 0 {
			c.ended()
		}
		if c.Record.Offset >= c.f.from {
			return true
		}
	}
	return false
}

// inPieces says whether more of the section may come behind rest.
func (c *Cursor) inPieces() bool { return len(c.blocks) > 0 || c.stream.source != nil }

// section returns the current section.
func (c *Cursor) section() *section { return &c.f.sections[c.batch-1] }

// open goes on to the next section; false when there is none, or it cannot be
// unpacked.
func (c *Cursor) open() bool {
	c.release()
	if c.batch == len(c.f.sections) {
		return false
	}
	s := &c.f.sections[c.batch]
	c.batch++
	if s.base+int64(s.lastDelta) < c.f.from {
		return true
	}
	c.left, c.rest, c.blocks = s.count, s.records, nil
	if s.codec == compress.None {
		return true
	}
	if s.codec == compress.Snappy && isXerial(s.records) {
		c.lend(c.f.unpacked)
		c.rest, c.blocks, c.room = (*c.buffer)[:0], s.records[xerialHeader:], mostStreamed
		return true
	}
	e, err := measure(s.codec, s.records)
	if err != nil {
		return c.cannotUnpack(s, err)
	}
	if e.size <= c.memory.whole {
		err = c.whole(s, e.size)
		if s.codec != compress.Gzip || !errors.Is(err, errTooLarge) {
			return err == nil || c.cannotUnpack(s, err)
		}
		c.release() // gzip's size is a claim: the data may be longer
	}
	return c.pieces(s, e)
}

// whole unpacks a section of at most size bytes. For LZ4 this bound is 255 times the packed
// size, and seldom reached, so room for it is taken only when the reader's share is too
// small.
func (c *Cursor) whole(s *section, size int) (err error) {
	share := c.memory.Share()
	if size > share && s.codec == compress.Lz4 {
		if err := c.unpack(s, share); !errors.Is(err, errTooLarge) {
			return err
		}
	}
	if size > share {
		if c.taken, err = c.turn.take(size); err != nil {
			return err
		}
	}
	return c.unpack(s, size)
}

// usualRatio is about the ratio by which a batch of events unpacks: LZ4 begins anew in a
// buffer that is too small.
const usualRatio = 5

// unpack unpacks a section into a buffer like that of the fetch before, since size is only
// a bound: a buffer too large for the pool would be made anew for each batch.
func (c *Cursor) unpack(s *section, size int) (err error) {
	usual := min(size, max(usualRatio*len(s.records), c.f.unpacked))
	c.lend(usual)
	b := room((*c.buffer)[:0], usual, size)
	if s.codec == compress.Gzip {
		b = slices.Grow(b, size+1) // one more, to see the end
	}
	*c.buffer, err = unpack(s.codec, b, s.records, size)
	c.rest = *c.buffer
	return err
}

// pieces begins to unpack a section that is too large to be unpacked as a whole.
func (c *Cursor) pieces(s *section, e extent) bool {
	if err := c.lock(); err != nil {
		return c.cannotUnpack(s, err)
	}
	if s.codec == compress.Snappy || e.window > c.memory.window() { // one block, or a window over all of the data
		return c.single(s, e)
	}
	c.lend(streamStep)
	if err := c.stream.open(c.memory, s.codec, s.records, e.window); err != nil {
		return c.cannotUnpack(s, err)
	}
	c.rest = (*c.buffer)[:0]
	return true
}

// single unpacks a large section that cannot be read in pieces.
func (c *Cursor) single(s *section, e extent) (ok bool) {
	if e.size > c.memory.most {
		return c.cannotUnpack(s, fmt.Errorf("%w of %d bytes (limits.max_unpacked), and cannot be read in parts", errTooLarge, c.memory.most))
	}
	c.lend(e.size)
	var err error
	if *c.buffer, err = unpack(s.codec, (*c.buffer)[:0], s.records, c.memory.most); err != nil {
		return c.cannotUnpack(s, err)
	}
	c.rest = *c.buffer
	return true
}

// lend takes a buffer for about size bytes from the pool, unless one is at hand.
func (c *Cursor) lend(size int) {
	if c.buffer != nil && cap(*c.buffer) < size/2 {
		c.drop()
	}
	if c.buffer == nil {
		c.buffer = unpacked.get(size)
	}
}

// drop gives the buffer back.
func (c *Cursor) drop() {
	if c.buffer != nil {
		unpacked.put(c.buffer)
		c.buffer, c.rest = nil, nil
	}
}

// lock takes the turn for the current section.
func (c *Cursor) lock() error {
	if c.locked {
		return nil
	}
	if err := c.turn.lock(c.turn.context()); err != nil {
		return err
	}
	c.locked = true
	if begin := c.turn.Begin; begin != nil {
		s := c.section()
		return begin(s.base, s.base+int64(s.lastDelta)+1)
	}
	return nil
}

// release gives back the memory that other readers may wait for.
func (c *Cursor) release() {
	if c.stream.source != nil || c.stream.coder != nil {
		c.stream.close(c.memory)
	}
	if c.locked || c.taken > 0 {
		c.drop()
	}
	if c.locked {
		c.locked = false
		c.turn.Unlock()
	}
	c.turn.give(c.taken)
	c.taken = 0
}

// ended checks that nothing is left behind the last record.
func (c *Cursor) ended() {
	left := len(c.rest) + len(c.blocks)
	if c.stream.source != nil && left == 0 {
		var more [1]byte
		n, err := io.ReadFull(&c.stream, more[:])
		if n == 0 && !errors.Is(err, io.EOF) {
			c.cannotUnpack(c.section(), err)
			return
		}
		left = n
	}
	if left > 0 {
		s := c.section()
		c.err = c.f.badRecord(s, fmt.Sprintf("%d bytes are left behind its %d records", left, s.count))
	}
}

// more unpacks more bytes of a record with only its beginning unpacked. The beginning moves
// to the start of the buffer, once: it stays there, however many pieces the record lies in.
func (c *Cursor) more() {
	need := 0
	if length, n := varint(c.rest); n > 0 {
		need = n + int(min(max(length, 0), mostStreamed))
	}
	if need > c.memory.most {
		c.tooLarge(need)
		return
	}
	if err := c.some(need); err != nil {
		c.cannotUnpack(c.section(), err)
	}
}

// some unpacks a little more behind rest, in a buffer that has room for a record of need
// bytes.
func (c *Cursor) some(need int) error {
	b := *c.buffer
	if len(c.rest) < len(b) {
		b = b[:copy(b, c.rest)]
	}
	if c.stream.source != nil {
		return c.read(b, need)
	}
	return c.block(b)
}

// block unpacks a block of snappy behind b.
func (c *Cursor) block(b []byte) error {
	had := len(b)
	if had+snappyBlockSize(c.blocks) > max(c.memory.Share(), cap(b)) {
		if err := c.lock(); err != nil {
			return err
		}
	}
	b, blocks, err := nextSnappyBlock(b, c.blocks, had+min(c.room, c.memory.most))
	if err != nil {
		return err
	}
	c.blocks = blocks
	c.room -= len(b) - had
	c.rest = b
	*c.buffer = b
	return nil
}

// read unpacks more of a stream behind b, in a buffer that has room for a record of need
// bytes.
func (c *Cursor) read(b []byte, need int) error {
	if least := max(need, streamStep); cap(b) < least {
		b = append(make([]byte, 0, least), b...)
	}
	n, err := c.stream.Read(b[len(b):cap(b)])
	b = b[:len(b)+n]
	c.rest, *c.buffer = b, b
	if errors.Is(err, io.EOF) {
		c.stream.close(c.memory)
		return nil
	}
	return err
}

// holdsRecord says whether b begins with all bytes of a record, or with a malformed length,
// which more bytes cannot mend.
func holdsRecord(b []byte) bool {
	length, n := varint(b)
	return n < 0 || n > 0 && length <= int64(len(b)-n)
}

func (c *Cursor) cannotUnpack(s *section, err error) bool {
	if c.turn.context().Err() != nil {
		c.err = err
		return false
	}
	bad := c.f.badRecord(s, fmt.Sprintf("%v data of %d bytes: %v", s.codec, len(s.records), err))
	bad.Err = err
	c.err = bad
	return false
}

// Held says whether the cursor holds memory that other goroutines may wait for; Turn.Held
// says so for all cursors of a goroutine.
func (c *Cursor) Held() bool { return c.locked || c.taken > 0 }

// Err returns the error that ended the cursor, as Each does; nil at the end of the fetch.
func (c *Cursor) Err() error { return c.err }

// Close gives the cursor's memory back.
func (c *Cursor) Close() {
	if c.buffer != nil && !c.locked && c.taken == 0 {
		c.f.unpacked = cap(*c.buffer)
	}
	c.release()
	c.drop()
	c.rest, c.blocks = nil, nil
	c.left, c.batch = 0, len(c.f.sections)
}

func (f *Fetched) badRecord(s *section, reason string) *CorruptError {
	return &CorruptError{Topic: f.topic, Partition: f.partition, Offset: s.base, Next: s.base + int64(s.lastDelta) + 1, Reason: reason, Bytes: s.records}
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
