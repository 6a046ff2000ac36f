package cloudtrail

import "encoding/binary"

// value validates the JSON value that begins at b[i] and returns the offset
// behind it; -1 if it is not valid, with the place in s.at. If level is
// levelTop and the value is an object, s.fields tells where its members lie;
// with level 0 nothing is noted.
//
// This is the program's hottest loop: every byte of input goes through it. So
// it is one function whose states are labels, and the kinds of the open
// containers are the bits of one word (1: object), which spills into s.outer
// every 64 levels. What lies between two values is compared as a whole with what
// was there in the documents before (see foresight); follow does that, and
// searches strings for their ends, thirty-two bytes at a time. What is not as
// foreseen is read here, strings sixteen bytes at a time. No input makes it
// recurse.
//
// While all goes as foreseen, what follows from the place is not kept up to date:
// depth, level, kinds, whole and in. It is looked up when it is needed (see around).
func (s *scanner) value(b []byte, i, level int) int {
	var (
		depth int    // open containers
		kinds uint64 // kinds of the innermost of them
		bytes uint64 // all words of all strings that are values, or-ed
		want  field  // member whose value comes next
		whole field  // member of the top whose object or array is open
		start int    // of a string, behind the quote
		w, x  uint64 // sixteen bytes of a string
		m, n  uint64 // what is special in them
		ok    bool

		f       = blind // what is remembered
		at      uint16  // the place of the value at hand, or behind the bracket just opened
		in      uint16  // the place behind the bracket around it
		lost    = 1     // open containers, from the outermost that is not remembered
		waiting int     // steps that are being learnt
		t       *step
		c       *[maxStep]byte
		last    [maxStep]byte // what is left of the input, with zeros behind it: they are in no step
	)
	b = b[:len(b):len(b)] // with its capacity known, b[i:] is loaded from without further arithmetic
	s.mixed, s.deep = false, false
	s.outer = s.outer[:0]
	if level != 0 {
		s.fields = [numFields]span{}
	}
	if s.seen != nil {
		f, lost = s.seen, 0
		at, in = f.begin(level)
	}

value: // the place is at
	if i >= len(b) {
		goto fail
	}
	if waiting > 0 && !isSpace(b[i]) {
		waiting = f.learn(b, i, at, want, waiting)
	}
	if b[i] == '"' {
		i++
		start = i
		goto text
	}
	switch b[i] {
	case '{':
		if at != unknown {
			in, depth, level, whole, kinds = f.around(at)
		}
		if want >= firstWhole {
			if want < numFields {
				whole = want
				s.fields[want].start = uint32(i)
			} else {
				level++
			}
		}
		want = none
		if depth&63 == 0 && depth > 0 {
			s.outer = append(s.outer, kinds)
		}
		if depth == maxDepth {
			s.deep = true
			goto fail
		}
		depth++
		kinds = kinds<<1 | 1
		i++
		goto opened
	case '[':
		if at != unknown {
			in, depth, level, whole, kinds = f.around(at)
		}
		if want >= firstWhole && want < numFields {
			whole = want
			s.fields[want].start = uint32(i)
		}
		want = none
		if depth&63 == 0 && depth > 0 {
			s.outer = append(s.outer, kinds)
		}
		if depth == maxDepth {
			s.deep = true
			goto fail
		}
		depth++
		kinds <<= 1
		i++
		goto opened
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if i, ok = number(b, i); !ok {
			goto fail
		}
		goto next
	case 't':
		if i, ok = literal(b, i, "true"); !ok {
			goto fail
		}
		goto next
	case 'f':
		if i, ok = literal(b, i, "false"); !ok {
			goto fail
		}
		goto next
	case 'n':
		if i, ok = literal(b, i, "null"); !ok {
			goto fail
		}
		goto next
	case ' ', '\t', '\n', '\r':
		i = space(b, i)
		goto value
	}
	goto fail

text: // inside a string that is a value
	if at != unknown && waiting == 0 && len(b)-i >= minFollow && f.quick {
		r := run{i: i, at: at, want: want}
		stop := follow(b[:min(len(b), i+maxFollow)], f, &s.fields, &r)
		i, start, at, want = r.i, r.start, r.at, r.want
		bytes |= r.high
		switch stop {
		case stopNext:
			goto next
		case stopValue:
			goto value
		case stopQuote:
			goto textEnd
		case stopClosing:
			goto closing
		}
	}
	for len(b)-i >= 16 {
		w = binary.LittleEndian.Uint64(b[i:])
		x = binary.LittleEndian.Uint64(b[i+8:])
		bytes |= w | x
		m, n = special(w), special(x)
		if m|n != 0 {
			i += first(m, n)
			if b[i] == '"' {
				goto textEnd
			}
			break
		}
		i += 16
	}
closing:
	if i, w, ok = closing(b, i); !ok {
		goto fail
	}
	bytes |= w
textEnd:
	if want < firstWhole {
		s.fields[want] = span{uint32(start), uint32(i)}
	} else if want < numFields {
		s.fields[want] = span{uint32(start - 1), uint32(i + 1)}
	} else {
		s.fields[fieldIdentityText] = span{uint32(start - 1), uint32(i + 1)}
	}
	i++

next: // behind a value or an opening bracket; the place is at
	if len(b)-i >= maxStep {
		c = (*[maxStep]byte)(b[i:])
	} else {
		last = [maxStep]byte{}
		copy(last[:], b[i:])
		c = &last
	}
	if t = &f.leads[at].step; !t.leads(c) {
		t = &f.places[at].before
	}
	if t.leads(c) {
		if t.ends != none {
			f.ends, f.endAt = t.ends, i+int(t.endAt)
			s.fields[t.ends].end = uint32(f.endAt)
		}
		i += int(t.n)
		at, want = t.to, t.want
		if at == done {
			goto end
		}
		if want < numFields {
			s.fields[want] = span{}
		} else {
			s.forget(want)
		}
		if t.text {
			if waiting > 0 {
				waiting = f.learn(b, i-1, at, want, waiting)
			}
			start = i
			goto text
		}
		goto value
	}
	if at != unknown { // not as foreseen
		in, depth, level, whole, kinds = f.around(at)
		if waiting < len(f.waits) {
			f.waits[waiting] = wait{at, i}
			waiting++
		}
	}
	switch b[i-1] {
	case '{':
		i = space(b, i)
		if i < len(b) && b[i] == '}' {
			goto closed
		}
		goto key
	case '[':
		i = space(b, i)
		if i < len(b) && b[i] == ']' {
			goto closed
		}
		goto element
	}
	goto after

opened: // behind an opening bracket
	if at != unknown {
		at = f.bracket(at, depth, level, kinds, whole)
	}
	if at == unknown {
		lost++
	}
	goto next

element:
	at = unknown
	if lost == 0 {
		at = f.element(in)
	}
	goto value

key:
	if i >= len(b) {
		goto fail
	}
	if b[i] != '"' {
		if !isSpace(b[i]) {
			goto fail
		}
		i = space(b, i)
		goto key
	}
	i++
	start = i
	for len(b)-i >= 16 {
		w = binary.LittleEndian.Uint64(b[i:])
		x = binary.LittleEndian.Uint64(b[i+8:])
		m, n = special(w), special(x)
		if m|n != 0 {
			i += first(m, n)
			if b[i] == '"' {
				want = none
				if depth == level {
					want = s.match(level, b[start:i])
				}
				goto colon
			}
			break
		}
		i += 16
	}
	if i, _, ok = closing(b, i); !ok {
		goto fail
	}
	want = none
	if depth == level && i-start <= maxEscapedName {
		s.name = appendUnescaped(s.name[:0], b[start:i])
		want = s.match(level, s.name)
	}
colon:
	at = unknown
	if lost == 0 {
		at = f.member(in, b[start:i])
	}
	if len(b)-i > 2 && b[i+1] == ':' {
		i += 2
		goto value
	}
	i = space(b, i+1)
	if i >= len(b) || b[i] != ':' {
		goto fail
	}
	i++
	goto value

after: // behind a value
	if depth == 0 {
		goto end
	}
	if i >= len(b) {
		goto fail
	}
	switch b[i] {
	case ',':
		i++
		if kinds&1 != 0 {
			goto key
		}
		goto element
	case '}':
		if kinds&1 != 0 {
			goto closed
		}
	case ']':
		if kinds&1 == 0 {
			goto closed
		}
	case ' ', '\t', '\n', '\r':
		i = space(b, i)
		goto after
	}
	goto fail

closed: // at the bracket that closes the innermost container
	i++
	if depth == level {
		level--
	}
	depth--
	kinds >>= 1
	if depth&63 == 0 && depth > 0 {
		kinds = s.outer[len(s.outer)-1]
		s.outer = s.outer[:len(s.outer)-1]
	}
	if whole != none && depth == levelTop {
		s.fields[whole].end = uint32(i)
		if s.seen != nil {
			f.ends, f.endAt = whole, i
		}
		whole = none
	}
	if lost == 0 {
		at = f.places[in].of
		in = f.places[at].in
	} else {
		at = unknown
		lost--
	}
	goto next

end: // behind the document
	if waiting > 0 {
		f.finish(b, i, waiting)
	}
	s.mixed = bytes&highBits != 0
	return i

fail:
	s.at = min(i, len(b))
	return -1
}
