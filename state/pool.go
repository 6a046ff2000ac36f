package state

// pool hands out values that live until its reset, and hands them out again with their old
// content, so that their buffers serve the next batch.
type pool[T any] struct {
	items []*T
	used  int
}

func (p *pool[T]) next() *T {
	if p.used == len(p.items) {
		p.items = append(p.items, new(T))
	}
	p.used++
	return p.items[p.used-1]
}

func (p *pool[T]) reset() {
	p.used = 0
	if len(p.items) > keptItems {
		clear(p.items[keptItems:])
		p.items = p.items[:keptItems]
	}
}

// arena holds byte strings until its reset. Strings do not move as it grows.
type arena struct{ chunk []byte }

func (a *arena) keep(b []byte) []byte {
	if len(a.chunk)+len(b) > cap(a.chunk) {
		a.chunk = make([]byte, 0, max(len(b), min(max(2*cap(a.chunk), chunkBytes), maxChunkBytes)))
	}
	start := len(a.chunk)
	a.chunk = append(a.chunk, b...)
	return a.chunk[start:len(a.chunk):len(a.chunk)]
}

func (a *arena) reset() { a.chunk = a.chunk[:0] }
