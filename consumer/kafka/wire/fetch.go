package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"trailhound/consumer/kafka/internal/primitive"
)

const (
	defaultFetchBytes = 1 << 20

	// maxUnpacked bounds the unpacked size of one record.
	maxUnpacked = 256 << 20
)

// FetchRequest asks for the records of one partition from an offset on.
type FetchRequest struct {
	Topic     string
	Partition int32
	Offset    int64

	// TopicID, unless zero, is the topic's id: records of another topic that was
	// made under the same name are refused (kafka.UnknownTopicID,
	// kafka.InconsistentTopicID) instead of read (KIP-516). It takes Kafka 3.1;
	// older brokers know topics by name only.
	TopicID [16]byte

	MaxWait  time.Duration // how long the broker waits for MinBytes to be there
	MinBytes int           // 0: 1
	MaxBytes int           // of record batches; 0: 1 MiB. The first batch comes whole even if it is larger (KIP-74)

	// Verify makes the broker check that the log still holds the record before
	// Offset, read in leader epoch LastEpoch (-1: not known, nothing is checked):
	// Fetched.LastEpoch of the fetch before this one. It takes Kafka 2.7; older
	// brokers check nothing (KIP-595).
	Verify    bool
	LastEpoch int32

	// ReadCommitted stops at the last stable offset and leaves out the records of
	// aborted transactions.
	ReadCommitted bool
}

// Fetched holds the records of one fetch. The zero value is ready; its buffers are used
// again by the next fetch into it. Not for concurrent use.
type Fetched struct {
	HighWatermark int64
	LastStable    int64 // up to here, exclusive, no transaction is open
	LogStart      int64

	// Next is the offset to fetch next: behind the last batch that came, also one of an
	// aborted transaction, a control batch, or one that compaction has emptied. Without a
	// batch it is the offset asked for.
	Next int64

	// LastEpoch is the leader epoch of the last batch before Next, also of one without
	// records for the reader; without a batch, that of a request with Verify; -1: not
	// known.
	LastEpoch int32

	Bytes int // of record batches that the broker sent

	// Turn is that of the goroutine that reads the records; nil: the goroutine reads no
	// other fetch meanwhile.
	Turn *Turn

	topic     string
	partition int32
	from      int64 // the offset asked for

	response []byte // as it came
	memory   *Memory
	own      Turn // in place of a nil Turn
	sections []section
	filter   abortFilter
	cursor   Cursor // of Each
	unpacked int    // bytes of the buffer that the last batches in blocks took
}

// Fetch reads records of one partition, waiting up to req.MaxWait for them. It
// fails with a kafka.Error of the broker (errors.Is(err, kafka.OffsetOutOfRange)),
// with a *DivergedError when a request with Verify meets a log that has been cut
// back, with a *CorruptError when the first batch cannot be read, and otherwise when
// there was no answer; asking again is always harmless. After an error, into holds
// no records.
func (c *Client) Fetch(ctx context.Context, req FetchRequest, into *Fetched) error {
	for {
		throttled, err := c.fetch(ctx, req, into)
		if err != nil || throttled == 0 {
			return err
		}
		if err := waitOut(ctx, throttled); err != nil {
			return fmt.Errorf("fetch %s partition %d at offset %d: the broker throttles this client: %w", req.Topic, req.Partition, req.Offset, err)
		}
	}
}

// fetch sends one request. throttled, unless 0, is the time to wait before the request is
// sent again: the broker throttles this client and has answered nothing else.
func (c *Client) fetch(ctx context.Context, req FetchRequest, into *Fetched) (throttled time.Duration, err error) {
	into.reset(req)
	into.memory = c.Memory
	var got fetchAnswer
	k := &call{
		api:     req.api(),
		request: fmt.Sprintf("fetch %s partition %d at offset %d", req.Topic, req.Partition, req.Offset),
		write:   req.append,
		read:    func(r *primitive.Reader, version int16) { got.read(r, version, into) },
		answer:  &into.response,
	}
	k.toLeader(req.Topic, req.Partition)
	if err := c.do(ctx, k, req.MaxWait); err != nil {
		if left := throttledFor(err); left > 0 {
			return left, nil
		}
		return 0, err
	}
	if got.throttle > 0 && got.code == 0 && got.partitions == 0 {
		return got.throttle, nil
	}
	return 0, c.finish(ctx, k.request, &got, req, into)
}

