package jsonscan

// Scanner reads values. The zero value is ready, and notes nothing.
type Scanner struct {
	Members   *Members   // nil: nothing may be noted
	Predictor *Predictor // of Members; nil: nothing is predicted

	Fields  [NumFields]Span // the members that were noted, but for Fields[None]; meaningful after Value returned an end
	Escaped bool            // some string value may hold an escape or a byte above 0x7f; false: none does

	At      int  // after a failure: offset of the first byte that is wrong; the input's length if it is cut off
	TooDeep bool // after a failure: the depth is too large

	container
	in        uint16   // the node behind the bracket of the container
	untracked int      // open containers, from the outermost that has no node
	outer     []uint64 // container kinds outside the innermost 64
	name      []byte   // scratch for a member's name that holds escapes
}

// Kept is how many bytes the scanner keeps for its next value.
func (s *Scanner) Kept() int { return cap(s.name) + 8*cap(s.outer) }

// match returns the field of a member of the object at that level. An earlier member of the
// same name is forgotten: the last one counts, with a value of any kind.
func (s *Scanner) match(level int, name []byte) Field {
	f := s.Members.Match(level, name)
	s.clear(f)
	return f
}

// clear forgets the spans of, or inside, an earlier member of the same name.
func (s *Scanner) clear(f Field) {
	if f < NumFields {
		s.Fields[f] = Span{}
		return
	}
	in := s.Members.Inside[f-FirstObject]
	clear(s.Fields[in.First : in.First+in.N])
	s.Fields[s.Members.Text] = Span{}
}

// restore looks up the state at a node: while all goes as predicted, it is not kept up to
// date.
func (s *Scanner) restore(f *Predictor, at uint16) {
	s.in = f.infos[at].in
	s.container = f.infos[s.in].container
}

// open steps over the bracket b[i] that opens the value of a node, and returns the node
// behind it; false: the value is nested too deeply.
func (s *Scanner) open(f *Predictor, b []byte, i int, at uint16, want Field) (uint16, bool) {
	if at != noNode {
		s.restore(f, at)
	}
	if want >= NumFields {
		if b[i] == '{' {
			s.level++
		}
	} else if want >= FirstWhole {
		s.whole = want
		s.Fields[want].Start = uint32(i)
	}
	if s.depth&63 == 0 && s.depth > 0 {
		s.outer = append(s.outer, s.kinds)
	}
	if s.depth == MaxDepth {
		s.TooDeep = true
		return noNode, false
	}
	s.depth++
	s.kinds <<= 1
	if b[i] == '{' {
		s.kinds |= 1
	}
	if at != noNode {
		at = f.bracket(at, s.container)
	}
	if at == noNode {
		s.untracked++
	}
	return at, true
}

// close steps over the bracket before i, which closes the innermost container, and returns
// the container's node.
func (s *Scanner) close(f *Predictor, i int) (at uint16) {
	if s.depth == uint16(s.level) {
		s.level--
	}
	s.depth--
	s.kinds >>= 1
	if s.depth&63 == 0 && s.depth > 0 {
		s.kinds = s.outer[len(s.outer)-1]
		s.outer = s.outer[:len(s.outer)-1]
	}
	if s.whole != None && s.depth == levelTop {
		s.Fields[s.whole].End = uint32(i)
		if s.Predictor != nil {
			f.ends, f.endAt = s.whole, i
		}
		s.whole = None
	}
	if s.untracked > 0 {
		s.untracked--
		return noNode
	}
	at = f.infos[s.in].of
	s.in = f.infos[at].in
	return at
}

// element returns the node of the elements of the innermost container.
func (s *Scanner) element(f *Predictor) uint16 {
	if s.untracked > 0 {
		return noNode
	}
	return f.element(s.in)
}

// member reads a member up to its value, where it ends, and returns the node and the field
// of the value. If ok is false, end is the offset of the byte that is wrong.
func (s *Scanner) member(f *Predictor, b []byte, i int) (end int, at uint16, want Field, ok bool) {
	if i = Space(b, i); i >= len(b) || b[i] != '"' {
		return i, noNode, None, false
	}
	start := i + 1
	i, seen, ok := textEnd(b, start)
	if !ok {
		return i, noNode, None, false
	}
	name := b[start:i]
	if s.depth == uint16(s.level) {
		if seen&highBits == 0 {
			want = s.match(int(s.level), name)
		} else if len(name) <= maxEscapedName {
			s.name = AppendUnescaped(s.name[:0], name)
			want = s.match(int(s.level), s.name)
		}
	}
	if s.untracked == 0 {
		at = f.member(s.in, name)
	}
	if len(b)-i > 2 && b[i+1] == ':' {
		return i + 2, at, want, true
	}
	if i = Space(b, i+1); i >= len(b) || b[i] != ':' {
		return i, noNode, None, false
	}
	return i + 1, at, want, true
}
