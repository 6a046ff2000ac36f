package jsonscan

// container is the state of a scan behind the bracket of the innermost open container.
type container struct {
	kinds uint64 // of the innermost 64 open containers a bit each, 1: object; those outside are in Scanner.outer
	depth uint16 // open containers
	level uint8  // of the innermost object of which members are noted
	whole Field  // member of the document with the object or array that is open
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
