package wire_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// slowly is a connection on which each answer with records takes two seconds.
type slowly struct {
	net.Conn

	large *atomic.Bool
}

// Read implements net.Conn.
func (s *slowly) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 50_000 && s.large.Load() {
		elapse(2 * time.Second)
	}
	return n, err
}

// Many partitions with more to read than one request asks for wait for one another. A
// partition that is not asked for yet is no sign of a silent broker: its turn comes nearer
// with each answer to others, and stays where it is when the broker answers nothing, or the
// partition's own request is under way.
func TestReaderTurns(t *testing.T) {
	const partitions = 60
	kafkatest.Bubble(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		var large atomic.Bool
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(partitions, "t"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		client := wire.NewClient(cluster.ListenAddrs(), func(ctx context.Context, n, address string) (net.Conn, error) {
			c, err := network.DialContext(ctx, n, address)
			return &slowly{c, &large}, err
		}, nil, nil)
		defer client.Close()
		for p := range int32(partitions) {
			if err := produce(t, client, "t", p, strings.Repeat("x", 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		large.Store(true)
		f := &wire.Fetcher{Client: client, Partitions: partitions, Few: 4}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		type one struct {
			reader *wire.Reader
			done   chan error
			took   time.Duration
			moves  int // looks that have found its turn nearer
			still  int // looks in a row that have not
			most   int
			seen   uint64
		}
		all := make([]*one, partitions)
		for p := range all {
			o := &one{reader: f.Reader(), done: make(chan error, 1)}
			all[p] = o
			go func() {
				began := time.Now()
				err := o.reader.Fetch(ctx, wire.FetchRequest{Topic: "t", Partition: int32(p), MaxWait: time.Second, MaxBytes: 256 << 10}, new(wire.Fetched))
				o.took = time.Since(began)
				o.done <- err
			}()
		}
		slow := 0
		for range 60 {
			elapse(time.Second)
			for _, o := range all {
				if len(o.done) > 0 {
					continue
				}
				if now := o.reader.Turns(); now != o.seen {
					o.seen, o.still = now, 0
					o.moves++
				} else if o.still++; o.still > o.most {
					o.most = o.still
				}
			}
		}
		for p, o := range all {
			if err := <-o.done; err != nil {
				t.Errorf("Fetch of partition %d = %v", p, err)
			}
			o.reader.Close()
			if o.took > 5*time.Second {
				slow++
			}
			if o.most > 4 {
				t.Errorf("the turn of partition %d, which is answered after %s, is the same for %d s; want it to move", p, o.took, o.most)
			}
			if o.took < 3*time.Second && o.moves > 0 {
				t.Errorf("the turn of partition %d moves while its own request is under way", p)
			}
		}
		if slow == 0 {
			t.Error("no partition waits for 5 s; the test shows nothing")
		}
	})
}
