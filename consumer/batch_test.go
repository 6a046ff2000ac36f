package consumer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"trailhound/rules"
	"trailhound/state"
)

// A transaction is as large as its memory allows: many events of a few keys, fewer with a
// key each, and few with large alerts.
func TestBatchIsFull(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	body := func(size int) string {
		var b strings.Builder
		for b.Len() < size {
			fmt.Fprintf(&b, "%016x", noise.Uint64())
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		role, address, body func(n int) string
		least, most         int // events
	}{
		"a few keys": {
			role: func(n int) string { return fmt.Sprint("arn:", n%50) }, address: func(int) string { return "192.0.2.1" }, body: func(int) string { return "" },
			least: batchEvents, most: batchEvents,
		},
		"a key for each": {
			role: func(n int) string { return fmt.Sprint("arn:", n) }, address: func(int) string { return "192.0.2.1" }, body: func(int) string { return "" },
			least: batchChanges / 4, most: batchChanges,
		},
		"large alerts": {
			role: func(int) string { return "arn" }, address: func(n int) string { return fmt.Sprint("192.0.2.", n) }, body: func(int) string { return body(64 << 10) },
			least: batchBytes / (64 << 10), most: 5 * batchBytes / (64 << 10),
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t).detector()
			d.each = d.event
			d.begin(logPosition{0, noEpoch})
			defer d.drop()
			for n := 0; !d.full(); n++ {
				w := work{
					source: state.Source{Topic: "t", TopicID: [16]byte{1}, Offset: int64(n)}, recordTime: -1,
					pairs: []rules.Match{{Rule: rules.AssumeRoleUniqueIPID, Key: c.role(n)}},
					event: fmt.Appendf(nil, `{"eventVersion":"1.10","eventID":"%d","eventTime":"2026-03-01T12:00:00Z","eventName":"AssumeRole","sourceIPAddress":%q,"requestParameters":{"roleArn":%q},"body":%q}`,
						n, c.address(n), c.role(n), c.body(n)),
				}
				if err := d.entry(w.entry()); err != nil {
					t.Fatal(err)
				}
			}
			if d.events < c.least || d.events > c.most {
				t.Errorf("the transaction is full with %d events (%d changes of %d bytes, %d bytes of output); want %d to %d",
					d.events, d.tx.Len(), d.tx.Bytes(), d.producer.Held(), c.least, c.most)
			}
		})
	}
}
