package consumer_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// The tests TestFailureNN… each show that a failure which another stream processor has
// shipped is not here. The comment above each describes that failure.

// watched is an instance with requests that a test sees, and may hold up or lose.
type watched struct {
	*instance
	link *link
}

// watch starts an instance. look sees each request before a broker does and each
// answer before the instance does; while it waits, one connection stands still.
func (r *rig) watch(name string, fs *vfs.MemFS, look func(*exchange) verdict, change func(*consumer.Service)) *watched {
	r.Helper()
	l := &link{dialer: new(net.Dialer).DialContext, name: func(kmsg.Request) string { return "" }, look: look}
	in := r.start(name, fs, func(s *consumer.Service) {
		s.Client = wire.NewClient(r.brokers, l.dial, nil, nil)
		r.Cleanup(s.Client.Close)
		if change != nil {
			change(s)
		}
	})
	w := &watched{in, l}
	r.Cleanup(func() { w.link.cut(true) })
	return w
}

// crash ends the instance as kill -9 would.
func (w *watched) crash() *vfs.MemFS {
	w.link.cut(true)
	return w.instance.crash()
}

// dynamic makes a member that leaves the group when it ends.
func dynamic(s *consumer.Service) { s.Instance = "" }

// gate blocks its callers until it is opened, at the end of the test at the latest.
type gate struct {
	arrived chan struct{} // a goroutine waits or has waited
	opened  chan struct{}
	once    sync.Once
}

func (r *rig) gate() *gate {
	g := &gate{arrived: make(chan struct{}, 1), opened: make(chan struct{})}
	r.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func (g *gate) wait() {
	select {
	case g.arrived <- struct{}{}:
	default:
	}
	<-g.opened
}

// awaitAt waits until a goroutine waits at the gate.
func (r *rig) awaitAt(g *gate, what string) {
	r.Helper()
	select {
	case <-g.arrived:
	case <-time.After(patience):
		r.Fatalf("still waiting after %s: %s", patience, what)
	}
}

// isRequest says whether x is a request of type R on its way to a broker.
func isRequest[R kmsg.Request](x *exchange) bool {
	_, ok := x.request.(R)
	return ok && x.answer == nil
}

// producesTo says whether x is a produce request with records for a topic.
func producesTo(x *exchange, name string) bool {
	r, ok := x.request.(*kmsg.ProduceRequest)
	return ok && x.answer == nil && len(r.Topics) > 0 && r.Topics[0].Topic == name
}

// fetchFrom returns the offset of a fetch from a topic on its way to a broker.
func fetchFrom(x *exchange, id [16]byte) (partition int32, offset int64, ok bool) {
	r, ok := x.request.(*kmsg.FetchRequest)
	if !ok || x.answer != nil || r.Topics[0].TopicID != id {
		return 0, 0, false
	}
	p := r.Topics[0].Partitions[0]
	return p.Partition, p.FetchOffset, true
}

func (r *rig) topicID(name string) [16]byte {
	r.Helper()
	infos, err := topic.Describe(r.Context(), r.client, name)
	if err != nil {
		r.Fatal(err)
	}
	return infos[name].ID
}

// freshness reads the local state from a JoinGroup request: for each shard the changelog
// offset that its copy needs next.
func freshness(x *exchange) map[int32]int64 {
	var m kmsg.ConsumerMemberMetadata
	if err := m.ReadFrom(x.request.(*kmsg.JoinGroupRequest).Protocols[0].Metadata); err != nil || len(m.UserData) == 0 {
		return nil
	}
	out, b := make(map[int32]int64), m.UserData[1:] // behind the version
	next := func() int64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return int64(v)
	}
	for range next() {
		shard := next()
		out[int32(shard)] = next()
	}
	return out
}

// clone copies a disk with everything that was written, synced or not.
func clone(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
}

// onDisk looks at shard 0 as an instance has left it.
func (r *rig) onDisk(fs *vfs.MemFS, look func(*state.Shard)) {
	r.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		r.Fatal(err)
	}
	h, err := store.Shard(0)
	if err != nil {
		r.Fatal(err)
	}
	look(h)
	if err := store.Close(); err != nil {
		r.Fatal(err)
	}
}

// trust makes a role known from its first address, so that any other is an alert.
func (r *rig) trust(partition int32, role string) {
	r.Helper()
	r.send(&kgo.Record{Partition: partition, Value: []byte(assume("trusted-"+role, role, "192.0.2.0", noon))})
}

// strange uses a role from another address; the event's id is its alert's.
func (r *rig) strange(partition int32, role, id string) (want string) {
	r.Helper()
	r.send(&kgo.Record{Partition: partition, Value: []byte(assume(id, role, "192.0.2.99", noon))})
	return "assume_role_unique_ip " + id
}

