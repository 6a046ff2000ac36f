package consumer_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/rules"
	"trailhound/state"
)

// Longest times of a stall without progress: until it is reported, and until another
// instance has taken over.
const (
	toldWithin  = 10 * time.Second
	takenWithin = 45 * time.Second
	avoidFor    = 30 * time.Minute // as the package has it
)

// notReady waits until the instance is not ready, and returns the reason.
func (in *inhabitant) notReady(within time.Duration) string {
	in.Helper()
	began := time.Now()
	for time.Since(began) <= within {
		if err := in.service.Ready(); err != nil {
			return err.Error()
		}
		elapse(250 * time.Millisecond)
	}
	in.Fatalf("Ready() = nil for %s; want that it says what stands still", within)
	return ""
}

// taken waits until another instance has taken the stalled work over.
func (w *bubble) taken(what string, began time.Time, ok func() bool) {
	w.Helper()
	for ; !ok(); elapse(250 * time.Millisecond) {
		if time.Since(began) > takenWithin {
			w.Fatalf("%s after %s; want it within %s", what, time.Since(began), takenWithin)
		}
	}
	w.Logf("%s after %s", what, time.Since(began))
}

// A leader takes requests of one instance and never answers them, while another broker
// answers its heartbeats: a firewall between two hosts, a broker that hangs. The instance
// used to keep its shards and partitions for ever, and took a minute to report it.
func TestLeaderSwallowsRequests(t *testing.T) {
	for _, step := range []string{"Fetch input", "Fetch work", "Produce work", "Produce state", "Produce alerts", "EndTxn", "AddPartitionsToTxn"} {
		t.Run(strings.ReplaceAll(step, " ", "-"), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, 2, func(w *bubble) {
				swallows, leader := swallowing(step)
				a := w.start("a", disk(), leader)
				events := workload(3, 400, 20)
				w.send(events[:100])
				w.drain()
				b := w.start("b", disk(), trap{})
				w.await("both to share the work", func() bool {
					return a.service.Ready() == nil && b.service.Ready() == nil && len(a.service.Status().Shards) == 1 && len(a.service.Status().Inputs) == 1
				})
				swallows.Store(true)
				began := time.Now()
				w.send(events[100:200])
				elapse(2 * time.Second) // a fetch that was under way before has brought these
				w.send(events[200:])
				why := a.notReady(toldWithin)
				t.Log(why)
				if !strings.Contains(why, "shard ") && !strings.Contains(why, "partition ") || !strings.Contains(why, "broker ") {
					t.Errorf("Ready() = %q; want the shard or the partition, and the broker that does not answer", why)
				}
				w.taken("everything is evaluated by the other instance", began, w.drained)
				swallows.Store(false)
				w.await("a to be ready again", func() bool { return a.service.Ready() == nil })
				if difference := w.compare(); difference != "" {
					t.Error(difference)
				}
			})
		})
	}
}

// The disk of an instance hangs: every call to it blocks. The instance used to stay ready,
// with its shards, and lag 0; SIGTERM did not end it.
func TestHungDiskIsTakenOver(t *testing.T) {
	inBubble(t, 1, 1, func(w *bubble) {
		var frozen atomic.Bool
		thaw := make(chan struct{})
		a := w.start("a", disk(), trap{disk: func(_ *inhabitant, _ errorfs.Op) {
			if frozen.Load() {
				<-thaw
			}
		}})
		events := workload(3, 1000, 20)
		w.send(events[:200])
		w.drain()
		b := w.start("b", disk(), trap{})
		w.await("b to have joined", func() bool { return b.service.Status().Member })
		shards := func(in *inhabitant) int { return len(in.service.Status().Shards) }
		if shards(a) != 1 {
			t.Fatal("b has the shard; want that a keeps it")
		}
		frozen.Store(true)
		began := time.Now()
		w.send(events[200:400])
		why := a.notReady(20 * time.Second) // applied batches go to disk every 10 s at the latest
		t.Log(time.Since(began), why)
		if !strings.Contains(why, "disk of the local state does not answer: ") {
			t.Errorf("Ready() = %q; want the disk", why)
		}
		w.taken("b has the shard", began.Add(10*time.Second), func() bool { return shards(b) == 1 && b.service.Ready() == nil })
		w.taken("Run of a has ended", began.Add(10*time.Second), func() bool {
			select {
			case <-a.ended:
				return true
			default:
				return false
			}
		})
		if a.err == nil || !strings.Contains(a.err.Error(), "the disk does not answer") {
			t.Errorf("Run() = %v; want what is wrong with the disk", a.err)
		}
		a.crashing.Do(func() { close(a.crashed) })
		w.send(events[400:])
		w.drain()
		if difference := w.compare(); difference != "" {
			t.Error(difference)
		}
		close(thaw)
		a.buried = true
		a.service.Client.Close()
		a.link.cut(true)
		_ = a.store.Close() // it has failed
	})
}

