package rules

import (
	"bytes"
	"testing"
	"time"

	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// feeder feeds records to an engine as a topic's partition would.
type feeder struct {
	t      testing.TB
	engine *Engine
	shard  *state.Shard
	tx     *state.Tx
	topic  string
	offset int64
	now    time.Time // that a router's clock shows; zero: it shows none

	matches []Match
}

func newFeeder(t testing.TB, limits Limits, active ...Active) *feeder {
	t.Helper()
	engine, err := NewEngine(active, limits)
	if err != nil {
		t.Fatalf("NewEngine(%v) = %v; want no error", active, err)
	}
	f := &feeder{t: t, engine: engine, shard: newShard(t, state.Options{MaxSetMembers: limits.MaxSetMembers}), topic: "cloudtrail"}
	f.tx = f.shard.Begin()
	t.Cleanup(func() { f.tx.Discard() })
	return f
}

// feed evaluates the events of one record, checks each alert against the schema, and
// reports the outcome of each event.
func (f *feeder) feed(record []byte, report func(*Event, []Rejection, Outcome)) {
	f.t.Helper()
	cloudtrail.Decode(bytes.TrimSpace(record), func(ev *Event, err error) bool {
		if err != nil {
			f.t.Fatalf("cloudtrail.Decode(%q) = %v; want an event", record, err)
		}
		ev.At = state.Source{Topic: f.topic, Offset: f.offset, Index: ev.At.Index}
		rejected, out := f.event(ev)
		if report != nil {
			report(ev, rejected, out)
		}
		return true
	})
	f.offset++
}

func (f *feeder) event(ev *Event) ([]Rejection, Outcome) {
	f.t.Helper()
	var rejected []Rejection
	f.matches, rejected = f.engine.Match(ev, f.matches[:0])
	if len(f.matches) == 0 {
		return rejected, Outcome{}
	}
	if ahead, ok := f.engine.Ahead(ev, f.now); ok { // as a router does
		return append(rejected, ahead), Outcome{Verdicts: []Verdict{{Kind: VerdictRejected}}, Rejected: []Rejection{ahead}}
	}
	out := f.engine.Evaluate(ev, f.matches, f.tx)
	for _, a := range out.Alerts {
		checkAlert(f.t, a)
	}
	if err := f.tx.Err(); err != nil {
		f.t.Fatalf("tx.Err() = %v; want no error", err)
	}
	return rejected, out
}

// commit ends the batch, and begins the next.
func (f *feeder) commit() {
	f.t.Helper()
	f.tx.Sweep(100)
	for range f.tx.Changes() { // as the changelog's producer does
	}
	if err := f.tx.Apply(f.shard.Position().Changelog + 1); err != nil {
		f.t.Fatalf("tx.Apply() = %v; want no error", err)
	}
	f.tx = f.shard.Begin()
}
