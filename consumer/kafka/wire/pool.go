package wire

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// pool keeps objects that are expensive to make, for their next use. A sync.Pool would
// forget them at the second garbage collection, and while much is made of little memory
// there are dozens of those a second: an object used once in a while would be made anew
// each time, and be the garbage that is collected next. The zero value is empty.
type pool[T any] struct {
	mu   sync.Mutex
	idle []*T
}

// mostIdle is the number of objects of a kind that are kept: as many as are at work at the
// same time, and as many held by goroutines that have to wait.
var mostIdle = 2 * runtime.NumCPU()

// get returns an object that was put back, or a zero one.
func (p *pool[T]) get() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return new(T)
	}
	x := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return x
}

// put takes an object back, unless there are enough.
func (p *pool[T]) put(x *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < mostIdle {
		p.idle = append(p.idle, x)
	}
}

// bufferPool keeps buffers of like sizes apart: a reader of small batches does not take the
// buffer of one of large batches, nor hold ten times its need. The zero value is empty.
type bufferPool struct {
	mu   sync.Mutex
	kept int64 // bytes of all that are idle
	idle [bufferSizes][]*[]byte
}

const (
	// smallBuffer is the size up to which all buffers are alike; from there on each power
	// of two is a size of its own.
	smallBuffer = 64 << 10
	bufferSizes = 9

	// idleBuffer is the largest buffer that waits in a pool. Larger ones, of batches that
	// are not packed as batches usually are, would be as much memory for good.
	idleBuffer = smallBuffer << (bufferSizes - 2)

	// idleBuffers bounds the bytes of all buffers that wait in a pool.
	idleBuffers = 32 << 20
)

func bufferSize(n int) int {
	return min(bits.Len(uint(max(n-1, 0)/smallBuffer)), bufferSizes-1)
}

// get returns a buffer for about size bytes, which may have any length. It may be four
// times that size: a buffer that has grown in use is found again by the same request.
func (p *bufferPool) get(size int) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	like := bufferSize(size)
	for i := like; i <= min(like+2, bufferSizes-1); i++ {
		idle := &p.idle[i]
		if last := len(*idle) - 1; last >= 0 {
			b := (*idle)[last]
			(*idle)[last] = nil
			*idle = (*idle)[:last]
			p.kept -= int64(cap(*b))
			return b
		}
	}
	return new([]byte)
}

// put takes a buffer back, unless there are enough of its size. Where the pool is full,
// buffers of the size with the most idle bytes give way: sizes that are out of use would
// keep the others out for ever.
func (p *bufferPool) put(b *[]byte) {
	n := cap(*b)
	if n == 0 || n > idleBuffer {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := &p.idle[bufferSize(n)]
	if len(*idle) >= mostIdle {
		return
	}
	for p.kept+int64(n) > idleBuffers {
		p.drop()
	}
	*idle = append(*idle, b)
	p.kept += int64(n)
}

// drop lets go of a buffer of the size with the most idle bytes.
func (p *bufferPool) drop() {
	of, most := 0, 0
	for i, idle := range p.idle {
		bytes := 0
		for _, b := range idle {
			bytes += cap(*b)
		}
		if bytes > most {
			of, most = i, bytes
		}
	}
	last := len(p.idle[of]) - 1
	p.kept -= int64(cap(*p.idle[of][last]))
	p.idle[of][last] = nil
	p.idle[of] = p.idle[of][:last]
}

// spareBuffers keeps buffers of fetches, of all sizes, for later fetches: made anew each
// time, they would be most of the garbage. The zero value is empty.
type spareBuffers struct {
	mu    sync.Mutex
	idle  [][]byte
	bytes int
}

// mostSpare bounds the bytes of all buffers that wait.
const mostSpare = 8 << 20

// get returns an empty buffer for at least size bytes.
func (s *spareBuffers) get(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.idle) - 1; i >= 0; i-- {
		if b := s.idle[i]; cap(b) >= size {
			s.idle = slices.Delete(s.idle, i, i+1)
			s.bytes -= cap(b)
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

// put takes a buffer, unless there are enough.
func (s *spareBuffers) put(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := cap(b); n > 0 && s.bytes+n <= mostSpare {
		s.idle = append(s.idle, b)
		s.bytes += n
	}
}
