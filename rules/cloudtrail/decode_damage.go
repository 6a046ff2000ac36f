package cloudtrail

import (
	"bytes"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// damage remembers where a value turned out not to be JSON. Reading goes on in
// the line behind the one where the value began, often still inside it: most
// bad values are a line cut off, with good lines behind it.
//
// Going back must not cost a pass for every line. A container inside the bad value which
// the scan saw close will be found to be good; one that was open when the scan failed will
// fail at the same place, since that place lies in the same innermost container as before.
// So it is enough to remember the open ones, and no byte is read more than three times.
//
// Offsets are counted from the start of the input, not of a buffer.
type damage struct {
	at   int64   // offset of the first byte that is wrong
	cut  bool    // the input ends there
	deep bool    // the depth is too large there
	open []int64 // where the containers open at that point begin, ascending
}

// covers reports whether the value that begins at offset i is known to be bad.
// Offsets are asked for in ascending order.
func (g *damage) covers(i int64) bool {
	for len(g.open) > 0 && g.open[0] < i {
		g.open = g.open[1:]
	}
	return len(g.open) > 0 && g.open[0] == i
}

// assess takes over from s, which has just refused the value at b[i]. base is
// the offset of b[0].
func (g *damage) assess(b []byte, i int, base int64, s *jsonscan.Scanner) {
	g.at, g.cut, g.deep, g.open = base+int64(s.At), s.At == len(b) && !s.TooDeep, s.TooDeep, nil
	if s.TooDeep {
		return // reading goes on behind that place: see last
	}
	for ; i < s.At; i++ {
		switch b[i] {
		case '"':
			i = min(jsonscan.StringEnd(b, i), s.At) - 1
		case '{', '[':
			g.open = append(g.open, base+int64(i))
		case '}', ']':
			if len(g.open) > 0 {
				g.open = g.open[:len(g.open)-1]
			}
		}
	}
}

// last returns the offset in b of the last part of the bad value that is not read again:
// reading goes on in the line behind it. The value begins at b[i].
func (g *damage) last(i int, base int64) int {
	if g.deep {
		return int(g.at - base)
	}
	return i
}

// describe returns the problem of the value at b[i]. base is the offset of b[0].
func (g *damage) describe(b []byte, i int, base int64) *DecodeError {
	begins := base + int64(i)
	switch {
	case g.deep:
		return problem(ReasonTooDeep, "nested more than %d deep at byte %d", jsonscan.MaxDepth, g.at)
	case g.cut:
		return problem(ReasonCutOff, "the value that begins at byte %d is cut off", begins)
	case begins == g.at:
		return problem(ReasonNotJSON, "no JSON value begins with %q, at byte %d", b[i], g.at)
	}
	return problem(ReasonNotJSON, "unexpected %q at byte %d, in the value that begins at byte %d", b[g.at-base], g.at, begins)
}

// lineEnd returns the offset of the first newline of b at or after i, or len(b).
func lineEnd(b []byte, i int) int {
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(b)
}
