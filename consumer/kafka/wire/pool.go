package wire

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// pool keeps what is expensive to make for whoever needs one next. A sync.Pool would
// forget it at the second collection of garbage, and while much is made of little
// memory there are dozens of those a second: what is used once in a while would be made
// anew each time, and be the garbage that is collected next. The zero value is empty.
type pool[T any] struct {
	mu   sync.Mutex
	idle []*T
}

// mostIdle is how many of a kind are kept: as many as are at work at the same time, and
// one that is held by a goroutine that has to wait.
var mostIdle = 2 * runtime.NumCPU()

// get returns one that was put, or a zero one.
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

// put takes one back, unless there are enough.
func (p *pool[T]) put(x *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < mostIdle {
		p.idle = append(p.idle, x)
	}
}

// bufferPool keeps buffers of like sizes apart: a reader that needs little does not take the
// place of one that needs much, nor hold ten times what it needs. The zero value is empty.
type bufferPool struct {
	mu   sync.Mutex
	kept int64 // bytes of all that are idle
	idle [bufferSizes][]*[]byte
}

const (
	// smallBuffer is up to which size all buffers are alike; from there on each power of two
	// is a size of its own.
	smallBuffer = 64 << 10
	bufferSizes = 9

	// idleBuffer is the largest buffer that waits in a pool. Larger ones, of batches that are
	// not packed as batches usually are, would be as much memory for good.
	idleBuffer = smallBuffer << (bufferSizes - 2)

	// idleBuffers is how many bytes wait in a pool together.
	idleBuffers = 32 << 20
)

func bufferSize(n int) int {
	return min(bits.Len(uint(max(n-1, 0)/smallBuffer)), bufferSizes-1)
}

// get returns a buffer for about so many bytes, which may have any length. It may be four
// times the size that was asked for: one that has grown in use is found again by the same
// question.
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

// put takes a buffer back, unless there are enough.
func (p *bufferPool) put(b *[]byte) {
	n := cap(*b)
	if n == 0 || n > idleBuffer {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := &p.idle[bufferSize(n)]
	if len(*idle) < mostIdle && p.kept+int64(n) <= idleBuffers {
		*idle = append(*idle, b)
		p.kept += int64(n)
	}
}

// spareBuffers keeps buffers of fetches, of all sizes, for the fetches that follow: made anew
// each time they would be most of the garbage. The zero value is empty.
type spareBuffers struct {
	mu    sync.Mutex
	idle  [][]byte
	bytes int
}

// mostSpare is how many bytes of buffers wait at most.
const mostSpare = 8 << 20

// get returns an empty buffer for at least so many bytes.
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
