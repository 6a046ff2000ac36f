package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// crowd reads all partitions of a topic through one Fetcher, each in a goroutine.
type crowd struct {
	*testing.T
	client  *wire.Client
	topic   string
	id      [16]byte
	fetcher *wire.Fetcher
	conns   *connections
	limit   int                        // MaxBytes
	got     []chan arrival             // records of each partition
	hold    []chan struct{}            // a partition with a channel waits for a token before each fetch
	tries   []func(error) (again bool) // whether to go on after an error; nil: the test fails
}

type arrival struct {
	value string
	at    time.Time
}

// connections counts the open connections.
type connections struct {
	open, most atomic.Int32
	change     func([]byte) // of the bytes read; nil: no change
	mu         sync.Mutex
	all        []net.Conn
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *connections) connect(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	now := c.open.Add(1)
	for was := c.most.Load(); now > was && !c.most.CompareAndSwap(was, now); was = c.most.Load() {
	}
	made := &counted{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, made)
	return made, nil
}

// cut closes all connections.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

type counted struct {
	net.Conn
	of   *connections
	once sync.Once
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.of.change != nil {
		c.of.change(b[:n])
	}
	return n, err
}

func (c *counted) Close() error {
	c.once.Do(func() { c.of.open.Add(-1) })
	return c.Conn.Close()
}

// newCrowd makes the readers of a topic, which begin at its start. change may set fields
// before that.
func newCrowd(t *testing.T, brokers []string, dial func(ctx context.Context, network, address string) (net.Conn, error), topic string, partitions int, change func(*crowd)) *crowd {
	t.Helper()
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	c := &crowd{T: t, topic: topic, limit: 32 << 10, conns: &connections{dial: dial}}
	c.client = wire.NewClient(brokers, c.conns.connect, nil, nil)
	c.fetcher = &wire.Fetcher{Client: c.client, Partitions: partitions, Few: 16}
	c.got = make([]chan arrival, partitions)
	for p := range c.got {
		c.got[p] = make(chan arrival, 10_000)
	}
	c.hold, c.tries = make([]chan struct{}, partitions), make([]func(error) bool, partitions)
	meta, err := c.client.Topics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	c.id = meta[topic].ID
	if change != nil {
		change(c)
	}
	ctx, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for p := range partitions {
		reading.Go(func() { c.read(ctx, int32(p)) })
	}
	t.Cleanup(c.client.Close)
	t.Cleanup(func() {
		stop()
		reading.Wait()
	})
	return c
}

func (c *crowd) read(ctx context.Context, p int32) {
	r := c.fetcher.Reader()
	defer r.Close()
	buffers := [2]wire.Fetched{}
	req := wire.FetchRequest{Topic: c.topic, TopicID: c.id, Partition: p, Verify: true, LastEpoch: -1, MaxWait: time.Second, MaxBytes: c.limit, ReadCommitted: true}
	for n := 0; ctx.Err() == nil; n++ {
		if hold := c.hold[p]; hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				return
			}
		}
		f := &buffers[n%2]
		if err := r.Fetch(ctx, req, f); err != nil {
			switch again := c.tries[p]; {
			case ctx.Err() != nil:
			case again == nil:
				c.Errorf("Fetch of partition %d at %d = %v; want nil", p, req.Offset, err)
				return
			case !again(err):
				return
			}
			continue
		}
		err := f.Each(func(rec *wire.Record) bool {
			c.got[p] <- arrival{string(rec.Value), time.Now()}
			return true
		})
		if err != nil {
			c.Errorf("Each of partition %d = %v; want nil", p, err)
			return
		}
		req.Offset, req.LastEpoch = f.Next, f.LastEpoch
	}
}

// next returns the next record of a partition.
func (c *crowd) next(p int32) arrival {
	c.Helper()
	select {
	case a := <-c.got[p]:
		return a
	case <-time.After(30 * time.Second):
		c.Fatalf("nothing more comes of partition %d", p)
		return arrival{}
	}
}

