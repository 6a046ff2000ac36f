package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// bubblePatience bounds every wait in a bubble, in the bubble's time. It is longer
// than all the time-outs that may follow one another.
const bubblePatience = 10 * time.Minute

// bubble is one app on a cluster of its own, in a testing/synctest bubble: time
// passes only when nothing else is to be done, so that minutes cost milliseconds.
type bubble struct {
	testing.TB
	cluster *kfake.Cluster
	network kfake.VirtualNetwork
	app     topic.App
	names   map[[16]byte]string // topics by id
	produce *kgo.Client
	consume *kgo.Client
	read    map[output]int64 // records below these offsets are in got and dead
	got     []string
	ids     map[string]bool // of the alerts in got
	told    told
	members []*inhabitant
	engines map[string]*rules.Engine // of instances without the usual one
	change  func(*consumer.Service)  // sets other fields of the services; nil: none

	sent []attempt        // to the input
	at   map[[2]int64]int // partition and offset in the input: index in sent
	dead map[int]bool     // indices of those in the dead-letter topic
}

// inBubble runs a test on a fresh cluster of three brokers with a fresh app.
func inBubble(t *testing.T, inputPartitions, shards int, test func(w *bubble)) {
	t.Helper()
	kafkatest.Bubble(t, func(t *testing.T) {
		// The workload's events are of 2026, and an event must not be of the future.
		elapse(time.Until(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)))
		w := &bubble{TB: t, read: make(map[output]int64), at: make(map[[2]int64]int), dead: make(map[int]bool), ids: make(map[string]bool)}
		w.build(inputPartitions, shards)
		defer w.close()
		test(w)
	})
}

func (w *bubble) build(inputPartitions, shards int) {
	w.Helper()
	var err error
	w.cluster, err = kfake.NewCluster(kfake.Ports(9092, 9093, 9094), kfake.ListenFn(w.network.Listen), kfake.SeedTopics(int32(inputPartitions), "input"))
	if err != nil {
		w.Fatal(err)
	}
	w.app = topic.App{
		ID: "app", Shards: shards, Inputs: []string{"input"}, Alerts: "app.alerts", DeadLetter: "app.dead",
		AlertPartitions: 2, DeadLetterPartitions: 1, Replication: -1,
	}
	client := w.client(w.network.DialContext)
	defer client.Close()
	if _, err := topic.Create(w.Context(), client, w.app); err != nil {
		w.Fatalf("Create(%+v) = %v; want nil", w.app, err)
	}
	w.names = make(map[[16]byte]string)
	for _, name := range []string{"input", w.app.WorkTopic(), w.app.StateTopic(), w.app.Alerts, w.app.DeadLetter} {
		w.names[w.cluster.TopicInfo(name).TopicID] = name
		// A fixed leader for each partition: the requests of a run are to be the same each time.
		for p := range w.cluster.PartitionInfos(name) {
			if err := w.cluster.MoveTopicPartition(name, int32(p), int32((p+len(name))%3)); err != nil {
				w.Fatal(err)
			}
		}
	}
	w.produce = w.franz(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.consume = w.franz(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeTopics(w.app.Alerts, w.app.DeadLetter),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(time.Second))
}

func (w *bubble) client(dial dialer) *wire.Client {
	return wire.NewClient(w.cluster.ListenAddrs(), dial, nil, nil)
}

func (w *bubble) franz(opts ...kgo.Opt) *kgo.Client {
	w.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.Dialer(w.network.DialContext)}, opts...)...)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// close ends all goroutines: a bubble ends with the last one.
func (w *bubble) close() {
	for _, in := range w.members {
		in.crash(0)
		in.bury()
	}
	w.produce.Close()
	w.consume.Close()
	w.cluster.Close()
}

