package consumer_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
)

// traces counts the members, records and committed offsets on a cluster, which a start changes.
func (r *rig) traces(names ...string) map[string]int64 {
	r.Helper()
	out := make(map[string]int64)
	group := kmsg.NewPtrDescribeGroupsRequest()
	group.Groups = []string{r.app.ID}
	r.await("the coordinator of the group", func() bool {
		resp, err := group.RequestWith(r.Context(), r.produce)
		if err != nil {
			return false
		}
		out["members"] = int64(len(resp.Groups[0].Members))
		return true
	})
	for _, name := range append(names, r.app.WorkTopic(), r.app.StateTopic()) {
		infos, err := topic.Describe(r.Context(), r.client, name)
		if err != nil {
			r.Fatal(err)
		}
		for p := range infos[name].Partitions {
			_, end, err := topic.Bounds(r.Context(), r.client, name, int32(p))
			if err != nil {
				r.Fatal(err)
			}
			out[name] += end
		}
		offsets := kmsg.NewPtrOffsetFetchRequest()
		offsets.Group = r.app.ID
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic = name
		for p := range infos[name].Partitions {
			t.Partitions = append(t.Partitions, int32(p))
		}
		offsets.Topics = append(offsets.Topics, t)
		fetched, err := offsets.RequestWith(r.Context(), r.produce)
		if err != nil {
			r.Fatal(err)
		}
		for _, t := range fetched.Topics {
			for _, p := range t.Partitions {
				if name != r.app.WorkTopic() && p.Offset >= 0 { // offsets of work are for display, and follow late
					out[name+" committed"] += p.Offset
				}
			}
		}
	}
	return out
}

// A start that the state refuses has touched nothing: it had routed the refused topic,
// committed its offsets and taken half of the shards of a healthy instance, which then
// stood still. PROTOCOL R6.
func TestServiceRefusedStartTouchesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 8)
	healthy := r.start("healthy", disk(), nil)
	for i := range 20 {
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint("known", i), fmt.Sprint("arn:r", i), "192.0.2.0", noon))})
	}
	r.settle() // or the marks of the end of the log come in between
	r.await("all shards to be ready", func() bool { return healthy.service.Ready() == nil })
	third := kafkatest.Topic(t, r.brokers, 2, nil)
	inputs := r.app.Inputs
	r.app.Inputs = []string{third}
	for i := range 30 {
		r.send(&kgo.Record{Partition: int32(i % 2), Value: []byte(assume(fmt.Sprint("refused", i), fmt.Sprint("arn:r", i), "192.0.2.9", noon))})
	}
	r.app.Inputs = inputs
	before := r.traces(third)

	wider := func(s *consumer.Service) { s.App.Inputs = []string{inputs[0], third} }
	for name, change := range map[string]func(*consumer.Service){
		"another input":        wider,
		"other alerts":         func(s *consumer.Service) { s.App.Alerts = third },
		"an input, from later": func(s *consumer.Service) { wider(s); s.StartLatest = true },
	} {
		r.start("refused", disk(), change).wantStop("--accept-change")
		if after := r.traces(third); !maps.Equal(after, before) {
			t.Errorf("%s: a refused start leaves %v; want %v", name, after, before)
		}
		if shards := healthy.service.Status().Shards; len(shards) != 8 {
			t.Errorf("%s: the healthy instance is left with %d shards; want 8", name, len(shards))
		}
	}
	// The identity is read from the local copy of an instance that has worked before, and on
	// from there.
	copied := healthy.crash()
	r.start("healthy", copied, wider).wantStop("topics.input", third, "--accept-change")
}

// A caller that creates topics verifies first, while some of them are missing.
func TestServiceVerify(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 4)
	verify := func(change func(*consumer.Service)) error {
		t.Helper()
		in := r.build("asks", disk(), change)
		defer func() {
			if err := in.store.Close(); err != nil {
				t.Error(err)
			}
		}()
		return in.service.Verify(t.Context())
	}
	if err := verify(nil); err != nil {
		t.Errorf("Verify() of a new app = %v; want nil", err)
	}
	in := r.start("only", disk(), nil)
	r.await("all shards to be ready", func() bool { return in.service.Ready() == nil })
	in.shutdown()
	var stop *fatal.Error
	for name, change := range map[string]func(*consumer.Service){
		"alerts":  func(s *consumer.Service) { s.App.Alerts = "typo" },
		"letters": func(s *consumer.Service) { s.App.DeadLetter = "typo" },
		"input":   func(s *consumer.Service) { s.App.Inputs = []string{"typo"} },
		"shards":  func(s *consumer.Service) { s.App.Shards = 5 },
	} {
		if err := verify(change); !errors.As(err, &stop) {
			t.Errorf("Verify() with other %s than the state's = %v; want a *fatal.Error", name, err)
		}
	}
	if err := verify(nil); err != nil {
		t.Errorf("Verify() of an app that has state = %v; want nil", err)
	}
	kafkatest.Delete(t, r.brokers, r.app.WorkTopic())
	r.await("the work topic to be gone", func() bool {
		infos, err := topic.Describe(r.Context(), r.client, r.app.WorkTopic())
		return err == nil && len(infos) == 0
	})
	if err := verify(nil); !errors.As(err, &stop) {
		t.Errorf("Verify() without the work topic that the state names = %v; want a *fatal.Error", err)
	}
	if err := verify(func(s *consumer.Service) { s.Accept.Loss = true }); err != nil {
		t.Errorf("Verify() without the work topic, accepted = %v; want nil", err)
	}
}