// stuck is a rule that blocks on the events of one address, in its filter or in its evaluation.
type stuck struct {
	*rules.AssumeRoleUniqueIP

	address string
	filter  bool
	free    chan struct{} // closed: it goes on
}

func (r stuck) Key(e *rules.Event) string {
	if r.filter && e.SourceIP == r.address {
		<-r.free
	}
	return r.AssumeRoleUniqueIP.Key(e)
}

func (r stuck) Evaluate(e *rules.Event, s *state.Scope) *rules.Finding {
	if !r.filter && e.SourceIP == r.address {
		<-r.free
	}
	return r.AssumeRoleUniqueIP.Evaluate(e, s)
}

// A blocked router or detector is reported by name, with a lag that grows, its partition or
// shard is handed to the other instance, and SIGTERM ends the run all the same.
func TestBlockedGoroutine(t *testing.T) {
	const address = "203.0.113.99"
	for _, filter := range []bool{true, false} {
		t.Run(fmt.Sprintf("filter=%t", filter), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, 1, func(w *bubble) {
				free := make(chan struct{})
				w.engines = map[string]*rules.Engine{"a": oneRule(t, stuck{rules.NewAssumeRoleUniqueIP(), address, filter, free})}
				a := w.start("a", disk(), trap{})
				w.await("a to have the shard", func() bool { return a.service.Ready() == nil && len(a.service.Status().Shards) == 1 })
				send := func(n int, ip string) {
					for i := range n {
						w.sent = append(w.sent, attempt{})
						r := &kgo.Record{Topic: "input", Value: []byte(assume(fmt.Sprint(ip, "-", i), "arn:r", ip, noon))}
						if err := w.produce.ProduceSync(w.Context(), r).FirstErr(); err != nil {
							t.Fatal(err)
						}
					}
				}
				send(3, "192.0.2.1")
				w.drain()
				b := w.start("b", disk(), trap{})
				w.await("b to have joined", func() bool { return b.service.Status().Member })
				if st := a.service.Status(); len(st.Inputs)+len(st.Shards) < 2 {
					t.Fatalf("Status() = %+v when b has joined; want that a keeps its input and its shard", st)
				}
				began := time.Now()
				send(1, address)
				send(20, "192.0.2.7")
				why := a.notReady(toldWithin)
				t.Log(why)
				want := "input input partition 0 stands still: "
				if !filter {
					want = "shard 0 is not ready: the evaluation of its work records has made no progress for "
				}
				if !strings.HasPrefix(why, want) {
					t.Errorf("Ready() = %q; want %q", why, want)
				}
				elapse(5 * time.Second)
				st := a.service.Status()
				if filter && (len(st.Inputs) != 1 || st.Inputs[0].Lag < 20) || !filter && (len(st.Shards) != 1 || st.Shards[0].Lag < 1) {
					t.Errorf("Status() = %+v while it is blocked; want a lag", st)
				}
				w.taken("everything is evaluated by the other instance", began, w.drained)
				stopped := time.Now()
				a.stop()
				<-a.ended
				if took := time.Since(stopped); took > 30*time.Second {
					t.Errorf("Run has ended %s after its context; want it within the grace", took)
				}
				a.crashing.Do(func() { close(a.crashed) })
				close(free)
				elapse(time.Second)
			})
		})
	}
}

