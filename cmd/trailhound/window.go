package main

import (
	"context"
	"io"
	"sync"
)

// Files are read ahead by half of the window for the file whose turn it is, and the other half for all that come
// after it together.
const windowBytes = 32 << 20

// window bounds what is held of files that are read ahead. Their buffers may be larger, by a factor of two for a
// large record: it is the bytes in them that count.
type window struct {
	mu    sync.Mutex
	moved *sync.Cond
	ctx   context.Context
	later int64 // bytes held of files whose turn has not come
}

func newWindow(ctx context.Context) *window {
	w := &window{ctx: ctx}
	w.moved = sync.NewCond(&w.mu)
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved.Broadcast()
	})
	return w
}

// share is the part of the window that one file has.
type share struct {
	window *window
	turn   bool  // nothing of the files before it is left to read
	held   int64 // bytes
	given  int   // batches that are not done with
}

// take waits until n bytes more may be held. The file whose turn it is may always go on when nothing of it is on its
// way: only so can a record come to its end that is larger than the window.
func (s *share) take(n int64) error {
	w := s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	for !s.may(n) && w.ctx.Err() == nil {
		w.moved.Wait()
	}
	s.hold(n)
	return context.Cause(w.ctx)
}

func (s *share) may(n int64) bool {
	if s.turn {
		return s.given == 0 || s.held+n <= windowBytes/2
	}
	return s.window.later+n <= windowBytes/2
}

func (s *share) hold(n int64) {
	s.held += n
	if !s.turn {
		s.window.later += n
	}
}

// enter says that it is the file's turn.
func (s *share) enter() {
	w := s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	s.turn = true
	w.later -= s.held
	w.moved.Broadcast()
}

// hand says that a batch is on its way.
func (s *share) hand() {
	s.window.mu.Lock()
	defer s.window.mu.Unlock()
	s.given++
}

// release ends the way of so many batches, and gives back n bytes.
func (s *share) release(batches int, n int64) {
	w := s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	s.given -= batches
	s.hold(-n)
	w.moved.Broadcast()
}

// reader returns a Reader that takes what it reads.
func (s *share) reader(r io.Reader) io.Reader { return &shareReader{s, r} }

type shareReader struct {
	share *share
	r     io.Reader
}

func (r *shareReader) Read(p []byte) (int, error) {
	p = p[:min(len(p), readSize)]
	if err := r.share.take(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.share.release(0, int64(len(p)-n))
	return n, err
}
