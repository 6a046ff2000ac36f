package jsonscan

import (
	"encoding/binary"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// Sizes of a predictor. Thirteen events of one account took two hundred nodes, four
// thousand of several accounts more than there are; bytes without a node are read without
// prediction.
const (
	fewNodes      = 256 // to begin with; they are doubled when they are full
	MaxNodes      = 2048
	maxSlots      = 2 * MaxNodes
	maxTransition = 32 // bytes
	maxName       = 40 // bytes of a name, in its raw form
	maxProbes     = 8  // of the hash table: names can be made to collide

	// maxPredictedDepth is the depth from which on there are no nodes; below 64, so that the
	// kinds of the containers around a node fit into a word.
	maxPredictedDepth = 60

	// maxMispredictions is how often the length of a string may differ from the last one,
	// in mispredictionSpan documents, before it is not predicted any more: to go on with a
	// length that turns out to be wrong costs the processor more than to wait for it. For
	// 3,000 events one after the other that is 7 %; 16 of 1,024 and 100 of 16,384 are as good.
	maxMispredictions = 40
	mispredictionSpan = 4096

	// resetAfter is how many documents are read with a full memory before it is emptied: by
	// then its nodes may be out of use, or were made to fill it.
	resetAfter = 4096
)

// Nodes that are always there.
const (
	noNode = iota // in the place of a node that there is not; it has no transition

	outside // around a document
	root    // a document

	outsidePlain // the same two of a scan that notes nothing
	rootPlain

	done // behind a document
	firstNode
)

// Predictor is the memory of a scanner: a trie of the paths of documents, with the bytes
// that followed each node (see the package's comment). Its memory is bounded.
type Predictor struct {
	nodes []node
	infos []nodeInfo       // of each node
	slots [maxSlots]uint16 // hash table of the members, by bracket and name
	used  int              // nodes
	most  int              // of them
	full  int              // documents since the memory is full
	read  int              // documents since mispredictions are counted

	useAVX2   bool                   // advance may be used
	inside    [MaxObjects]FieldRange // of Members
	textField Field                  // of Members

	pending [4]pending // transitions that are being trained
	ends    Field      // member of the document with the value that ended last
	endAt   int        // where
}

// node is the half of a node that is needed while all goes as predicted: a line of the
// processor's cache.
type node struct {
	transition // the last one

	// Of a value:
	length         uint8  //nolint:unused // of a string, how many bytes it has behind the last full 32; for advance
	mispredictions uint8  // of the length
	object         uint16 // its bracket, if it is an object
	array          uint16 // its bracket, if it is an array

	_ [17]byte
}

// nodeInfo is the other half of a node.
type nodeInfo struct {
	before transition // the last one but one that was different
	in     uint16     // the bracket around the value; of a bracket, itself

	// Of a value:
	size uint8 // bytes of its name
	name [maxName]byte

	// Of a bracket:
	of   uint16 // the value that it opens
	each uint16 // its elements
	container
}

// transition leads from a node to the beginning of the next value, or to the end of the
// document.
type transition struct {
	bytes [maxTransition / 8]uint64 // little-endian; zeros behind them
	n     uint8                     // how many
	text  bool                      // the last of them is the opening quote of a string
	want  Field                     // the member of the value that begins
	rare  bool                      // want is an object to look into, or ends is not None
	ends  Field                     // the member of the document with a value that ends on the way
	endAt uint8                     // and behind how many bytes
	to    uint16                    // the node of the value
}

// noTransition fits no bytes: it is longer than those that are compared, and has a one
// where the mask of its length has a zero.
var noTransition = transition{bytes: [maxTransition / 8]uint64{1}, n: maxTransition + 1}

// masks has the first n bytes of a transition set, for each n, and none for noTransition.
var masks = func() (m [maxTransition + 2][maxTransition / 8]uint64) {
	for n := range maxTransition + 1 {
		for i := range m[n] {
			m[n][i] = 1<<(8*uint(max(0, n-8*i))) - 1
		}
	}
	return m
}()

// pending is a transition that is being trained: the place where it began.
type pending struct {
	node uint16
	at   int
}

// noPrediction is for scanners without a predictor: they are never at a node.
var noPrediction = NewPredictor(new(Members), MaxNodes)

// matches reports whether b begins with the bytes of the transition.
func (t *transition) matches(b *[maxTransition]byte) bool {
	m := &masks[t.n%(maxTransition+2)]
	return (binary.LittleEndian.Uint64(b[0:])&m[0]^t.bytes[0])|
		(binary.LittleEndian.Uint64(b[8:])&m[1]^t.bytes[1])|
		(binary.LittleEndian.Uint64(b[16:])&m[2]^t.bytes[2])|
		(binary.LittleEndian.Uint64(b[24:])&m[3]^t.bytes[3]) == 0
}

// NewPredictor returns a predictor for scans that note these members, with at most so many
// nodes (256 to MaxNodes), of 170 bytes each.
func NewPredictor(m *Members, most int) *Predictor {
	f := &Predictor{useAVX2: hasAVX2, most: min(max(most, fewNodes), MaxNodes), inside: m.Inside, textField: m.Text}
	f.reset()
	return f
}

// Size is how many bytes the predictor takes.
func (f *Predictor) Size() int {
	return int(unsafe.Sizeof(*f) + uintptr(cap(f.nodes))*unsafe.Sizeof(node{}) + uintptr(cap(f.infos))*unsafe.Sizeof(nodeInfo{}))
}

// begin prepares for another document and returns its node.
func (f *Predictor) begin(note bool) (at, in uint16) {
	f.ends = None
	if f.read++; f.read == mispredictionSpan {
		f.read = 0
		for i := range f.nodes[:f.used] {
			f.nodes[i].mispredictions = 0
		}
	}
	if f.used == f.most {
		if f.full++; f.full > resetAfter {
			f.reset()
		}
	}
	if !note {
		return rootPlain, outsidePlain
	}
	return root, outside
}

func (f *Predictor) reset() {
	f.slots = [maxSlots]uint16{}
	f.used, f.full = 0, 0
	for _, in := range [firstNode]uint16{noNode, outside, outside, outsidePlain, outsidePlain, outside} {
		f.add(in)
	}
	f.infos[outside].level = levelTop
}

// add returns a new node in that bracket; noNode if there is no room.
func (f *Predictor) add(in uint16) uint16 {
	if f.used == f.most {
		return noNode
	}
	n := uint16(f.used)
	if f.used++; f.used > len(f.nodes) {
		f.nodes = append(f.nodes, make([]node, max(fewNodes, len(f.nodes)))...)
		f.infos = append(f.infos, make([]nodeInfo, max(fewNodes, len(f.infos)))...)
	}
	f.nodes[n] = node{transition: noTransition}
	f.infos[n] = nodeInfo{before: noTransition, in: in}
	return n
}

// member returns the node of the member of that name, in its raw form, behind a bracket;
// noNode if there is none.
func (f *Predictor) member(in uint16, name []byte) uint16 {
	if len(name) > maxName {
		return noNode
	}
	slot := xxhash.Sum64(name) + uint64(in)
	for range maxProbes {
		n := f.slots[slot%maxSlots]
		if n == 0 {
			if n = f.add(in); n != noNode {
				p := &f.infos[n]
				p.size = uint8(copy(p.name[:], name))
				f.slots[slot%maxSlots] = n
			}
			return n
		}
		if p := &f.infos[n]; p.in == in && string(p.name[:p.size]) == string(name) {
			return n
		}
		slot++
	}
	return noNode
}

// element returns the node of the elements behind a bracket.
func (f *Predictor) element(in uint16) uint16 {
	n := f.infos[in].each
	if n == noNode {
		n = f.add(in)
		f.infos[in].each = n
	}
	return n
}

// bracket returns the node behind the bracket that opens a value.
func (f *Predictor) bracket(of uint16, c container) uint16 {
	object := c.kinds&1 != 0
	n := f.nodes[of].array
	if object {
		n = f.nodes[of].object
	}
	if n != noNode || c.depth >= maxPredictedDepth {
		return n
	}
	if n = f.add(noNode); n == noNode {
		return n
	}
	p := &f.infos[n]
	p.in, p.of, p.container = n, of, c
	if object {
		f.nodes[of].object = n
	} else {
		f.nodes[of].array = n
	}
	return n
}

// train ends the first n pending transitions at b[i], where the value of a node begins, and
// returns how many of them go on. A transition may lead to the first element of an array
// only if it shows that there is one, as the quote of a string does: where a container
// begins, it is trained once it leads inside.
func (f *Predictor) train(b []byte, i int, to uint16, want Field, n int) int {
	kind := b[i]
	text := kind == '"'
	if !text {
		before := i - 1
		for IsSpace(b[before]) {
			before--
		}
		if b[before] == '[' {
			if kind == '{' || kind == '[' {
				return n
			}
			return 0
		}
	}
	if to == noNode {
		return 0
	}
	end := i
	if text {
		end++
	}
	for _, p := range f.pending[:n] {
		f.record(p, b[p.at:end], to, want, text)
	}
	return 0
}

// trainEnd ends the first n pending transitions at the end of a document, b[i].
func (f *Predictor) trainEnd(b []byte, i, n int) {
	for _, p := range f.pending[:n] {
		f.record(p, b[p.at:i], done, None, false)
	}
}

// record notes that those bytes led from p to that value.
func (f *Predictor) record(p pending, b []byte, to uint16, want Field, text bool) {
	if len(b) == 0 || len(b) > maxTransition {
		return
	}
	var all [maxTransition]byte
	copy(all[:], b)
	t := transition{to: to, n: uint8(len(b)), text: text, want: want}
	for i := range t.bytes {
		t.bytes[i] = binary.LittleEndian.Uint64(all[8*i:])
	}
	if f.ends != None && f.endAt > p.at {
		t.ends, t.endAt = f.ends, uint8(f.endAt-p.at)
	}
	t.rare = t.want >= NumFields || t.ends != None || to == done
	last, before := &f.nodes[p.node].transition, &f.infos[p.node].before
	if t != *last && t != *before { // else it was too near to the end of the input to be compared
		*last, *before = t, *last
	}
}
