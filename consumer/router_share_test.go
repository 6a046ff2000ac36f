package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

// An event travels once for all rules that group it by the same key. It used to be sent once
// for each of them, to shards that the name of the rule chose.
func TestRulesOfOneKeyShareAnEntry(t *testing.T) {
	const shards = 16
	meter := admin.NewMetrics("test").Input("t", 0)
	t.Cleanup(meter.Close)
	r := &router{
		in: input{topic: "t", topicID: [16]byte{1}}, progress: newAckTracker(0), marks: newTimeMarks(shards), mostWork: 1 << 20, ctx: t.Context(), meter: meter,
		matches: []rules.Match{{Rule: "a", Key: "alice"}, {Rule: "b", Key: "alice"}, {Rule: "c", Key: "bob"}, {Rule: "d", Key: "alice"}},
	}
	r.at.is(&wire.Record{Timestamp: -1})
	for range shards {
		l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
		l.init()
		r.producers = append(r.producers, l)
	}
	r.route(&r.at, &rules.Event{Time: time.Unix(0, 0), Raw: []byte("{}")})
	sent := map[string][]string{} // rules of each entry, by key
	for n, l := range r.producers {
		if l.bundle.size() == 0 {
			continue
		}
		all, err := worksOf(entryReader{}, l.bundle.record())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range all {
			if shard := rules.ShardOf(w.pairs[0].Key, shards); shard != n {
				t.Errorf("key %s is sent to shard %d; want %d", w.pairs[0].Key, n, shard)
			}
			if key := w.pairs[0].Key; sent[key] != nil {
				t.Errorf("the event is sent twice for key %s", key)
			}
			for _, m := range w.pairs {
				sent[m.Key] = append(sent[m.Key], m.Rule)
			}
		}
	}
	if !slices.Equal(sent["alice"], []string{"a", "b", "d"}) || !slices.Equal(sent["bob"], []string{"c"}) {
		t.Errorf("entries by key: %v; want a, b and d for alice, c for bob", sent)
	}
}
