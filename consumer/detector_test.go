package consumer

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/admin"
	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// stand is an app of one shard, for detectors without a group, a router or a run.
type stand struct {
	testing.TB
	brokers []string
	client  *wire.Client
	app     topic.App
	send    *kgo.Client
}

func newStand(t testing.TB) *stand {
	t.Helper()
	brokers := kafkatest.Brokers(t)
	id := strings.ToLower(kafkatest.Name(t))
	s := &stand{
		TB: t, brokers: brokers, client: wire.NewClient(brokers, nil, nil, nil), send: kafkatest.Client(t, brokers),
		app: topic.App{ID: id, Shards: 1, Inputs: []string{kafkatest.Topic(t, brokers, 1, nil)}, Alerts: id + ".alerts", DeadLetter: id + ".dead", Replication: -1},
	}
	t.Cleanup(s.client.Close)
	if _, err := topic.Create(t.Context(), s.client, s.app); err != nil {
		t.Fatal(err)
	}
	kafkatest.DeleteAtEnd(t, brokers, s.app.WorkTopic(), s.app.StateTopic(), s.app.Alerts, s.app.DeadLetter)
	return s
}

// detector returns a detector with an empty disk that believes to own the shard.
func (s *stand) detector() *detector {
	s.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := store.Close(); err != nil {
			s.Errorf("Close() = %v; want nil", err)
		}
	})
	engine, err := rules.NewEngine([]rules.Active{{Rule: rules.NewAssumeRoleUniqueIP()}}, rules.Limits{})
	if err != nil {
		s.Fatal(err)
	}
	service := &Service{Client: s.client, App: s.app, Store: store, Engine: engine, Metrics: admin.NewMetrics("test"), Log: zerolog.Nop(), TransactionTimeout: 10 * time.Second}
	if err := service.prepare(s.Context()); err != nil {
		s.Fatal(err)
	}
	d, err := service.shards.detector(0)
	if err != nil {
		s.Fatal(err)
	}
	d.group = &newGroup{}
	return d
}

// newGroup gives the shard to each detector that asks.
type newGroup struct{ done bool }

func (*newGroup) confirm(context.Context, int) (bool, error)  { return true, nil }
func (g *newGroup) worked(context.Context, int) (bool, error) { return g.done, nil }

// run runs a detector until the function that it returns is called.
func (s *stand) run(d *detector) (stop func()) {
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.Errorf("run() = %v; want nil", err)
		}
	}
}

// put writes the use of a role to the work topic: always the same event.
func (s *stand) put() {
	s.Helper()
	w := work{
		source: state.Source{Topic: "t", TopicID: [16]byte{1}, Offset: 7}, recordTime: -1,
		pairs: []rules.Match{{Rule: rules.AssumeRoleUniqueIPID, Key: "arn:r"}},
		event: []byte(`{"eventVersion":"1.10","eventID":"a","eventTime":"2026-03-01T12:00:00Z","eventName":"AssumeRole","sourceIPAddress":"192.0.2.1","requestParameters":{"roleArn":"arn:r"}}`),
	}
	if err := s.send.ProduceSync(s.Context(), &kgo.Record{Topic: s.app.WorkTopic(), Value: w.record()}).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

func (s *stand) await(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("still waiting for %s", what)
		}
	}
}

// The work topic may still hold an event of a former input. A shard that met it after being
// taken waited for the end of that input for good: no value expired or was swept from then
// on. PROTOCOL R9.
func TestDetectorWaitsForNoFormerInput(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	d := s.detector()
	stop := s.run(d)
	s.put() // of a topic that is no input
	s.await("the event to be committed", func() bool { return d.status.work.Load() == 1 })
	stop()
	if got := d.local.Sources(); len(got) != 1 || !got[0].Retired {
		t.Errorf("Sources() = %+v; want one that holds no horizon back", got)
	}
}

// A position that moves without a change stays in memory, is shown as progress,
// and is committed after a minute at the latest. PROTOCOL D8.
func TestDetectorMovesItsPositionLazily(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	d := s.detector()
	var ahead atomic.Int64 // how far the detector's clock is ahead
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	d.now, d.changes.Now = now, now
	defer s.run(d)()
	committed := func() int64 { return d.status.changelog.Load() }

	s.put()
	s.await("the first event to be committed", func() bool { return d.status.work.Load() == 1 && committed() > 0 })
	before := committed()
	for range 3 {
		s.put()
	}
	s.await("the repeats to be passed", func() bool { return d.status.work.Load() == 4 })
	if after := committed(); after != before {
		t.Errorf("repeats moved the changelog from %d to %d; want no commit for a position alone", before, after)
	}
	ahead.Store(int64(lazyCommit + time.Second))
	s.await("the position to be committed after a minute", func() bool { return committed() > before })
}

// While one detector takes the shard, another takes it away, evaluates the work, and deletes
// the evaluated records. The first one restores to its own claim and then finds work missing,
// or done that its state knows nothing of. That is no loss, only a shard with another owner
// by now: an instance that stopped here asked people to accept a loss that there was not.
func TestDetectorOvertakenIsNoLoss(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		hooks func(slow *detector, overtake func())
	}{
		{"its work done", func(slow *detector, overtake func()) {
			progress := slow.changes.Progress
			slow.changes.Progress = func(next, claim int64) {
				progress(next, claim)
				overtake()
				slow.group.(*newGroup).done = true
			}
		}},
		{"its work deleted", func(slow *detector, overtake func()) {
			progress := slow.changes.Progress
			slow.changes.Progress = func(next, claim int64) {
				progress(next, claim)
				overtake()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t)
			slow, quick := s.detector(), s.detector()
			s.put()
			c.hooks(slow, func() {
				defer s.run(quick)()
				s.await("the work to be done and deleted", func() bool {
					start, _, err := topic.Bounds(t.Context(), s.client, s.app.WorkTopic(), 0)
					return err == nil && start == 1
				})
			})
			slow.each = slow.event
			err := slow.own(t.Context())
			slow.drop()
			var stop *fatal.Error
			if err == nil || errors.As(err, &stop) {
				t.Errorf("own() = %v; want an error that lets it take the shard again", err)
			}
		})
	}
}

// In a long backlog full batches follow one another, and the next commit that is not full
// may never be due: evaluated work is deleted all the same.
func TestDetectorUpkeepInABacklog(t *testing.T) {
	s := newStand(t)
	d := s.detector()
	var log bytes.Buffer
	d.app.ID += "-none" // so that each attempt to delete leaves a line
	d.log = zerolog.New(&log)
	clock := time.Now()
	d.now = func() time.Time {
		clock = clock.Add(trimEvery)
		return clock
	}
	d.begin(logPosition{1, noEpoch})
	d.due = clock.Add(1000 * time.Hour)
	in := prefetcher{full: make(chan *wire.Fetched, 2), empty: make(chan *wire.Fetched, 3)}
	in.full <- new(wire.Fetched)
	if err := d.consume(t.Context(), &in, new(wire.Fetched)); err == nil {
		t.Error("consume() = nil; want an error: the commit that ends it has no session here")
	}
	if got := strings.Count(log.String(), "work_not_deleted"); got != 2 {
		t.Errorf("%d attempts to delete work while two fetches are evaluated; want 2", got)
	}
}
