package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

const (
	// batchBytes is the size from which a batch takes no more records; a topic may allow
	// less.
	batchBytes = 512 << 10
	// pendingBytes bounds the records that wait behind the request under way, over all
	// partitions.
	pendingBytes = 8 << 20
	// deliveryTimeout bounds how long one batch is sent again before the command gives up.
	deliveryTimeout = 2 * time.Minute
	retryPause      = 100 * time.Millisecond
	maxRetryPause   = 2 * time.Second

	reasonTooLarge rules.Reason = "too_large_for_topic"
)

// tooLargeError is the error of an event that is too large for a topic.
type tooLargeError struct {
	topic      string
	size, most int
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the event makes a record of %d bytes, and topic %s takes %d (max.message.bytes)", e.size, e.topic, e.most)
}

// producer writes records to one topic. While one request is under way, the next batches
// fill. A partition never has a second request in flight, and a failed batch is sent again
// before anything else, so each partition has the order of add.
type producer struct {
	client  *wire.Client
	topic   string
	timeout time.Duration
	most    int // max.message.bytes

	balancer   kafka.Murmur2Balancer // Kafka's own partitioner
	partitions []int
	keyless    int // index of the partition that takes records without a key until the next request

	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	changed sync.Cond    // of the fields below
	filling []wire.Batch // by partition
	bytes   int          // in filling
	count   int64        // records acknowledged
	closed  bool
	err     error

	// Of the request under way:
	sending []wire.Batch // by partition
	encoded [][]byte     // by partition
}

// newProducer returns a producer for a topic that exists. The caller closes it.
func newProducer(ctx context.Context, client *wire.Client, name string, s *setup) (*producer, error) {
	infos, err := topic.Describe(ctx, client, name)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", name, err)
	}
	info, ok := infos[name]
	if !ok {
		return nil, fmt.Errorf("topic %s does not exist at %s; create it with kafka-topics.sh, or name another one",
			name, strings.Join(s.config.Kafka.Brokers, ", "))
	}
	p := &producer{
		client: client, topic: name, timeout: s.config.Kafka.RequestTimeout,
		most: info.MaxMessageBytes(), ended: make(chan struct{}),
	}
	p.changed.L = &p.mu
	for n := range info.Partitions {
		p.partitions = append(p.partitions, n)
	}
	p.filling, p.sending = make([]wire.Batch, len(p.partitions)), make([]wire.Batch, len(p.partitions))
	for i := range p.partitions {
		p.filling[i].Codec, p.sending[i].Codec = s.codec(), s.codec()
	}
	p.encoded = make([][]byte, len(p.partitions))
	ctx, p.cancel = context.WithCancel(ctx)
	go p.run(ctx)
	return p, nil
}

// add takes a copy of one record; a nil key is none. It waits while too much is pending. A
// *tooLargeError concerns this record alone; after any other error nothing more is written.
func (p *producer) add(key, value []byte, headers ...wire.Header) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.err != nil {
			return p.err
		}
		n, now := p.partition(key), time.Now().UnixMilli()
		b := &p.filling[n]
		size := b.SizeWith(now, key, value, headers...)
		switch {
		case b.Len() == 0 && size > p.most:
			return &tooLargeError{p.topic, size, p.most}
		case b.Len() == 0 || size <= min(batchBytes, p.most) && p.bytes < pendingBytes:
			p.bytes += size - b.Size()
			b.Append(now, key, value, headers...)
			p.changed.Broadcast()
			return nil
		case key == nil && p.turn():
		default:
			p.changed.Wait()
		}
	}
}

// partition returns the partition for a key. Records without a key stay with one partition
// until its batch is full or is being sent.
func (p *producer) partition(key []byte) int {
	if key == nil {
		return p.keyless
	}
	return p.balancer.Balance(kafka.Message{Key: key}, p.partitions...)
}

// turn moves on to the next partition for records without a key, if its batch is empty.
func (p *producer) turn() bool {
	next := (p.keyless + 1) % len(p.filling)
	if p.bytes >= pendingBytes || p.filling[next].Len() > 0 {
		return false
	}
	p.keyless = next
	return true
}

// close waits until all records are acknowledged or have failed, and returns the error.
func (p *producer) close() error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	<-p.ended
	p.cancel()
	return p.err
}

// written returns the number of records that the brokers have acknowledged.
func (p *producer) written() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// run sends the added records, one request after the other, until the producer is closed or
// a request fails.
func (p *producer) run(ctx context.Context) {
	defer close(p.ended)
	for p.take() {
		count, err := p.send(ctx)
		p.mu.Lock()
		p.count += count
		p.err = err
		p.changed.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take waits for records and moves them to sending; false: the producer is closed and has
// none left.
func (p *producer) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.bytes == 0 {
		if p.closed {
			return false
		}
		p.changed.Wait()
	}
	p.filling, p.sending = p.sending, p.filling
	p.bytes = 0
	p.keyless = (p.keyless + 1) % len(p.filling)
	p.changed.Broadcast()
	return true
}

// send writes the batches of sending, each until it is acknowledged, and returns the number
// of records acknowledged.
func (p *producer) send(ctx context.Context) (count int64, err error) {
	parts, err := p.encode()
	if err != nil {
		return 0, err
	}
	deadline := time.Now().Add(deliveryTimeout)
	for pause := retryPause; ; pause = min(2*pause, maxRetryPause) {
		_ = p.client.Produce(ctx, "", p.timeout, parts) // each part has its own outcome
		again := parts[:0]
		for _, part := range parts {
			switch {
			case part.Err == nil:
				count += int64(p.sending[part.Partition].Len())
				p.sending[part.Partition].Reset()
			case ctx.Err() != nil:
				return count, ctx.Err()
			case !wire.Retriable(part.Err) || time.Now().After(deadline):
				return count, part.Err
			default:
				again = append(again, part)
			}
		}
		if parts = again; len(parts) == 0 {
			return count, nil
		}
		select {
		case <-ctx.Done():
			return count, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// encode encodes the batches that are not empty as the parts of one request.
func (p *producer) encode() ([]wire.PartitionBatch, error) {
	var parts []wire.PartitionBatch
	for n := range p.sending {
		if p.sending[n].Len() == 0 {
			continue
		}
		var err error
		p.encoded[n], err = p.sending[n].Encode(p.encoded[n][:0], wire.NoProducer)
		if err != nil {
			return nil, err
		}
		parts = append(parts, wire.PartitionBatch{Topic: p.topic, Partition: int32(n), Batch: p.encoded[n]})
	}
	return parts, nil
}
