package jsonscan

import "encoding/binary"

// Value validates the JSON value that begins at b[i] and returns the offset behind it; -1
// if it is not valid, with the place in s.At. With note, and if the value is an object,
// s.Fields tells where its members lie.
//
// This is the program's hottest loop: every byte of input goes through it. So it is one
// function with states that are labels. The bytes between two values are compared as a whole
// with those of the documents before (see the package's comment); advance does that, and
// searches strings for their ends, thirty-two bytes at a time. Mispredictions are read here,
// strings sixteen bytes at a time. No input makes it recurse.
//
// While all goes as predicted, the state that follows from the node, s.container and s.in, is
// not kept up to date: restore looks it up when it is needed.
func (s *Scanner) Value(b []byte, i int, note bool) int {
	var (
		bytes uint64 // all words of all strings that are values, or-ed
		want  Field  // member to which the next value belongs
		start int    // of a string, behind the quote
		w, x  uint64 // sixteen bytes of a string
		m, n  uint64 // marks of special bytes in them
		ok    bool

		f        = noPrediction // the memory
		at       uint16         // the node of the value at hand, or behind the bracket just opened
		pendings int            // transitions that are being trained
		t        *transition
		c        *[maxTransition]byte
		last     [maxTransition]byte // the rest of the input, with zeros behind it: no transition has these
	)
	b = b[:len(b):len(b)] // with its capacity known, b[i:] is loaded from without further arithmetic
	s.Escaped, s.TooDeep = false, false
	s.outer = s.outer[:0]
	s.container, s.untracked = container{}, 1
	if note {
		s.level = levelTop
		s.Fields = [NumFields]Span{}
	}
	if s.Predictor != nil {
		f, s.untracked = s.Predictor, 0
		at, s.in = f.begin(note)
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
	case '{', '[':
		if at, ok = s.open(f, b, i, at, want); !ok {
			goto fail
		}
		want = None
		i++
		goto next
	case ' ', '\t', '\n', '\r':
		i = Space(b, i)
		goto value
	}
	if i, ok = scalar(b, i); ok {
		goto next
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
	if at == noNode {
		goto unpredicted
	}
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
	s.restore(f, at) // a misprediction
	if pendings < len(f.pending) {
		f.pending[pendings] = pending{at, i}
		pendings++
	}
unpredicted:
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

after: // behind a value
	if s.depth == 0 {
		goto end
	}
	if i >= len(b) {
		goto fail
	}
	switch b[i] {
	case ',':
		i++
		if s.kinds&1 != 0 {
			goto key
		}
		goto element
	case '}':
		if s.kinds&1 != 0 {
			goto closed
		}
	case ']':
		if s.kinds&1 == 0 {
			goto closed
		}
	case ' ', '\t', '\n', '\r':
		i = Space(b, i)
		goto after
	}
	goto fail

element:
	at = s.element(f)
	goto value

key:
	if i, at, want, ok = s.member(f, b, i); !ok {
		goto fail
	}
	goto value

closed: // at the bracket that closes the innermost container
	i++
	at = s.close(f, i)
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
