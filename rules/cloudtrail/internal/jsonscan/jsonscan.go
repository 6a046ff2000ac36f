// Package jsonscan validates a JSON value and notes, on the same pass, where members lie
// that its caller has named. It accepts the same values as encoding/json.
//
// Its types are few: a [Scanner] reads values; [Members] tells it which members of the
// document to note, and a [Span] where one lies; a [Predictor] is the scanner's memory of
// documents like the ones to come.
//
// # Prediction
//
// Documents of one source differ in their values, and hardly in the bytes between them:
// behind the value of "eventName" nearly always comes
//
//	,"awsRegion":"
//
// A predictor keeps a trie of the paths of the documents it was trained with. A node of it
// is a point in all documents with the same path to it: behind a value, or behind an
// opening bracket. A transition is the bytes that followed a node the last time, up to
// where the next value begins, and the node of that value. If the same bytes follow again,
// they are compared as a whole and stepped over: that they are valid there, and which
// member begins behind them, depends on nothing but the path, and is known from before. A
// transition that does not fit is a misprediction: the bytes are read one by one, and the
// node is trained with them.
//
// A prediction may change the time until an answer is there, and the caution with which
// [Scanner.Escaped] is set. It may never change an end, an error, its place, or a span: the
// tests scan each document with a predictor, without one and without the assembly, and
// compare.
//
// The memory of a predictor is bounded for any documents; so is the time for one look-up in
// it (names can be made to collide).
//
// # Assembly
//
// advance (advance_amd64.s, AVX2) scans thirty-two bytes at a time while all goes as
// predicted, and stops at everything else. It decides nothing that [Scanner.Value] would
// decide in another way. It relies on the layout of some types: advance.go asserts each of
// these when it is compiled. The build tag purego, and every other architecture, goes
// without it.
//
// # The core
//
// [Scanner.Value] has 217 lines, and had 357. Parts left it as far as speed allowed. Each
// step was measured in turns with the version of 357 lines, as processor time for an event of
// testdata/bench, medians of the pairs: predicted with AVX2 (260 ns), predicted in Go (820
// ns), and without a predictor, as [Member] reads (1,160 ns).
//
//	step                                                        AVX2   Go   without
//	brackets in one case, numbers and literals in a function    -3 %  -1 %   +3 %
//	and the state of containers in Scanner, with methods        -6 %  -9 %  +19 %
//	and no transition is looked at where there is no node       -2 %  -4 %  -13 %   is the version here
//	and the end of a string is sought by a function             -4 %  +8 %   +3 %   not kept
//	or all that is not predicted is read by one function        -4 %  +4 %    0 %   not kept
//
// BenchmarkScan has the first two, and events of unknown shape, which cost the same in both.
package jsonscan

import "unsafe"

// Field numbers a member that a scan notes. The fields from 1 on are strings, noted without
// their quotes; those from FirstWhole on are strings, objects and arrays, noted with quotes
// or brackets; the MaxObjects from FirstObject on are objects to look into, and not noted.
type Field uint8

// The bounds of each kind of field.
const (
	None        Field = 0
	FirstWhole        = 32
	NumFields         = 48
	FirstObject       = NumFields
	MaxObjects        = 3
)

// Members tells a scan which members it is to note.
type Members struct {
	// Match returns the field of a member by its name, None if it is not noted. Level 1 is
	// the document, level 1+k the object of the field FirstObject+k-1. The name of a member
	// is at most MaxName bytes long.
	Match func(level int, name []byte) Field

	// Inside are the string fields that lie in each object that is looked into, at any depth.
	Inside [MaxObjects]FieldRange

	// Text notes, with its quotes, a string in the place of an object to look into: the
	// last one.
	Text Field
}

// FieldRange is N fields from First on.
type FieldRange struct{ First, N uint8 }

// MaxName is how many bytes the name of a member has that is noted.
const MaxName = 32

// maxEscapedName is how long the raw form of such a name may be: six bytes stand for one.
const maxEscapedName = 6 * MaxName

// levelTop is the level of the document's own members.
const levelTop = 1

// MaxDepth is how deep a value may nest, as in encoding/json.
const MaxDepth = 10_000

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

// Span is where a member's value lies: Start ≤ i < End. Both zero: absent.
type Span struct{ Start, End uint32 }

// String returns the bytes of b that the span is, as a string that aliases them.
func (s Span) String(b []byte) string {
	return unsafe.String(unsafe.SliceData(b[s.Start:s.End]), s.End-s.Start)
}

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