// goka marked a message as consumed although its callback had failed while the partition
// was being revoked, so that it was never processed (goka PR 490). Here only offsets below
// all records not yet acknowledged are committed, at a rebalance and at the end of a run as
// at any time: the next owner reads again.
func TestFailure01ErrorWhileRevoked(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 1)
	input := r.topicID(r.app.Inputs[0])
	var mu sync.Mutex
	passes := make(map[int32]int) // fetches at the end of the partition
	var healed atomic.Bool
	a := r.watch("a", disk(), func(x *exchange) verdict {
		if producesTo(x, r.app.WorkTopic()) && !healed.Load() {
			return sever
		}
		if p, at, ok := fetchFrom(x, input); ok && at == 4 {
			mu.Lock()
			passes[p]++
			mu.Unlock()
		}
		return pass
	}, dynamic)
	var want []string
	for p := range int32(2) {
		role := fmt.Sprint("arn:role/", p)
		r.trust(p, role)
		for i := range 3 {
			want = append(want, r.strange(p, role, fmt.Sprintf("%d-%d", p, i)))
		}
	}
	r.await("a to have read everything and to have got nothing across", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return passes[0] >= 3 && passes[1] >= 3 // the buffer of the first fetch is in use again
	})
	r.start("b", disk(), dynamic)
	r.await("b to read what a had taken", func() bool { return len(r.alerts()) == 3 })
	healed.Store(true)
	r.drain()
	a.shutdown()
	r.wantAlerts(want)
}

// Kafka Streams flushed its local store in the background while a transaction was
// open; the transaction was aborted, and after a restart the store held rows that
// the changelog had never got (KAFKA-20685). Here nothing reaches the database
// before its transaction is committed, so neither a kill nor a clean end in
// between leaves a trace.
func TestFailure02AbortedRowsOnDisk(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed=%t", killed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 1)
			var armed atomic.Bool
			var a *watched
			between := r.gate()
			a = r.watch("only", disk(), func(x *exchange) verdict {
				if !isRequest[*kmsg.EndTxnRequest](x) || !armed.Load() {
					return pass
				}
				if !killed {
					a.stop()
					between.open()
				}
				between.wait()
				return sever
			}, nil)
			r.trust(0, "arn:r")
			r.settle()
			done := r.end(r.app.WorkTopic(), 0)
			armed.Store(true)
			want := r.strange(0, "arn:r", "1")
			r.awaitAt(between, "the transaction to be about to end")
			var left *vfs.MemFS
			if killed {
				left = clone(a.fs)
				a.crash()
			} else {
				a.shutdown()
				left = a.fs
			}
			r.onDisk(left, func(h *state.Shard) {
				if at := h.Position().Work; at > done {
					t.Errorf("Position().Work = %d after a transaction that was not committed; want %d", at, done)
				}
			})
			r.start("only", left, nil)
			r.drain()
			r.wantAlerts([]string{want})
		})
	}
}

// birdayz/kstreams flushed its stores before it committed: after an abort the same process
// went on with state that was a batch ahead of its offsets. Here a batch with a failed
// transaction is dropped whole, and evaluated again on the state from before it: a count
// that is aborted each time is still right.
func TestFailure12FlushedBeforeAbort(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	alerting, aborted := false, 0 // the one shard has one transaction at a time
	r.watch("only", disk(), func(x *exchange) verdict {
		switch q := x.request.(type) {
		case *kmsg.AddPartitionsToTxnRequest:
			alerting = slices.ContainsFunc(q.Topics, func(t kmsg.AddPartitionsToTxnRequestTopic) bool { return t.Topic == r.app.Alerts })
		case *kmsg.EndTxnRequest:
			if alerting && x.answer == nil && aborted < 4 {
				aborted++
				return sever
			}
		}
		return pass
	}, nil)
	for i := range 22 {
		r.send(r.denial(fmt.Sprint(i)))
	}
	r.drain()
	r.wantAlerts([]string{"access_denied 9", "access_denied 19"})
	if aborted < 4 {
		t.Errorf("%d transactions with an alert were aborted; want 4", aborted)
	}
}

// denial is one of the ten denials of a principal that make an alert.
func (r *rig) denial(id string) *kgo.Record {
	at, err := time.Parse(time.RFC3339, noon)
	if err != nil {
		r.Fatal(err)
	}
	return &kgo.Record{Value: attempt{id: id, at: at, who: "arn:u", ip: "192.0.2.1"}.json()}
}

// An instance dies with a transaction open, and every read-committed reader stands still
// behind it; with transactional ids that are never used again, for good (KIP-890, KIP-447).
// Here the successor uses the same transactional id and ends the transaction as it takes
// the shard; without a successor, the broker ends it after the time-out.
func TestFailure15OpenTransactionOfDeadInstance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		successor bool
		timeout   time.Duration
	}{
		{"successor", true, 15 * time.Minute}, // longer than the test waits
		{"nobody", false, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 1)
			timeout := func(s *consumer.Service) { s.TransactionTimeout = c.timeout }
			var armed atomic.Bool
			between := r.gate()
			a := r.watch("only", disk(), func(x *exchange) verdict {
				if isRequest[*kmsg.EndTxnRequest](x) && armed.Load() {
					between.wait()
					return sever
				}
				return pass
			}, timeout)
			r.trust(0, "arn:r")
			r.settle() // the next transaction is that of an alert
			armed.Store(true)
			want := r.strange(0, "arn:r", "1")
			r.awaitAt(between, "the transaction to be about to end")
			a.crash()
			if r.stable(r.app.Alerts, r.app.AlertPartitions) {
				t.Error("the alerts topic has no open transaction; want one that holds its readers back")
			}
			if c.successor {
				r.start("only", disk(), timeout)
			}
			r.await("readers of the alerts to be let go on", func() bool { return r.stable(r.app.Alerts, r.app.AlertPartitions) })
			if !c.successor {
				r.wantAlerts(nil)
				r.start("only", disk(), timeout)
			}
			r.drain()
			r.wantAlerts([]string{want})
		})
	}
}
