package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

const (
	fetchWait   = time.Second
	fetchMemory = 8 << 20   // for the buffers of all streams, if leastFetch allows it
	leastFetch  = 128 << 10 // below this the requests begin to cost more than their records
	mostFetch   = 1 << 20

	emptyTries = 30              // after a fail-over the records may take a while to be committed again
	patience   = 2 * time.Minute // with a broker that does not answer
	leastPause = 50 * time.Millisecond
	mostPause  = 2 * time.Second
)

// stream reads one range, a fetch ahead of its reader.
type stream struct {
	*Range
	reader *Reader
	bytes  int // of record batches in one fetch

	cancel  context.CancelFunc
	fetches *wire.Prefetcher
	pause   wire.Backoff // between failed fetches
	empty   int          // fetches in a row without a batch

	at     int64         // everything below it is read
	now    *wire.Fetched // the fetch that cursor reads; nil: none
	cursor wire.Cursor
	ahead  readAhead    // of a large batch
	record *wire.Record // at hand: of cursor, or of ahead
}

// start begins to fetch at an offset, in a goroutine that ends with ctx, at stop, at
// the end of the range or at an error.
func (s *stream) start(ctx context.Context, offset int64) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.at, s.now = offset, nil
	s.ahead.clear()
	s.pause, s.empty = wire.Backoff{Least: leastPause, Most: mostPause}, 0
	s.fetches = &wire.Prefetcher{
		Request: wire.FetchRequest{
			Topic: s.Topic, TopicID: s.TopicID, Partition: s.Partition, Offset: offset, ReadCommitted: true,
			MaxWait: fetchWait, MinBytes: 1, MaxBytes: s.bytes,
		},
		To: s.To, Turn: &s.reader.turn, Fetch: s.reader.Client.Fetch, Failed: s.failed, Came: s.came,
	}
	s.fetches.Start(ctx)
}

// stop ends the fetching, and waits for the end.
func (s *stream) stop() {
	s.cancel()
	if s.now != nil {
		s.cursor.Close()
		s.now = nil
	}
	for range s.fetches.Full { // the fetches left over are of no use
	}
}

// next moves the cursor to the next record of the range; false at its end.
func (s *stream) next(ctx context.Context) (bool, error) {
	for {
		if s.ahead.next() {
			s.record = s.ahead.record()
			return true, nil
		}
		if s.now != nil {
			if s.cursor.Next() {
				if s.record = &s.cursor.Record; s.record.Offset >= s.To {
					return s.end(), nil
				}
				if s.cursor.Held() {
					s.readAhead()
					continue
				}
				return true, nil
			}
			if err := s.cursor.Err(); err != nil {
				if err := s.leaveOut(ctx, err); err != nil {
					return false, err
				}
				continue
			}
			s.cursor.Close()
			s.passed(s.now.Next)
			s.fetches.Empty <- s.now // never blocks: there are no more buffers than places
			s.now = nil
		}
		if s.at >= s.To {
			return false, nil
		}
		f, ok := <-s.fetches.Full
		if ok {
			s.now, s.cursor = f, f.Cursor()
		} else if err := s.leaveOut(ctx, s.fetches.Err); err != nil {
			return false, err
		}
	}
}

// end notes that the range is read; it returns false.
func (s *stream) end() bool {
	s.passed(s.To)
	return false
}

// passed notes that everything below an offset is read.
func (s *stream) passed(next int64) {
	next = min(next, s.To)
	s.reader.advance(next - s.at)
	s.at = max(s.at, next)
}

// leaveOut goes on behind the batch that err, a *wire.CorruptError, names, if that
// is possible and allowed. It returns any other error.
func (s *stream) leaveOut(ctx context.Context, err error) error {
	corrupt, ok := errors.AsType[*wire.CorruptError](err)
	if !ok {
		return s.explain(err)
	}
	if corrupt.Next <= s.at {
		return &DamageError{Corrupt: corrupt}
	}
	if corrupt.Damaged && !s.reader.AcceptLoss {
		return &DamageError{Corrupt: corrupt, Known: true}
	}
	s.reader.Log.Warn().Str("topic", s.Topic).Int32("partition", s.Partition).Int64("from", corrupt.Offset).Int64("to", corrupt.Next-1).
		Str("reason", corrupt.Reason).Str("event", "batch_left_out").Msg("records that cannot be read are left out")
	s.stop()
	s.passed(corrupt.Next)
	s.start(ctx, corrupt.Next)
	return nil
}

// explain adds the cause to an error of a fetch, if the range has changed under the reader.
func (s *stream) explain(err error) error {
	err = fmt.Errorf("read %s partition %d: %w", s.Topic, s.Partition, err)
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return fmt.Errorf("%w; the records were deleted while the range was read: begin later, or lengthen the topic's retention", err)
	case wire.ClassOf(err) == wire.OtherTopic:
		return fmt.Errorf("%w; the topic was deleted while it was read", err)
	}
	return err
}

// came ends the reading where a partition has lost the end of the range.
func (s *stream) came(f *wire.Fetched) error {
	s.pause.Reset()
	if s.empty++; f.Next > s.fetches.Request.Offset {
		s.empty = 0
	} else if s.empty == emptyTries {
		return fmt.Errorf("it ends at offset %d, before the end of the range, %d: the partition has lost records", f.LastStable, s.To)
	}
	return nil
}

func (s *stream) failed(ctx context.Context, since time.Time, err error) error {
	if !wire.Retriable(err) || time.Since(since) > patience {
		return err
	}
	s.reader.Log.Warn().Err(err).Str("event", "fetch_retry").Msg("fetch failed; it is tried again")
	return s.pause.Sleep(ctx)
}