// want checks the next records of a partition.
func (c *crowd) want(p int32, values ...string) {
	c.Helper()
	for _, want := range values {
		if got := c.next(p); got.value != want {
			c.Fatalf("the next record of partition %d is %.40q; want %.40q", p, got.value, want)
		}
	}
}

// elapse lets the clock of a bubble go on.
func elapse(d time.Duration) { <-time.After(d) }

// A thousand partitions took a thousand connections, for each waited for its records on one
// of its own: a process with 1,024 files ended, and the broker answered a thousand requests
// a second without records.
func TestFetcherConnections(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		const partitions = 240
		topic := kafkatest.Topic(t, brokers, partitions, nil)
		producer := client(t, brokers)
		for p := range int32(partitions) {
			if err := produce(t, producer, topic, p, "a", "b"); err != nil {
				t.Fatal(err)
			}
		}
		c := newCrowd(t, brokers, nil, topic, partitions, nil)
		for p := range int32(partitions) {
			c.want(p, "a", "b")
		}
		for p := range int32(partitions) {
			if err := produce(t, producer, topic, p, fmt.Sprint("c", p)); err != nil {
				t.Fatal(err)
			}
			c.want(p, fmt.Sprint("c", p))
		}
		leaders := len(brokers)
		if most := int(c.conns.most.Load()); most > 1+22*leaders {
			t.Errorf("%d connections to %d brokers for %d partitions; want 22 a broker at most", most, leaders, partitions)
		}
	})
}

