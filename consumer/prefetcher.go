package consumer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/wire"
)

// share is the size of each of several buffers that divide memory, from leastShare to most.
func share(memory, buffers, most int) int {
	return min(max(memory/max(buffers, 1), leastShare), most)
}

// fetchBytes is the size of a fetch of each of several prefetchers that divide memory; beyond
// few, not all of them read ahead. Records in larger batches come all the same: the first batch of
// an answer is always whole (KIP-74).
func fetchBytes(memory, prefetchers, few int) int {
	if prefetchers <= few {
		return share(memory, wire.FetchAhead*prefetchers, mostFetch)
	}
	return min(max(manyMemory*memory/prefetchers, leastFetch), leastShare)
}

// sharedFetches has the fetch requests and the memory that the prefetchers of one kind of
// partition share.
type sharedFetches struct {
	fetcher *wire.Fetcher
	memory  int64        // bytes of all fetches; beyond it, no prefetcher reads ahead
	many    bool         // more than few prefetchers: a buffer that waits for records takes no memory
	held    atomic.Int64 // bytes of fetches that readers have not given back
}

// newSharedFetches returns the shared part of n prefetchers that divide memory; beyond few they are
// many.
func newSharedFetches(client *wire.Client, memory, n, few int) *sharedFetches {
	return &sharedFetches{fetcher: &wire.Fetcher{Client: client, Partitions: n, Few: few}, memory: int64(memory), many: n > few}
}

// prefetcher reads one partition ahead of its reader, and tells how far it is.
type prefetcher struct {
	wire.Prefetcher

	client        *wire.Client
	topic         string
	topicID       [16]byte // zero: of any topic with the name
	partition     int32
	bytes         int // of record batches in one fetch
	readCommitted bool
	log           zerolog.Logger
	tries         *attempts      // notes failures; nil: they are logged only
	watched       bool           // a missing right ends the prefetcher instead of being retried
	shared        *sharedFetches // nil: each fetch is a request of its own
	told          *logEnd        // nil: not asked for

	fetched *holding
	reader  *wire.Reader // nil: shared is
}

// start begins to fetch in a goroutine of its own that ends with ctx or at an error that
// repeating cannot mend (see [wire.Lasting]). Each fetch asks the broker to check that the
// log still holds the records of the one before.
func (f *prefetcher) start(ctx context.Context, at logPosition) {
	if f.tries == nil {
		f.tries = newAttempts(nil)
	}
	if f.told == nil {
		f.told = new(logEnd)
	}
	f.fetched = &holding{of: f.shared}
	f.Request = wire.FetchRequest{
		Topic: f.topic, TopicID: f.topicID, Partition: f.partition, ReadCommitted: f.readCommitted,
		Offset: at.offset, Verify: true, LastEpoch: at.epoch,
		MaxWait: fetchWait, MinBytes: 1, MaxBytes: f.bytes,
	}
	f.Fetch = f.client.Fetch
	if f.shared != nil {
		f.reader = f.shared.fetcher.Reader()
		f.Fetch = f.reader.Fetch
	}
	f.told.begin(f.reader)
	f.Alone, f.Failed, f.Came = f.fetched.full, f.failed, f.came
	f.Ended = func() {
		f.fetched.end()
		if f.reader != nil {
			f.reader.Close()
		}
	}
	f.Start(ctx)
}

func (f *prefetcher) failed(ctx context.Context, _ time.Time, err error) error {
	if _, denied := errors.AsType[*wire.DeniedError](err); denied && f.watched {
		return err
	}
	f.tries.failed(&f.log, err).Str("topic", f.topic).Int32("partition", f.partition).Int64("offset", f.Request.Offset).Str("event", "fetch_retry").Msg("fetch failed; it is tried again")
	return f.tries.sleep(ctx)
}

func (f *prefetcher) came(into *wire.Fetched) error {
	f.tries.succeeded()
	f.fetched.add(into.Bytes)
	f.told.came(into, time.Now())
	return nil
}

// next returns a fetch that has arrived, or arrives within a while; nil if there is
// none, or there will be none any more.
func (f *prefetcher) next(within time.Duration) *wire.Fetched {
	select {
	case b := <-f.Full:
		return b
	default:
	}
	if within <= 0 {
		return nil
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case b := <-f.Full:
		return b
	case <-timer.C:
		return nil
	}
}

// give returns a buffer that the reader has finished with.
func (f *prefetcher) give(b *wire.Fetched) {
	if f.fetched != nil {
		f.fetched.add(-b.Bytes)
		f.told.gone(time.Now())
	}
	if f.reader != nil && f.shared.many {
		f.reader.Release(b)
	}
	f.Empty <- b
}
