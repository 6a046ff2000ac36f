package state

import "encoding/binary"

// seenFilter answers, without a look at the disk, whether an event may be in a run:
// nearly none is. It is a Bloom filter in blocks of one cache line (Putze, Sanders,
// Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007), about one wrong
// "perhaps" in a thousand.
type seenFilter []filterBlock

type filterBlock [8]uint64

const (
	filterEventBits = 16
	filterProbes    = 7 // of 9 bits each: as many as there are in half of a hash
	filterBlockBits = 512
)

func newSeenFilter(events int) seenFilter {
	return make(seenFilter, (events*filterEventBits+filterBlockBits-1)/filterBlockBits)
}

// room returns for how many events the filter was made.
func (f seenFilter) room() int { return len(f) * filterBlockBits / filterEventBits }

// place returns the block of an event, and the hash bits that choose the event's bits in
// it. The hash is a cryptographic one: each part of it is as good as another.
func (f seenFilter) place(h *[16]byte) (block *filterBlock, bits uint64) {
	n := binary.LittleEndian.Uint32(h[4:])
	return &f[uint64(n)*uint64(len(f))>>32], binary.LittleEndian.Uint64(h[8:])
}

func (f seenFilter) add(h *[16]byte) {
	block, bits := f.place(h)
	for range filterProbes {
		block[bits>>6&7] |= 1 << (bits & 63)
		bits >>= 9
	}
}

// may says whether the event may have been added; false: it was not.
func (f seenFilter) may(h *[16]byte) bool {
	block, bits := f.place(h)
	for range filterProbes {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}

func (f seenFilter) append(dst []byte) []byte {
	for i := range f {
		for _, word := range f[i] {
			dst = binary.LittleEndian.AppendUint64(dst, word)
		}
	}
	return dst
}

// filter gives a filter that was appended; it takes the rest of the record.
func (r *reader) filter() seenFilter {
	b := r.rest()
	const size = filterBlockBits / 8
	if len(b) == 0 || len(b)%size != 0 {
		r.fail()
		return nil
	}
	f := make(seenFilter, len(b)/size)
	for i := range f {
		for j := range f[i] {
			f[i][j] = binary.LittleEndian.Uint64(b[i*size+j*8:])
		}
	}
	return f
}
