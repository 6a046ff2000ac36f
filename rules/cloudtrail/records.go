package cloudtrail

import (
	"bytes"
	"fmt"
	"io"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// Splitter cuts a file into the records that Decode takes: one JSON value each,
// whether they stand one a line, span lines or follow each other without a
// space. The elements of a list, [… or {"Records":[…, are records of their own. It
// holds one record in memory and no more of the file than its buffer.
//
// Decode yields for the records, taken together, the events that it would yield for the
// file as a whole: text that is not JSON comes as a record of its own, its line up to the
// damage, for which Decode yields the error, and the next record begins in the next line. A
// line of base64 of gzip is a record too. A file that is gzip itself must be unpacked by
// the caller.
type Splitter struct {
	Reader io.Reader

	// MaxRecord is how many bytes a record may have; 0 means DefaultMaxHeld.
	MaxRecord int64

	scan  jsonscan.Scanner
	src   source
	begun bool
}

// RecordTooLargeError says that a file holds a value too large to be read in
// one piece.
type RecordTooLargeError struct {
	Offset int64 // of the value's first byte in the file
	Limit  int64 // in bytes
}

// Error names the place, the limit and the way out.
func (e *RecordTooLargeError) Error() string {
	return fmt.Sprintf("the record that begins at byte %d is larger than the limit of %d bytes and was passed over; "+
		"write one event a line", e.Offset, e.Limit)
}

// Next returns the next record. It is valid until the next call. The error is
// io.EOF at the end of the file, or that of Reader; there is no going on behind either
// of them. Behind a *RecordTooLargeError the next call goes on: its value was passed
// over by its brackets and quotes alone.
func (s *Splitter) Next() ([]byte, error) {
	s.begin()
	if cap(s.src.buf) == 0 {
		s.src.buf = make([]byte, 0, splitterBuffer)
	}
	switch p := s.src.piece(); p.kind {
	case pieceEnd:
		return nil, s.src.err
	case pieceLarge:
		return nil, &RecordTooLargeError{Offset: s.src.base + int64(p.start), Limit: s.src.most}
	case pieceBad:
		if p.start == p.end {
			return cutOffRecord, nil // the list is: there is nothing left to show it by
		}
		fallthrough
	default:
		return bytes.TrimRight(s.src.buf[p.start:p.end:p.end], " \t\r"), nil
	}
}

// cutOffRecord is a record for which Decode yields ReasonCutOff.
var cutOffRecord = []byte("[")

func (s *Splitter) begin() {
	if s.begun {
		return
	}
	s.begun = true
	if s.scan.Predictor = jsonscan.NewPredictor(&members, jsonscan.MaxNodes); s.MaxRecord == 0 {
		s.MaxRecord = DefaultMaxHeld
	}
	s.src.most, s.src.scan = s.MaxRecord, &s.scan
	s.src.begin(s.src.buf, s.Reader)
}

// Swap gives the caller the memory that the last record lies in, which is then valid beyond
// the next call of Next: for a large record that is cheaper than a copy. The Splitter goes
// on in buf, ignoring its content; with nil, in memory of its own. Before the first Next it
// gives nil.
func (s *Splitter) Swap(buf []byte) []byte {
	old := s.src.buf
	s.src.base += int64(s.src.next)
	s.src.buf = append(buf[:0], old[s.src.next:]...)
	s.src.next = 0
	return old
}

// Offset returns how many bytes of the file are behind Next: the records that it has
// returned, and the bytes between them.
func (s *Splitter) Offset() int64 { return s.src.offset() }