// finish fills into from the answer about its partition.
func (c *Client) finish(ctx context.Context, request string, got *fetchAnswer, req FetchRequest, into *Fetched) error {
	if err := got.verdict(request, req); err != nil {
		if misled(err) {
			c.Refresh(ctx)
		}
		return err
	}
	into.HighWatermark, into.LastStable, into.LogStart = got.highWatermark, got.lastStable, got.logStart
	into.Bytes = len(got.batches)
	return into.take(got.batches)
}

func (f *Fetched) reset(req FetchRequest) {
	f.HighWatermark, f.LastStable, f.LogStart = -1, -1, -1
	f.Next, f.LastEpoch, f.Bytes = req.Offset, req.lastEpoch(), 0
	f.topic, f.partition, f.from = req.Topic, req.Partition, req.Offset
	f.response = keep(f.response)
	f.sections = f.sections[:0]
	f.filter.reset(req.ReadCommitted)
}

// keep empties a buffer. It lets go of a large buffer that the last fetch has made little
// use of: an unusual fetch has swollen it.
func keep(b []byte) []byte {
	if cap(b) > keptBuffer && len(b) < cap(b)/4 {
		return nil
	}
	return b[:0]
}

// api is Fetch in the versions that can carry the fields of q.
func (q *FetchRequest) api() api {
	a := apiFetch
	switch {
	case q.TopicID != [16]byte{}:
	case q.lastEpoch() >= 0:
		a.max = topicIDs - 1
	default:
		a.max = a.min
	}
	return a
}

// topicIDs is the first version of Fetch in which the topic goes by its id.
const topicIDs = 13

// append writes the body of Fetch v11 to v13 that asks for one partition.
func (q *FetchRequest) append(b []byte, version int16) []byte {
	return appendFetch(b, version, q.MaxWait, []*FetchRequest{q})
}

// appendFetch writes the body of Fetch v11 to v13, without a fetch session (KIP-227). All
// partitions are asked for with the isolation level and MinBytes of the first. Each
// partition has its own limit of bytes: a limit of the whole answer would leave nothing for
// the partitions behind one with a backlog.
func appendFetch(b []byte, version int16, wait time.Duration, qs []*FetchRequest) []byte {
	b = appendInt32(b, -1) // replica: none
	b = appendInt32(b, milliseconds(wait))
	b = appendInt32(b, int32(min(max(qs[0].MinBytes, 1), math.MaxInt32)))
	b = appendInt32(b, math.MaxInt32)      // bytes in all
	b = appendBool(b, qs[0].ReadCommitted) // isolation level 1
	b = appendInt32(b, 0)                  // session
	b = appendInt32(b, -1)                 // its epoch: none
	if version >= apiFetch.flexible {
		return appendFlexible(b, version, qs)
	}
	topics := len(b)
	b = appendInt32(b, 0)
	count := uint32(0)
	for len(qs) > 0 {
		n := oneTopic(qs)
		b = appendString(b, qs[0].Topic)
		b = appendInt32(b, int32(n))
		for _, q := range qs[:n] {
			b = appendInt32(b, q.Partition)
			b = appendInt32(b, -1) // leader epoch: any
			b = appendInt64(b, q.Offset)
			b = appendInt64(b, -1) // log start offset, of followers
			b = appendInt32(b, q.most())
		}
		qs = qs[n:]
		count++
	}
	putCount(b[topics:], count)

	b = appendInt32(b, 0)      // forgotten topics
	return appendString(b, "") // rack
}

// oneTopic counts the requests at the start that ask for partitions of one topic.
func oneTopic(qs []*FetchRequest) int {
	n := 1
	for n < len(qs) && qs[n].Topic == qs[0].Topic && qs[n].TopicID == qs[0].TopicID {
		n++
	}
	return n
}

// most is MaxBytes as a field of the protocol.
func (q *FetchRequest) most() int32 {
	if q.MaxBytes <= 0 {
		return defaultFetchBytes
	}
	return int32(min(q.MaxBytes, math.MaxInt32))
}

