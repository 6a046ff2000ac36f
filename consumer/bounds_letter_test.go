package consumer

import (
	"strings"
	"testing"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// A dead letter fits its topic with any number and size of errors: one that does not is
// refused for ever. FAILURES 22.
func TestDeadLetterFits(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	d := deadLetter{
		stage: stageDetector, key: []byte(long), value: []byte(long), recordTime: 1,
		source: state.Source{Topic: long[:249], Partition: 1<<31 - 1, Offset: 1<<63 - 1},
	}
	for range 10_000 {
		d.bad = append(d.bad, badEvent{index: 1<<31 - 1, reason: cloudtrail.ReasonUnpackedTooLarge, detail: long, rule: long[:64]})
	}
	for _, limit := range []int{1 << 10, 2_000, 5_000, 20_000, 1 << 20} {
		key, value, headers := d.record(limit - batchFraming)
		var b wire.Batch
		if size := b.SizeWith(1, key, value, headers...); size > limit {
			t.Errorf("for a topic that takes %d bytes the dead letter has %d", limit, size)
		}
	}
}

// The errors that a router notes about one record are bounded.
func TestRouterNotesFewErrors(t *testing.T) {
	r := router{meter: admin.NewMetrics("test").Input("in", 0)}
	for range 100_000 {
		r.reject(&r.at, badEvent{reason: rules.ReasonRulePanic})
	}
	if len(r.at.bad) != deadLetterErrors || r.at.rejected != 100_000 {
		t.Errorf("after 100000 errors the router notes %d and counts %d; want %d noted and all counted", len(r.at.bad), r.at.rejected, deadLetterErrors)
	}
}