// bubbleCrowd runs a crowd on one broker, and on a clock that only the test moves.
func bubbleCrowd(t *testing.T, partitions int, change func(*crowd, *kfake.Cluster), test func(c *crowd, cluster *kfake.Cluster, put func(p int32, values ...string))) {
	t.Helper()
	kafkatest.Bubble(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(network.Listen), kfake.SeedTopics(int32(partitions), "t"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		for p := range int32(partitions) {
			if err := cluster.MoveTopicPartition("t", p, 0); err != nil {
				t.Fatal(err)
			}
		}
		dial := func(ctx context.Context, n, address string) (net.Conn, error) {
			return network.DialContext(ctx, n, address)
		}
		producer := wire.NewClient(cluster.ListenAddrs(), dial, nil, nil)
		t.Cleanup(producer.Close)
		c := newCrowd(t, cluster.ListenAddrs(), dial, "t", partitions, func(c *crowd) {
			if change != nil {
				change(c, cluster)
			}
		})
		test(c, cluster, func(p int32, values ...string) {
			t.Helper()
			if err := produce(t, producer, "t", p, values...); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// A record of a partition at its end comes at once, at any load of the others.
func TestFetcherBringsLoneRecordsAtOnce(t *testing.T) {
	bubbleCrowd(t, 300, nil, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		elapse(5 * time.Second) // the virtual clock: all is at rest
		var delays []time.Duration
		for i := range int32(200) {
			p := i * 37 % 300
			began := time.Now()
			put(p, "x")
			delays = append(delays, c.next(p).at.Sub(began))
			elapse(time.Duration(i%23) * 7 * time.Millisecond)
		}
		slices.Sort(delays)
		if delays[100] > time.Millisecond || delays[199] > 50*time.Millisecond {
			t.Errorf("lone records take %v in the median and %v at most; want a millisecond, and the rest of a request at most", delays[100], delays[199])
		}
		if most := c.conns.most.Load(); most > 23 {
			t.Errorf("%d connections for 300 partitions of a broker; want 23 at most", most)
		}
	})
}

// Partitions at rest cost a request for each of the long polls, and not one for each partition.
func TestFetcherAtRest(t *testing.T) {
	bubbleCrowd(t, 300, nil, func(c *crowd, cluster *kfake.Cluster, _ func(int32, ...string)) {
		elapse(5 * time.Second)
		asked := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
		elapse(10 * time.Second)
		if n := asked.Hits(); n < 100 || n > 180 {
			t.Errorf("300 partitions at their ends ask %d times in 10 s; want about 12 times a second", n)
		}
	})
}

// Where partitions are few, each has a request of its own, as Client.Fetch sends it.
func TestFetcherOfFewPartitions(t *testing.T) {
	var asked, shared atomic.Int32
	bubbleCrowd(t, 16, func(_ *crowd, cluster *kfake.Cluster) {
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			asked.Add(1)
			if f := req.(*kmsg.FetchRequest); len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 || f.MaxWaitMillis != 1000 {
				shared.Add(1)
			}
			return nil, nil, false
		})
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		for p := range int32(16) {
			put(p, "x")
			c.want(p, "x")
		}
		elapse(2500 * time.Millisecond)
		if shared.Load() > 0 || asked.Load() < 32 {
			t.Errorf("%d of %d requests are not for one partition; want none", shared.Load(), asked.Load())
		}
	})
}

// A reader that is held up holds up no other, and gets all records once it goes on.
func TestFetcherSlowReaders(t *testing.T) {
	const partitions = 100
	bubbleCrowd(t, partitions, func(c *crowd, _ *kfake.Cluster) {
		for p := range partitions / 2 {
			c.hold[p] = make(chan struct{}, 100)
		}
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		for p := range int32(partitions) {
			put(p, "a", "b")
		}
		for p := int32(partitions / 2); p < partitions; p++ {
			c.want(p, "a", "b")
		}
		elapse(time.Minute)
		for p := int32(partitions / 2); p < partitions; p++ {
			began := time.Now()
			put(p, "c")
			if took := c.next(p).at.Sub(began); took > shortDelay {
				t.Errorf("partition %d takes %v while others are held up; want %v at most", p, took, shortDelay)
			}
		}
		for p := range int32(partitions / 2) {
			began := time.Now()
			for range 4 {
				c.hold[p] <- struct{}{}
			}
			c.want(p, "a", "b")
			if took := time.Since(began); took > shortDelay {
				t.Errorf("partition %d takes %v when it goes on; want %v at most", p, took, shortDelay)
			}
		}
	})
}

// shortDelay is how long a record may wait for the request that is under way without its partition.
const shortDelay = 70 * time.Millisecond

// An error of one partition reaches its reader, and no other.
func TestFetcherErrorsOfOnePartition(t *testing.T) {
	const partitions, bad = 60, 7
	for name, fault := range map[string]struct {
		code *kerr.Error
		want func(error) bool
	}{
		"denied": {kerr.TopicAuthorizationFailed, func(err error) bool {
			denied, ok := errors.AsType[*wire.DeniedError](err)
			return ok && denied.Name == "t" && denied.Operation == "Read"
		}},
		"gone":       {kerr.OffsetOutOfRange, func(err error) bool { return errors.Is(err, kafka.OffsetOutOfRange) }},
		"not leader": {kerr.NotLeaderForPartition, func(err error) bool { return errors.Is(err, kafka.NotLeaderForPartition) }},
		"made again": {kerr.InconsistentTopicID, func(err error) bool { return errors.Is(err, kafka.InconsistentTopicID) }},
	} {
		t.Run(name, func(t *testing.T) {
			var told atomic.Int32
			broken := make(chan error, 100_000)
			bubbleCrowd(t, partitions, func(c *crowd, cluster *kfake.Cluster) {
				c.tries[bad] = func(err error) bool {
					told.Add(1)
					broken <- err
					elapse(100 * time.Millisecond) // as prefetchers do
					return true
				}
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Partitions: []int32{bad}, Err: fault.code, Count: -1})
			}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
				for p := range int32(partitions) {
					put(p, "x")
					if p != bad {
						c.want(p, "x")
					}
				}
				elapse(5 * time.Second)
				if err := <-broken; !fault.want(err) || !strings.Contains(err.Error(), "partition 7") {
					t.Errorf("the reader of the partition is told %v; want what the broker says of it", err)
				}
				if told.Load() < 10 {
					t.Errorf("the reader was told %d times in 5 s; want each time that it asks", told.Load())
				}
			})
		})
	}
}

