package group

import "encoding/binary"

// reader decodes bytes that another process has written. From the first malformed field on,
// bad is set and every field reads as zero. Lengths are checked against the bytes left
// before anything is allocated.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.take(n)
	return v
}

// length reads the length of a list with elements of at least size bytes; a null list has
// length 0.
func (r *reader) length(size int) int {
	n := int(r.int32())
	if n > len(r.rest)/size {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return max(n, 0)
}

func (r *reader) string() string { return string(r.take(int(r.int16()))) }

// bytes reads nullable bytes.
func (r *reader) bytes() []byte {
	n := int(r.int32())
	if n == -1 {
		return nil
	}
	return r.take(n)
}

// partitions reads a list of topics with their partitions.
func (r *reader) partitions() map[string][]int32 {
	n := r.length(6)
	byTopic := make(map[string][]int32, n)
	for range n {
		topic := r.string()
		for range r.length(4) {
			byTopic[topic] = append(byTopic[topic], r.int32())
		}
	}
	return byTopic
}

// counts reads a list of topics with a count each.
func (r *reader) counts() map[string]int32 {
	counts := make(map[string]int32)
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		size := r.uvarint()
		if size > uint64(len(r.rest)) {
			r.bad = true
			break
		}
		topic := string(r.take(int(size)))
		count := r.uvarint()
		if count > 1<<31-1 {
			r.bad = true
			break
		}
		counts[topic] = int32(count)
	}
	return counts
}
