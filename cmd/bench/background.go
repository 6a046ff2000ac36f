package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer/kafka/wire"
)

const (
	backgroundEvery = 10 * time.Millisecond // between two rounds of batches
	backgroundLate  = time.Second           // bound on the lateness of a batch
)

// stampedByBroker makes the broker stamp the records. Batches packed in advance would look
// as old as they are, and the product does not hurry for old records.
var stampedByBroker = kafka.ConfigEntry{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"}

// background is the events between which the triggers go. They are made and packed before the clock starts, so that
// feeding them takes next to nothing from the machine that is measured.
type background struct {
	batches [][]packed // of each partition, in the order in which they are sent
	events  int
	sent    atomic.Int64 // events of them
}

// packed is a batch, and when it is sent.
type packed struct {
	due    time.Duration
	batch  []byte
	events int
}

// newBackground packs o.background events for each second of during.
func newBackground(ctx context.Context, g *generator, o options, during time.Duration) (*background, error) {
	rounds, total := int(during/backgroundEvery), int(during.Seconds()*float64(o.background))
	bg := &background{batches: make([][]packed, o.partitions)}
	open := make([]wire.Batch, o.partitions)
	for p := range open {
		open[p].Codec = wire.Codecs[o.codec]
	}
	begun := time.Now()
	for round := range rounds {
		due := time.Duration(round) * backgroundEvery
		for until := total * (round + 1) / rounds; bg.events < until; bg.events++ {
			e := g.next(begun.Add(due))
			p := wire.PartitionOf(e.key, o.partitions)
			if b := &open[p]; b.SizeWith(begun.UnixMilli(), e.key, e.value) > o.batchBytes {
				if err := bg.pack(int(p), b, due); err != nil {
					return nil, err
				}
			}
			open[p].Append(begun.UnixMilli(), e.key, e.value)
		}
		for p := range open {
			if err := bg.pack(p, &open[p], due); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return bg, nil
}

// pack encodes the records of a batch, if there are any, and empties it.
func (g *background) pack(partition int, b *wire.Batch, due time.Duration) error {
	if b.Len() == 0 {
		return nil
	}
	batch, err := b.Encode(nil, wire.NoProducer)
	g.batches[partition] = append(g.batches[partition], packed{due, batch, b.Len()})
	b.Reset()
	return err
}

// send writes each batch when it is due, counted from begun.
func (g *background) send(ctx context.Context, client *wire.Client, topic string, begun time.Time) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	for p, batches := range g.batches {
		all.Go(func() {
			for _, next := range batches {
				due := begun.Add(next.due)
				if !testbed.Sleep(ctx, time.Until(due)) {
					return
				}
				if late := time.Since(due); late > backgroundLate {
					fail(fmt.Errorf("the brokers do not keep up: a batch goes out %s too late; lower --background", late.Round(time.Millisecond)))
				} else if err := produceEncoded(ctx, client, topic, int32(p), next.batch); err != nil {
					fail(err)
				} else {
					g.sent.Add(int64(next.events))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
