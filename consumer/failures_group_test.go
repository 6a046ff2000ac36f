package consumer_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
)

// pulse watches the heartbeats of an instance.
type pulse struct {
	mu         sync.Mutex
	beats      int
	generation int32
	last       time.Time
	silence    time.Duration // longest time between two answers
}

func (p *pulse) see(x *exchange) {
	q, ok := x.request.(*kmsg.HeartbeatRequest)
	if !ok || x.answer == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.beats > 0 {
		p.silence = max(p.silence, now.Sub(p.last))
	}
	p.beats, p.generation, p.last = p.beats+1, q.Generation, now
}

func (p *pulse) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beats
}

// want compares the generation, and the longest time without a heartbeat.
func (p *pulse) want(t testing.TB, generation int32, within time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation != generation {
		t.Errorf("generation %d; want %d: nobody was evicted", p.generation, generation)
	}
	if p.silence > within {
		t.Errorf("no heartbeat was answered for %s; want them to go on: at most %s", p.silence, within)
	}
}

// Quix Streams closed the stores of revoked partitions one after the other inside the
// rebalance; with many of them, each waiting for its transaction, that took longer than the
// session: the member was evicted, and the next rebalance met the same fate (issues 1131
// and 1132, where file locks fought as well). Here the rebalance does not wait for the
// shards that leave: all end side by side, and heartbeats go on.
func TestFailure06RevokeOfManyShards(t *testing.T) {
	const shards = 64
	inBubble(t, 1, shards, func(w *bubble) {
		var pulses [2]pulse
		start := func(i int) *inhabitant {
			return w.start("", disk(), trap{look: func(_ *inhabitant, x *exchange) verdict {
				if isRequest[*kmsg.EndTxnRequest](x) {
					<-time.After(time.Second)
				}
				pulses[i].see(x)
				return pass
			}})
		}
		events, sent := workload(6, 20_000, 600), 0
		readyUnderLoad := func(in *inhabitant) func() bool { // load keeps each shard in the midst of a transaction
			return func() bool {
				next := min(sent+100, len(events))
				w.send(events[sent:next])
				sent = next
				return in.service.Ready() == nil
			}
		}
		a := start(0)
		w.await("the first instance to have all shards", readyUnderLoad(a))
		begun := time.Now()
		b := start(1)
		w.await("the second instance to have its share", readyUnderLoad(b))
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("half of %d shards, each in a transaction of a second, have moved after %s; want them to move side by side", shards, took)
		}
		for i := range pulses {
			since := pulses[i].count()
			w.await("more heartbeats", func() bool { return pulses[i].count() >= since+2 })
			pulses[i].want(t, 2, 2*time.Second)
		}
		w.drain()
		begun = time.Now()
		a.shutdown()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the end of an instance with %d shards took %s; want them to end side by side", shards/2, took)
		}
		w.drain()
		if difference := w.compare(); difference != "" {
			t.Error(difference)
		}
	})
}

// The same on brokers that take their own time for 64 transactions at once.
func TestFailure06RevokeOfManyShardsOnKafka(t *testing.T) {
	if kafkatest.Real() == nil {
		t.Skip("needs a real Kafka: set " + kafkatest.Env)
	}
	r := newRig(t, 1, 64)
	var pulses [2]pulse
	start := func(i int) *watched {
		return r.watch("", disk(), func(x *exchange) verdict { pulses[i].see(x); return pass }, nil)
	}
	events := workload(6, 6000, 600)
	a := start(0)
	r.send(records(events[:3000], 1)...)
	r.await("the first instance to have all shards", func() bool { return a.service.Ready() == nil })
	r.send(records(events[3000:], 1)...)
	b := start(1)
	r.await("the second instance to have its share", func() bool { return b.service.Ready() == nil })
	for i := range pulses {
		since := pulses[i].count()
		r.await("more heartbeats", func() bool { return pulses[i].count() >= since+2 })
		pulses[i].want(t, 2, 6*time.Second)
	}
	r.drain()
	a.shutdown()
	r.drain()
	r.wantAlerts(expected(events))
}

// Before KIP-345 every restart of a consumer was two rebalances of the whole group, one as
// it left and one as it came back, and state moved with each. Here members are static: a
// member back within its session finds its shards, and the others notice nothing.
func TestFailure13RollingRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, 6)
	var generation [3]atomic.Int32
	var joins [3]atomic.Int32
	start := func(i int, fs *vfs.MemFS) *watched {
		return r.watch(fmt.Sprint("i", i), fs, func(x *exchange) verdict {
			switch q := x.request.(type) {
			case *kmsg.JoinGroupRequest:
				if x.answer == nil {
					joins[i].Add(1)
				}
			case *kmsg.HeartbeatRequest:
				generation[i].Store(q.Generation)
			case *kmsg.LeaveGroupRequest:
				t.Error("an instance that ends leaves the group; want it to be expected back")
			}
			return pass
		}, func(s *consumer.Service) { s.SessionTimeout = 30 * time.Second })
	}
	var all [3]*watched
	for i := range all {
		all[i] = start(i, disk())
	}
	settled := func() bool {
		for i, in := range all {
			if in.service.Ready() != nil || generation[i].Load() != generation[0].Load() {
				return false
			}
		}
		return len(r.owners()) == len(all)
	}
	events := workload(13, 2000, 60)
	r.send(records(events[:500], 3)...)
	r.await("three instances to share the work", settled)
	r.drain()
	owners, before := r.owners(), generation[0].Load()
	for i := range all {
		others := [3]int32{joins[0].Load(), joins[1].Load(), joins[2].Load()}
		all[i].shutdown()
		r.send(records(events[500+i*500:1000+i*500], 3)...)
		all[i] = start(i, all[i].fs)
		r.await("the instance to be back", func() bool { return all[i].service.Ready() == nil })
		r.drain()
		r.await("the group to be settled", settled)
		if now := r.owners(); !reflect.DeepEqual(now, owners) {
			t.Errorf("after the restart of instance %d the shards are at %v; want them where they were, %v", i, now, owners)
		}
		if kafkatest.Real() == nil {
			continue // kfake takes the other freshness of a static member for a reason to rebalance
		}
		for j := range all {
			if n := joins[j].Load(); j != i && n != others[j] {
				t.Errorf("the restart of instance %d made instance %d join %d times; want it to notice nothing", i, j, n-others[j])
			}
		}
	}
	if now := generation[0].Load(); now != before && kafkatest.Real() != nil {
		t.Errorf("generation %d after a rolling restart; want still %d", now, before)
	}
	r.wantAlerts(expected(events))
}

// owners returns the shards of each instance, as the broker tells them.
func (r *rig) owners() map[string][]int32 {
	r.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{r.app.ID}
	out := make(map[string][]int32)
	for _, shard := range r.produce.RequestSharded(r.Context(), req) {
		if shard.Err != nil {
			continue
		}
		for _, m := range shard.Resp.(*kmsg.DescribeGroupsResponse).Groups[0].Members {
			var a kmsg.ConsumerMemberAssignment
			if m.InstanceID == nil || a.ReadFrom(m.MemberAssignment) != nil {
				continue
			}
			for _, t := range a.Topics {
				if t.Topic == r.app.WorkTopic() {
					out[*m.InstanceID] = slices.Sorted(slices.Values(t.Partitions))
				}
			}
		}
	}
	return out
}
