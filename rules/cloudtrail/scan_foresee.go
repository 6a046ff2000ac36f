package cloudtrail

import (
	"encoding/binary"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// Sizes of what a scanner remembers. Thirteen events of one account took two
// hundred places, four thousand of several accounts more than there are; what does
// not fit is read without foresight.
const (
	fewPlaces = 256 // to begin with; they are doubled when they are full
	maxPlaces = 2048
	maxSlots  = 2 * maxPlaces
	maxStep   = 32 // bytes
	maxName   = 40 // bytes
	maxProbes = 8  // of the hash table: names can be made to collide

	// maxKnown is from which depth on places are not remembered; below 64, so that
	// the kinds of the containers around one fit into a word.
	maxKnown = 60

	// manyMisses is how often a string may have another length than the last time, of
	// manyDocuments, before its length is no longer counted on: to go on with a length
	// that turns out to be wrong costs the processor more than to wait for it. For 3,000
	// events one after the other that is 7 %; 16 of 1,024 and 100 of 16,384 are as good.
	manyMisses    = 40
	manyDocuments = 4096

	// forgetAfter is how many documents are read with a full memory before it is
	// emptied: by then what fills it may be out of use, or was sent to fill it.
	forgetAfter = 4096
)

// Places that are always there.
const (
	unknown = iota // stands for all places that are not remembered; nothing follows it

	outside // around a document
	root    // a document

	outsidePlain // the same two of a scan that notes nothing
	rootPlain

	done // behind a document
	firstPlace
)

// foresight is what a scanner remembers of the documents it has read: which bytes
// followed at each place. JSON of one source hardly varies but in its values:
// behind the value of "eventName" nearly always comes
//
//	,"awsRegion":"
//
// and those bytes need not be read one by one again. Four comparisons show that
// they are the same; that they are valid at this place, and which member begins
// behind them, is known from the time before. Both depend on nothing but the
// path to the place, so foresight can only change how soon an answer is there
// (and with how much caution mixed is set).
//
// Its memory is bounded.
type foresight struct {
	leads  []lead
	places []place
	slots  [maxSlots]uint16 // hash table of the members, by bracket and name
	used   int              // places
	most   int              // of them
	full   int              // documents since the memory is full
	read   int              // documents since misses are counted
	quick  bool             // follow may be used

	waits [4]wait // steps that are being learnt
	ends  field   // member of the top whose value ended last
	endAt int     // where
}

// lead is what reading on from a place takes, as long as all is as foreseen: a
// line of the processor's cache. A place is a point in all documents with the same
// path to it: behind a value, or behind an opening bracket.
type lead struct {
	step // what followed the last time

	// Of a value:
	length uint8  //nolint:unused // of a string, what is behind its last 32 bytes in a row, the last time; for follow
	misses uint8  // how often it was not the same
	object uint16 // its bracket, if it is an object
	array  uint16 // its bracket, if it is an array

	_ [17]byte
}

// follow counts on this size.
var _ = [1]struct{}{}[unsafe.Sizeof(lead{})-64]

// step leads from a place to the beginning of the next value, or to the end of the
// document.
type step struct {
	bytes [maxStep / 8]uint64 // little-endian; zeros behind them
	n     uint8               // how many
	text  bool                // the last of them is the opening quote of a string
	want  field               // the member whose value it is
	rare  bool                // want is an object to look into, or ends is not none
	ends  field               // the member of the top whose value ends on the way
	endAt uint8               // and behind how many bytes
	to    uint16              // the place of the value
}

// place is what else is known of a place.
type place struct {
	before step   // what followed before the last time
	in     uint16 // the bracket around the value; of a bracket, itself

	// Of a value:
	size uint8 // bytes of its name
	name [maxName]byte

	// Of a bracket:
	of    uint16 // the value that it opens
	each  uint16 // its elements
	depth uint8  // these four as in scanner.value
	level uint8
	whole field
	kinds uint64
}

// nothing is a step that nothing follows: it would be longer than what is compared. Nor
// is what is masked away ever 1.
var nothing = step{bytes: [maxStep / 8]uint64{1}, n: maxStep + 1}

// masks has the first n bytes of a step set, for each n, and none for that of nothing.
var masks = func() (m [maxStep + 2][maxStep / 8]uint64) {
	for n := range maxStep + 1 {
		for i := range m[n] {
			m[n][i] = 1<<(8*uint(max(0, n-8*i))) - 1
		}
	}
	return m
}()

// wait is a step that is being learnt: where it began.
type wait struct {
	place uint16
	at    int
}

// blind is for scanners without foresight: they are never at a place that is known.
var blind = newForesight(maxPlaces)

// leads reports whether b begins with the bytes of the step.
func (t *step) leads(b *[maxStep]byte) bool {
	m := &masks[t.n%(maxStep+2)]
	return (binary.LittleEndian.Uint64(b[0:])&m[0]^t.bytes[0])|
		(binary.LittleEndian.Uint64(b[8:])&m[1]^t.bytes[1])|
		(binary.LittleEndian.Uint64(b[16:])&m[2]^t.bytes[2])|
		(binary.LittleEndian.Uint64(b[24:])&m[3]^t.bytes[3]) == 0
}

// around returns the bracket around the value, or behind the bracket, at that
// place, and the state behind that bracket, as in scanner.value.
func (f *foresight) around(at uint16) (in uint16, depth, level int, whole field, kinds uint64) {
	in = f.places[at].in
	p := &f.places[in]
	return in, int(p.depth), int(p.level), p.whole, p.kinds
}

// newForesight returns one with at most that many places, of 170 bytes each.
func newForesight(most int) *foresight {
	f := &foresight{quick: canFollow, most: min(max(most, fewPlaces), maxPlaces)}
	f.forget()
	return f
}

// begin prepares for another document and returns its place.
func (f *foresight) begin(level int) (at, in uint16) {
	f.ends = none
	if f.read++; f.read == manyDocuments {
		f.read = 0
		for i := range f.leads[:f.used] {
			f.leads[i].misses = 0
		}
	}
	if f.used == f.most {
		if f.full++; f.full > forgetAfter {
			f.forget()
		}
	}
	if level == 0 {
		return rootPlain, outsidePlain
	}
	return root, outside
}

// forget empties the memory.
func (f *foresight) forget() {
	f.slots = [maxSlots]uint16{}
	f.used, f.full = 0, 0
	for _, in := range [firstPlace]uint16{unknown, outside, outside, outsidePlain, outsidePlain, outside} {
		f.add(in)
	}
	f.places[outside].level = levelTop
}

// add returns a new place in that bracket; unknown if there is no room.
func (f *foresight) add(in uint16) uint16 {
	if f.used == f.most {
		return unknown
	}
	n := uint16(f.used)
	if f.used++; f.used > len(f.leads) {
		f.leads = append(f.leads, make([]lead, max(fewPlaces, len(f.leads)))...)
		f.places = append(f.places, make([]place, max(fewPlaces, len(f.places)))...)
	}
	f.leads[n] = lead{step: nothing}
	f.places[n] = place{before: nothing, in: in}
	return n
}

// member returns the place of the member of that name, in its raw form, behind a
// bracket; unknown if it is not remembered.
func (f *foresight) member(in uint16, name []byte) uint16 {
	if len(name) > maxName {
		return unknown
	}
	slot := xxhash.Sum64(name) + uint64(in)
	for range maxProbes {
		n := f.slots[slot%maxSlots]
		if n == 0 {
			if n = f.add(in); n != unknown {
				p := &f.places[n]
				p.size = uint8(copy(p.name[:], name))
				f.slots[slot%maxSlots] = n
			}
			return n
		}
		if p := &f.places[n]; p.in == in && string(p.name[:p.size]) == string(name) {
			return n
		}
		slot++
	}
	return unknown
}

// element returns the place of the elements behind a bracket.
func (f *foresight) element(in uint16) uint16 {
	n := f.places[in].each
	if n == unknown {
		n = f.add(in)
		f.places[in].each = n
	}
	return n
}

// bracket returns the place behind the bracket that opens a value. The state is
// that behind the bracket.
func (f *foresight) bracket(of uint16, depth, level int, kinds uint64, whole field) uint16 {
	object := kinds&1 != 0
	n := f.leads[of].array
	if object {
		n = f.leads[of].object
	}
	if n != unknown || depth >= maxKnown {
		return n
	}
	if n = f.add(unknown); n == unknown {
		return n
	}
	p := &f.places[n]
	p.in, p.of = n, of
	p.depth, p.level, p.kinds, p.whole = uint8(depth), uint8(level), kinds, whole
	if object {
		f.leads[of].object = n
	} else {
		f.leads[of].array = n
	}
	return n
}

// learn ends the first n waits at b[i], where the value at that place begins, and
// returns how many of them go on. A step may lead to the first element of an array
// only if it shows that there is one, as the quote of a string does: where a
// container begins, it is learnt once it leads inside.
func (f *foresight) learn(b []byte, i int, to uint16, want field, n int) int {
	kind := b[i]
	text := kind == '"'
	if !text {
		before := i - 1
		for isSpace(b[before]) {
			before--
		}
		if b[before] == '[' {
			if kind == '{' || kind == '[' {
				return n
			}
			return 0
		}
	}
	if to == unknown {
		return 0
	}
	end := i
	if text {
		end++
	}
	for _, w := range f.waits[:n] {
		f.remember(w, b[w.at:end], to, want, text)
	}
	return 0
}

// finish ends the first n waits at the end of a document, b[i].
func (f *foresight) finish(b []byte, i, n int) {
	for _, w := range f.waits[:n] {
		f.remember(w, b[w.at:i], done, none, false)
	}
}

// remember notes that those bytes led from w to that value.
func (f *foresight) remember(w wait, b []byte, to uint16, want field, text bool) {
	if len(b) == 0 || len(b) > maxStep {
		return
	}
	var all [maxStep]byte
	copy(all[:], b)
	t := step{to: to, n: uint8(len(b)), text: text, want: want}
	for i := range t.bytes {
		t.bytes[i] = binary.LittleEndian.Uint64(all[8*i:])
	}
	if f.ends != none && f.endAt > w.at {
		t.ends, t.endAt = f.ends, uint8(f.endAt-w.at)
	}
	t.rare = t.want >= numFields || t.ends != none || to == done
	lead, before := &f.leads[w.place].step, &f.places[w.place].before
	if t != *lead && t != *before { // else it was too near to the end to be followed
		*lead, *before = t, *lead
	}
}
