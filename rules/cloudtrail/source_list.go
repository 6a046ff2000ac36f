package cloudtrail

import (
	"bytes"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// opens returns the place of the first element of the list that begins at i, and the list's
// name; 0: no list begins there. Not sure: more of the input is needed to tell.
func (s *source) opens(i int) (name string, first int, sure bool) {
	b := s.buf
	if b[i] != '{' {
		first, sure = s.elements(i)
		return "", first, sure
	}
	i = jsonscan.Space(b, i+1)
	for _, name := range listNames {
		n := min(len(name), len(b)-i)
		if string(b[i:i+n]) != name[:n] {
			continue
		}
		if i = jsonscan.Space(b, i+n); i < len(b) && b[i] != ':' {
			return "", 0, true
		}
		if i = jsonscan.Space(b, min(i+1, len(b))); i == len(b) {
			return "", 0, s.err != nil
		}
		first, sure = s.elements(i)
		return name, first, sure
	}
	return "", 0, true
}

// elements returns the place of the first element of the array at i; 0: there is no array,
// or none with elements.
func (s *source) elements(i int) (first int, sure bool) {
	if s.buf[i] != '[' {
		return 0, true
	}
	first = jsonscan.Space(s.buf, i+1)
	switch {
	case first == len(s.buf):
		return 0, s.err != nil
	case s.buf[first] == ']':
		return 0, true
	}
	return first, true
}

// delimiter steps over a comma or the bracket that closes.
func (s *source) delimiter(i int, closing byte, comma, closed spot) piece {
	switch s.buf[i] {
	case ',':
		s.next, s.in = i+1, comma
	case closing:
		s.next, s.in = i+1, closed
	default:
		return s.unexpected(i)
	}
	return piece{}
}

// unexpected leaves the list for b[i], which cannot be there. A byte that may begin a value
// is read as one: the list before it may have been cut off.
func (s *source) unexpected(i int) piece {
	c := s.buf[i]
	p := piece{kind: pieceBad, start: i, end: i + 1}
	s.problem = problem(ReasonNotJSON, "unexpected %q at byte %d, in the list that begins at byte %d", c, s.base+int64(i), s.began)
	if s.in = atTop; bytes.IndexByte([]byte("{[\"-0123456789tfn"+packedMagic[:1]+byteOrderMark[:1]), c) < 0 {
		s.leaveLine(i)
	}
	return p
}

// listCutOff is the end of the input inside a list.
func (s *source) listCutOff() piece {
	s.in, s.problem = atTop, problem(ReasonCutOff, "the list that begins at byte %d is cut off", s.began)
	return piece{kind: pieceBad, start: s.next, end: s.next}
}
