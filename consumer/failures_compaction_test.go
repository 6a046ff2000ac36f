package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/state"
)

// Quix Streams, KafkaJS and Faust waited for the record before the high watermark, which is
// never delivered if it is a control record or one that compaction has removed (Quix
// Streams 1017, KafkaJS 562, Faust 47). Here a restore ends when the next offset to fetch
// lies behind the claim, whether or not a record is there.
func TestFailure08RestoreEndsAtControlRecord(t *testing.T) {
	t.Parallel()
	r, compact := newCompactedRig(t)
	r.fill(0)
	compact(func(rec *kgo.Record) bool { return rec.Offset < 5 && string(rec.Key) == string(state.ClaimKey) })
	foreign := kafkatest.Client(t, r.brokers, kgo.TransactionalID(kafkatest.Name(t)), kgo.DefaultProduceTopic(r.app.StateTopic()))
	if err := foreign.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	ghost := &kgo.Record{Key: []byte("never read"), Value: []byte("never read")}
	if err := foreign.ProduceSync(t.Context(), ghost).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := foreign.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	b := r.start("b", disk(), dynamic)
	r.await("the restore to end", func() bool { return b.service.Ready() == nil })
	r.wantFilled()
}

// A local copy may be older than the changelog's tombstones: the keys deleted since are
// gone from the log without a trace, and stay in the copy. Any changelog design has this.
// Here the copy notes when it was last caught up, and is wiped when that is half of
// delete.retention.ms ago.
func TestFailure21CopyOlderThanTombstones(t *testing.T) {
	t.Parallel()
	r, compact := newCompactedRig(t)
	fs := disk()
	in := r.start("a", fs, dynamic)
	for i := range 9 {
		r.send(r.denial(fmt.Sprint(i)))
	}
	r.drain()
	in.shutdown()
	old := clone(fs)
	in = r.start("a", fs, dynamic)
	r.send(r.denial("9")) // the tenth: an alert, and the counter is deleted
	r.drain()
	compact(func(rec *kgo.Record) bool { return rec.Key[0] == 'h' && strings.Contains(string(rec.Key), "arn:u") })
	in.shutdown()
	r.onDisk(old, func(h *state.Shard) {
		if err := h.MarkCaughtUp(time.Now().Add(-4 * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
	r.start("a", old, dynamic)
	for i := range 12 {
		r.send(r.denial(fmt.Sprint("again-", i)))
	}
	r.drain()
	r.wantAlerts([]string{"access_denied 9", "access_denied again-9"})
}

// newCompactedRig returns a rig, and a function that lets the broker compact its changelog
// until no record is left for which gone holds.
func newCompactedRig(t *testing.T) (*rig, func(gone func(*kgo.Record) bool)) {
	t.Helper()
	brokers, clean := kafkatest.Real(), func() {}
	if brokers == nil {
		cluster := kafkatest.Fake(t, 1)
		brokers, clean = cluster.ListenAddrs(), cluster.Compact
	}
	r := newRigOn(t, brokers, 1, 1)
	// The pin stays: kfake would move the log's start to the first record that does.
	pin := &kgo.Record{Topic: r.app.StateTopic(), Key: []byte("ipin"), Value: []byte{1}}
	if err := r.produce.ProduceSync(t.Context(), pin).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return r, func(gone func(*kgo.Record) bool) {
		t.Helper()
		r.alter(r.app.StateTopic(), "segment.ms", "100", "min.cleanable.dirty.ratio", "0.001", "max.compaction.lag.ms", "100", "delete.retention.ms", "100")
		r.await("the changelog to be compacted", func() bool {
			// The new record's timestamp makes the broker begin another segment.
			roll := &kgo.Record{Topic: r.app.StateTopic(), Key: state.ClaimKey, Value: []byte("\x01the test")}
			if err := r.produce.ProduceSync(t.Context(), roll).FirstErr(); err != nil {
				t.Fatal(err)
			}
			clean()
			for _, rec := range kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic()) {
				if gone(rec) {
					return false
				}
			}
			return true
		})
		r.alter(r.app.StateTopic(), "segment.ms", "604800000", "min.cleanable.dirty.ratio", "0.5", "max.compaction.lag.ms", "9223372036854775807", "delete.retention.ms", "604800000")
	}
}

// alter sets configurations of a topic.
func (r *rig) alter(name string, pairs ...string) {
	r.Helper()
	req, res := kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, name
	for i := 0; i < len(pairs); i += 2 {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = pairs[i], &pairs[i+1]
		res.Configs = append(res.Configs, c)
	}
	req.Resources = append(req.Resources, res)
	if resp, err := req.RequestWith(r.Context(), r.produce); err != nil || resp.Resources[0].ErrorCode != 0 {
		r.Fatalf("alter %q of topic %s: %v %+v", pairs, name, err, resp)
	}
}
