package consumer_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// patience bounds every wait of the suite; a slow machine needs it, a healthy
// run does not come near it.
const patience = 90 * time.Second

// rig is one app on a broker: its topics, with the actions of an operator.
type rig struct {
	testing.TB
	brokers []string
	app     topic.App
	client  *wire.Client
	produce *kgo.Client
	started []*instance
}

func newRig(t testing.TB, inputPartitions, shards int) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.Brokers(t), inputPartitions, shards)
}

func newRigOn(t testing.TB, brokers []string, inputPartitions, shards int) *rig {
	t.Helper()
	r := &rig{TB: t, brokers: brokers}
	id := strings.ToLower(kafkatest.Name(t))
	r.app = topic.App{
		ID: id, Shards: shards, Inputs: []string{kafkatest.Topic(t, r.brokers, inputPartitions, nil)},
		Alerts: id + ".alerts", DeadLetter: id + ".dead", AlertPartitions: 2, DeadLetterPartitions: 1, Replication: -1,
	}
	r.client = wire.NewClient(r.brokers, nil, nil, nil)
	t.Cleanup(r.client.Close)
	if _, err := topic.Create(t.Context(), r.client, r.app); err != nil {
		t.Fatalf("Create(%+v) = %v; want nil", r.app, err)
	}
	kafkatest.DeleteAtEnd(t, r.brokers, r.app.WorkTopic(), r.app.StateTopic(), r.app.Alerts, r.app.DeadLetter)
	var err error
	r.produce, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.produce.Close)
	return r
}

// send writes records to the input, in order within a partition.
func (r *rig) send(records ...*kgo.Record) {
	r.Helper()
	for _, rec := range records {
		rec.Topic = r.app.Inputs[0]
	}
	if err := r.produce.ProduceSync(r.Context(), records...).FirstErr(); err != nil {
		r.Fatal(err)
	}
}

// instance is one running Service, on a disk and a network that can fail.
type instance struct {
	*rig
	service *consumer.Service
	fs      *vfs.MemFS
	store   *state.Store
	net     *network
	stop    context.CancelFunc
	done    chan error
}

// start runs an instance on fs; change may set other fields of the service.
func (r *rig) start(name string, fs *vfs.MemFS, change func(*consumer.Service)) *instance {
	r.Helper()
	in := r.build(name, fs, change)
	ctx, stop := context.WithCancel(context.Background())
	in.stop = stop
	go func() { in.done <- in.service.Run(ctx) }()
	r.started = append(r.started, in)
	r.Cleanup(func() { in.crash() })
	return in
}

// failed returns the error of an instance that has ended by itself.
func (r *rig) failed() error {
	for _, in := range r.started {
		if in.store == nil {
			continue
		}
		select {
		case err := <-in.done:
			in.done <- err
			return fmt.Errorf("instance %s has ended: %w", in.service.Instance, err)
		default:
		}
	}
	return nil
}

func (r *rig) build(name string, fs *vfs.MemFS, change func(*consumer.Service)) *instance {
	r.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		r.Fatal(err)
	}
	in := &instance{rig: r, fs: fs, store: store, net: new(network), done: make(chan error, 1)}
	client := wire.NewClient(r.brokers, in.net.dial, nil, nil)
	in.service = &consumer.Service{
		Client: client, App: r.app, Instance: name, Store: store, Engine: engine(r.TB, nil), Metrics: admin.NewMetrics("test"),
		SessionTimeout: 6 * time.Second, TransactionTimeout: 10 * time.Second, RequestTimeout: 10 * time.Second,
		Codec: compress.Lz4, Log: zerolog.Nop(),
	}
	if os.Getenv("TRAILHOUND_TEST_LOG") != "" {
		in.service.Log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).With().Timestamp().Str("instance", name).Logger()
	}
	if change != nil {
		change(in.service)
	}
	r.Cleanup(client.Close)
	return in
}

// shutdown ends the instance as SIGTERM would.
func (in *instance) shutdown() {
	in.Helper()
	in.stop()
	if err := <-in.done; err != nil {
		in.Errorf("Run() = %v after its context ended; want nil", err)
	}
	if err := in.store.Close(); err != nil {
		in.Errorf("Close() = %v; want nil", err)
	}
	in.store = nil
}

