package consumer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// prefetchersInABubble gives a broker with a topic of so many partitions, on a clock that only
// the test moves. put writes a batch of one record.
func prefetchersInABubble(t *testing.T, partitions int, test func(t *testing.T, client *wire.Client, put func(partition int32, value string))) {
	t.Helper()
	kafkatest.Bubble(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(int32(partitions), "t"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		client := wire.NewClient(cluster.ListenAddrs(), network.DialContext, nil, nil)
		t.Cleanup(client.Close)
		test(t, client, func(partition int32, value string) {
			t.Helper()
			var b wire.Batch
			b.Append(1, nil, []byte(value))
			encoded, err := b.Encode(nil, wire.NoProducer)
			if err != nil {
				t.Fatal(err)
			}
			parts := []wire.PartitionBatch{{Topic: "t", Partition: partition, Batch: encoded}}
			if err := client.Produce(t.Context(), "", time.Second, parts); err != nil || parts[0].Err != nil {
				t.Fatalf("Produce to partition %d = %v, %v; want nil", partition, err, parts[0].Err)
			}
		})
	})
}

// The lag of a partition was told by its reader, as of the last fetch that it had finished
// with: a reader held up for hours showed the lag of hours ago, which was 0.
func TestPrefetcherTellsWhatItsReaderHasNotRead(t *testing.T) {
	for _, partitions := range []int{1, 40} { // alone, and in requests for many
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			prefetchersInABubble(t, partitions, func(t *testing.T, client *wire.Client, put func(int32, string)) {
				shared := newSharedFetches(client, inputMemory, partitions, 16)
				for range 5 {
					put(0, "x")
				}
				ctx, stop := context.WithCancel(t.Context())
				var all []*prefetcher
				for p := range partitions {
					f := &prefetcher{client: client, topic: "t", partition: int32(p), bytes: 1, readCommitted: true, shared: shared, told: new(logEnd)}
					f.start(ctx, logPosition{0, noEpoch})
					all = append(all, f)
				}
				f := all[0]
				<-time.After(time.Hour)
				put(0, "x")
				got := f.told.view()
				if got.unread != 2 || got.fetched != 2 || got.highWatermark != 5 || time.Since(got.unreadSince) < 59*time.Minute {
					t.Errorf("while the reader is held up: %+v; want 2 fetches that are not read, for an hour, and the end of the log", got)
				}
				b := <-f.Full
				f.give(b)
				<-time.After(time.Second)
				got = f.told.view()
				if got.unread != 2 || got.fetched != 3 || got.highWatermark != 6 || time.Since(got.unreadSince) > time.Second {
					t.Errorf("once the reader has gone on: %+v; want what is fetched now, and when it did", got)
				}
				stop()
				synctest.Wait()
				if n := shared.held.Load(); n != 0 {
					t.Errorf("%d bytes are counted as held when all prefetchers have ended; want 0", n)
				}
			})
		})
	}
}

// Prefetchers, however many, hold a small fetch each, and read ahead while that is less than
// their memory.
func TestPrefetchersShareTheirMemory(t *testing.T) {
	const partitions, records = 64, 8
	prefetchersInABubble(t, partitions, func(t *testing.T, client *wire.Client, put func(int32, string)) {
		value := strings.Repeat("x", 10<<10)
		shared := newSharedFetches(client, 20*len(value), partitions, 16)
		for p := range int32(partitions) {
			for range records {
				put(p, value)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		var all []*prefetcher
		for p := range partitions {
			f := &prefetcher{client: client, topic: "t", partition: int32(p), bytes: len(value), readCommitted: true, shared: shared}
			f.start(ctx, logPosition{0, noEpoch})
			all = append(all, f)
		}
		<-time.After(time.Minute)
		if held, most := shared.held.Load(), int64((20+partitions)*(len(value)+200)); held > most || held < int64(partitions*len(value)) {
			t.Errorf("%d bytes are held by readers that do not read; want a fetch of each of %d, and 20 more at most", held, partitions)
		}
		for n := range partitions * records {
			f := all[n%partitions]
			b := <-f.Full
			if b == nil || b.Bytes < len(value) {
				t.Fatalf("fetch %d of partition %d has %+v; want a record", n/partitions, f.partition, b)
			}
			f.give(b)
		}
	})
}
