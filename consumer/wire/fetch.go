package wire

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	defaultFetchBytes = 1 << 20

	// maxUnpacked bounds what the batches of one fetch may unpack to together.
	maxUnpacked = 256 << 20
)

// FetchRequest asks for the records of one partition from an offset on.
type FetchRequest struct {
	Topic     string
	Partition int32
	Offset    int64

	MaxWait  time.Duration // how long the broker waits for MinBytes to be there
	MinBytes int           // 0: 1
	MaxBytes int           // of record batches; 0: 1 MiB. The first batch comes whole even if it is larger (KIP-74)

	// ReadCommitted stops at the last stable offset and leaves out the records of
	// aborted transactions.
	ReadCommitted bool
}

// Fetched is what a fetch has brought. The zero value is ready; its buffers are
// used again by the next fetch into it. Not for concurrent use.
type Fetched struct {
	HighWatermark int64
	LastStable    int64 // up to here, exclusive, no transaction is open
	LogStart      int64

	// Next is the offset to fetch next: behind the last batch that came, be it one
	// of an aborted transaction, a control batch, or one that compaction has
	// emptied. It is the offset asked for when nothing came.
	Next int64

	Bytes int // of record batches that the broker sent

	topic     string
	partition int32
	from      int64 // the offset asked for

	response []byte // as it came
	unpacked []byte // records of compressed batches
	limit    int    // of unpacked; 0: maxUnpacked
	sections []section
	filter   abortFilter
	record   Record
}

// Fetch reads records of one partition, waiting up to req.MaxWait for them. It
// fails with a kafka.Error of the broker (errors.Is(err, kafka.OffsetOutOfRange)),
// with a *CorruptError when the first batch cannot be read, and otherwise when
// there was no answer; asking again is always harmless. After an error, into holds
// no records.
func (c *Client) Fetch(ctx context.Context, req FetchRequest, into *Fetched) error {
	into.reset(req)
	var got fetchAnswer
	k := &call{
		api:     apiFetch,
		request: fmt.Sprintf("fetch %s partition %d at offset %d", req.Topic, req.Partition, req.Offset),
		write:   func(b []byte, _ int16) []byte { return req.append(b) },
		read:    func(r *reader, _ int16) { got.read(r, into) },
		answer:  &into.response,
	}
	k.toLeader(req.Topic, req.Partition)
	if err := c.do(ctx, k, req.MaxWait); err != nil {
		return err
	}
	if err := got.verdict(k.request, req); err != nil {
		if misled(err) {
			c.refresh(ctx)
		}
		return err
	}
	into.HighWatermark, into.LastStable, into.LogStart = got.highWatermark, got.lastStable, got.logStart
	into.Bytes = len(got.batches)
	return into.take(got.batches)
}

func (f *Fetched) reset(req FetchRequest) {
	f.HighWatermark, f.LastStable, f.LogStart = -1, -1, -1
	f.Next, f.Bytes = req.Offset, 0
	f.topic, f.partition, f.from = req.Topic, req.Partition, req.Offset
	f.response, f.unpacked = keep(f.response), keep(f.unpacked)
	f.sections = f.sections[:0]
	f.filter.reset(req.ReadCommitted)
}

// keep empties a buffer. It lets go of a large one that the last fetch has made
// little use of: something unusual has swollen it.
func keep(b []byte) []byte {
	if cap(b) > keptBuffer && len(b) < cap(b)/4 {
		return nil
	}
	return b[:0]
}

// append writes the body of Fetch v11, without a fetch session (KIP-227): they
// pay for themselves with many partitions in one request.
func (q *FetchRequest) append(b []byte) []byte {
	most := q.MaxBytes
	if most <= 0 {
		most = defaultFetchBytes
	}
	most = min(most, math.MaxInt32)
	b = appendInt32(b, -1) // replica: none
	b = appendInt32(b, milliseconds(q.MaxWait))
	b = appendInt32(b, int32(min(max(q.MinBytes, 1), math.MaxInt32)))
	b = appendInt32(b, math.MaxInt32)  // bytes in all: the one partition's limit decides
	b = appendBool(b, q.ReadCommitted) // isolation level 1
	b = appendInt32(b, 0)              // session
	b = appendInt32(b, -1)             // its epoch: none

	b = appendInt32(b, 1)
	b = appendString(b, q.Topic)
	b = appendInt32(b, 1)
	b = appendInt32(b, q.Partition)
	b = appendInt32(b, -1) // leader epoch: any
	b = appendInt64(b, q.Offset)
	b = appendInt64(b, -1) // log start offset, of followers
	b = appendInt32(b, int32(most))

	b = appendInt32(b, 0)      // forgotten topics
	return appendString(b, "") // rack
}

// fetchAnswer is the body of a Fetch v11 response.
type fetchAnswer struct {
	code          int16
	partitions    int
	topic         string
	partition     int32
	highWatermark int64
	lastStable    int64
	logStart      int64
	batches       []byte
}

func (a *fetchAnswer) read(r *reader, into *Fetched) {
	r.int32() // throttle time
	a.code = r.int16()
	r.int32() // session
	for range r.array(6) {
		a.topic = r.string()
		for range r.array(38) {
			a.readPartition(r, into)
			a.partitions++
		}
	}
}

func (a *fetchAnswer) readPartition(r *reader, into *Fetched) {
	a.partition = r.int32()
	if code := r.int16(); a.code == 0 {
		a.code = code
	}
	a.highWatermark = r.int64()
	a.lastStable = r.int64()
	a.logStart = r.int64()
	for range r.array(16) {
		into.filter.expect(r.int64(), r.int64())
	}
	r.int32() // preferred read replica: only for a client that names its rack
	a.batches = r.bytes()
}

func (a *fetchAnswer) verdict(request string, req FetchRequest) error {
	if a.code != 0 {
		return fmt.Errorf("%s: %w", request, kafka.Error(a.code))
	}
	if a.partitions != 1 || a.topic != req.Topic || a.partition != req.Partition {
		return fmt.Errorf("%s: %w: it is about other partitions", request, errMalformed)
	}
	return nil
}