// send writes records to the input, in order within a partition.
func (w *bubble) send(events []attempt) {
	w.Helper()
	all := records(events, len(w.cluster.PartitionInfos("input")))
	for _, rec := range all {
		rec.Topic = "input"
	}
	if err := w.produce.ProduceSync(w.Context(), all...).FirstErr(); err != nil {
		w.Fatal(err)
	}
	w.sent = append(w.sent, events...)
	for i, rec := range all {
		w.at[[2]int64{int64(rec.Partition), rec.Offset}] = len(w.sent) - len(all) + i
	}
}

// inhabitant is one running Service, on a disk and a network that can fail.
type inhabitant struct {
	*bubble
	name    string
	service *consumer.Service
	disk    *vfs.MemFS
	store   *state.Store
	link    *link
	stop    context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	err     error         // the error of Run

	crashing sync.Once
	crashed  chan struct{} // closed once the instance has crashed
	left     *vfs.MemFS    // the disk after the crash
	buried   bool
}

// start runs an instance on a disk.
func (w *bubble) start(name string, disk *vfs.MemFS, watch trap) *inhabitant {
	w.Helper()
	in := &inhabitant{bubble: w, name: name, disk: disk, ended: make(chan struct{}), crashed: make(chan struct{})}
	in.link = &link{dialer: w.network.DialContext, name: w.step}
	if watch.look != nil {
		in.link.look = func(x *exchange) verdict { return watch.look(in, x) }
	}
	options := state.Options{Dir: "state", FS: disk}
	if watch.disk != nil {
		options.FS = errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			watch.disk(in, op)
			return nil
		}))
	}
	ctx, stop := context.WithCancel(context.Background())
	in.stop = stop // set before the disk is opened, which is a good moment to crash, too
	var err error
	if in.store, err = state.Open(options); err != nil {
		w.Fatal(err)
	}
	in.service = &consumer.Service{
		Client: w.client(in.link.dial), App: w.app, Instance: name, Store: in.store, Engine: engine(w.TB, nil), Metrics: admin.NewMetrics("test"),
		SessionTimeout: 6 * time.Second, TransactionTimeout: 10 * time.Second, RequestTimeout: 10 * time.Second,
		Codec: compress.Lz4, Log: zerolog.New(&w.told),
	}
	if e := w.engines[name]; e != nil {
		in.service.Engine = e
	}
	if os.Getenv("TRAILHOUND_TEST_LOG") != "" {
		zerolog.TimestampFunc = time.Now
		in.service.Log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "15:04:05.000"}).With().Timestamp().Str("instance", name).Logger()
	}
	if w.change != nil {
		w.change(in.service)
	}
	w.members = append(w.members, in)
	go func() {
		defer close(in.ended)
		in.err = in.service.Run(ctx)
	}()
	return in
}

// crash is kill -9 and a power cut: from now on nothing of the instance gets out, and its
// disk keeps a part of the data not synced. It may be called from within the instance.
func (in *inhabitant) crash(unsynced int) *vfs.MemFS {
	in.crashing.Do(func() {
		in.link.cut(true)
		in.left = in.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(1, 2))})
		in.stop()
		close(in.crashed)
	})
	return in.left
}

// shutdown ends the instance as SIGTERM would, and returns its disk.
func (in *inhabitant) shutdown() *vfs.MemFS {
	in.Helper()
	in.stop()
	<-in.ended
	if in.err != nil {
		in.Errorf("Run() = %v after its context ended; want nil", in.err)
	}
	in.crashing.Do(func() { close(in.crashed) })
	in.left = in.disk
	in.bury()
	return in.disk
}

// bury waits for the goroutines of an instance that has ended.
func (in *inhabitant) bury() {
	if in.buried {
		return
	}
	in.buried = true
	<-in.ended
	in.service.Client.Close()
	in.link.cut(true)
	if err := in.store.Close(); err != nil {
		in.Errorf("Close() of the store of %s = %v; want nil", in.name, err)
	}
}

// living returns the error of an instance that has ended by itself.
func (w *bubble) living() error {
	for _, in := range w.members {
		select {
		case <-in.crashed:
			continue
		default:
		}
		select {
		case <-in.ended:
			return fmt.Errorf("instance %s has ended: %w", in.name, in.err)
		default:
		}
	}
	return nil
}