// crash ends the instance as kill -9 would, as far as one process can: its connections
// break first, and its disk, which crash returns, keeps a random part of the unsynced data.
// The rest of the instance, cut off from everything, ends in the background.
func (in *instance) crash() *vfs.MemFS {
	if in.store == nil {
		return in.fs
	}
	in.net.cut()
	left := in.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rand.IntN(101), RNG: rand.New(rand.NewPCG(1, 2))})
	in.stop()
	store := in.store
	in.store = nil
	in.Cleanup(func() {
		if err := <-in.done; err != nil {
			in.Logf("Run() = %v, after a crash", err)
		}
		if err := store.Close(); err != nil {
			in.Errorf("Close() = %v, after a crash; want nil", err)
		}
	})
	return left
}

// network is a dialer of connections that can all be cut for good.
type network struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		c.Close()
		return nil, errors.New("the network is down")
	}
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, c := range n.conns {
		c.Close()
	}
}

// await polls a condition: brokers do not notify.
func (r *rig) await(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
			if err := r.failed(); err != nil {
				r.Fatalf("while waiting for %s: %v", what, err)
			}
		case <-deadline:
			r.Fatalf("still waiting after %s: %s", patience, what)
		}
	}
}

// drain waits until all records of the input have had their effect, and until that can be read:
// a committed transaction shows only once the coordinator has marked its end in each partition.
func (r *rig) drain() {
	r.Helper()
	r.await("the app to read its input", func() bool {
		lag, err := consumer.Lag(r.Context(), r.client, r.app)
		return err == nil && lag == 0
	})
	r.await("the last transactions to be marked as committed", func() bool {
		return r.stable(r.app.Alerts, r.app.AlertPartitions) && r.stable(r.app.DeadLetter, r.app.DeadLetterPartitions)
	})
}

// settle is drain, and waits until the shards have the idle marks of the input: until the
// next record nothing more is written.
func (r *rig) settle() {
	r.Helper()
	r.drain()
	r.await("the inputs to be at their ends", func() bool {
		for _, in := range r.started {
			if in.store == nil {
				continue
			}
			status := in.service.Status()
			if !status.Member { // it shows no inputs, and may still get some
				return false
			}
			for _, input := range status.Inputs {
				if !input.Idle {
					return false
				}
			}
		}
		return true
	})
	r.drain()
}

// end returns the offset that the next record of a partition gets.
func (r *rig) end(name string, partition int32) int64 {
	r.Helper()
	_, end, err := topic.Bounds(r.Context(), r.client, name, partition)
	if err != nil {
		r.Fatal(err)
	}
	return end
}

// stable says whether no transaction is open in the topic.
func (r *rig) stable(topic string, partitions int) bool {
	var f wire.Fetched
	for p := range partitions {
		err := r.client.Fetch(r.Context(), wire.FetchRequest{Topic: topic, Partition: int32(p), MaxBytes: 1, ReadCommitted: true}, &f)
		if err != nil || f.LastStable != f.HighWatermark {
			return false
		}
	}
	return true
}

// alert has the fields of an alert that the suite checks, read independently of package rules.
type alert struct {
	ID      string `json:"id"`
	Rule    string `json:"rule_id"`
	Key     string `json:"key"`
	EventID string `json:"event_id"`
}

func (a alert) String() string { return a.Rule + " " + a.EventID }

// alerts returns the committed alerts, sorted by rule and event.
func (r *rig) alerts() []string {
	r.Helper()
	var out []string
	for _, rec := range kafkatest.ReadCommitted(r.TB, r.brokers, r.app.Alerts) {
		var a alert
		if err := json.Unmarshal(rec.Value, &a); err != nil {
			r.Fatalf("alert %q: %v", rec.Value, err)
		}
		out = append(out, a.String())
	}
	slices.Sort(out)
	return out
}

// wantAlerts compares the committed alerts with those expected, as multisets.
func (r *rig) wantAlerts(want []string) {
	r.Helper()
	want = slices.Sorted(slices.Values(want))
	got := r.alerts()
	if slices.Equal(got, want) {
		return
	}
	missing, extra := difference(want, got), difference(got, want)
	r.Errorf("%d alerts, want %d: missing %d %q, too many %d %q", len(got), len(want), len(missing), missing[:min(5, len(missing))], len(extra), extra[:min(5, len(extra))])
}

// difference returns the elements that sorted a has more often than sorted b.
func difference(a, b []string) []string {
	var out []string
	for len(a) > 0 {
		switch {
		case len(b) == 0 || cmp.Less(a[0], b[0]):
			out, a = append(out, a[0]), a[1:]
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		default:
			b = b[1:]
		}
	}
	return out
}

