package cloudtrail

import (
	"errors"
	"io"
)

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

// rest lets go of the record and of scratch that has grown out of proportion.
func (d *Decoder) rest() {
	d.record.yield, d.record.note = nil, nil
	d.sources[0].buf = nil
	if d.record.unpacked || cap(d.text) > measuredText || len(d.event.Raw) > measuredText {
		d.event = Event{} // its strings are part of the layers
		for i := range d.sources {
			d.sources[i].begin(nil, nil)
		}
		if d.record.unpacked = false; d.kept() > d.scratch() {
			d.text, d.layers = nil, [maxEnvelopes][]byte{}
		}
	}
	if d.record.turn {
		d.record.turn = false
		d.Turn.Unlock()
	}
}

// grow empties the layer and makes room for size bytes of a string or of base64 in it. It
// reports false if that is more than may be held, with the layers around it, or if the turn
// was refused.
func (d *Decoder) grow(depth, size int) bool {
	if int64(size) > d.maxHeld()-d.record.held {
		return false
	}
	room, ok := d.room(d.layers[depth], size)
	d.layers[depth] = room
	return ok
}

// release lets go of a layer that was read if it is large: the values beside it may need
// as much for layers of their own.
func (d *Decoder) release(depth int) {
	if cap(d.layers[depth]) > d.scratch() {
		d.layers[depth] = nil
	}
}
