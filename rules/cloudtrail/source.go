package cloudtrail

import (
	"io"
	"slices"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// source finds the JSON values of an input that is in memory or read as a stream. It is the
// one mechanism of [Decoder] and [Splitter], and the values that it finds do not depend on
// how much of the input it has in memory at a time.
//
// A list at the top of the input, [… or {"Records":[… or {"Events":[…, is not found as a
// value but as its elements, each as soon as it is known to be valid: so a file of any size
// takes the memory of one event. The bytes behind the array in an object like that are
// checked and passed over, but for further arrays of the same name.
type source struct {
	from  io.Reader // nil: buf is all there is
	owner *Decoder  // the decoder that pays for buf; nil: a Splitter
	depth int       // of the layer that buf is
	most  int64     // bytes of a value; 0: any number
	scan  *jsonscan.Scanner
	note  bool // members of values are noted

	buf     []byte
	next    int   // where in buf the next piece is looked for
	base    int64 // offset of buf[0] in the input
	err     error // how from ended; nil: not yet
	charged int64 // bytes of the input that the decoder has counted

	in    spot
	list  string // name of the list at hand with its quotes, "" for an array
	again bool   // the name at hand is that
	began int64  // where the list begins

	hurt damage
	pass passing

	problem *DecodeError // of the last pieceBad
}

// spot is the place in a list, or outside of one, of the next piece.
type spot uint8

const (
	atTop     spot = iota // outside of lists
	atElement             // at an element, or where one is missing
	behindElement
	behindArray // in the object around it
	atName      // of a member behind the array
	atColon
	atMember // at the value of that member
)

// behind is the spot behind a value.
var behind = [...]spot{atTop: atTop, atElement: behindElement, atName: atColon, atMember: behindArray}

// pieceKind says which kind of piece a source has found.
type pieceKind uint8

const (
	pieceEnd    pieceKind = iota // the end, or the error that prevents reading on: source.err
	pieceValue                   // a valid value; the scanner has just passed it
	piecePacked                  // a line of base64 of gzip
	pieceBad                     // bytes that are not JSON; reading goes on at another line
	pieceLarge                   // a value of more bytes than may be held; reading goes on behind it
)

// piece is part of a source's buffer.
type piece struct {
	kind       pieceKind
	start, end int // of pieceBad: the bytes that show the damage; of pieceLarge: both the value's start
}

// listNames are the names of lists: an object is a list if its first member has one of
// them, and a value that is an array with elements.
var listNames = [...]string{`"Records"`, `"Events"`}

const (
	// eagerRescan is the size up to which an incomplete value is scanned anew after each
	// read. Beyond it the next scan waits until the value's bytes have doubled, so that it
	// costs no more than a few passes however it trickles in.
	eagerRescan = 16 << 10

	// maxEmptyReads is how often from may return nothing and no error, as for bufio.
	maxEmptyReads = 100
)

// begin makes b the input or, with from, the bytes of from, which are read into b.
func (s *source) begin(b []byte, from io.Reader) {
	s.buf, s.from, s.err = b, from, nil
	if from == nil {
		s.err = io.EOF
	}
	if s.next, s.base, s.charged = 0, 0, 0; s.in != atTop || s.pass.line || s.pass.value {
		s.in, s.pass = atTop, passing{}
	}
	if s.hurt.open != nil {
		s.hurt = damage{}
	}
}

// piece returns the next one. It is valid until the next call.
func (s *source) piece() piece {
	for {
		if p, ok := s.find(); ok {
			return p
		}
		if s.err != nil {
			return piece{kind: pieceEnd}
		}
		s.fill()
	}
}

// byteOrderMark may stand before a value; RFC 8259 section 8.1 lets a reader
// step over it.
const byteOrderMark = "\uFEFF"

// gap returns the offset of the first byte at or after i that is neither white
// space nor part of a byte order mark.
func gap(b []byte, i int) int {
	for {
		i = jsonscan.Space(b, i)
		if len(b)-i < len(byteOrderMark) || string(b[i:i+len(byteOrderMark)]) != byteOrderMark {
			return i
		}
		i += len(byteOrderMark)
	}
}

// offset returns how many bytes of the input are behind the source.
func (s *source) offset() int64 { return s.base + int64(s.next) }

// find returns the next piece; false if it takes more of the input than there is in
// the buffer.
func (s *source) find() (piece, bool) {
	for {
		if (s.pass.line || s.pass.value) && !s.pass.over(s) {
			return piece{}, false
		}
		if s.in == atTop {
			s.next = gap(s.buf, s.next)
		} else {
			s.next = jsonscan.Space(s.buf, s.next)
		}
		i := s.next
		if i == len(s.buf) {
			if s.in != atTop && s.err == io.EOF {
				return s.listCutOff(), true
			}
			return piece{}, false
		}
		var p piece
		ok := true
		switch s.in {
		case atTop:
			p, ok = s.top(i)
		case atElement:
			p, ok = s.value(i)
		case behindElement:
			p = s.delimiter(i, ']', atElement, behindArray)
			if s.in == behindArray && s.list == "" {
				s.in = atTop
			}
		case behindArray:
			p = s.delimiter(i, '}', atName, atTop)
		case atName:
			if s.again = false; s.buf[i] != '"' {
				p = s.unexpected(i)
			} else if p, ok = s.value(i); ok && p.kind == pieceValue {
				s.again = string(s.buf[p.start:p.end]) == s.list
				p = piece{}
			}
		case atColon:
			if s.buf[i] != ':' {
				p = s.unexpected(i)
			} else {
				s.next, s.in = i+1, atMember
			}
		case atMember:
			first, sure := 0, true
			if s.again {
				first, sure = s.elements(i)
			}
			if !sure {
				p, ok = s.more(i)
			} else if first > 0 {
				s.next, s.in = first, atElement
			} else if p, ok = s.value(i); ok && p.kind == pieceValue {
				p = piece{}
			}
		}
		if !ok || p.kind != pieceEnd {
			return p, ok
		}
	}
}

// top finds the piece at i outside of lists.
func (s *source) top(i int) (piece, bool) {
	rest := s.buf[i:]
	if len(rest) > 2 && rest[0] == '{' && rest[1] == '"' && rest[2] != listNames[0][1] && rest[2] != listNames[1][1] {
		return s.value(i) // the usual case
	}
	if isPacked(rest) {
		return s.packed(i)
	}
	if len(rest) < len(packedMagic) && s.err == nil && (rest[0] == packedMagic[0] || rest[0] == byteOrderMark[0]) {
		return piece{}, false
	}
	name, first, sure := s.opens(i)
	switch {
	case !sure:
		return s.more(i)
	case first == 0:
		return s.value(i)
	}
	s.began, s.list = s.base+int64(i), name
	s.next, s.in = first, atElement
	return piece{}, true
}

func (s *source) value(i int) (piece, bool) {
	b := s.buf
	if !s.hurt.covers(s.base + int64(i)) {
		end := s.scan.Value(b, i, s.note)
		if end >= 0 && (end < len(b) || s.err == io.EOF || !isNumber(b[i])) {
			if s.tooLarge(end - i) {
				return s.large(i), true
			}
			s.next, s.in = end, behind[s.in]
			return piece{kind: pieceValue, start: i, end: end}, true
		}
		if end >= 0 || s.scan.At == len(b) && !s.scan.TooDeep && s.err != io.EOF {
			return s.more(i)
		}
		if s.tooLarge(s.scan.At - i) {
			return s.large(i), true
		}
		s.hurt.assess(b, i, s.base, s.scan)
	}
	p := piece{kind: pieceBad, start: i, end: min(int(s.hurt.at-s.base)+1, len(b))}
	s.problem = s.hurt.describe(b, i, s.base)
	if !s.hurt.deep {
		p.end = min(p.end, lineEnd(b[:p.end], i))
	}
	s.leaveLine(s.hurt.last(i, s.base))
	return p, true
}

// isNumber reports whether the value beginning with c is a number: the only
// kind of value that does not show its own end.
func isNumber(c byte) bool {
	return c == '-' || '0' <= c && c <= '9'
}

func (s *source) packed(i int) (piece, bool) {
	end := lineEnd(s.buf, i)
	switch {
	case s.tooLarge(end - i):
		s.leaveLine(i)
		return piece{kind: pieceLarge, start: i, end: i}, true
	case end == len(s.buf) && s.err != io.EOF:
		return piece{}, false
	}
	s.next = end
	return piece{kind: piecePacked, start: i, end: end}, true
}

// more says that the value at i needs more of the input, unless it is too large already.
func (s *source) more(i int) (piece, bool) {
	if s.tooLarge(len(s.buf) - i) {
		return s.large(i), true
	}
	return piece{}, false
}

func (s *source) tooLarge(size int) bool { return s.most > 0 && int64(size) > s.most }

// large passes over the value that begins at i.
func (s *source) large(i int) piece {
	s.pass = passing{value: true, behind: behind[s.in]}
	return piece{kind: pieceLarge, start: i, end: i}
}

// leaveLine goes on outside of lists, in the line behind the one that i is in.
func (s *source) leaveLine(i int) {
	s.next, s.in, s.pass = i, atTop, passing{line: true}
}

// fill reads on behind the bytes in the buffer, and makes room for more.
func (s *source) fill() {
	if s.next > 0 {
		s.base += int64(s.next)
		s.buf = s.buf[:copy(s.buf, s.buf[s.next:])]
		s.next = 0
	}
	have := len(s.buf)
	wanted := have + 1
	if have >= eagerRescan {
		wanted = 2 * have
		if s.most > 0 {
			wanted = int(max(int64(have)+1, min(int64(wanted), s.most+1)))
		}
	}
	if s.owner != nil {
		s.owner.fit(s, wanted)
	} else {
		s.buf = slices.Grow(s.buf, wanted-have)
	}
	for empty := 0; len(s.buf) < wanted && s.err == nil; empty++ {
		if empty == maxEmptyReads {
			s.err = io.ErrNoProgress
			break
		}
		n, err := s.from.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf, s.err = s.buf[:len(s.buf)+n], err
		if n > 0 {
			empty = 0
		}
	}
}

// Read implements io.Reader for an input that turned out to be no JSON.
func (s *source) Read(p []byte) (int, error) {
	if s.next == len(s.buf) && s.err == nil {
		s.fill()
	}
	n := copy(p, s.buf[s.next:])
	if s.next += n; n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, s.err
}

// zipped reports whether the input begins as a gzip file does, behind no more padding
// than gzipPaddingSeen.
func (s *source) zipped() bool {
	for {
		is, sure := BeginsGzip(s.buf[:min(len(s.buf), gzipPaddingSeen)])
		if sure || s.err != nil || len(s.buf) >= gzipPaddingSeen {
			return is
		}
		s.fill()
	}
}
