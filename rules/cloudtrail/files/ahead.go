package files

import (
	"context"
	"io"
)

const (
	readSize  = 64 << 10 // bytes that are read at once
	readCount = 4        // buffers that are read ahead
)

// ahead is an io.Reader that reads ahead on a goroutine of its own. Unpacking then has a
// core of its own, and the caller can abandon a read that blocks, as of a terminal.
type ahead struct {
	ctx    context.Context
	cancel context.CancelFunc
	pause  func() error
	full   chan chunk
	free   chan []byte
	now    chunk  // being read
	rest   []byte // of now.data
}

// chunk is the result of one read.
type chunk struct {
	data []byte
	err  error // follows data
}

func newAhead() *ahead {
	a := &ahead{full: make(chan chunk, readCount), free: make(chan []byte, readCount)}
	for range readCount {
		a.free <- make([]byte, readSize)
	}
	return a
}

// begin starts to read r on the goroutine. The caller must call stop, and may close the
// source of r only after that. Read calls pause before it waits for a chunk that is not
// there yet.
func (a *ahead) begin(ctx context.Context, r io.Reader, pause func() error) {
	a.pause = pause
	a.ctx, a.cancel = context.WithCancel(ctx)
	go a.fill(a.ctx, r)
}

func (a *ahead) fill(ctx context.Context, r io.Reader) {
	for {
		select {
		case buf := <-a.free:
			n, err := r.Read(buf[:readSize])
			select {
			case a.full <- chunk{buf[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// Read returns bytes that the goroutine has read ahead.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *ahead) next() error {
	a.giveBack()
	select {
	case a.now = <-a.full:
		a.rest = a.now.data
		return nil
	default:
	}
	if err := a.pause(); err != nil {
		return err
	}
	select {
	case a.now = <-a.full:
		a.rest = a.now.data
		return nil
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}

func (a *ahead) giveBack() {
	if a.now.data != nil {
		a.free <- a.now.data
	}
	a.now, a.rest = chunk{}, nil
}

// stop lets the goroutine end as soon as its current read returns. True means that the last
// read has returned its error, so that the goroutine has ended and begin may be called for
// another reader.
func (a *ahead) stop() bool {
	a.cancel()
	ended := a.now.err != nil
	a.giveBack()
	return ended
}
