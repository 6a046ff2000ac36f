package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer/wire"
)

const (
	backgroundEvery = 10 * time.Millisecond // between two batches for the same partition
	backgroundLate  = time.Second           // as much behind its time as a batch may be sent
)

// stampedByBroker makes the broker stamp what it is sent. Batches that wait to be sent would look as old as they are,
// and what is old is not in a hurry.
var stampedByBroker = kafka.ConfigEntry{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"}

// background is the events between which the triggers go. They are made and packed before the clock starts, so that
// feeding them takes next to nothing from the machine that is measured.
type background struct {
	batches [][][]byte // of each partition, in the order in which they are sent
	events  int
}

// newBackground packs so many events a second, for as long as it says.
func newBackground(ctx context.Context, g *generator, o options, during time.Duration) (*background, error) {
	rounds, total := int(during/backgroundEvery), int(during.Seconds()*float64(o.background))
	bg := &background{batches: make([][][]byte, o.partitions)}
	open := make([]wire.Batch, o.partitions)
	begun := time.Now()
	for round := range rounds {
		for until := total * (round + 1) / rounds; bg.events < until; bg.events++ {
			e := g.next(begun.Add(time.Duration(round) * backgroundEvery))
			open[wire.PartitionOf(e.key, o.partitions)].Append(begun.UnixMilli(), e.key, e.value)
		}
		for p := range open {
			batch, err := pack(&open[p], plain(codecs[o.codec]))
			if err != nil || ctx.Err() != nil {
				return nil, err
			}
			bg.batches[p] = append(bg.batches[p], batch)
		}
	}
	return bg, nil
}

// pack encodes a batch and empties it; nil if nothing is in it.
func pack(b *wire.Batch, o wire.BatchOptions) ([]byte, error) {
	defer b.Reset()
	if b.Len() == 0 {
		return nil, nil
	}
	return b.Encode(nil, o)
}

// send writes each batch when it is due, counted from begun.
func (g *background) send(ctx context.Context, client *wire.Client, topic string, begun time.Time) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	for p, batches := range g.batches {
		all.Go(func() {
			for i, batch := range batches {
				due := begun.Add(time.Duration(i) * backgroundEvery)
				if batch == nil || !testbed.Sleep(ctx, time.Until(due)) {
					continue
				}
				if late := time.Since(due); late > backgroundLate {
					fail(fmt.Errorf("the brokers do not keep up: a batch goes out %s too late; lower --background", late.Round(time.Millisecond)))
				} else if err := produceEncoded(ctx, client, topic, int32(p), batch); err != nil {
					fail(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
