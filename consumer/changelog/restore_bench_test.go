package changelog_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/changelog"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// BenchmarkRestore takes all shards of an app at once, as an instance does that
// has lost its disk, until each can tell whether it has met an event before, and reports
// keys a second and the peak of the heap. Counters and events are the keys. Against real
// brokers:
//
//	TRAILHOUND_TEST_BROKERS=host:port TRAILHOUND_RESTORE_KEYS=1000000 \
//	  go test ./consumer/changelog -run '^$' -bench Restore -benchtime 3x
func BenchmarkRestore(b *testing.B) {
	keys := 50_000
	if n, err := strconv.Atoi(os.Getenv("TRAILHOUND_RESTORE_KEYS")); err == nil {
		keys = n
	}
	for _, shards := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("shards=", shards), func(b *testing.B) {
			brokers := kafkatest.Brokers(b)
			m := newMany(b, brokers, shards)
			m.fill(keys)
			runtime.GC()
			runtime.GC() // objects in pools survive the first one
			peak := watchHeap(b)
			b.ResetTimer()
			for range b.N {
				m.takeAll(b.TempDir())
			}
			b.ReportMetric(float64(keys/shards*shards)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
		})
	}
}

// watchHeap samples the size of the heap until the returned function is called, which
// returns the greatest growth since the start, in bytes.
func watchHeap(b *testing.B) (peak func() uint64) {
	var most atomic.Uint64
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return most.Load() - min(most.Load(), before.HeapInuse)
	}
}

// many is the changelog of an app with several shards.
type many struct {
	*testing.B
	client *wire.Client
	topic  topic.Info
	id     string
}

func newMany(b *testing.B, brokers []string, shards int) *many {
	b.Helper()
	m := &many{B: b, client: wire.NewClient(brokers, nil, nil, nil), id: kafkatest.Name(b)}
	b.Cleanup(m.client.Close)
	name := kafkatest.Topic(b, brokers, shards, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "8388608"})
	infos, err := topic.Describe(kafkatest.Context(b), m.client, name)
	if err != nil {
		b.Fatal(err)
	}
	m.topic = infos[name]
	return m
}

func (m *many) producer(shard int) *txn.Producer {
	return &txn.Producer{
		Client: m.client, ID: m.id + ".shard." + strconv.Itoa(shard), Timeout: time.Minute, RequestTimeout: time.Minute,
		Codec: compress.Lz4, MaxBatch: map[string]int{m.topic.Name: 8 << 20},
	}
}

// fill commits so many keys, spread over the shards, as detectors would have left them.
func (m *many) fill(keys int) {
	m.Helper()
	store, err := state.Open(state.Options{Dir: m.TempDir()})
	if err != nil {
		m.Fatal(err)
	}
	defer store.Close()
	shards := len(m.topic.Partitions)
	for n := range shards {
		h, err := store.Shard(n)
		if err != nil {
			m.Fatal(err)
		}
		p, to := m.producer(n), txn.Partition{Topic: m.topic.Name, Number: int32(n)}
		if err := p.Init(kafkatest.Context(m)); err != nil {
			m.Fatal(err)
		}
		for first := 0; first < keys/shards; first += 10_000 {
			tx := h.Begin()
			for i := first; i < min(first+10_000, keys/shards); i += 2 { // an event is one key, its counter another
				at := ref()
				at.ID = fmt.Sprintf("%08x-0000-4000-8000-%012d", i, n)
				key := fmt.Sprintf("arn:aws:iam::111122223333:user/u%d-%d", n, i)
				tx.Remember(tx.EventKey("access_denied", key, at.ID), at.Time, 24*time.Hour)
				s := tx.Scope("access_denied", key, at)
				s.IncrementCounter("denials")
				s.Commit()
			}
			for c := range tx.Changes() {
				p.Add(to, time.Now().UnixMilli(), c.Key, c.Value)
			}
			done, err := p.Commit(kafkatest.Context(m))
			if err != nil {
				m.Fatal(err)
			}
			next, _ := done.Next(to)
			if err := tx.Apply(next); err != nil {
				m.Fatal(err)
			}
		}
	}
}

// takeAll takes every shard into an empty directory.
func (m *many) takeAll(dir string) {
	m.Helper()
	store, err := state.Open(state.Options{Dir: dir})
	if err != nil {
		m.Fatal(err)
	}
	var taking sync.WaitGroup
	var restores changelog.Restores
	for n := range m.topic.Partitions {
		h, err := store.Shard(n)
		if err != nil {
			m.Fatal(err)
		}
		c := &changelog.Changelog{
			Client: m.client, Topic: m.topic.Name, TopicID: m.topic.ID, Partition: int32(n), Shard: h, Producer: m.producer(n), Owner: "bench",
			TombstoneLife: week, StableWithin: time.Minute, Progress: func(int64, int64) {}, Restores: &restores, Now: time.Now,
		}
		taking.Go(func() {
			if err := c.Take(kafkatest.Context(m)); err != nil {
				m.Error(err)
			}
			tx := h.Begin()
			defer tx.Discard()
			if tx.Seen(tx.EventKey("access_denied", "nobody", "never")) || tx.Err() != nil {
				m.Errorf("Seen() of an event that never came = true, %v; want false", tx.Err())
			}
		})
	}
	taking.Wait()
	m.StopTimer()
	if err := store.Close(); err != nil {
		m.Error(err)
	}
	m.StartTimer()
}
