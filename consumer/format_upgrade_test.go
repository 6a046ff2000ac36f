package consumer_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/group"
	"trailhound/rules"
	"trailhound/state"
)

// release makes an instance work as a build that writes and reads these formats.
func release(writes, reads byte) func(*consumer.Service) {
	return func(s *consumer.Service) { s.SetFormats(writes, reads) }
}

// upgrade is an app with two instances that are restarted, one by one, as builds of other
// releases, while events come.
type upgrade struct {
	*rig
	disks   map[string]*vfs.MemFS
	running map[string]*instance
	events  []attempt
	sent    int
}

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	return &upgrade{rig: newRig(t, 2, 4), disks: map[string]*vfs.MemFS{"a": disk(), "b": disk()}, running: make(map[string]*instance), events: workload(5, 3000, 40)}
}

// feed sends some of the events that are left.
func (u *upgrade) feed(n int) {
	u.Helper()
	u.send(records(u.events[u.sent:u.sent+n], 2)...)
	u.sent += n
}

// roll restarts an instance as another build, with events before, meanwhile and after, and
// waits until both work.
func (u *upgrade) roll(name string, change func(*consumer.Service)) {
	u.Helper()
	u.feed(100)
	if in := u.running[name]; in != nil {
		in.shutdown()
	}
	u.feed(100)
	u.running[name] = u.start(name, u.disks[name], change)
	u.feed(100)
	u.await("all instances to work on what they have", func() bool {
		for _, in := range u.running {
			if in.service.Ready() != nil {
				return false
			}
		}
		return true
	})
}

// refused starts an instance as a build that the group does not admit.
func (u *upgrade) refused(name string, change func(*consumer.Service)) {
	u.Helper()
	before := u.running["a"].service.Ready()
	in := u.build(name, u.disks[name], change)
	ctx, cancel := context.WithTimeout(u.Context(), patience)
	defer cancel()
	err := in.service.Run(ctx)
	if want := "one release at a time"; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), u.app.ID) {
		u.Errorf("Run() beside an instance of a build too far away = %v; want an error with %q and the group", err, want)
	}
	if err := in.store.Close(); err != nil {
		u.Errorf("Close() = %v; want nil", err)
	}
	if after := u.running["a"].service.Ready(); before != nil || after != nil {
		u.Errorf("the instance that works says %v before another was refused, and %v after; want nil", before, after)
	}
}

// settled compares the alerts with those expected of all events sent, and expects no dead
// letters.
func (u *upgrade) settled() {
	u.Helper()
	u.drain()
	u.wantAlerts(expected(u.events[:u.sent]))
	if dead := kafkatest.ReadCommitted(u.TB, u.brokers, u.app.DeadLetter); len(dead) > 0 {
		u.Errorf("%d dead letters, the first %q; want none", len(dead), dead[0].Value)
	}
}

