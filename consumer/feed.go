package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"trailhound/consumer/wire"
)

const (
	fetchWait   = time.Second // long poll: an idle partition costs one request a second
	inputMemory = 8 << 20     // for the buffers of all feeds of inputs, if leastShare allows it
	workMemory  = 2 << 20     // the same, of work: a twentieth of the events goes there
	mostFetch   = 1 << 20
)

// leastShare is the smallest buffer of a request: below this requests begin to cost more
// than what they carry.
const leastShare = 128 << 10

// share is what each of so many buffers may hold of the memory that they have together.
func share(memory, buffers, most int) int {
	return min(max(memory/max(buffers, 1), leastShare), most)
}

// fetchBytes is what each of so many feeds asks for at a time if they have so much
// memory together. Records in larger batches come all the same: the first batch of an
// answer is always whole (KIP-74).
func fetchBytes(memory, feeds int) int {
	return share(memory, fetchAhead*feeds, mostFetch)
}

// feed reads one partition a fetch ahead of its reader, so that the broker works
// on the next records while these are evaluated. One channel operation moves a
// whole fetch, never a record.
type feed struct {
	client        *wire.Client
	topic         string
	topicID       [16]byte // zero: whatever topic has the name
	partition     int32
	bytes         int // of record batches in one fetch
	readCommitted bool
	log           zerolog.Logger
	tries         *attempts // whom to tell how it goes; nil: nobody
	watched       bool      // somebody wants to know at once what this user may not read

	full  chan *wire.Fetched
	empty chan *wire.Fetched
	err   error // why full was closed; read after that
}

// fetchAhead is the number of buffers that travel between a feed and its reader.
const fetchAhead = 2

// damagedTries is how often a damaged batch is fetched again: the damage may have
// been on the way.
const damagedTries = 5

// start begins to fetch in a goroutine of its own that ends with ctx or at an error
// that repeating cannot mend (see lasting). Each fetch asks the broker to check that
// the log still holds what the one before has brought.
func (f *feed) start(ctx context.Context, at logPosition) {
	f.full = make(chan *wire.Fetched, fetchAhead)
	f.empty = make(chan *wire.Fetched, fetchAhead)
	for range fetchAhead {
		f.empty <- new(wire.Fetched)
	}
	if f.tries == nil {
		f.tries = newAttempts(nil)
	}
	go func() {
		defer close(f.full)
		f.err = f.run(ctx, at)
	}()
}

func (f *feed) run(ctx context.Context, at logPosition) error {
	for {
		var into *wire.Fetched
		select {
		case into = <-f.empty:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := f.fetch(ctx, at, into); err != nil {
			return err
		}
		at = logPosition{into.Next, into.LastEpoch}
		f.full <- into // never blocks: there are no more buffers than places
	}
}

// fetch repeats one fetch until it succeeds, ctx ends, or repeating cannot help.
func (f *feed) fetch(ctx context.Context, at logPosition, into *wire.Fetched) error {
	for damaged := 0; ; {
		err := f.client.Fetch(ctx, wire.FetchRequest{
			Topic: f.topic, TopicID: f.topicID, Partition: f.partition, ReadCommitted: f.readCommitted,
			Offset: at.offset, Verify: true, LastEpoch: at.epoch,
			MaxWait: fetchWait, MinBytes: 1, MaxBytes: f.bytes,
		}, into)
		if err == nil {
			f.tries.succeeded()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var corrupt *wire.CorruptError
		if errors.As(err, &corrupt) {
			if damaged++; !corrupt.Damaged || damaged == damagedTries {
				return err
			}
		}
		if _, denied := errors.AsType[*wire.DeniedError](err); lasting(err) || denied && f.watched {
			return err
		}
		f.tries.failed(&f.log, err).Str("topic", f.topic).Int32("partition", f.partition).Int64("offset", at.offset).Str("event", "fetch_retry").Msg("fetch failed; it is tried again")
		if f.tries.sleep(ctx) != nil {
			return ctx.Err()
		}
	}
}

// lasting says whether fetching again would give the same error: the offset is
// gone, other records stand below it, or another topic has the name.
func lasting(err error) bool {
	if _, diverged := errors.AsType[*wire.DivergedError](err); diverged {
		return true
	}
	return errors.Is(err, kafka.OffsetOutOfRange) || errors.Is(err, kafka.UnknownTopicID) || errors.Is(err, kafka.InconsistentTopicID)
}

// next returns a fetch that has arrived, or arrives within a while; nil if there is
// none, or there will be none any more.
func (f *feed) next(within time.Duration) *wire.Fetched {
	select {
	case b := <-f.full:
		return b
	default:
	}
	if within <= 0 {
		return nil
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case b := <-f.full:
		return b
	case <-timer.C:
		return nil
	}
}

// give returns a buffer that the reader has finished with.
func (f *feed) give(b *wire.Fetched) { f.empty <- b }
