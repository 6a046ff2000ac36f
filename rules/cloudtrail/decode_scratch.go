package cloudtrail

import (
	"errors"
	"io"
)

// maxWindow is how much of a gzip file is unpacked at a time, unless a value in it is
// larger.
const maxWindow = 64 << 10

// minWindow is that of a Decoder with next to no Scratch.
const minWindow = 64

// errStopped ends a source after its decoder was refused the turn.
var errStopped = errors.New("the turn was refused")

// source begins to read the content of depth envelopes: b or, with from, the bytes that
// from gives through the window b.
func (d *Decoder) source(depth int, b []byte, from io.Reader) *source {
	s := &d.sources[depth]
	s.scan, s.note, s.most = &d.scan, true, 0
	if d.record.unpacked = d.record.unpacked || depth > 0; from != nil {
		s.owner, s.depth = d, depth-1
		s.most = max(1, d.maxHeld()-d.record.held)
	}
	s.begin(b, from)
	return s
}

// fit makes room for size bytes in the window that s reads through, and makes it small
// again once a large value is passed.
func (d *Decoder) fit(s *source, size int) {
	size = max(size, d.window())
	if size <= cap(s.buf) && (cap(s.buf) <= d.scratch() || size > d.window()) {
		return
	}
	if cap(s.buf) < eagerRescan {
		size = max(size, 2*cap(s.buf)) // fill asks for a byte more at a time
	}
	if size <= d.window() {
		d.layers[s.depth] = nil // it was large
	}
	room, ok := d.room(d.layers[s.depth], size)
	if !ok {
		s.err = errStopped
		return
	}
	buf := append(room, s.buf...)
	s.buf, d.layers[s.depth] = buf, buf
}

func (d *Decoder) window() int { return min(max(d.scratch()/8, minWindow), maxWindow) }

// room returns buf, one of the decoder's buffers, emptied and with room for size bytes.
// If the buffers would exceed Scratch, the decoder's turn is waited for; false: it was
// refused.
func (d *Decoder) room(buf []byte, size int) (emptied []byte, ok bool) {
	if size <= cap(buf) {
		return buf[:0], true
	}
	if d.kept()-cap(buf)+size > d.scratch() && !d.large() {
		return nil, false
	}
	return make([]byte, 0, size), true
}

// kept is how many bytes of buffers the decoder holds on to.
func (d *Decoder) kept() int {
	n := cap(d.text)
	for _, l := range d.layers {
		n += cap(l)
	}
	return n
}

// large waits for the decoder's turn to hold more than scratch; false: it was refused, and
// nothing more is read of the record.
func (d *Decoder) large() bool {
	if r := &d.record; d.Turn != nil && !r.turn && !r.stopped {
		r.turn = d.Turn.Lock()
		r.stopped = !r.turn
	}
	return !d.record.stopped
}

func (d *Decoder) scratch() int {
	if d.Scratch == 0 {
		return DefaultScratch
	}
	return d.Scratch
}