// A partition comes back to the instance in which a router is blocked on it. Its next router
// waits for the end of the last, which did not count as a stall: the partition was not read any
// more. Now it is reported, and handed back again when another instance comes, however late.
func TestBlockedRouterGetsItsPartitionBack(t *testing.T) {
	const address = "203.0.113.99"
	inBubble(t, 1, 1, func(w *bubble) {
		free := make(chan struct{})
		w.engines = map[string]*rules.Engine{"a": oneRule(t, stuck{rules.NewAssumeRoleUniqueIP(), address, true, free})}
		a := w.start("a", disk(), trap{})
		w.await("a to have the input", func() bool { return a.service.Ready() == nil && len(a.service.Status().Inputs) == 1 })
		send := func(id, ip string) {
			w.sent = append(w.sent, attempt{})
			r := &kgo.Record{Topic: "input", Value: []byte(assume(id, "arn:r", ip, noon))}
			if err := w.produce.ProduceSync(w.Context(), r).FirstErr(); err != nil {
				w.Fatal(err)
			}
		}
		b := w.start("b", disk(), trap{})
		w.await("b to have joined", func() bool { return b.service.Status().Member })
		send("1", address)
		w.await("the other instance to evaluate it", w.drained)
		b.shutdown()
		send("2", "192.0.2.1")
		elapse(avoidFor + 5*time.Minute)
		if why := a.notReady(time.Second); !strings.Contains(why, "is not being read yet: the goroutine that had it here before has not ended for ") {
			w.Errorf("Ready() = %q; want the router that has not ended", why)
		}
		began := time.Now()
		w.start("c", disk(), trap{})
		w.taken("everything is evaluated by the third instance", began, w.drained)
		a.stop()
		<-a.ended
		a.crashing.Do(func() { close(a.crashed) })
		close(free)
		elapse(time.Second)
	})
}

func oneRule(t *testing.T, r rules.Rule) *rules.Engine {
	t.Helper()
	e, err := rules.NewEngine([]rules.Active{{Rule: r, Options: rules.DefaultOptions()}}, rules.Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 168 * time.Hour, MaxAlertBytes: 900_000})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A producer leaves a transaction open on an input: its records, and all behind them,
// cannot be read. The instance used to be ready, without a word.
func TestOpenTransactionOnInput(t *testing.T) {
	inBubble(t, 1, 1, func(w *bubble) {
		a := w.start("a", disk(), trap{})
		w.await("a to be ready", func() bool { return a.service.Ready() == nil && len(a.service.Status().Inputs) == 1 })
		hanging := w.franz(kgo.TransactionalID("foreign"), kgo.TransactionTimeout(10*time.Minute))
		defer hanging.Close()
		if err := hanging.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: "input", Value: []byte(assume("hangs", "arn:r", "192.0.2.1", noon))}
		if err := hanging.ProduceSync(w.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		why := a.notReady(toldWithin)
		if !strings.HasPrefix(why, "input input partition 0 stands still: an open transaction of a producer has held back its records from offset 0 on") || !strings.Contains(why, "kafka-transactions.sh find-hanging") {
			t.Errorf("Ready() = %q; want the open transaction, and what to do", why)
		}
		if st := a.service.Status(); st.Inputs[0].Problem == "" || st.Inputs[0].Lag != 1 {
			t.Errorf("Status().Inputs = %+v; want the problem, and a lag of 1", st.Inputs)
		}
		if err := hanging.EndTransaction(w.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		w.await("a to be ready again", func() bool { return a.service.Ready() == nil })
	})
}