// appendFlexible writes the topics and the fields behind them, as from v12 on. The length
// of a compact array is one more than its elements.
func appendFlexible(b []byte, version int16, qs []*FetchRequest) []byte {
	topics := uint64(0)
	for rest := qs; len(rest) > 0; rest = rest[oneTopic(rest):] {
		topics++
	}
	b = binary.AppendUvarint(b, topics+1)
	for len(qs) > 0 {
		n := oneTopic(qs)
		if version >= topicIDs {
			b = append(b, qs[0].TopicID[:]...)
		} else {
			b = appendCompact(b, qs[0].Topic)
		}
		b = binary.AppendUvarint(b, uint64(n)+1)
		for _, q := range qs[:n] {
			b = appendInt32(b, q.Partition)
			b = appendInt32(b, -1) // leader epoch: any
			b = appendInt64(b, q.Offset)
			b = appendInt32(b, q.lastEpoch())
			b = appendInt64(b, -1) // log start offset, of followers
			b = appendInt32(b, q.most())
			b = append(b, 0) // no tagged fields
		}
		b = append(b, 0) // nor of the topic
		qs = qs[n:]
	}
	b = append(b, 1)         // forgotten topics: none
	b = appendCompact(b, "") // rack
	return append(b, 0)      // no tagged fields
}

// fetchAnswer is the body of a Fetch response about one partition.
type fetchAnswer struct {
	throttle      time.Duration
	code          int16 // of the answer as a whole, else of the partition
	partitions    int
	topic         string
	topicID       [16]byte
	partition     int32
	highWatermark int64
	lastStable    int64
	logStart      int64
	diverged      *EpochEnd // nil: the log has not diverged
	aborted       []abortedTransaction
	batches       []byte
}

// read reads the answer to a request for one partition.
func (a *fetchAnswer) read(r *primitive.Reader, version int16, into *Fetched) {
	a.aborted = into.filter.expected
	a.readAll(r, version, func() {})
	into.filter.expected = a.aborted
}

// readAll reads an answer about any number of partitions, and calls each when a holds the
// fields of one of them. Fields that each leaves in a stay there.
func (a *fetchAnswer) readAll(r *primitive.Reader, version int16, each func()) {
	a.throttle = readThrottle(r)
	a.code = r.Int16()
	r.Int32() // session
	if version >= apiFetch.flexible {
		a.readFlexible(r, version, each)
		return
	}
	for range r.Array(6) {
		a.topic = r.Text()
		for range r.Array(38) {
			a.readPartition(r)
			for range r.Array(16) {
				a.aborted = append(a.aborted, abortedTransaction{producer: r.Int64(), first: r.Int64()})
			}
			r.Int32() // preferred read replica: only for a client that names its rack
			a.batches = r.Bytes()
			each()
		}
	}
}

func (a *fetchAnswer) readFlexible(r *primitive.Reader, version int16, each func()) {
	for range r.CompactArray(3) {
		if version >= topicIDs {
			a.topicID = r.UUID()
		} else {
			a.topic = r.CompactText()
		}
		for range r.CompactArray(37) {
			a.readPartition(r)
			for range r.CompactArray(17) {
				a.aborted = append(a.aborted, abortedTransaction{producer: r.Int64(), first: r.Int64()})
				r.Tags()
			}
			r.Int32() // preferred read replica: only for a client that names its rack
			a.batches = r.CompactBytes()
			a.readTags(r)
			each()
		}
		r.Tags()
	}
	r.Tags()
}

// readPartition reads the fields that all versions have in common.
func (a *fetchAnswer) readPartition(r *primitive.Reader) {
	a.partitions++
	a.partition = r.Int32()
	if code := r.Int16(); a.code == 0 {
		a.code = code
	}
	a.highWatermark = r.Int64()
	a.lastStable = r.Int64()
	a.logStart = r.Int64()
}

// about tells whether the answer is about the partition that was asked for.
func (a *fetchAnswer) about(req *FetchRequest) bool {
	byName := a.topic == req.Topic
	byID := req.TopicID != [16]byte{} && a.topicID == req.TopicID
	return (byName || byID) && a.partition == req.Partition
}

func (a *fetchAnswer) verdict(request string, req FetchRequest) error {
	if a.code != 0 {
		return Denied(fmt.Errorf("%s: %w", request, codeError(a.code)), Right{"Read", "topic", req.Topic})
	}
	if a.partitions != 1 || !a.about(&req) {
		return fmt.Errorf("%s: %w: it is about other partitions", request, errMalformed)
	}
	if a.diverged != nil {
		return &DivergedError{Topic: req.Topic, Partition: req.Partition, Offset: req.Offset, Epoch: req.lastEpoch(), End: *a.diverged}
	}
	return nil
}
