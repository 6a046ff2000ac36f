package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Fetcher reads many partitions over a few connections: [Reader.Fetch] is Client.Fetch, but
// waiting reads of several partitions of one broker share one request. Where few partitions
// of a broker are read, each has requests of its own: nothing is quicker, and so many
// connections do no harm.
//
// Where there are more, a partition at its end is part of one of 12 long polls, and one
// with a backlog of one of 4 requests that do not wait, so that neither holds up the other.
// A partition is in no request while its reader does not ask. An answer is copied to its
// readers: a slow reader holds back its own part only. A partition that a broker refuses,
// or with a next batch beyond MaxBytes, which a broker sends only as the first one of an
// answer (KIP-74), is asked for alone the next time.
//
// Its fields are set before the first use. It is safe for concurrent use.
type Fetcher struct {
	Client     *Client
	Partitions int // about how many there are to read, on all brokers
	Few        int // up to so many partitions of a broker are few

	mu     sync.Mutex
	groups map[fetchKey]*fetchGroup
	spares spareBuffers
}

// Reader is one partition that is read through a Fetcher. It is for one goroutine at a
// time.
type Reader struct {
	fetcher *Fetcher

	// Guarded by the Fetcher's lock.
	group  *fetchGroup // nil: the partition has requests of its own
	alone  bool        // the next request must not be shared
	behind bool        // the partition had more to read
	slow   bool        // and the broker did not send it
	fresh  time.Time   // when a broker last told the end of the partition
	call   *fetchCall  // waits for an answer of the group; nil: none does
	turns  uint64
}

// Reader returns a reader of one partition. Close it after use.
func (f *Fetcher) Reader() *Reader { return &Reader{fetcher: f} }

// Turns returns a counter that moves while a call of Fetch comes nearer to its turn: the
// broker answers requests for other partitions before it. It may be called at any time.
func (r *Reader) Turns() uint64 {
	r.fetcher.mu.Lock()
	defer r.fetcher.mu.Unlock()
	if r.group != nil && r.call != nil && r.call.state == fetchWaiting {
		r.turns = r.group.answers
	}
	return r.turns
}

// Close ends the use of the reader; no call of Fetch may be under way. When the last reader of
// a broker has been closed, nothing is asked of it any more.
func (r *Reader) Close() {
	f := r.fetcher
	f.mu.Lock()
	g := r.group
	r.leave()
	last := g != nil && g.readers == 0
	f.mu.Unlock()
	if last {
		g.running.Wait()
	}
}

// Release gives back the memory of a fetch into f, and its records with it, for the fetches
// of other partitions: it is for many partitions that wait for their next records.
func (r *Reader) Release(f *Fetched) {
	r.fetcher.spares.put(f.response)
	f.response, f.sections, f.filter.expected = nil, nil, nil
}

// leave takes the reader out of its group. The caller holds the lock.
func (r *Reader) leave() {
	g := r.group
	if g == nil {
		return
	}
	r.group = nil
	if g.readers--; g.readers == 0 {
		g.stop()
		delete(r.fetcher.groups, g.key)
	}
}

// Fetch is [Client.Fetch] for the reader's partition. MinBytes is 1, and an answer without
// records can take up to twice MaxWait.
func (r *Reader) Fetch(ctx context.Context, req FetchRequest, into *Fetched) error {
	began := time.Now()
	req.MinBytes = 1
	g := r.join(ctx, &req)
	if g == nil {
		return r.fetcher.Client.Fetch(ctx, req, into)
	}
	if g.few() {
		return g.own(ctx, req, into)
	}
	for {
		c := &fetchCall{reader: r, req: req, into: into, began: began, told: make(chan struct{})}
		switch g.ask(ctx, c) {
		case fetchLeft:
			into.reset(req)
			return fmt.Errorf("%s: %w", describeFetch(&req), ctx.Err())
		case fetchDone:
			return r.take(ctx, c)
		}
		if stands, err := g.single(ctx, c); stands {
			return err
		}
	}
}

// take fills the caller's Fetched from its part of a shared answer.
func (r *Reader) take(ctx context.Context, c *fetchCall) error {
	err := c.err
	if err == nil {
		err = r.fetcher.Client.finish(ctx, describeFetch(&c.req), &c.got, c.req, c.into)
	} else {
		c.into.reset(c.req)
	}
	r.fetcher.mu.Lock()
	defer r.fetcher.mu.Unlock()
	r.call = nil
	r.learn(err, c)
	return err
}

// learn keeps the state of the partition for the next request. The caller holds the lock.
func (r *Reader) learn(err error, c *fetchCall) {
	if err != nil {
		r.alone, r.behind = !unreachable(err) || errors.Is(err, errMalformed), false
		return
	}
	r.behind = c.into.Next < endOf(&c.req, c.into.HighWatermark, c.into.LastStable)
	r.fresh = time.Now()
}

// unreachable tells whether an error concerns the whole broker, not one partition.
func unreachable(err error) bool {
	if _, answered := errors.AsType[kafka.Error](err); answered {
		return false
	}
	_, diverged := errors.AsType[*DivergedError](err)
	_, corrupt := errors.AsType[*CorruptError](err)
	return !diverged && !corrupt
}

// endOf returns the end of a partition for the reader that made the request.
func endOf(req *FetchRequest, highWatermark, lastStable int64) int64 {
	if req.ReadCommitted {
		return lastStable
	}
	return highWatermark
}

func describeFetch(req *FetchRequest) string {
	return fmt.Sprintf("fetch %s partition %d at offset %d", req.Topic, req.Partition, req.Offset)
}

// join returns the present group of the reader's partition; nil: the partition has requests
// of its own, or no known leader, for which Client.Fetch has the error.
func (r *Reader) join(ctx context.Context, req *FetchRequest) *fetchGroup {
	f := r.fetcher
	if f.Partitions <= f.Few {
		return nil
	}
	broker, ok := f.Client.leader(ctx, req.Topic, req.Partition)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok {
		r.leave()
		return nil
	}
	key := fetchKey{broker, req.ReadCommitted, req.api().max, req.MaxWait}
	if g := r.group; g == nil || g.key != key {
		r.leave()
		if g = f.groups[key]; g == nil {
			g = &fetchGroup{fetcher: f, key: key}
			g.ctx, g.stop = context.WithCancel(context.Background())
			if f.groups == nil {
				f.groups = make(map[fetchKey]*fetchGroup)
			}
			f.groups[key] = g
		}
		g.readers++
		r.group = g
	}
	return r.group
}