// A batch beyond MaxBytes comes, and so do the batches behind it.
func TestFetcherLargeBatches(t *testing.T) {
	const partitions = 50
	large := strings.Repeat("x", 40<<10)
	bubbleCrowd(t, partitions, nil, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		for range 3 {
			for p := range int32(partitions) {
				if p%2 == 0 {
					put(p, large)
					put(p, large)
				}
				put(p, "small")
			}
			for p := range int32(partitions) {
				if p%2 == 0 {
					c.want(p, large, large)
				}
				c.want(p, "small")
			}
		}
	})
}

// A partition with much to read does not keep the others from the records that trickle in.
func TestFetcherFairness(t *testing.T) {
	const partitions, busy = 60, 3
	value := strings.Repeat("x", 10<<10)
	bubbleCrowd(t, partitions, func(c *crowd, _ *kfake.Cluster) {
		c.hold[busy] = make(chan struct{}, 1)
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		for range 600 {
			put(busy, value)
		}
		close(c.hold[busy]) // from now on it reads as fast as it can
		for p := range int32(partitions) {
			if p == busy {
				continue
			}
			began := time.Now()
			put(p, "x")
			if took := c.next(p).at.Sub(began); took > shortDelay {
				t.Errorf("a record of partition %d takes %v beside a backlog; want %v at most", p, took, shortDelay)
			}
		}
		for range 600 {
			c.want(busy, value)
		}
	})
}

