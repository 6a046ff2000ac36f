package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// feed sends a workload to the input topic. No proxy stands before it, and it never gives up on a record.
type feed struct {
	client *kgo.Client
	rate   int // events per second

	making   sync.Mutex
	workload *workload

	mu   sync.Mutex
	sent int
	next map[int32]int64 // offset behind the last record of each partition
	err  error
}

func newFeed(brokers []string, w *workload, rate int) (*feed, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(inputTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(5*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond),
	)
	return &feed{client: client, workload: w, rate: rate, next: make(map[int32]int64)}, err
}

func (f *feed) close() { f.client.Close() }

// run sends until ctx ends, and returns when all that was sent is acknowledged.
func (f *feed) run(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for n := 0; ctx.Err() == nil; {
		for due := int(time.Since(begun).Seconds() * float64(f.rate)); n < due && ctx.Err() == nil; n++ {
			f.making.Lock()
			rec := f.workload.next()
			f.making.Unlock()
			f.client.Produce(context.WithoutCancel(ctx), rec, f.acknowledged)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	if err := f.client.Flush(flushing); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// change alters the workload of a partition from the next record on.
func (f *feed) change(partition int, otherwise func(*cell)) {
	f.making.Lock()
	defer f.making.Unlock()
	otherwise(f.workload.cells[partition])
}

// backfill sends n old records to a partition at once.
func (f *feed) backfill(ctx context.Context, partition, n int, old time.Duration) {
	f.making.Lock()
	list := f.workload.backfill(partition, n, old)
	f.making.Unlock()
	for _, rec := range list {
		f.client.Produce(context.WithoutCancel(ctx), rec, f.acknowledged)
	}
}

func (f *feed) acknowledged(r *kgo.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = err
		return
	}
	f.sent++
	f.next[r.Partition] = max(f.next[r.Partition], r.Offset+1)
}

// count is how many events are acknowledged.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// ends returns the end of each partition that was written to.
func (f *feed) ends() map[int32]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.next)
}
