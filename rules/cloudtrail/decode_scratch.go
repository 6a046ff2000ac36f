package cloudtrail

// maxWindow is how much of a gzip file is unpacked at a time, unless a value in it is
// larger.
const maxWindow = 64 << 10

// minWindow is that of a Decoder with next to no Scratch.
const minWindow = 64

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
	buf := append(d.room(d.layers[s.depth], size), s.buf...)
	s.buf, d.layers[s.depth] = buf, buf
}

func (d *Decoder) window() int { return min(max(d.scratch()/8, minWindow), maxWindow) }

// room returns buf, one of the decoder's buffers, emptied and with room for size bytes.
// If the buffers would exceed Scratch, the decoder's turn is waited for.
func (d *Decoder) room(buf []byte, size int) []byte {
	if size <= cap(buf) {
		return buf[:0]
	}
	if d.kept()-cap(buf)+size > d.scratch() {
		d.large()
	}
	return make([]byte, 0, size)
}

// kept is how many bytes of buffers the decoder holds on to.
func (d *Decoder) kept() int {
	n := cap(d.text)
	for _, l := range d.layers {
		n += cap(l)
	}
	return n
}

// large waits for the decoder's turn to hold more than scratch.
func (d *Decoder) large() {
	if d.Turn != nil && !d.turn {
		d.Turn.Lock()
		d.turn = true
	}
}

func (d *Decoder) scratch() int {
	if d.Scratch == 0 {
		return DefaultScratch
	}
	return d.Scratch
}
