package consumer

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/changelog"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
	"trailhound/state"
)

// A source without a leader epoch, of an app that began at the end of its inputs, was
// ordered before each one with an epoch, whatever the offsets: the shard that was behind
// lost what lies between. The order is that of the sources in the state.
func TestEvaluatedToOfEpochs(t *testing.T) {
	k := routedKey{topicID: [16]byte{1}, partition: 3}
	type at struct {
		epoch  int32
		offset int64
	}
	for name, c := range map[string]struct {
		shards []at
		want   logPosition
	}{
		"one without is ahead":  {[]at{{noEpoch, 500}, {5, 300}}, logPosition{300, 5}},
		"one without is behind": {[]at{{5, 300}, {noEpoch, 200}}, logPosition{200, noEpoch}},
		"a later epoch":         {[]at{{5, 100}, {4, 300}}, logPosition{300, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				var shards []routedShard
				for _, at := range c.shards {
					shards = append(shards, routedShard{sources: map[routedKey]state.Source{k: {Epoch: at.epoch, Offset: at.offset}}})
				}
				if got, _, ok := evaluatedTo(shards, k); !ok || got != c.want {
					t.Errorf("evaluatedTo(%v) = %v, %t; want %v", c.shards, got, ok, c.want)
				}
				slices.Reverse(c.shards)
			}
		})
	}
}

func TestEvaluatedTo(t *testing.T) {
	k := routedKey{topicID: [16]byte{1}, partition: 3}
	at := func(offset int64, index int32) routedShard {
		return routedShard{sources: map[routedKey]state.Source{k: {Offset: offset, Index: index}, {partition: 3}: {Offset: 1}}}
	}
	none := routedShard{sources: map[routedKey]state.Source{{topicID: [16]byte{1}, partition: 4}: {Offset: 9}}}
	for name, c := range map[string]struct {
		shards []routedShard
		at     int64
		silent int
		ok     bool
	}{
		"nothing":                  {[]routedShard{none, none}, 0, 1, false},
		"an event":                 {[]routedShard{at(7, 2)}, 7, -1, true},
		"a whole record":           {[]routedShard{at(7, busyIndex)}, 8, -1, true},
		"the earliest":             {[]routedShard{at(20, 0), at(7, busyIndex), at(9, 0)}, 8, -1, true},
		"an event before its mark": {[]routedShard{at(8, 0), at(8, busyIndex)}, 8, -1, true},
		"idle":                     {[]routedShard{at(7, idleIndex), at(9, 0)}, 8, -1, true},
		"one that knows nothing":   {[]routedShard{at(20, 0), none, at(9, 0)}, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, silent, ok := evaluatedTo(c.shards, k)
			if ok != c.ok || ok && (got.offset != c.at || silent != c.silent) {
				t.Errorf("evaluatedTo(%v) = %v, %d, %t; want %d, %d, %t", c.shards, got, silent, ok, c.at, c.silent, c.ok)
			}
		})
	}
}

// What waits in the work topic was read: the state does not tell it from a loss before it
// has been evaluated, so that no verdict is given until then.
func TestLossIsToldAfterTheWork(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	client := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(client.Close)
	s := &Service{Client: client, App: topic.App{ID: "app", Shards: 2}}
	kafkatest.CreateTopic(t, brokers, s.App.WorkTopic(), 2, nil)
	cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: s.App.WorkTopic(), Partition: 1, Value: []byte("work")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var stop *changelog.StopError
	if err := s.awaitWork(t.Context(), []routedShard{{work: -1}, {work: -1}}); err == nil || errors.As(err, &stop) {
		t.Errorf("awaitWork() with work that waits = %v; want an error that another attempt may not give", err)
	}
	if err := s.awaitWork(t.Context(), []routedShard{{work: -1}, {work: 1}}); err != nil {
		t.Errorf("awaitWork() after the work = %v; want nil", err)
	}
}
