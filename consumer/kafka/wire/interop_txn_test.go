package wire_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// mixTransactions writes, to partition 0 of a topic, transactions of two producers that
// overlap, every third of which is aborted, and records of a plain producer between them.
func mixTransactions(t *testing.T, brokers []string, topic string, rounds int) {
	t.Helper()
	ctx := kafkatest.Context(t)
	var producers []*kgo.Client
	for range 2 {
		producers = append(producers, kafkatest.Client(t, brokers, kgo.DefaultProduceTopic(topic), kgo.TransactionalID(kafkatest.Name(t)),
			kgo.ProducerLinger(0)))
	}
	bare := kafkatest.Client(t, brokers, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	write := func(cl *kgo.Client, format string, args ...any) {
		t.Helper()
		if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprintf(format, args...))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	end := func(cl *kgo.Client) {
		t.Helper()
		n++
		if err := cl.EndTransaction(ctx, n%3 != 0); err != nil {
			t.Fatal(err)
		}
	}
	for round := range rounds {
		for i, cl := range producers {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			write(cl, "producer %d round %d first", i, round)
		}
		write(bare, "plain %d", round)
		write(producers[0], "producer 0 round %d last", round)
		end(producers[round%2])
		write(bare, "plain again %d", round)
		end(producers[1-round%2])
	}
}

func TestFetchTransactions(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		topic := kafkatest.Topic(t, brokers, 1, nil)
		mixTransactions(t, brokers, topic, 12)
		c := client(t, brokers)
		committed := rowsOf(kafkatest.ReadCommitted(t, brokers, topic))
		var probe wire.Fetched
		if err := c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, MaxWait: time.Second, ReadCommitted: true}, &probe); err != nil {
			t.Fatal(err)
		}
		end := probe.LastStable
		if end != probe.HighWatermark || probe.LogStart != 0 {
			t.Fatalf("Fetch: last stable %d, high watermark %d, start %d; want the first two equal, and 0", end, probe.HighWatermark, probe.LogStart)
		}
		for _, most := range []int{1 << 20, 1} { // all at once, and batch by batch
			req := wire.FetchRequest{Topic: topic, MaxWait: time.Second, MaxBytes: most, ReadCommitted: true}
			compare(t, fmt.Sprintf("read committed by %d bytes", most), readTo(t, c, req, end), committed)
		}
		// From any offset on, the same records.
		for from := range end {
			var want []row
			for _, r := range committed {
				if r.offset >= from {
					want = append(want, r)
				}
			}
			req := wire.FetchRequest{Topic: topic, Offset: from, MaxWait: time.Second, ReadCommitted: true}
			compare(t, fmt.Sprintf("read committed from %d", from), readTo(t, c, req, end), want)
		}
		meta, err := c.Topics(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		req := wire.FetchRequest{Topic: topic, TopicID: meta[topic].ID, MaxWait: time.Second, ReadCommitted: true}
		compare(t, "read committed by the topic's id", readTo(t, c, req, end), committed)
		all := readTo(t, c, wire.FetchRequest{Topic: topic, MaxWait: time.Second}, end)
		if len(all) != 12*5 {
			t.Errorf("read uncommitted: %d records; want all %d", len(all), 12*5)
		}
	})
}

func TestFetchCompacted(t *testing.T) {
	// Only the in-process broker compacts when it is told to.
	cluster := kafkatest.Fake(t, 1)
	brokers := cluster.ListenAddrs()
	topic := kafkatest.Topic(t, brokers, 1, map[string]string{"cleanup.policy": "compact"})
	cl := kafkatest.Client(t, brokers, kgo.DefaultProduceTopic(topic), kgo.TransactionalID(kafkatest.Name(t)))
	for i := range 30 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for k := range 3 {
			r := kgo.KeyStringRecord(fmt.Sprint(k*(i%4)), fmt.Sprint(i))
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(t.Context(), i%5 != 0); err != nil {
			t.Fatal(err)
		}
	}
	before := cluster.PartitionInfo(topic, 0)
	cluster.Compact()
	if after := cluster.PartitionInfo(topic, 0); after.NumBytes >= before.NumBytes {
		t.Fatalf("compaction left %d of %d bytes; want fewer", after.NumBytes, before.NumBytes)
	}
	want := rowsOf(kafkatest.ReadCommitted(t, brokers, topic))
	for _, most := range []int{1 << 20, 1} {
		// The in-process broker moves the log's start to the first record that is left.
		req := wire.FetchRequest{Topic: topic, Offset: cluster.PartitionInfo(topic, 0).LogStartOffset, MaxWait: time.Second, MaxBytes: most, ReadCommitted: true}
		compare(t, "compacted", readTo(t, client(t, brokers), req, before.LastStableOffset), want)
	}
}