// await polls a condition as time passes.
func (w *bubble) await(what string, ok func() bool) {
	w.Helper()
	for began := time.Now(); !ok(); elapse(250 * time.Millisecond) {
		if err := w.living(); err != nil {
			w.Fatalf("while waiting for %s: %v", what, err)
		}
		if time.Since(began) > bubblePatience {
			w.Fatalf("still waiting after %v: %s", bubblePatience, what)
		}
	}
}

// drain waits until all records of the input have had their effect.
func (w *bubble) drain() {
	w.Helper()
	w.await("the app to read its input", w.drained)
}

// drained looks into the cluster, as an instance cannot. The order matters: a
// committed input offset means that the matches are in the work topic.
func (w *bubble) drained() bool {
	for _, name := range []string{"input", w.app.WorkTopic()} {
		group := w.cluster.GroupInfo(w.app.ID)
		if group == nil {
			return false
		}
		for _, p := range w.cluster.PartitionInfos(name) {
			if group.Commits[name][p.Partition].Offset < p.HighWatermark {
				return false
			}
		}
	}
	for _, name := range []string{w.app.Alerts, w.app.DeadLetter} {
		for _, p := range w.cluster.PartitionInfos(name) {
			if p.LastStableOffset < p.HighWatermark {
				return false
			}
		}
	}
	return true
}

// collect reads the records committed to the outputs.
func (w *bubble) collect() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), bubblePatience)
	defer cancel()
	for !w.allRead() {
		fetches := w.consume.PollFetches(ctx)
		if ctx.Err() != nil {
			w.Fatalf("read the outputs: stuck at %v", w.read)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			w.read[output{r.Topic, r.Partition}] = r.Offset + 1
			switch {
			case r.Attrs.IsControl():
			case r.Topic == w.app.DeadLetter:
				w.dead[w.at[sourceOf(w.TB, r)]] = true
			default:
				var a alert
				if err := json.Unmarshal(r.Value, &a); err != nil {
					w.Fatalf("alert %q: %v", r.Value, err)
				}
				w.got, w.ids[a.ID] = append(w.got, a.String()), true
			}
		})
	}
}

// output is a partition of the alerts or the dead-letter topic.
type output struct {
	topic     string
	partition int32
}

// sourceOf returns the partition and the offset of the input that a dead letter is about.
func sourceOf(t testing.TB, r *kgo.Record) (at [2]int64) {
	for _, h := range r.Headers {
		var err error
		switch h.Key {
		case "source_partition":
			at[0], err = strconv.ParseInt(string(h.Value), 10, 64)
		case "source_offset":
			at[1], err = strconv.ParseInt(string(h.Value), 10, 64)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return at
}

func (w *bubble) allRead() bool {
	for _, topic := range []string{w.app.Alerts, w.app.DeadLetter} {
		for _, p := range w.cluster.PartitionInfos(topic) {
			if w.read[output{topic, p.Partition}] < p.LastStableOffset {
				return false
			}
		}
	}
	return true
}

// compare says how the committed alerts differ from those expected, as
// multisets; "" if they do not. An event in the dead-letter topic has no effect.
func (w *bubble) compare() string {
	w.Helper()
	told := w.told.soFar()
	w.collect()
	var events []attempt
	for i, e := range w.sent {
		if !w.dead[i] {
			events = append(events, e)
		}
	}
	want := slices.Sorted(slices.Values(expected(events)))
	got := slices.Sorted(slices.Values(w.got))
	if slices.Equal(got, want) {
		return w.compareLogs(told)
	}
	missing, extra := difference(want, got), difference(got, want)
	return fmt.Sprintf("%d alerts, want %d: missing %q, too many %q", len(got), len(want), missing, extra)
}

// elapse lets time pass in the bubble, at no cost outside.
func elapse(d time.Duration) { <-time.After(d) }
