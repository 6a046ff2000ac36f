package wire

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

// Prefetcher reads one partition a fetch ahead of its reader, so that the broker works on the
// next records while these are evaluated. One channel operation moves a whole fetch, never a
// record. The fields up to Ended are set before Start; the
// funcs run on its goroutine.
type Prefetcher struct {
	Request FetchRequest // the first one; each later one begins where the one before has ended
	To      int64        // offset at which the reading ends; 0: none
	Turn    *Turn        // of the reader; nil: it reads no other fetch meanwhile
	Fetch   func(context.Context, FetchRequest, *Fetched) error

	// Alone says whether the next fetch waits until the reader has none. nil: it never does.
	Alone func() bool
	// Failed waits before a failed fetch is repeated; its error ends the reading. since is when
	// the fetch was first tried.
	Failed func(ctx context.Context, since time.Time, err error) error
	// Came is told of a fetch that the reader is about to get; its error ends the reading.
	Came func(*Fetched) error
	// Ended, unless nil, is called before Full is closed.
	Ended func()

	Full  chan *Fetched // fetches for the reader; closed behind the last one
	Empty chan *Fetched // takes the fetches that the reader has finished with
	Err   error         // why Full was closed, nil at To; read after that
}

// FetchAhead is the number of buffers that travel between a Prefetcher and its reader.
const FetchAhead = 2

// damagedTries is how often a damaged batch is fetched again: the damage may have been on the
// way.
const damagedTries = 5

// Start begins to fetch, in a goroutine that ends with ctx, at To, or at an error that
// repeating cannot mend.
func (p *Prefetcher) Start(ctx context.Context) {
	p.Full, p.Empty = make(chan *Fetched, FetchAhead), make(chan *Fetched, FetchAhead)
	for range FetchAhead {
		p.Empty <- &Fetched{Turn: p.Turn}
	}
	go func() {
		defer close(p.Full)
		p.Err = p.run(ctx)
		if p.Ended != nil {
			p.Ended()
		}
	}()
}

func (p *Prefetcher) run(ctx context.Context) error {
	for p.To == 0 || p.Request.Offset < p.To {
		into, err := p.buffer(ctx)
		if err == nil && p.Alone != nil && p.Alone() {
			var other *Fetched
			if other, err = p.buffer(ctx); err == nil {
				p.Empty <- other
			}
		}
		if err == nil {
			err = p.fetch(ctx, into)
		}
		if err == nil {
			err = p.Came(into)
		}
		if err != nil {
			return err
		}
		p.Request.Offset, p.Request.LastEpoch = into.Next, into.LastEpoch
		p.Full <- into // never blocks: there are no more buffers than places
	}
	return nil
}

// buffer waits for a buffer that the reader has finished with.
func (p *Prefetcher) buffer(ctx context.Context) (*Fetched, error) {
	select {
	case f := <-p.Empty:
		return f, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fetch repeats one fetch until it succeeds, ctx ends, or repeating cannot help.
func (p *Prefetcher) fetch(ctx context.Context, into *Fetched) error {
	damaged := 0
	for began := time.Now(); ; {
		err := p.Fetch(ctx, p.Request, into)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if corrupt, ok := errors.AsType[*CorruptError](err); ok {
			if damaged++; !corrupt.Damaged || damaged == damagedTries {
				return err
			}
		}
		if Lasting(err) {
			return err
		}
		if err := p.Failed(ctx, began, err); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
}

// Lasting says whether fetching again would give the same error: the offset is gone, other
// records stand below it, or another topic has the name.
func Lasting(err error) bool {
	_, diverged := errors.AsType[*DivergedError](err)
	return diverged || ClassOf(err) == OtherTopic || errors.Is(err, kafka.OffsetOutOfRange)
}