// watchFormats notes the format of each work record until the test ends. Evaluated records
// are deleted, so that a look at the end would find few.
func (u *upgrade) watchFormats() (seen func(format byte) bool) {
	u.Helper()
	var formats [256]atomic.Bool
	reader := kafkatest.Client(u.TB, u.brokers, kgo.ConsumeTopics(u.app.WorkTopic()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	go func() {
		for {
			fetches := reader.PollFetches(u.Context())
			if fetches.IsClientClosed() || u.Context().Err() != nil {
				return
			}
			fetches.EachRecord(func(rec *kgo.Record) { formats[rec.Value[0]].Store(true) })
		}
	}()
	return func(format byte) bool { return formats[format].Load() }
}

// Two releases, instance by instance: the first reads the next format, the second writes
// it. Then one release back, and a build further back is refused.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	seen := u.watchFormats()
	for _, step := range []struct{ writes, reads byte }{{1, 1}, {1, 2}, {2, 2}} {
		u.roll("a", release(step.writes, step.reads))
		u.roll("b", release(step.writes, step.reads))
	}
	u.settled()
	u.await("work records of both formats to be seen", func() bool { return seen(1) && seen(2) })
	u.roll("b", release(1, 2)) // one release back, beside one that writes format 2
	u.settled()

	u.running["b"].shutdown()
	delete(u.running, "b")
	u.refused("b", release(1, 1))
	u.feed(300)
	u.settled()
}

// An instance that skips a release on the way up finds the group closed, and the members go
// on undisturbed; once all members are stopped, it is admitted.
func TestUpgradeOverARelease(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	u.roll("a", release(1, 1))
	u.refused("b", release(2, 2))
	u.feed(300)
	u.settled()

	u.running["a"].shutdown()
	u.feed(100)
	delete(u.running, "a")
	u.await("the session of the former build to end", func() bool { return u.members() == 0 })
	u.roll("b", release(2, 2))
	u.settled()
}

func (r *rig) members() int {
	r.Helper()
	n, err := (&group.Member{Client: r.client, Group: r.app.ID}).Members(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return n
}

// A work record of a newer format reaches an older build although it should not: that build
// stops with a sentence, gives its place up at once, and the other one evaluates all. The
// session time-out is longer than the test's patience.
func TestNewerWorkIsLeftToNewerBuilds(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	start := func(name string, reads byte) {
		u.roll(name, func(s *consumer.Service) {
			s.SetFormats(1, reads)
			s.SessionTimeout = 2 * patience
		})
	}
	start("a", 1)
	start("b", 2)
	u.settled()

	old := u.running["a"]
	delete(u.running, "a")
	u.started = u.started[1:] // it is expected to end
	want := expected(u.events[:u.sent])
	role := "arn:aws:iam::111122223333:role/newer"
	for shard := range u.app.Shards {
		key := keyOf(shard, u.app.Shards, role)
		for i, ip := range []string{"192.0.2.1", "192.0.2.2"} {
			event := attempt{id: key + ip, at: u.events[u.sent].at, role: key, ip: ip}
			source := state.Source{Topic: "elsewhere", TopicID: [16]byte{9, byte(shard)}, Offset: int64(i)}
			rec := &kgo.Record{Topic: u.app.WorkTopic(), Partition: int32(shard), Value: consumer.WorkRecord(2, source, rules.Match{Rule: "assume_role_unique_ip", Key: key}, string(event.json()))}
			if err := u.produce.ProduceSync(u.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, "assume_role_unique_ip "+key+"192.0.2.2")
	}
	old.wantStop(u.app.WorkTopic(), "version 2", "versions 1 to 1", "run that build here too")
	u.drain()
	u.wantAlerts(want)
	if dead := kafkatest.ReadCommitted(t, u.brokers, u.app.DeadLetter); len(dead) > 0 {
		t.Errorf("%d dead letters, the first %q; want none", len(dead), dead[0].Value)
	}
	if n := u.members(); n != 1 {
		t.Errorf("the group has %d members after the older build has stopped; want 1", n)
	}
}

// keyOf returns a key, beginning with prefix, that a shard owns.
func keyOf(shard, shards int, prefix string) string {
	for key := prefix; ; key += "x" {
		if rules.ShardOf(key, shards) == shard {
			return key
		}
	}
}

// A changelog that a newer build has written is not misread, and gets no record but the
// claim: the older build stops with a sentence and is out of the group.
func TestNewerChangelogIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, value string
		words      []string
	}{
		"value":       {"inote", "\x02whatever", []string{"version 2", "run the build that wrote it"}},
		"kind of key": {"zkey", "\x01whatever", []string{"kind of key 0x7a", "run the build that wrote it"}},
		"identity":    {"iidentity", "\x01" + `{"format":2,"inputs":{}}`, []string{"format 2", "formats 1 to 1", "run the build that wrote it"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 1)
			fs := disk()
			in := r.start("only", fs, nil)
			r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
			r.drain()
			in.shutdown()

			newer := &kgo.Record{Topic: r.app.StateTopic(), Key: []byte(c.key), Value: []byte(c.value)}
			if err := r.produce.ProduceSync(r.Context(), newer).FirstErr(); err != nil {
				t.Fatal(err)
			}
			before := len(kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic()))
			for _, fs := range []*vfs.MemFS{fs, disk()} { // with a local copy, and without
				r.start("only", fs, func(s *consumer.Service) { s.SessionTimeout = 2 * patience }).wantStop(append(c.words, "readers are deployed before writers")...)
				r.await("the place in the group to be given up", func() bool { return r.members() == 0 })
			}
			after := kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic())
			for _, rec := range after[before:] {
				if string(rec.Key) != string(state.ClaimKey) {
					t.Errorf("the older build has written %q = %q to the changelog; want claims alone", rec.Key, rec.Value)
				}
			}
			r.wantAlerts(nil)
		})
	}
}
