package cloudtrail

import "trailhound/rules/cloudtrail/internal/jsonscan"

// over passes over the bytes in the buffer; false if the part goes on behind them.
func (p *passing) over(s *source) bool {
	switch {
	case p.line:
		i := lineEnd(s.buf, s.next)
		if s.next = i; i == len(s.buf) && s.err == nil {
			return false
		}
		p.line = false
	case p.value:
		return p.overValue(s)
	}
	return true
}

// overValue finds the end of a value by its brackets and quotes alone: that takes no
// memory. A string that goes on in another line is not JSON.
func (p *passing) overValue(s *source) bool {
	b, i := s.buf, s.next
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case p.escaped:
			p.escaped = false
			continue
		case p.text:
			switch {
			case c == '\\':
				p.escaped = true
				continue
			case c < ' ':
				s.leaveLine(i)
				return p.over(s)
			case c != '"':
				i = jsonscan.Special(b, i) - 1
				continue
			}
			p.text = false
		case p.scalar:
			if isScalar(c) {
				continue
			}
			i--
		case c == '"':
			p.text, p.begun = true, true
			continue
		case c == '{' || c == '[':
			p.depth++
			p.begun = true
			continue
		case c == '}' || c == ']':
			p.depth--
		case !p.begun:
			p.scalar, p.begun = true, true
			continue
		default:
			continue
		}
		if p.depth <= 0 {
			s.next, s.in = i+1, p.behind
			s.pass = passing{}
			return true
		}
	}
	s.next = min(i, len(b))
	if s.err == nil {
		return false
	}
	s.in, s.pass = atTop, passing{}
	return true
}

// isScalar reports whether c can be part of a number or a literal.
func isScalar(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}
