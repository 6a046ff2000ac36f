package txn

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/wire"
)

const (
	defaultTimeout        = 15 * time.Second
	defaultRequestTimeout = 10 * time.Second
	defaultMaxBatch       = 1048588 // Kafka's own default of max.message.bytes

	// maxRequest bounds the batches of one produce request. Brokers refuse requests
	// above socket.request.max.bytes, 100 MiB unless configured otherwise.
	maxRequest = 32 << 20
)

// Producer writes the transactions of one transactional id. Its exported fields
// are set before the first use. Not for concurrent use.
type Producer struct {
	Client *wire.Client
	ID     string // transactional id

	// Timeout is transaction.timeout.ms: the coordinator aborts a transaction that takes
	// longer. Until then the transaction of a dead producer holds back read-committed
	// readers. Zero: 15 s.
	Timeout time.Duration
	// RequestTimeout bounds each request of a transaction. Zero: 10 s.
	RequestTimeout time.Duration

	Codec    compress.Compression
	MaxBatch map[string]int // max.message.bytes by topic; a topic that is not in it has Kafka's default

	state   state
	session wire.Session
	buffers []partitionBuffer     // one for each partition ever used
	parts   []wire.PartitionBatch // of a request
	refused *RejectedError        // a record that no batch can hold
}

type state int

const (
	stateNew    state = iota // Init comes first
	stateReady               // no transaction is open, or nothing of it has been sent
	stateBroken              // a Commit has failed
)

// partitionBuffer is the records for one partition, in order, cut into batches.
type partitionBuffer struct {
	to       Partition
	limit    int
	batches  []*wire.Batch
	free     []*wire.Batch // empty batches to be used again, as large as this partition's become
	sent     int           // batches of this transaction that have been acknowledged
	sequence int32         // of the next record in this session
	next     int64         // offset behind the last acknowledged record
}

// Init opens a session: it fences earlier producers of the transactional id, aborts the
// transaction that they or this one left open, and forgets the added records. While the
// coordinator is loading, moving, busy with the old transaction or out of reach, it tries
// again until ctx ends; any other refusal is returned at once. Init is the only way on
// after a Commit that failed.
func (p *Producer) Init(ctx context.Context) error {
	p.discard()
	p.state = stateNew
	for wait := (wire.Backoff{Least: 10 * time.Millisecond, Most: time.Second}); ; {
		s, err := p.initOnce(ctx)
		if err == nil {
			p.begin(s)
			return nil
		}
		if ctx.Err() != nil || !wire.Retriable(err) || wait.Sleep(ctx) != nil {
			return fmt.Errorf("init of transactional id %s: %w", p.ID, classify(stepInit, Partition{}, err))
		}
	}
}

// begin starts a session, in which sequence numbers count from 0 again.
func (p *Producer) begin(s wire.Session) {
	p.session, p.state = s, stateReady
	for i := range p.buffers {
		p.buffers[i].sequence = 0
	}
}

func (p *Producer) initOnce(ctx context.Context) (wire.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.requestTimeout())
	defer cancel()
	return p.Client.InitProducer(ctx, p.ID, cmp.Or(p.Timeout, defaultTimeout))
}

// Add puts a record into the transaction; nothing is sent before Commit. The time
// is in milliseconds since 1970; a nil key or value is null. Everything is copied.
func (p *Producer) Add(to Partition, timestampMS int64, key, value []byte, headers ...wire.Header) {
	buf := p.buffer(to)
	b := buf.last()
	if b == nil || b.Len() > 0 && b.SizeWith(timestampMS, key, value, headers...) > buf.limit {
		b = p.emptyBatch(buf)
		buf.batches = append(buf.batches, b)
	}
	b.Append(timestampMS, key, value, headers...)
	if size := b.Size(); size > buf.limit && p.refused == nil {
		p.refused = &RejectedError{Partition: to, Code: kafka.MessageSizeTooLarge,
			Detail: fmt.Sprintf("one record alone makes a batch of %d bytes, and max.message.bytes of the topic is %d", size, buf.limit)}
	}
}

// Limit sets the largest batch that a topic takes (MaxBatch) from now on. It must be called
// while the producer holds no records.
func (p *Producer) Limit(topic string, most int) {
	if p.MaxBatch[topic] == most {
		return
	}
	if p.MaxBatch == nil {
		p.MaxBatch = make(map[string]int)
	}
	p.MaxBatch[topic] = most
	for i := range p.buffers {
		if buf := &p.buffers[i]; buf.to.Topic == topic {
			buf.limit = most
		}
	}
}

// buffer finds the buffer of a partition. There are few, and the same ones are used
// again and again.
func (p *Producer) buffer(to Partition) *partitionBuffer {
	for i := range p.buffers {
		if buf := &p.buffers[i]; buf.to == to {
			return buf
		}
	}
	limit, ok := p.MaxBatch[to.Topic]
	if !ok {
		limit = defaultMaxBatch
	}
	p.buffers = append(p.buffers, partitionBuffer{to: to, limit: limit})
	return &p.buffers[len(p.buffers)-1]
}

func (buf *partitionBuffer) last() *wire.Batch {
	if len(buf.batches) == 0 {
		return nil
	}
	return buf.batches[len(buf.batches)-1]
}

func (p *Producer) emptyBatch(buf *partitionBuffer) *wire.Batch {
	if n := len(buf.free); n > 0 {
		b := buf.free[n-1]
		buf.free = buf.free[:n-1]
		return b
	}
	return &wire.Batch{Codec: p.Codec}
}

// Pending returns how many records have been added since the last Commit, and
// their size in record batches before compression.
func (p *Producer) Pending() (records, bytes int) {
	for i := range p.buffers {
		for _, b := range p.buffers[i].batches {
			records += b.Len()
			bytes += b.Size()
		}
	}
	return records, bytes
}

// Held returns the bytes of memory that the added records take.
func (p *Producer) Held() (bytes int) {
	for i := range p.buffers {
		for _, b := range p.buffers[i].batches {
			bytes += b.Held()
		}
	}
	return bytes
}

// Drop forgets the added records. It is of use only before Commit, which leaves none
// behind.
func (p *Producer) Drop() { p.discard() }

func (p *Producer) discard() {
	for i := range p.buffers {
		buf := &p.buffers[i]
		for _, b := range buf.batches {
			buf.recycle(b)
		}
		buf.batches = buf.batches[:0]
	}
	p.refused = nil
}

// recycle keeps an emptied batch, but not the memory of an unusual transaction.
func (buf *partitionBuffer) recycle(b *wire.Batch) {
	const enough = 8
	if len(buf.free) < enough {
		b.Reset()
		buf.free = append(buf.free, b)
	}
}

func (p *Producer) requestTimeout() time.Duration {
	return cmp.Or(p.RequestTimeout, defaultRequestTimeout)
}

// advance counts n records on; sequence numbers begin at 0 again behind the
// largest int32.
func (buf *partitionBuffer) advance(n int) {
	buf.sequence = int32((int64(buf.sequence) + int64(n)) & math.MaxInt32)
}
