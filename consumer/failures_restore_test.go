package consumer_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/state"
)

// bigName is 2 KB that do not compress.
func bigName(i int) string {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	name := make([]byte, 1900)
	for j := range name {
		name[j] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[rng.IntN(64)]
	}
	return string(name)
}

// filled is the number of roles that the state knows after fill.
const filled = 40

// fill gives the app a state with an instance that then ends. Between its first and its last
// records lie so many MB in each partition of the changelog; a restore takes a fetch for each 4
// MiB. The evaluated work is deleted, as its owner does in time: it cannot be evaluated again.
func (r *rig) fill(megabytes int) *instance {
	r.Helper()
	in := r.start("a", disk(), dynamic)
	for i := range filled {
		if i == filled/2 {
			r.drain()
			r.pad(megabytes)
		}
		r.trust(0, fmt.Sprint("arn:role/", i))
	}
	r.settle()
	in.shutdown()
	for shard := range int32(r.app.Shards) {
		r.deleteRecords(r.app.WorkTopic(), shard, r.end(r.app.WorkTopic(), shard))
	}
	return in
}

// pad writes records of a MB to the changelog that a restore loads and no rule reads.
func (r *rig) pad(megabytes int) {
	r.Helper()
	value := noise(900_000)
	value[0] = 1 // the format's version
	for shard := range r.app.Shards {
		for i := range megabytes {
			rec := &kgo.Record{Topic: r.app.StateTopic(), Partition: int32(shard), Key: fmt.Append(nil, "ipad", i), Value: value}
			if err := r.produce.ProduceSync(r.Context(), rec).FirstErr(); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// wantFilled uses each role from another address: a role missing from the state would be
// trusted anew, without an alert.
func (r *rig) wantFilled() {
	r.Helper()
	var want []string
	for i := range filled {
		want = append(want, r.strange(0, fmt.Sprint("arn:role/", i), fmt.Sprint(i)))
	}
	r.drain()
	r.wantAlerts(want)
}

// Kafka Streams, closed in the middle of a restore, wrote a checkpoint with the offset that
// it had produced up to instead of the one it had restored to: the records in between were
// never read (KAFKA-16017). Here the position moves with its records, in one write; the
// next process goes on from that position, and reports it to the group.
func TestFailure03ClosedInMidRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	r.fill(14)
	changes := r.topicID(r.app.StateTopic())
	fs := disk()
	at, told := int64(0), atomic.Int64{}
	for _, killed := range []bool{true, false} {
		begun, second := at, r.gate()
		var first atomic.Int64
		var joined atomic.Bool // before that, fetches only look for the identity
		first.Store(-1)
		b := r.watch("b", fs, func(x *exchange) verdict {
			if isRequest[*kmsg.JoinGroupRequest](x) {
				told.Store(freshness(x)[0])
				joined.Store(true)
			}
			if _, next, ok := fetchFrom(x, changes); ok && joined.Load() && !first.CompareAndSwap(-1, next) && next > begun {
				second.wait()
			}
			return pass
		}, dynamic)
		r.awaitAt(second, "the restore to be in its middle")
		if first.Load() != begun || told.Load() != begun {
			t.Errorf("a restart goes on at offset %d and tells the group %d; want %d, the position of its copy", first.Load(), told.Load(), begun)
		}
		if fs = b.fs; killed {
			fs = b.crash()
		} else {
			b.shutdown()
		}
		r.onDisk(fs, func(h *state.Shard) {
			at = h.Position().Changelog
			if _, restoring := h.Restoring(); at > begun && !restoring {
				t.Errorf("Restoring() = false at offset %d, in the midst of a restore; want the copy marked", at)
			}
		})
		if !killed && at <= begun {
			t.Errorf("Position().Changelog = %d after a load and a clean end; want more than the %d before", at, begun)
		}
	}
	r.start("b", fs, dynamic)
	r.wantFilled()
}

// Kafka Streams staged the status of a store in a buffer that close dropped: each start
// found a store in doubt, wiped it and restored it, for ever (KAFKA-20753). Here marks are
// written when they are made. A restart continues its copy, and wipes one that is too old
// for the changelog's tombstones once.
func TestFailure04WipedForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := r.fill(0).fs
	changes := r.topicID(r.app.StateTopic())
	restart := func() (from int64) {
		var first atomic.Int64
		first.Store(-1)
		in := r.watch("a", fs, func(x *exchange) verdict {
			if _, at, ok := fetchFrom(x, changes); ok {
				first.CompareAndSwap(-1, at)
			}
			return pass
		}, dynamic)
		r.await("the instance to be ready", func() bool { return in.service.Ready() == nil })
		in.shutdown()
		return first.Load()
	}
	for i := range 2 {
		if from := restart(); from <= 0 {
			t.Errorf("restart %d reads the changelog from offset %d; want it to go on with its copy", i, from)
		}
	}
	r.onDisk(fs, func(h *state.Shard) {
		if err := h.MarkCaughtUp(time.Now().Add(-4 * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
	if from := restart(); from != 0 {
		t.Errorf("a copy of four days ago goes on at offset %d; want it wiped and read from 0", from)
	}
	if from := restart(); from <= 0 {
		t.Errorf("the restart after that reads the changelog from offset %d; want the copy wiped once", from)
	}
	r.start("a", fs, dynamic)
	r.wantFilled()
}

// A rebalance in the middle of a recovery crashed Quix Streams (issue 1146), and made Faust
// lose messages (issue 57). Here a shard that leaves ends its restore, one that stays goes
// on undisturbed, and one that comes back continues at the position of its copy.
func TestFailure05RebalanceDuringRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	r.fill(6)
	changes, middle := r.topicID(r.app.StateTopic()), r.gate()
	var joined atomic.Bool // before that, fetches only look for the identity
	b := r.watch("b", disk(), func(x *exchange) verdict {
		if isRequest[*kmsg.JoinGroupRequest](x) {
			joined.Store(true)
		}
		if _, at, ok := fetchFrom(x, changes); ok && at > 0 && joined.Load() {
			middle.wait()
		}
		return pass
	}, dynamic)
	r.awaitAt(middle, "a restore to be in its middle")
	for range 2 {
		c := r.start("c", disk(), dynamic)
		r.await("the other instance to have restored its share", func() bool { return c.service.Ready() == nil })
		if b.service.Ready() == nil {
			t.Error("Ready() = nil while a restore stands still; want what is missing")
		}
		c.shutdown()
	}
	middle.open()
	r.await("all shards to have been restored", func() bool { return b.service.Ready() == nil })
	r.wantFilled()
}

// The most common complaint of all: a restore takes longer than the liveness probe allows,
// the process is killed, and starts from the beginning (goka issue 212). Here a restore of
// any length leaves /livez alone; /readyz and a gauge tell the records left. That its
// memory is bounded is tested in package changelog.
func TestFailure10SlowRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	r.fill(6)
	changes, middle := r.topicID(r.app.StateTopic()), r.gate()
	var metrics *admin.Metrics
	var joined atomic.Bool // before that, fetches only look for the identity
	b := r.watch("b", disk(), func(x *exchange) verdict {
		if isRequest[*kmsg.JoinGroupRequest](x) {
			joined.Store(true)
		}
		if _, at, ok := fetchFrom(x, changes); ok && at > 0 && joined.Load() {
			middle.wait()
		}
		return pass
	}, func(s *consumer.Service) { dynamic(s); metrics = s.Metrics })
	r.awaitAt(middle, "the restore to be in its middle")
	get := serve(t, &admin.Server{Metrics: metrics, Ready: b.service.Ready})
	r.await("the input to be opened", func() bool { return !strings.Contains(get("/readyz"), "not being read") })
	for path, want := range map[string]string{
		"/livez":   "200 ok",
		"/readyz":  "503 shard 0 is not ready",
		"/metrics": `trailhound_shard_ready{shard="0"} 0`,
	} {
		if got := get(path); !strings.Contains(got, want) {
			t.Errorf("GET %s = %.200q in the midst of a restore; want %q", path, got, want)
		}
	}
	if got := get("/metrics"); strings.Contains(got, `restore_remaining_records{shard="0"} 0`) {
		t.Error("the gauge of a restore in its middle is 0; want what is left")
	}
	middle.open()
	r.await("the restore to end", func() bool { return strings.HasPrefix(get("/readyz"), "200") })
	r.await("the gauge of the restore to be 0", func() bool { // an answer with metrics is given again for a while
		return strings.Contains(get("/metrics"), `restore_remaining_records{shard="0"} 0`)
	})
	r.wantFilled()
}

// serve answers requests until the end of the test; get returns status and body.
func serve(t *testing.T, s *admin.Server) (get func(path string) string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v; want nil", err)
		}
	})
	return func(path string) string {
		t.Helper()
		client := http.Client{Timeout: 20 * time.Second}
		defer client.CloseIdleConnections()
		res, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, " ", string(body))
	}
}

// goka stood still after a rebalance, but only in processors with tables: it waited for
// changes in partitions that had none to give (goka issue 267). Here each take writes a
// claim of its own and waits for no other record, so a complete copy is ready at once,
// however often its shard moves.
func TestFailure11StuckAfterRebalance(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 4)
	a := r.start("a", disk(), dynamic)
	for i := range 12 {
		r.trust(int32(i%2), fmt.Sprint("arn:role/", i))
	}
	r.drain()
	fs := disk()
	var want []string
	for round := range 3 {
		b := r.start("b", fs, dynamic)
		r.await("both instances to be ready", func() bool { return a.service.Ready() == nil && b.service.Ready() == nil })
		for i := range 12 {
			want = append(want, r.strange(int32(i%2), fmt.Sprint("arn:role/", i), fmt.Sprint(round, "-", i)))
		}
		r.drain()
		b.shutdown()
		fs = b.fs
		r.await("the first instance to have everything back", func() bool { return a.service.Ready() == nil })
	}
	r.wantAlerts(want)
}
