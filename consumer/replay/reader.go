package replay

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules/play"
	"trailhound/state"
)

const (
	batchBytes   = 256 << 10 // of records in a batch; a larger record has memory of its own
	batchRecords = 4096      // most in a batch
)

// Reader reads ranges of topics.
type Reader struct {
	Client *wire.Client
	Ranges []Range
	Log    zerolog.Logger

	// AcceptLoss goes on behind damaged record batches. Intact batches that cannot
	// be read are always left out, as the service does. Both are logged.
	AcceptLoss bool

	// Advance, unless nil, is called by Run with the number of offsets just read. In
	// the end the calls add up to all offsets of the ranges.
	Advance func(offsets int64)

	batch *batch // being filled; nil: none is
	free  chan *batch
	turn  wire.Turn // of Run's goroutine, for all streams
	add   func(*play.Batch) error
}

// batch is a play.Batch with memory of its own for the values.
type batch struct {
	play.Batch
	data []byte
}

// Run gives the records of all ranges to add in one sequence: at each step, of the
// next records of the ranges, the one with the least timestamp, or of those the one
// of the least topic and partition. It returns the first error: of a fetch, of add,
// or the cause of ctx. Memory is bounded by the batches not given back, two fetches
// for each range and one batch; batches may be given back, by Done, from any goroutine.
func (r *Reader) Run(ctx context.Context, add func(*play.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	r.add, r.batch, r.free = add, nil, make(chan *batch, 64)
	r.turn = wire.Turn{Memory: r.Client.Memory, Context: ctx}
	r.Client.Memory.Divide(len(r.Ranges))
	bytes := r.fetchBytes()
	var streams merge
	defer func() {
		cancel()
		for _, s := range streams {
			s.stop()
		}
	}()
	for i := range r.Ranges {
		if g := &r.Ranges[i]; !g.Empty() {
			s := &stream{Range: g, reader: r, bytes: bytes}
			s.start(ctx, g.From)
			streams = append(streams, s)
		}
	}
	if err := streams.begin(ctx); err != nil {
		return err
	}
	for len(streams) > 0 {
		s := streams[0]
		if err := r.record(s); err != nil {
			return err
		}
		switch ok, err := s.next(ctx); {
		case err != nil:
			return err
		case ok:
			heap.Fix(&streams, 0)
		default:
			s.stop()
			heap.Remove(&streams, 0)
		}
	}
	return r.flush()
}

// fetchBytes is the size of one fetch of a partition, so that all buffers stay within
// fetchMemory.
func (r *Reader) fetchBytes() int {
	return min(max(fetchMemory/(wire.FetchAhead*max(len(r.Ranges), 1)), leastFetch), mostFetch)
}

// record copies the record at hand of a stream into the batch.
func (r *Reader) record(s *stream) error {
	rec, err := s.whole()
	if err != nil {
		return err
	}
	if b := r.batch; b != nil && (len(b.Records) == batchRecords || len(b.data)+len(rec.Value) > cap(b.data)) {
		if err := r.flush(); err != nil {
			return err
		}
	}
	b := r.filling()
	at := state.Source{Topic: s.Topic, TopicID: s.TopicID, Partition: s.Partition, Offset: rec.Offset}
	b.Records = append(b.Records, play.Record{At: at, Time: wire.TimeOf(rec.Timestamp), Value: b.copy(rec.Value)})
	return nil
}

// copy returns a copy of a value, in the batch's memory if it has room.
func (b *batch) copy(value []byte) []byte {
	if value == nil || len(value) > cap(b.data) {
		return append([]byte(nil), value...)
	}
	start := len(b.data)
	b.data = append(b.data, value...)
	return b.data[start:len(b.data):len(b.data)]
}

// filling returns the batch to put a record into.
func (r *Reader) filling() *batch {
	if r.batch != nil {
		return r.batch
	}
	select {
	case r.batch = <-r.free:
	default:
		b := &batch{data: make([]byte, 0, batchBytes)}
		b.Done = func() { b.done(r.free) }
		r.batch = b
	}
	return r.batch
}

// done gives the batch back; one too many is left to the garbage collector.
func (b *batch) done(free chan<- *batch) {
	clear(b.Records)
	b.Records, b.data = b.Records[:0], b.data[:0]
	select {
	case free <- b:
	default:
	}
}

// flush hands on the batch, if there is one.
func (r *Reader) flush() error {
	if r.batch == nil {
		return nil
	}
	b := r.batch
	r.batch = nil
	return r.add(&b.Batch)
}

func (r *Reader) advance(offsets int64) {
	if r.Advance != nil && offsets > 0 {
		r.Advance(offsets)
	}
}

// merge is a heap of streams, each with a record at hand.
type merge []*stream

// begin reads the first record of each stream, and drops those without one.
func (m *merge) begin(ctx context.Context) error {
	for i := 0; i < len(*m); {
		s := (*m)[i]
		ok, err := s.next(ctx)
		if err != nil {
			return err
		}
		if ok {
			i++
			continue
		}
		s.stop()
		m.Swap(i, len(*m)-1)
		m.Pop()
	}
	heap.Init(m)
	return nil
}

func (m merge) Len() int      { return len(m) }
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m merge) Less(i, j int) bool {
	x, y := m[i], m[j]
	return cmp.Or(cmp.Compare(x.record.Timestamp, y.record.Timestamp),
		cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition)) < 0
}

// Push implements heap.Interface.
func (m *merge) Push(x any) { *m = append(*m, x.(*stream)) }

// Pop implements heap.Interface.
func (m *merge) Pop() any {
	last := len(*m) - 1
	s := (*m)[last]
	(*m)[last] = nil
	*m = (*m)[:last]
	return s
}

// DamageError says that a record batch of a range cannot be read.
type DamageError struct {
	Corrupt *wire.CorruptError
	Known   bool // where the next batch begins, so that one can go on behind this one
}

func (e *DamageError) Error() string {
	if !e.Known {
		return fmt.Sprintf("%v; where the next batch begins is not known: let a replica that is whole become leader, or begin the range behind it", e.Corrupt)
	}
	return fmt.Sprintf("%v; let a replica that is whole become leader, or go on without offsets %d to %d with --accept-loss", e.Corrupt, e.Corrupt.Offset, e.Corrupt.Next-1)
}

// Unwrap returns the *wire.CorruptError of the batch.
func (e *DamageError) Unwrap() error { return e.Corrupt }
