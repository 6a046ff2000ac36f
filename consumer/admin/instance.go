package admin

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"trailhound/state"
)

// Instance is the source of the figures that Metrics collects at each scrape. A nil
// function is not asked.
type Instance struct {
	Ready func() error                // as of Server
	Store func() (state.Stats, error) // of the local state
}

// Watch adds the figures that are collected at each scrape: whether the instance is ready,
// and the size of its local state. Watch is called once.
func (m *Metrics) Watch(in Instance) { m.registry.MustRegister(newInstanceMetrics(in)) }

// instanceMetrics collects from an Instance.
type instanceMetrics struct {
	Instance
	ready       *prometheus.Desc
	keys, bytes *prometheus.Desc // shard
	store       []storeMetric
	stats       stats
}

// storeMetric is one figure of state.Stats.
type storeMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*state.Stats) float64
}

func newInstanceMetrics(in Instance) *instanceMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("trailhound_"+name, help, labels, nil)
	}
	gauge := func(name, help string, value func(*state.Stats) float64) storeMetric {
		return storeMetric{desc(name, help), prometheus.GaugeValue, value}
	}
	counter := func(name, help string, value func(*state.Stats) float64) storeMetric {
		return storeMetric{desc(name, help), prometheus.CounterValue, value}
	}
	return &instanceMetrics{
		Instance: in,
		ready:    desc("ready", "1 while everything assigned to this instance is worked on, as /readyz tells."),
		keys:     desc("state_keys", "Estimate of what a shard has on local disk: values, pages and runs of remembered events, and the indices.", "shard"),
		bytes:    desc("state_bytes", "Estimate of the bytes of a shard on local disk.", "shard"),
		store: []storeMetric{
			gauge("store_disk_bytes", "Bytes of all files of the local state.", func(s *state.Stats) float64 { return float64(s.DiskBytes) }),
			gauge("store_disk_free_bytes", "Bytes that are left on the file system of the local state.", func(s *state.Stats) float64 { return float64(s.DiskFreeBytes) }),
			gauge("store_memtable_bytes", "Bytes of the local state that are not written out yet.", func(s *state.Stats) float64 { return float64(s.MemTableBytes) }),
			gauge("store_cache_bytes", "Bytes of the block cache of the local state.", func(s *state.Stats) float64 { return float64(s.CacheBytes) }),
			counter("store_cache_hits_total", "Blocks of the local state that were in the cache.", func(s *state.Stats) float64 { return float64(s.CacheHits) }),
			counter("store_cache_misses_total", "Blocks of the local state that were read from disk.", func(s *state.Stats) float64 { return float64(s.CacheMisses) }),
			counter("store_flushes_total", "Memtables of the local state that were written out.", func(s *state.Stats) float64 { return float64(s.Flushes) }),
			counter("store_compactions_total", "Compactions of the local state.", func(s *state.Stats) float64 { return float64(s.Compactions) }),
			gauge("store_compaction_debt_bytes", "Estimate of the bytes to merge until the local state is in order.", func(s *state.Stats) float64 { return float64(s.CompactionDebt) }),
			gauge("store_read_amplification", "Tables of the local state that a look-up may have to ask.", func(s *state.Stats) float64 { return float64(s.ReadAmplification) }),
			counter("store_write_stalls_total", "Times that a write to the local state had to wait for a flush or a compaction.", func(s *state.Stats) float64 { return float64(s.WriteStalls) }),
		},
	}
}

// Describe is of prometheus.Collector.
func (c *instanceMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- c.ready
	out <- c.keys
	out <- c.bytes
	for _, m := range c.store {
		out <- m.desc
	}
}

// storeWithin is how long a scrape waits for the local state.
const storeWithin = 2 * time.Second

var errLate = errors.New("the local state does not answer")

// stats asks the local state one question at a time, with a time limit: on a disk that does
// not answer, each scrape would otherwise leave one more goroutine behind.
type stats struct {
	mu      sync.Mutex
	pending chan storeAnswer // nil: nothing is asked
}

type storeAnswer struct {
	state.Stats

	err error
}

func (q *stats) ask(store func() (state.Stats, error)) (state.Stats, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending != nil {
		select {
		case <-q.pending: // it came late
			q.pending = nil
		default:
			return state.Stats{}, errLate
		}
	}
	pending := make(chan storeAnswer, 1)
	q.pending = pending
	go func() {
		s, err := store()
		pending <- storeAnswer{s, err}
	}()
	limit := time.NewTimer(storeWithin)
	defer limit.Stop()
	select {
	case a := <-pending:
		q.pending = nil
		return a.Stats, a.err
	case <-limit.C:
		return state.Stats{}, errLate
	}
}

// Collect is of prometheus.Collector. A store that has failed, is closed or does not answer
// is left out.
func (c *instanceMetrics) Collect(out chan<- prometheus.Metric) {
	if c.Ready != nil {
		ready := 0.0
		if c.Ready() == nil {
			ready = 1
		}
		out <- prometheus.MustNewConstMetric(c.ready, prometheus.GaugeValue, ready)
	}
	if c.Store == nil {
		return
	}
	stats, err := c.stats.ask(c.Store)
	if err != nil {
		return
	}
	for _, m := range c.store {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
	}
	for n, s := range stats.Shards {
		shard := strconv.Itoa(n)
		out <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(s.Keys), shard)
		out <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(s.Bytes), shard)
	}
}
