package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
)

// A backlog does not grow the state faster than it is swept: only the values that a day of
// de-duplication and a week of lateness need stay. FAILURES 14.
func TestServiceSweepsAsFastAsItGrows(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	const n = 40_000 // a principal each, 5 minutes apart: 139 days
	var records []*kgo.Record
	for i := range n {
		a := attempt{id: fmt.Sprint("e", i), who: fmt.Sprint("arn:u", i), ip: "192.0.2.1", at: time.Date(2026, 1, 1, 0, 5*i, 0, 0, time.UTC)}
		records = append(records, &kgo.Record{Value: a.json()})
	}
	r.send(records...)
	r.start("only", disk(), nil)
	r.drain()
	alive := make(map[string]bool)
	for _, rec := range kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic()) {
		if rec.Value == nil {
			delete(alive, string(rec.Key))
		} else {
			alive[string(rec.Key)] = true
		}
	}
	kinds := make(map[byte]int)
	for key := range alive {
		kinds[key[0]]++
	}
	// Eight days of events, and those of the last batch, which the next one sweeps: an entry
	// against duplicates and a counter for each event.
	const week, batch = 8 * 24 * 12, 20_000
	if most := 2 * (week + batch); len(alive) > most {
		t.Errorf("%d keys are alive (by kind: %v) after %d events over 139 days; want at most %d", len(alive), kinds, n, most)
	}
}
