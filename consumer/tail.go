package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// Tail reads all partitions of a topic as a read-committed reader does, outside of any
// group: it commits no offsets.
type Tail struct {
	Client *wire.Client
	Topic  string
	Latest bool            // start at the end instead of the beginning
	Since  time.Time       // start at the first record with this timestamp or a later one; zero: at the beginning
	From   map[int32]int64 // start at these offsets, by partition; other partitions follow the fields above
	Follow bool            // go on until ctx ends instead of ending where the topic ended at the start
	Log    zerolog.Logger
}

// Run calls each for every committed record, in offset order within a partition, one call
// at a time. It returns nil at the end of the topic, or when ctx ends in follow mode, and
// otherwise the first error, also that of each.
func (t *Tail) Run(ctx context.Context, each func(partition int32, rec *wire.Record) error) error {
	meta, err := t.Client.Topics(ctx, t.Topic)
	if err != nil {
		return err
	}
	if err := meta[t.Topic].Err; err != nil {
		return fmt.Errorf("read topic %s: %w", t.Topic, err)
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	var readers sync.WaitGroup
	n := len(meta[t.Topic].Partitions)
	bytes, shared := fetchBytes(inputMemory, n, fewInputs), newSharedFetches(t.Client, inputMemory, n, fewInputs)
	for _, p := range meta[t.Topic].Partitions {
		readers.Go(func() {
			err := t.partition(reading, p.Index, bytes, shared, func(rec *wire.Record) error {
				mu.Lock()
				defer mu.Unlock()
				return each(p.Index, rec)
			})
			if err != nil {
				stop(err)
			}
		})
	}
	readers.Wait()
	if err := context.Cause(reading); err != nil && !(t.Follow && errors.Is(err, context.Canceled)) {
		return err
	}
	return nil
}

// start returns the offset at which to begin in a partition with the records from first to end.
func (t *Tail) start(ctx context.Context, n int32, first, end int64) (int64, error) {
	if from, ok := t.From[n]; ok {
		return max(first, from), nil
	}
	switch {
	case t.Latest:
		return end, nil
	case t.Since.IsZero():
		return first, nil
	}
	at, err := topic.OffsetAt(ctx, t.Client, t.Topic, n, t.Since)
	if at < 0 {
		at = end
	}
	return max(first, at), err
}

func (t *Tail) partition(ctx context.Context, n int32, bytes int, shared *sharedFetches, each func(*wire.Record) error) error {
	start, end, err := topic.Bounds(ctx, t.Client, t.Topic, n)
	if err != nil {
		return err
	}
	if start, err = t.start(ctx, n, start, end); err != nil {
		return err
	}
	if !t.Follow && start >= end {
		return nil
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	in := prefetcher{client: t.Client, topic: t.Topic, partition: n, bytes: bytes, readCommitted: true, log: t.Log, watched: true, shared: shared}
	in.start(reading, logPosition{start, noEpoch})
	for f := range in.Full {
		var failed error
		err := f.Each(func(rec *wire.Record) bool {
			failed = each(rec)
			return failed == nil
		})
		if err := errors.Join(failed, err); err != nil {
			return err
		}
		// The end is the last stable offset: the records of an open transaction beyond it are not
		// committed, and may never be.
		if !t.Follow && (f.Next >= end || f.Next >= f.LastStable) {
			return nil
		}
		in.give(f)
	}
	return in.Err
}