// Partitions that move to another broker are read there.
func TestFetcherLeaderMoves(t *testing.T) {
	const partitions = 60
	bubbleCrowd(t, partitions, func(c *crowd, _ *kfake.Cluster) {
		for p := range c.tries {
			c.tries[p] = func(err error) bool {
				elapse(50 * time.Millisecond)
				return errors.Is(err, kafka.NotLeaderForPartition)
			}
		}
	}, func(c *crowd, cluster *kfake.Cluster, put func(int32, ...string)) {
		elapse(3 * time.Second)
		for p := range int32(partitions) {
			if p%2 == 0 {
				if err := cluster.MoveTopicPartition("t", p, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		elapse(3 * time.Second)
		for p := range int32(partitions) {
			began := time.Now()
			put(p, "x")
			if took := c.next(p).at.Sub(began); took > shortDelay {
				t.Errorf("a record of partition %d takes %v after half of them have moved; want %v at most", p, took, shortDelay)
			}
		}
	})
}

// A log that was cut back, and a batch that was damaged on its way, are found by the reader of the
// partition alone.
func TestFetcherFindsWhatIsWrongWithOnePartition(t *testing.T) {
	const partitions, cut, damaged = 60, 7, 21
	var hurt atomic.Bool
	diverged, corrupt := make(chan error, 10_000), make(chan error, 10_000)
	bubbleCrowd(t, partitions, func(c *crowd, cluster *kfake.Cluster) {
		c.tries[cut] = func(err error) bool { diverged <- err; elapse(50 * time.Millisecond); return true }
		c.tries[damaged] = func(err error) bool { corrupt <- err; elapse(50 * time.Millisecond); return true }
		c.conns.change = func(b []byte) {
			if at := bytes.Index(b, []byte("fragile")); at >= 0 && hurt.Load() {
				b[at] ^= 1
			}
		}
		// The answer leaves out all others of its request, which a broker does not do: it costs them
		// another request.
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			asked := req.(*kmsg.FetchRequest)
			for _, topic := range asked.Topics {
				for _, p := range topic.Partitions {
					if p.Partition == cut && hurt.Load() {
						res := req.ResponseKind().(*kmsg.FetchResponse)
						part := kmsg.NewFetchResponseTopicPartition()
						part.Partition, part.DivergingEpoch.Epoch, part.DivergingEpoch.EndOffset = cut, 0, 1
						res.Topics = []kmsg.FetchResponseTopic{{TopicID: topic.TopicID, Partitions: []kmsg.FetchResponseTopicPartition{part}}}
						return res, nil, true
					}
				}
			}
			return nil, nil, false
		})
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		elapse(3 * time.Second)
		hurt.Store(true)
		for p := range int32(partitions) {
			switch p {
			case cut:
			case damaged:
				put(p, "fragile")
			default:
				put(p, "x")
				c.want(p, "x")
			}
		}
		if _, ok := errors.AsType[*wire.DivergedError](<-diverged); !ok {
			t.Error("the reader of the log that was cut back is not told so")
		}
		if found, ok := errors.AsType[*wire.CorruptError](<-corrupt); !ok || !found.Damaged || found.Partition != damaged {
			t.Error("the reader of the damaged batch is not told so")
		}
		hurt.Store(false) // the damage was on the way
		c.want(damaged, "fragile")
	})
}

// A connection that breaks costs its partitions another request, and so does each idle
// connection that broke with it.
func TestFetcherConnectionsBreak(t *testing.T) {
	const partitions = 60
	var broken atomic.Int32
	bubbleCrowd(t, partitions, func(c *crowd, cluster *kfake.Cluster) {
		for p := range c.tries {
			c.tries[p] = func(error) bool { broken.Add(1); elapse(50 * time.Millisecond); return true }
		}
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		elapse(3 * time.Second)
		c.conns.cut()
		elapse(2 * time.Second)
		if n := broken.Load(); n == 0 || n > 8*partitions {
			t.Errorf("the readers of %d partitions are told %d times that all connections have broken; want a few times each", partitions, n)
		}
		for p := range int32(partitions) {
			put(p, "x")
			c.want(p, "x")
		}
	})
}

// A broker is not asked while it throttles this client by its quota (KIP-219), and no
// reader hears of it.
func TestFetcherThrottled(t *testing.T) {
	const partitions = 60
	const wait = 40 * time.Second
	var throttled atomic.Bool
	var asked atomic.Int32
	bubbleCrowd(t, partitions, func(c *crowd, cluster *kfake.Cluster) {
		cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if !throttled.Load() {
				return nil, nil, false
			}
			asked.Add(1)
			res := req.ResponseKind().(*kmsg.FetchResponse)
			res.ThrottleMillis = int32(wait.Milliseconds())
			return res, nil, true
		})
	}, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		elapse(3 * time.Second)
		throttled.Store(true)
		elapse(wait - 10*time.Second)
		throttled.Store(false)
		if n := asked.Load(); n == 0 || n > 20 {
			t.Errorf("a broker that throttles is asked %d times; want once a connection", n)
		}
		for p := range int32(partitions) {
			put(p, "x")
			c.want(p, "x")
		}
	})
}

// A reader leaves at once at the end of its context, and the others of its request do not
// notice.
func TestFetcherCancel(t *testing.T) {
	const partitions = 60
	bubbleCrowd(t, partitions, nil, func(c *crowd, _ *kfake.Cluster, put func(int32, ...string)) {
		elapse(3 * time.Second)
		for range 50 {
			ctx, cancel := context.WithCancel(c.Context())
			r := c.fetcher.Reader()
			time.AfterFunc(123*time.Millisecond, cancel)
			began := time.Now()
			var f wire.Fetched
			err := r.Fetch(ctx, wire.FetchRequest{Topic: "t", TopicID: c.id, Partition: 5, MaxWait: time.Second, MaxBytes: 1 << 10, ReadCommitted: true}, &f)
			if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 124*time.Millisecond {
				t.Fatalf("Fetch whose context ends = %v after %v; want %v at once", err, took, context.Canceled)
			}
			r.Close()
		}
		for p := range int32(partitions) {
			began := time.Now()
			put(p, "x")
			if took := c.next(p).at.Sub(began); took > shortDelay {
				t.Errorf("a record of partition %d takes %v after others have left; want %v at most", p, took, shortDelay)
			}
		}
	})
}
