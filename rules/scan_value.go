package rules

import "encoding/binary"

// value validates the JSON value that begins at b[i] and returns the offset
// behind it; -1 if it is not valid, with the place in s.at. If level is
// levelTop and the value is an object, s.fields tells where its members lie;
// with level 0 nothing is noted.
//
// This is the program's hottest loop: every byte of input goes through it. So
// it is one function without calls on the common path, its states are labels,
// and the kinds of the open containers are the bits of one word (1: object),
// which spills into s.outer every 64 levels. Strings are searched sixteen bytes
// at a time: most end within that, so how often the loop turns can be foreseen;
// what is rare in them, an escape or the end of the input, is left to closing.
// No input makes it recurse.
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
	)
	b = b[:len(b):len(b)] // with its capacity known, b[i:] is loaded from without further arithmetic
	s.mixed, s.deep = false, false
	s.outer = s.outer[:0]
	if level != 0 {
		s.fields = [numFields]span{}
	}

value:
	if i >= len(b) {
		goto fail
	}
	if b[i] == '"' {
		i++
		start = i
		goto text
	}
	switch b[i] {
	case '{':
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
		if i < len(b) && isSpace(b[i]) {
			i = space(b, i)
		}
		if i < len(b) && b[i] == '}' {
			goto closed
		}
		goto key
	case '[':
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
		if i < len(b) && isSpace(b[i]) {
			i = space(b, i)
		}
		if i < len(b) && b[i] == ']' {
			goto closed
		}
		goto value
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if i, ok = number(b, i); !ok {
			goto fail
		}
		goto after
	case 't':
		if i, ok = literal(b, i, "true"); !ok {
			goto fail
		}
		goto after
	case 'f':
		if i, ok = literal(b, i, "false"); !ok {
			goto fail
		}
		goto after
	case 'n':
		if i, ok = literal(b, i, "null"); !ok {
			goto fail
		}
		goto after
	case ' ', '\t', '\n', '\r':
		i = space(b, i)
		goto value
	}
	goto fail

text: // inside a string that is a value
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
	if i, w, ok = closing(b, i); !ok {
		goto fail
	}
	bytes |= w
textEnd:
	if want < firstWhole {
		s.fields[want] = span{uint32(start), uint32(i)}
	} else if want < numFields {
		s.fields[want] = span{uint32(start - 1), uint32(i + 1)}
	}
	i++
	if kinds&1 != 0 && len(b)-i > 2 && b[i] == ',' && b[i+1] == '"' { // as nearly always
		i += 2
		start = i
		goto name
	}
	goto after

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
name: // inside a string that is a member's name
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
	if depth == level {
		s.name = appendUnescaped(s.name[:0], b[start:i])
		want = s.match(level, s.name)
	}
colon:
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
		s.mixed = bytes&highBits != 0
		return i
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
		goto value
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
		whole = none
	}
	goto after

fail:
	s.at = min(i, len(b))
	return -1
}