// engine returns the two rules that the workloads are made for, with their defaults.
func engine(t testing.TB, change func(*rules.Limits)) *rules.Engine {
	t.Helper()
	var active []rules.Active
	for _, rule := range []rules.Rule{rules.NewAccessDenied(), rules.NewAssumeRoleUniqueIP()} {
		active = append(active, rules.Active{Rule: rule, Options: rules.DefaultOptions()})
	}
	limits := rules.Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 168 * time.Hour, MaxAlertBytes: 900_000}
	if change != nil {
		change(&limits)
	}
	e, err := rules.NewEngine(active, limits)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// attempt is one event of a workload with known answers.
type attempt struct {
	id   string
	at   time.Time
	who  string // denied principal; "" for an AssumeRole
	role string
	ip   string
}

func (a attempt) json() []byte {
	at := a.at.Format(time.RFC3339)
	if a.who != "" {
		return fmt.Appendf(nil, `{"eventVersion":"1.10","eventID":%q,"eventTime":%q,"eventName":"GetObject","eventSource":"s3.amazonaws.com","errorCode":"AccessDenied","sourceIPAddress":%q,"userIdentity":{"type":"IAMUser","arn":%q}}`, a.id, at, a.ip, a.who)
	}
	return fmt.Appendf(nil, `{"eventVersion":"1.10","eventID":%q,"eventTime":%q,"eventName":"AssumeRole","eventSource":"sts.amazonaws.com","sourceIPAddress":%q,"requestParameters":{"roleArn":%q}}`, a.id, at, a.ip, a.role)
}

// key is the message key of an event: events of one key stay in order, so that order
// decides nothing.
func (a attempt) key() string { return a.who + a.role }

// workload returns n events over so many keys, a tenth of them delivered twice.
func workload(seed uint64, n, keys int) []attempt {
	rng := rand.New(rand.NewPCG(seed, 11))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	out := make([]attempt, 0, n)
	for i := range n {
		if len(out) > 0 && rng.IntN(10) == 0 {
			out = append(out, out[rng.IntN(len(out))])
			continue
		}
		a := attempt{id: fmt.Sprintf("event-%d-%d", seed, i), at: start.Add(time.Duration(i)*500*time.Millisecond - time.Duration(rng.IntN(300))*time.Second)}
		if k := rng.IntN(keys); k%2 == 0 {
			a.who, a.ip = fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", k), "192.0.2.1"
		} else {
			a.role, a.ip = fmt.Sprintf("arn:aws:iam::111122223333:role/r%d", k), fmt.Sprintf("192.0.2.%d", rng.IntN(3))
		}
		out = append(out, a)
	}
	return out
}

// expected evaluates the two rules in the plainest way: maps and a loop.
func expected(events []attempt) []string {
	type window struct{ times []time.Time } // in their order
	denied, known, seen := map[string][]*window{}, map[string]map[string]bool{}, map[string]bool{}
	var out []string
	for _, e := range events {
		if seen[e.id] {
			continue
		}
		seen[e.id] = true
		if e.who == "" {
			if known[e.role] == nil {
				known[e.role] = map[string]bool{e.ip: true}
			} else if !known[e.role][e.ip] {
				out = append(out, "assume_role_unique_ip "+e.id)
			}
			continue
		}
		all := denied[e.who] // in the order of their starts
		i := len(all) - 1
		for i >= 0 && !(!e.at.Before(all[i].times[0]) && e.at.Before(all[i].times[0].Add(time.Hour))) {
			i--
		}
		if i < 0 { // the next window that begins after it, if that can move back
			i = slices.IndexFunc(all, func(w *window) bool { return e.at.Before(w.times[0]) })
			if i < 0 || all[i].times[len(all[i].times)-1].Sub(e.at) >= time.Hour {
				i = max(i, 0)
				if len(all) > 0 && !e.at.Before(all[len(all)-1].times[0]) {
					i = len(all)
				}
				all = slices.Insert(all, i, &window{})
			}
		}
		w := all[i]
		w.times = append(w.times, e.at)
		slices.SortFunc(w.times, time.Time.Compare)
		if len(w.times) >= 10 {
			all = slices.Delete(all, i, i+1)
			out = append(out, "access_denied "+e.id)
		}
		denied[e.who] = all
	}
	return out
}

// records spreads events over partitions by key, as an input keyed by the rule's key is.
func records(events []attempt, partitions int) []*kgo.Record {
	out := make([]*kgo.Record, len(events))
	for i, e := range events {
		out[i] = &kgo.Record{Partition: wire.PartitionOf([]byte(e.key()), partitions), Key: []byte(e.key()), Value: e.json()}
	}
	return out
}
