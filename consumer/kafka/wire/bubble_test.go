package wire_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// inBubble runs a test with a client of a cluster on a clock that only the test moves: nothing
// is late on a slow machine, and the client does not renew its layout by itself meanwhile.
// Topic "t" has one partition.
func inBubble(t *testing.T, brokers int, test func(t *testing.T, cluster *kfake.Cluster, c *wire.Client)) {
	t.Helper()
	kafkatest.Bubble(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster := kafkatest.Fake(t, brokers, kfake.Ports([]int{9092, 9093, 9094}[:brokers]...), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "t"))
		c := wire.NewClient(cluster.ListenAddrs(), func(ctx context.Context, n, address string) (net.Conn, error) {
			return network.DialContext(ctx, n, address)
		}, nil, nil)
		t.Cleanup(c.Close)
		test(t, cluster, c)
	})
}

// TestBubbles runs a client and its cluster on a clock that only the test moves, twice: the
// variables of the process must keep nothing of the first bubble.
func TestBubbles(t *testing.T) {
	// The encoder for zstd has a channel, which belongs to the bubble in which it is made.
	if _, err := wire.Pack(compress.Zstd, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, codec := range append(codecs, codecs...) {
		inBubble(t, 2, func(t *testing.T, _ *kfake.Cluster, c *wire.Client) {
			b := wire.Batch{Codec: codec}
			b.Append(1, nil, make([]byte, 1000))
			encoded, err := b.Encode(nil, wire.NoProducer)
			if err != nil {
				t.Fatal(err)
			}
			parts := []wire.PartitionBatch{{Topic: "t", Batch: encoded}}
			if err := c.Produce(t.Context(), "", time.Second, parts); err != nil || parts[0].Err != nil {
				t.Fatalf("Produce = %v, part %v; want nil", err, parts[0].Err)
			}
			if _, err := fetch(t, c, "t", 0, 0); err != nil {
				t.Fatalf("Fetch = %v; want nil", err)
			}
			// A long poll takes its time, and not a moment of ours.
			began := time.Now()
			var f wire.Fetched
			if err := c.Fetch(t.Context(), wire.FetchRequest{Topic: "t", Offset: 1, MaxWait: 20 * time.Minute}, &f); err != nil || f.Next != 1 {
				t.Fatalf("Fetch at the end = %v, Next %d; want nil, 1", err, f.Next)
			}
			if waited := time.Since(began); waited < 19*time.Minute {
				t.Errorf("Fetch at the end waits %v; want MaxWait", waited)
			}
		})
	}
}
