package state

import "encoding/binary"

// seenFilter answers, without a look at the disk, whether an event may have been
// evaluated before: nearly none has. It is a Bloom filter in blocks of one cache line
// (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007),
// about one wrong "perhaps" in a hundred. What is forgotten stays in it until it is
// made anew, which costs one look at each remembered event and happens once in as
// many new ones.
type seenFilter struct {
	blocks []filterBlock
	room   int // events that it still takes
}

type filterBlock [8]uint64

const (
	filterKeyBits  = 10
	filterProbes   = 6
	filterLeast    = 1 << 14 // events, of the smallest filter
	filterMost     = 8 << 20 // events; beyond, the memory is worth more than the time
	filterBlockLen = 512
)

// newSeenFilter returns a filter for as many events again as there are; nil if that
// is too many.
func newSeenFilter(events int) *seenFilter {
	room := max(2*events, filterLeast)
	if room > filterMost {
		return nil
	}
	return &seenFilter{blocks: make([]filterBlock, (room*filterKeyBits+filterBlockLen-1)/filterBlockLen), room: room}
}

// place returns the block of an event, and the bits that say which of it are its own.
// The hash is a cryptographic one: each part of it is as good as another.
func (f *seenFilter) place(h [16]byte) (block *filterBlock, bits uint64) {
	n := binary.LittleEndian.Uint32(h[:])
	return &f.blocks[uint64(n)*uint64(len(f.blocks))>>32], binary.LittleEndian.Uint64(h[8:])
}

func (f *seenFilter) add(h [16]byte) {
	block, bits := f.place(h)
	for range filterProbes {
		block[bits>>6&7] |= 1 << (bits & 63)
		bits >>= 9
	}
	f.room--
}

// may says whether the event may have been added; false: it was not.
func (f *seenFilter) may(h [16]byte) bool {
	block, bits := f.place(h)
	for range filterProbes {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}

// maySee says whether the event may be remembered on disk.
func (h *Shard) maySee(event [16]byte) (bool, error) {
	if !h.filtered {
		if err := h.filter(); err != nil {
			return true, err
		}
	}
	return h.seen == nil || h.seen.may(event), nil
}

// filter makes the filter of the events that are on disk. It looks at them twice,
// for a filter of the right size without a copy of them all.
func (h *Shard) filter() error {
	n := 0
	if err := h.eachSeen(func([16]byte) { n++ }); err != nil {
		return err
	}
	h.seen, h.filtered = newSeenFilter(n), true
	if h.seen == nil {
		return nil
	}
	return h.eachSeen(h.seen.add)
}

// eachSeen goes through the pages, which list each event that is remembered, some under
// several instants: a few hundred with one look.
func (h *Shard) eachSeen(fn func(event [16]byte)) error {
	var events []remembered
	return h.scan([]byte{kindSeenIndex}, nil, func(key, value []byte) (bool, error) {
		end, _, err := parseIndexKey(key)
		if err == nil {
			events, err = decodePage(events[:0], value, end)
		}
		for _, e := range events {
			fn(e.hash)
		}
		return true, err
	})
}

// unfilter forgets the filter, so that it is made anew when it is next asked for.
func (h *Shard) unfilter() { h.seen, h.filtered = nil, false }

// settleSeen makes what the shard knows of its events follow a Tx that ended at an
// instant of stream time.
func (h *Shard) settleSeen(events map[[16]byte]seenEvent, stream int64) {
	for _, e := range events {
		if e.disk != noTime && e.now != noTime && e.now != e.disk {
			h.doubtful = max(h.doubtful, stream) // a page lists it under e.disk, which has passed
			break
		}
	}
	if h.seen == nil {
		return
	}
	if h.seen.room < len(events) {
		h.unfilter()
		return
	}
	for event, e := range events {
		if e.now != noTime {
			h.seen.add(event)
		}
	}
}
