package rules

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Splitter cuts a file into the records that Decode takes: one JSON value each,
// whether they stand one a line, span lines or follow each other without a
// space. A whole {"Records":[…]} document is one record. It holds one record in
// memory and no more of the file than its buffer.
//
// Decode yields for the records, taken together, the events that it would yield
// for the file as a whole: what is not JSON comes as a record of its own, the
// rest of its line, for which Decode yields the error, and the next record
// begins in the next line. A line of base64 of gzip is a record too. A file
// that is gzip itself must be unpacked by the caller.
type Splitter struct {
	Reader io.Reader

	// MaxRecord is how many bytes a record may have; 0 means
	// DefaultMaxUnpacked.
	MaxRecord int64

	scan scanner
	hurt damage
	buf  []byte
	next int   // where in buf the next record is looked for
	base int64 // offset of buf[0] in the file
	err  error // how Reader ended; nil: not yet
}

// RecordTooLargeError says that a file holds a value too large to be read in
// one piece.
type RecordTooLargeError struct {
	Offset int64 // of the value's first byte in the file
	Limit  int64 // in bytes
}

// Error names the place, the limit and the way out.
func (e *RecordTooLargeError) Error() string {
	return fmt.Sprintf("the record that begins at byte %d is larger than the limit of %d bytes; "+
		"raise the limit or write one event a line", e.Offset, e.Limit)
}

const (
	splitterBuffer = 256 << 10

	// eagerRescan is up to which size an incomplete value is scanned anew after
	// each read. Beyond it the next scan waits until the value's bytes have
	// doubled, so that it costs no more than a few passes however it trickles in.
	eagerRescan = 16 << 10

	// maxEmptyReads is how often Reader may return nothing and no error, as for
	// bufio.
	maxEmptyReads = 100
)

// Next returns the next record. It is valid until the next call. The error is
// io.EOF at the end of the file, a *RecordTooLargeError, or that of Reader;
// there is no going on behind any of them.
func (s *Splitter) Next() ([]byte, error) {
	if cap(s.buf) == 0 {
		s.buf = make([]byte, 0, splitterBuffer)
		s.scan.seen = newForesight()
	}
	for {
		s.next = gap(s.buf, s.next)
		start := s.next
		if start < len(s.buf) {
			if end, ok := s.end(start); ok {
				if int64(end-start) > s.limit() {
					return nil, s.tooLarge(start)
				}
				s.next = end
				return bytes.TrimRight(s.buf[start:end:end], " \t\r"), nil
			}
		}
		if s.err != nil {
			return nil, s.err
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// Swap gives the caller the memory that the last record lies in, which is then
// valid beyond the next call of Next: for a large record that is cheaper than a
// copy. The Splitter goes on in buf, whose content does not count; with nil, in
// memory of its own. Before the first Next it gives nil.
func (s *Splitter) Swap(buf []byte) []byte {
	old := s.buf
	s.base += int64(s.next)
	s.buf = append(buf[:0], old[s.next:]...)
	s.next = 0
	return old
}

// Offset returns how many bytes of the file are behind Next: the records that
// it has returned, and what lay between them.
func (s *Splitter) Offset() int64 { return s.base + int64(s.next) }

// end returns where the record that begins at start ends; false if that takes
// more of the file to tell.
func (s *Splitter) end(start int) (int, bool) {
	last := s.err == io.EOF
	switch rest := s.buf[start:]; {
	case isPacked(rest):
		return s.line(start)
	case len(rest) < 4 && !last && (rest[0] == packedMagic[0] || rest[0] == byteOrderMark[0]):
		return 0, false
	}
	if !s.hurt.covers(s.base + int64(start)) {
		end := s.scan.value(s.buf, start, 0)
		if end >= 0 {
			return end, last || end < len(s.buf) || !isNumber(s.buf[start])
		}
		if s.scan.at == len(s.buf) && !s.scan.deep && !last {
			return 0, false
		}
		s.hurt.assess(s.buf, start, s.base, &s.scan)
	}
	return s.line(s.hurt.last(start, s.base))
}

// line returns the end of the line that i is in; false if it is not there yet.
func (s *Splitter) line(i int) (int, bool) {
	end := lineEnd(s.buf, i)
	return end, end < len(s.buf) || s.err == io.EOF
}

// isNumber reports whether the value beginning with c is a number: the only
// kind of value that does not show its own end.
func isNumber(c byte) bool {
	return c == '-' || '0' <= c && c <= '9'
}

// fill reads on behind what is in the buffer, and makes room for it.
func (s *Splitter) fill() error {
	if s.next > 0 {
		s.base += int64(s.next)
		s.buf = s.buf[:copy(s.buf, s.buf[s.next:])]
		s.next = 0
	}
	have := len(s.buf)
	if int64(have) > s.limit() {
		return s.tooLarge(0)
	}
	wanted := have + 1
	if have >= eagerRescan {
		wanted = int(min(2*int64(have), s.limit()+1))
	}
	s.buf = slices.Grow(s.buf, wanted-have)
	for empty := 0; len(s.buf) < wanted && s.err == nil; empty++ {
		if empty == maxEmptyReads {
			s.err = io.ErrNoProgress
			break
		}
		n, err := s.Reader.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf, s.err = s.buf[:len(s.buf)+n], err
		if n > 0 {
			empty = 0
		}
	}
	return nil
}

func (s *Splitter) limit() int64 {
	if s.MaxRecord == 0 {
		return DefaultMaxUnpacked
	}
	return s.MaxRecord
}

// tooLarge ends the reading for the record that begins at buf[start].
func (s *Splitter) tooLarge(start int) error {
	s.err = &RecordTooLargeError{Offset: s.base + int64(start), Limit: s.limit()}
	s.next = len(s.buf)
	return s.err
}
