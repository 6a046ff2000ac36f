package jsonscan

import "encoding/binary"

// Value validates the JSON value that begins at b[i] and returns the offset behind it; -1
// if it is not valid, with the place in s.At. With note, and if the value is an object,
// s.Fields tells where its members lie.
//
// This is the program's hottest loop: every byte of input goes through it. So it is one
// function with states that are labels, and the kinds of the open containers are the bits
// of one word (1: object), which spills into s.outer every 64 levels. The bytes between two
// values are compared as a whole with those of the documents before (see the package's
// comment); advance does that, and searches strings for their ends, thirty-two bytes at a
// time. Mispredictions are read here, strings sixteen bytes at a time. No input makes it
// recurse.
//
// While all goes as predicted, the state that follows from the node is not kept up to date:
// depth, level, kinds, whole and in. It is looked up when it is needed (see stateAt).
func (s *Scanner) Value(b []byte, i int, note bool) int {
	var (
		depth int    // open containers
		level int    // of the innermost object of which members are noted
		kinds uint64 // kinds of the innermost of them
		bytes uint64 // all words of all strings that are values, or-ed
		want  Field  // member to which the next value belongs
		whole Field  // member of the document with the object or array that is open
		start int    // of a string, behind the quote
		w, x  uint64 // sixteen bytes of a string
		m, n  uint64 // marks of special bytes in them
		ok    bool

		f         = noPrediction // the memory
		at        uint16         // the node of the value at hand, or behind the bracket just opened
		in        uint16         // the node behind the bracket around it
		untracked = 1            // open containers, from the outermost that has no node
		pendings  int            // transitions that are being trained
		t         *transition
		c         *[maxTransition]byte
		last      [maxTransition]byte // the rest of the input, with zeros behind it: no transition has these
	)
	b = b[:len(b):len(b)] // with its capacity known, b[i:] is loaded from without further arithmetic
	s.Escaped, s.TooDeep = false, false
	s.outer = s.outer[:0]
	if note {
		level = levelTop
		s.Fields = [NumFields]Span{}
	}
	if s.Predictor != nil {
		f, untracked = s.Predictor, 0
		at, in = f.begin(level)
	}

value: // the node is at
	if i >= len(b) {
		goto fail
	}
	if pendings > 0 && !IsSpace(b[i]) {
		pendings = f.train(b, i, at, want, pendings)
	}
	if b[i] == '"' {
		i++
		start = i
		goto text
	}
	switch b[i] {
	case '{':
		if at != noNode {
			in, depth, level, whole, kinds = f.stateAt(at)
		}
		if want >= FirstWhole {
			if want < NumFields {
				whole = want
				s.Fields[want].Start = uint32(i)
			} else {
				level++
			}
		}
		want = None
		if depth&63 == 0 && depth > 0 {
			s.outer = append(s.outer, kinds)
		}
		if depth == MaxDepth {
			s.TooDeep = true
			goto fail
		}
		depth++
		kinds = kinds<<1 | 1
		i++
		goto opened
	case '[':
		if at != noNode {
			in, depth, level, whole, kinds = f.stateAt(at)
		}
		if want >= FirstWhole && want < NumFields {
			whole = want
			s.Fields[want].Start = uint32(i)
		}
		want = None
		if depth&63 == 0 && depth > 0 {
			s.outer = append(s.outer, kinds)
		}
		if depth == MaxDepth {
			s.TooDeep = true
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
		i = Space(b, i)
		goto value
	}
	goto fail

text: // inside a string that is a value
	if at != noNode && pendings == 0 && len(b)-i >= minAdvance && f.useAVX2 {
		r := position{i: i, at: at, want: want}
		stop := advance(b[:min(len(b), i+maxAdvance)], f, &s.Fields, &r)
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
	if want < FirstWhole {
		s.Fields[want] = Span{uint32(start), uint32(i)}
	} else if want < NumFields {
		s.Fields[want] = Span{uint32(start - 1), uint32(i + 1)}
	} else {
		s.Fields[s.Members.Text] = Span{uint32(start - 1), uint32(i + 1)}
	}
	i++

next: // behind a value or an opening bracket; the node is at
	if len(b)-i >= maxTransition {
		c = (*[maxTransition]byte)(b[i:])
	} else {
		last = [maxTransition]byte{}
		copy(last[:], b[i:])
		c = &last
	}
	if t = &f.nodes[at].transition; !t.matches(c) {
		t = &f.infos[at].before
	}
	if t.matches(c) {
		if t.ends != None {
			f.ends, f.endAt = t.ends, i+int(t.endAt)
			s.Fields[t.ends].End = uint32(f.endAt)
		}
		i += int(t.n)
		at, want = t.to, t.want
		if at == done {
			goto end
		}
		if want < NumFields {
			s.Fields[want] = Span{}
		} else {
			s.clear(want)
		}
		if t.text {
			if pendings > 0 {
				pendings = f.train(b, i-1, at, want, pendings)
			}
			start = i
			goto text
		}
		goto value
	}
	if at != noNode { // a misprediction
		in, depth, level, whole, kinds = f.stateAt(at)
		if pendings < len(f.pending) {
			f.pending[pendings] = pending{at, i}
			pendings++
		}
	}
	switch b[i-1] {
	case '{':
		i = Space(b, i)
		if i < len(b) && b[i] == '}' {
			goto closed
		}
		goto key
	case '[':
		i = Space(b, i)
		if i < len(b) && b[i] == ']' {
			goto closed
		}
		goto element
	}
	goto after

opened: // behind an opening bracket
	if at != noNode {
		at = f.bracket(at, depth, level, kinds, whole)
	}
	if at == noNode {
		untracked++
	}
	goto next

element:
	at = noNode
	if untracked == 0 {
		at = f.element(in)
	}
	goto value

key:
	if i >= len(b) {
		goto fail
	}
	if b[i] != '"' {
		if !IsSpace(b[i]) {
			goto fail
		}
		i = Space(b, i)
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
				want = None
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
	want = None
	if depth == level && i-start <= maxEscapedName {
		s.name = AppendUnescaped(s.name[:0], b[start:i])
		want = s.match(level, s.name)
	}
colon:
	at = noNode
	if untracked == 0 {
		at = f.member(in, b[start:i])
	}
	if len(b)-i > 2 && b[i+1] == ':' {
		i += 2
		goto value
	}
	i = Space(b, i+1)
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
		i = Space(b, i)
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
	if whole != None && depth == levelTop {
		s.Fields[whole].End = uint32(i)
		if s.Predictor != nil {
			f.ends, f.endAt = whole, i
		}
		whole = None
	}
	if untracked == 0 {
		at = f.infos[in].of
		in = f.infos[at].in
	} else {
		at = noNode
		untracked--
	}
	goto next

end: // behind the document
	if pendings > 0 {
		f.trainEnd(b, i, pendings)
	}
	s.Escaped = bytes&highBits != 0
	return i

fail:
	s.At = min(i, len(b))
	return -1
}
