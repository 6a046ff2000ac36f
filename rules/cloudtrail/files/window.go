package files

import (
	"context"
	"io"
	"sync"
)

// windowBytes bounds the bytes read ahead: half of them of the current file, and half of
// all files after it together.
const windowBytes = 32 << 20

// window bounds the bytes that are held of files read ahead. It counts the bytes and not
// their buffers, which a large record makes up to twice as large.
type window struct {
	mu    sync.Mutex
	moved *sync.Cond
	ctx   context.Context
	later int64 // bytes held of files behind the current one
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
	turn   bool  // this is the current file: all before it are read
	held   int64 // bytes
	given  int   // batches handed on and not done yet
}

// take waits until n bytes more may be held. The current file may always go on while none
// of its batches is under way: else a record larger than the window could never be
// completed.
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

// enter makes the file the current one.
func (s *share) enter() {
	w := s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	s.turn = true
	w.later -= s.held
	w.moved.Broadcast()
}

// hand counts a batch that is handed on.
func (s *share) hand() {
	s.window.mu.Lock()
	defer s.window.mu.Unlock()
	s.given++
}

// release takes back batches that are done, and n bytes.
func (s *share) release(batches int, n int64) {
	w := s.window
	w.mu.Lock()
	defer w.mu.Unlock()
	s.given -= batches
	s.hold(-n)
	w.moved.Broadcast()
}

// reader returns a Reader that takes the bytes it reads from the share.
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
