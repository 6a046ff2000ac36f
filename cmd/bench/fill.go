package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/wire"
)

// firstTime is when the first event happened. It is past on every clock, which events.max_ahead asks for.
var firstTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const (
	usualSpan = 6 * time.Hour    // of event time in a topic
	briefSpan = 50 * time.Minute // within the window of access_denied
)

// filling describes the records of a topic.
type filling struct {
	mix
	partitions int
	events     int
	first      int // principals that are denied once before the events
	span       time.Duration
	codec      compress.Compression
	batchBytes int
}

// input is a topic full of events.
type input struct {
	topic      string
	partitions int
	records    int
	want       answer // the alerts of its events
	keyed      bool   // the answer is the same down to the ids; else only their number is
	took       time.Duration
	json, sent int64 // bytes: of the events, and of the encoded batches
}

// fill writes events into a topic, and finds out which alerts they make.
func fill(ctx context.Context, client *wire.Client, topic string, f filling, o *oracle) (in input, err error) {
	begun := time.Now()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	in = input{topic: topic, partitions: f.partitions, records: f.first + f.events, keyed: !f.Hot}
	p := newProducer(ctx, fail, client, topic, f)
	g := newGenerator(f.mix)
	for i := 0; i < in.records && ctx.Err() == nil; i++ {
		at := firstTime.Add(time.Duration(float64(f.span) * float64(i) / float64(in.records)))
		var e event
		if i < f.first {
			e = g.make(at, denial, i)
		} else {
			e = g.next(at)
		}
		partition := int(wire.PartitionOf(e.key, f.partitions))
		if f.Hot {
			partition = i % f.partitions // one key would be one partition
		}
		if e.kind != ordinary {
			if err := o.tell(e.value); err != nil {
				fail(err)
			}
		}
		in.json += int64(len(e.value))
		p.add(partition, e)
	}
	in.sent = p.close()
	in.took = time.Since(begun)
	if err := context.Cause(ctx); err != nil {
		return in, fmt.Errorf("fill topic %s: %w", topic, err)
	}
	in.want, err = o.close()
	return in, err
}

// producer writes batches: of one partition one at a time and in order, of several at the same time.
type producer struct {
	ctx        context.Context
	fail       context.CancelCauseFunc
	client     *wire.Client
	topic      string
	batchBytes int
	open       []*wire.Batch // of each partition
	full       []chan *wire.Batch
	free       sync.Pool
	senders    sync.WaitGroup
	mu         sync.Mutex
	sent       int64 // bytes
}

func newProducer(ctx context.Context, fail context.CancelCauseFunc, client *wire.Client, topic string, f filling) *producer {
	p := &producer{ctx: ctx, fail: fail, client: client, topic: topic, batchBytes: f.batchBytes}
	p.free.New = func() any { return &wire.Batch{Codec: f.codec} }
	for i := range f.partitions {
		full := make(chan *wire.Batch, 1)
		p.open, p.full = append(p.open, &wire.Batch{Codec: f.codec}), append(p.full, full)
		p.senders.Go(func() { p.send(int32(i), full) })
	}
	return p
}

// add appends an event to the open batch of its partition; a full batch goes to the sender.
func (p *producer) add(partition int, e event) {
	now := time.Now().UnixMilli()
	b := p.open[partition]
	if b.Len() > 0 && b.SizeWith(now, e.key, e.value) > p.batchBytes {
		p.full[partition] <- b
		b = p.free.Get().(*wire.Batch)
		p.open[partition] = b
	}
	b.Append(now, e.key, e.value)
}

// send writes the batches of one partition. After an error it discards them.
func (p *producer) send(partition int32, full chan *wire.Batch) {
	var encoded []byte
	for b := range full {
		if p.ctx.Err() != nil {
			continue
		}
		var err error
		if encoded, err = produce(p.ctx, p.client, p.topic, partition, b, encoded[:0]); err != nil {
			p.fail(err)
			continue
		}
		p.mu.Lock()
		p.sent += int64(len(encoded))
		p.mu.Unlock()
		b.Reset()
		p.free.Put(b)
	}
}

// close writes the open batches, and returns how many bytes were sent.
func (p *producer) close() int64 {
	for i, b := range p.open {
		if b.Len() > 0 {
			p.full[i] <- b
		}
		close(p.full[i])
	}
	p.senders.Wait()
	return p.sent
}

// leaderWithin bounds the wait for a leader: in a topic that was just made, brokers do not
// know yet that they lead.
const leaderWithin = 15 * time.Second

// produce writes one batch, and returns its bytes in buffer. A batch refused for want of a
// leader is sent again, which doubles nothing; one without an answer is not.
func produce(ctx context.Context, client *wire.Client, topic string, partition int32, b *wire.Batch, buffer []byte) ([]byte, error) {
	encoded, err := b.Encode(buffer, wire.NoProducer)
	if err != nil {
		return buffer, err
	}
	return encoded, produceEncoded(ctx, client, topic, partition, encoded)
}

// produceEncoded is produce for a batch that is packed already.
func produceEncoded(ctx context.Context, client *wire.Client, topic string, partition int32, encoded []byte) error {
	pause := wire.Backoff{Least: 50 * time.Millisecond, Most: time.Second}
	for begun := time.Now(); ; {
		parts := []wire.Part{{Topic: topic, Partition: partition, Batch: encoded}}
		err := client.Produce(ctx, "", 30*time.Second, parts)
		if err == nil {
			err = parts[0].Err
		}
		leaderless := errors.Is(err, kafka.NotLeaderForPartition) || errors.Is(err, kafka.LeaderNotAvailable) || errors.Is(err, kafka.UnknownTopicOrPartition)
		if leaderless && time.Since(begun) < leaderWithin && pause.Sleep(ctx) == nil {
			client.Refresh(ctx)
			continue
		}
		if err != nil {
			return fmt.Errorf("write to %s partition %d: %w", topic, partition, err)
		}
		return nil
	}
}
