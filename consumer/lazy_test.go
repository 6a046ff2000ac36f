package consumer

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/admin"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
	"trailhound/rules"
	"trailhound/state"
)

// A position that moves without a change stays in memory, is shown as progress,
// and is committed after a minute at the latest. PROTOCOL D8.
func TestDetectorMovesItsPositionLazily(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	id := strings.ToLower(kafkatest.Name(t))
	app := topic.App{ID: id, Shards: 1, Inputs: []string{kafkatest.Topic(t, brokers, 1, nil)}, Alerts: id + ".alerts", DeadLetter: id + ".dead", Replication: -1}
	client := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(client.Close)
	if _, err := topic.Create(t.Context(), client, app); err != nil {
		t.Fatal(err)
	}
	kafkatest.DeleteAtEnd(t, brokers, app.WorkTopic(), app.StateTopic(), app.Alerts, app.DeadLetter)
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := rules.NewEngine([]rules.Active{{Rule: rules.NewAssumeRoleUniqueIP()}}, rules.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Client: client, App: app, Store: store, Engine: engine, Metrics: admin.NewMetrics("test"), Log: zerolog.Nop(), TransactionTimeout: 10 * time.Second}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := s.detector(0)
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64 // what the detector's clock is ahead by
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	d.now, d.changes.Now = now, now
	d.confirm = func(context.Context) (bool, error) { return true, nil }

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run() = %v; want nil", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	}()

	w := work{
		source: state.Source{Topic: "t", Offset: 7}, recordTime: -1,
		pairs: []rules.Match{{Rule: rules.AssumeRoleUniqueIPID, Key: "arn:r"}},
		event: []byte(`{"eventVersion":"1.10","eventID":"a","eventTime":"2026-03-01T12:00:00Z","eventName":"AssumeRole","sourceIPAddress":"192.0.2.1","requestParameters":{"roleArn":"arn:r"}}`),
	}
	record := &kgo.Record{Topic: app.WorkTopic(), Value: w.append(nil)}
	send := kafkatest.Client(t, brokers)
	put := func() {
		t.Helper()
		if err := send.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(time.Minute); !ok(); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("still waiting for %s", what)
			}
		}
	}
	committed := func() int64 { return d.status.changelog.Load() }

	put()
	await("the first event to be committed", func() bool { return d.status.work.Load() == 1 && committed() > 0 })
	before := committed()
	for range 3 {
		put()
	}
	await("the repeats to be passed", func() bool { return d.status.work.Load() == 4 })
	if after := committed(); after != before {
		t.Errorf("repeats moved the changelog from %d to %d; want no commit for a position alone", before, after)
	}
	ahead.Store(int64(lazyCommit + time.Second))
	await("the position to be committed after a minute", func() bool { return committed() > before })
}
