package consumer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// A source without a leader epoch, of an app that began at the end of its inputs, was
// ordered before each one with an epoch, at any offset: the shard that was behind lost the
// records in between. The order is that of the sources in the state.
func TestEvaluatedToOfEpochs(t *testing.T) {
	k := evaluatedKey{topicID: [16]byte{1}, partition: 3}
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
				var shards []evaluatedShard
				for _, at := range c.shards {
					shards = append(shards, evaluatedShard{sources: map[evaluatedKey]state.Source{k: {Epoch: at.epoch, Offset: at.offset}}})
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
	k := evaluatedKey{topicID: [16]byte{1}, partition: 3}
	at := func(offset int64, index int32) evaluatedShard {
		return evaluatedShard{sources: map[evaluatedKey]state.Source{k: {Offset: offset, Index: index}, {partition: 3}: {Offset: 1}}}
	}
	none := evaluatedShard{sources: map[evaluatedKey]state.Source{{topicID: [16]byte{1}, partition: 4}: {Offset: 9}}}
	for name, c := range map[string]struct {
		shards []evaluatedShard
		at     int64
		silent int
		ok     bool
	}{
		"nothing":                  {[]evaluatedShard{none, none}, 0, 1, false},
		"an event":                 {[]evaluatedShard{at(7, 2)}, 7, -1, true},
		"a whole record":           {[]evaluatedShard{at(7, busyIndex)}, 8, -1, true},
		"the earliest":             {[]evaluatedShard{at(20, 0), at(7, busyIndex), at(9, 0)}, 8, -1, true},
		"an event before its mark": {[]evaluatedShard{at(8, 0), at(8, busyIndex)}, 8, -1, true},
		"idle":                     {[]evaluatedShard{at(7, idleIndex), at(9, 0)}, 8, -1, true},
		"one that knows nothing":   {[]evaluatedShard{at(20, 0), none, at(9, 0)}, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, silent, ok := evaluatedTo(c.shards, k)
			if ok != c.ok || ok && (got.offset != c.at || silent != c.silent) {
				t.Errorf("evaluatedTo(%v) = %v, %d, %t; want %d, %d, %t", c.shards, got, silent, ok, c.at, c.silent, c.ok)
			}
		})
	}
}

// Records that wait in the work topic were read: until they are evaluated the state does
// not tell them from a loss, and no verdict is given. Only the work up to the finding of
// the missing offset counts: work of other partitions put the verdict off for ever, while
// retention went on.
func TestLossIsToldAfterTheWork(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	client := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(client.Close)
	i := &inputs{instance: &instance{client: client, app: topic.App{ID: "app", Shards: 2}}}
	kafkatest.CreateTopic(t, brokers, i.app.WorkTopic(), 2, nil)
	cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	work := func(partition int32) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: i.app.WorkTopic(), Partition: partition, Value: []byte("work")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	k := evaluatedKey{partition: 3}
	await := func(at ...int64) error {
		i.evaluated.shards = []evaluatedShard{{work: at[0]}, {work: at[1]}}
		return i.awaitWork(t.Context(), k)
	}
	work(1)
	var stop *fatal.Error
	if err := await(-1, -1); err == nil || errors.As(err, &stop) {
		t.Errorf("awaitWork() with work that waits = %v; want an error that another attempt may not give", err)
	}
	work(0)
	work(1)
	if err := await(-1, 1); err != nil {
		t.Errorf("awaitWork() after the work, with later work waiting = %v; want nil", err)
	}
	k.partition++
	if err := await(1, 1); err == nil || errors.As(err, &stop) {
		t.Errorf("awaitWork() of another partition, with work that waits = %v; want an error that another attempt may not give", err)
	}
	if err := await(1, 2); err != nil {
		t.Errorf("awaitWork() of another partition after the work = %v; want nil", err)
	}
}

// Reading the changelogs may take longer than routedFor: each partition that was opened read
// all of them again then, and an error at the last shard threw the sources of the others away.
func TestChangelogsAreReadOnce(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	brokers := cluster.ListenAddrs()
	client := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(client.Close)
	i := &inputs{instance: &instance{client: client, app: topic.App{ID: "app", Shards: 2}}}
	kafkatest.CreateTopic(t, brokers, i.app.StateTopic(), 2, nil)
	var err error
	if i.topics, err = topic.Describe(t.Context(), client, i.app.StateTopic()); err != nil {
		t.Fatal(err)
	}
	cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write := func(partition int32, offset int64) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), changes(t, i.app.StateTopic(), partition, offset)...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 7)
	write(1, 8)

	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	fetched := make(map[int32][]int64)
	var last time.Time
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		asked := req.(*kmsg.FetchRequest).Topics[0].Partitions[0]
		if asked.Partition == 1 && ctx.Err() == nil {
			stop()
			return nil, errors.New("the connection is closed"), true
		}
		fetched[asked.Partition], last = append(fetched[asked.Partition], asked.FetchOffset), time.Now()
		return nil, nil, false
	})
	if err := i.readRouted(ctx); err == nil {
		t.Fatal("readRouted() that was cut short = nil; want an error")
	}
	for range 2 { // the second time the sources known count
		if err := i.readRouted(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	if want := map[int32][]int64{0: {0}, 1: {0}}; !maps.EqualFunc(fetched, want, slices.Equal) {
		t.Errorf("offsets fetched, by partition: %v; want %v", fetched, want)
	}
	if at := i.evaluated.at; at.Before(last) {
		t.Errorf("what was read is of %s; want not before the last fetch, at %s", at, last)
	}
	end := i.evaluated.shards[0].next
	clear(fetched)
	mu.Unlock()

	write(0, 9)
	i.evaluated.at = i.evaluated.at.Add(-routedFor)
	if err := i.readRouted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := map[int32][]int64{0: {end}}; !maps.EqualFunc(fetched, want, slices.Equal) {
		t.Errorf("offsets fetched after a write, by partition: %v; want %v", fetched, want)
	}
	if to, silent, ok := evaluatedTo(i.evaluated.shards, evaluatedKey{[16]byte{1}, 3}); !ok || silent >= 0 || to.offset != 8 {
		t.Errorf("evaluatedTo() = %v, %d, %t; want offset 8, of the shard that is behind", to, silent, ok)
	}
}

// changes are the records of a changelog after a shard has evaluated partition 3 of an
// input up to an offset.
func changes(t *testing.T, changelog string, shard int32, offset int64) (out []*kgo.Record) {
	t.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := store.Shard(int(shard))
	if err != nil {
		t.Fatal(err)
	}
	tx := h.Begin()
	defer tx.Discard()
	tx.Advance(state.Source{TopicID: [16]byte{1}, Partition: 3, Offset: offset})
	for c := range tx.Changes() {
		out = append(out, &kgo.Record{Topic: changelog, Partition: shard, Key: slices.Clone(c.Key), Value: slices.Clone(c.Value)})
	}
	return out
}
