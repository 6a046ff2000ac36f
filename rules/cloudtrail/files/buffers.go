package files

import (
	"cmp"
	"slices"
	"sync"
)

// keptBytes bounds the large buffers that are kept while not in use.
const keptBytes = 2 * windowBytes

// buffers keeps the memory of files that were read for the files after them: to allocate a
// buffer for a document of many MB takes as long as to decode the document. It is safe for
// concurrent use.
type buffers struct {
	mu      sync.Mutex
	split   [][]byte // to split files in, sorted by size
	size    int      // of all in split
	batches []*Batch
	streams []*stream
}

// stream is the reader of one file, with its buffers; it is used again for the next file.
type stream struct {
	unpacked unpacked
	ahead    *ahead
}

// take returns the largest buffer, or nil if there is none.
func (k *buffers) take() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := len(k.split) - 1
	if last < 0 {
		return nil
	}
	buf := k.split[last]
	k.split, k.size = k.split[:last], k.size-cap(buf)
	return buf
}

// keep takes back a buffer. Beyond keptBytes the smallest buffers are dropped.
func (k *buffers) keep(buf []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if cap(buf) == 0 || cap(buf) > keptBytes {
		return
	}
	at, _ := slices.BinarySearchFunc(k.split, buf, func(x, y []byte) int { return cmp.Compare(cap(x), cap(y)) })
	k.split = slices.Insert(k.split, at, buf)
	for k.size += cap(buf); k.size > keptBytes; k.split = slices.Delete(k.split, 0, 1) {
		k.size -= cap(k.split[0])
	}
}

// stream returns a stream that no file uses.
func (k *buffers) stream() *stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := len(k.streams) - 1
	if last < 0 {
		return &stream{ahead: newAhead()}
	}
	s := k.streams[last]
	k.streams = k.streams[:last]
	return s
}

// ended takes back a stream, unless its goroutine is still in a read.
func (k *buffers) ended(s *stream) {
	if !s.ahead.stop() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.streams = append(k.streams, s)
}

// batch returns an empty batch.
func (k *buffers) batch() *Batch {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := len(k.batches) - 1
	if last < 0 {
		return &Batch{data: make([]byte, 0, 2*splitBytes)}
	}
	b := k.batches[last]
	k.batches = k.batches[:last]
	return b
}

// done takes back a batch. The window bounds how many there are.
func (k *buffers) done(b *Batch) {
	k.keep(b.large)
	clear(b.Records)
	*b = Batch{Records: b.Records[:0], data: b.data[:0]}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.batches = append(k.batches, b)
}
