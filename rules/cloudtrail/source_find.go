package cloudtrail

import (
	"io"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

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
