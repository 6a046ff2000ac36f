package cloudtrail

import "errors"

// maxWindow is how much of a gzip file is unpacked at a time, unless a value in it is
// larger.
const maxWindow = 64 << 10

// minWindow is that of a Decoder with next to no Scratch.
const minWindow = 64

// errStopped ends a source after its decoder was refused the turn.
var errStopped = errors.New("the turn was refused")

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
	if d.Turn != nil && !d.turn && !d.stopped {
		d.turn = d.Turn.Lock()
		d.stopped = !d.turn
	}
	return !d.stopped
}

func (d *Decoder) scratch() int {
	if d.Scratch == 0 {
		return DefaultScratch
	}
	return d.Scratch
}
