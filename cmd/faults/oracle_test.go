package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

const (
	testInput      = "cloudtrail"
	testPartitions = 4
)

// testRecords returns n records of a workload as they would stand in the input.
func testRecords(w *workload, n int) []*kgo.Record {
	var next [testPartitions]int64
	list := make([]*kgo.Record, n)
	for i := range list {
		r := w.next()
		r.Topic, r.Offset, r.Timestamp = testInput, next[r.Partition], time.UnixMilli(1_770_000_000_000+int64(i))
		next[r.Partition]++
		list[i] = r
	}
	return list
}

// outcome is the alerts and dead letters of records, as text by their identity.
type outcome struct{ alerts, letters map[string]string }

func newOutcome() outcome { return outcome{make(map[string]string), make(map[string]string)} }

func (o outcome) alert(t *testing.T, a *alertBody) {
	if o.alerts[a.ID] != "" {
		t.Errorf("alert %s of %s for event %s comes twice", a.ID, a.Rule, a.EventID)
	}
	if a.Rule == ruleAssume {
		a.Evidence = evidence{} // the verifier looks at it
	}
	o.alerts[a.ID] = string(mustJSON(a))
}

func (o outcome) letter(t *testing.T, l letter) {
	id := fmt.Sprint(l.Stage, l.Rule, " ", l.place)
	if o.letters[id] != "" {
		t.Errorf("dead letter %s comes twice", id)
	}
	o.letters[id] = fmt.Sprintf("%+v", l)
}

func oracleOutcome(t *testing.T, records []*kgo.Record) outcome {
	out := newOutcome()
	var oracles [testPartitions]*oracle
	for i := range oracles {
		oracles[i] = newOracle(oracleSettings{})
	}
	for _, r := range records {
		alerts, letters := oracles[r.Partition].record(r)
		for i := range alerts {
			out.alert(t, &alerts[i])
		}
		for _, l := range letters {
			out.letter(t, l)
		}
	}
	return out
}

// product runs records through the product's own rules and state, shard by shard as the service does.
type product struct {
	*testing.T
	engine  *rules.Engine
	decoder cloudtrail.Decoder
	shards  []*state.Shard
	txs     []*state.Tx
	outcome
}

func newProduct(t *testing.T) *product {
	limits := rules.Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 7 * 24 * time.Hour, MaxAhead: time.Hour, MaxAlertBytes: 1 << 20}
	var active []rules.Active
	for _, rule := range []rules.Rule{rules.NewAccessDenied(), rules.NewAssumeRoleUniqueIP()} { // those of the oracle
		active = append(active, rules.Active{Rule: rule, Options: rules.DefaultOptions()})
	}
	engine, err := rules.NewEngine(active, limits)
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem(), MaxLateness: limits.MaxLateness})
	if err != nil {
		t.Fatal(err)
	}
	p := &product{T: t, engine: engine, outcome: newOutcome()}
	t.Cleanup(func() {
		for _, tx := range p.txs {
			tx.Discard()
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for n := range 8 {
		shard, err := store.Shard(n)
		if err != nil {
			t.Fatal(err)
		}
		p.shards, p.txs = append(p.shards, shard), append(p.txs, shard.Begin())
	}
	return p
}

// record evaluates one record as a router and the detectors do.
func (p *product) record(rec *kgo.Record) {
	var bad []badPart
	p.decoder.Decode(rec.Value, func(ev *rules.Event, err error) bool {
		if err != nil {
			if d := err.(*cloudtrail.DecodeError); !rules.Skip(d.Reason) {
				bad = append(bad, badPart{d.Index, string(d.Reason)})
			}
			return true
		}
		ev.At = state.Source{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Index: ev.At.Index}
		ev.RecordTime = rec.Timestamp
		matches, _ := p.engine.Match(ev, nil)
		if ahead, ok := p.engine.Ahead(ev, time.Time{}); !ok {
			p.event(ev, matches)
		} else if len(matches) > 0 {
			bad = append(bad, badPart{int(ev.At.Index), string(ahead.Reason)})
		}
		return true
	})
	if len(bad) == 0 {
		return
	}
	l := letter{Stage: "router", Reason: bad[0].Reason, place: place{rec.Topic, rec.Partition, rec.Offset, bad[0].Index},
		Timestamp: rec.Timestamp.UnixMilli(), Key: sha256.Sum256(rec.Key), Value: sha256.Sum256(rec.Value)}
	if len(bad) > 1 {
		l.Errors = string(mustJSON(bad))
	}
	p.letter(p.T, l)
}

func (p *product) event(ev *rules.Event, matches []rules.Match) {
	for n, shard := range p.shards {
		mine := slices.DeleteFunc(slices.Clone(matches), func(m rules.Match) bool { return rules.ShardOf(m.Key, len(p.shards)) != n })
		out := p.engine.Evaluate(ev, mine, p.txs[n])
		for _, a := range out.Alerts {
			var body alertBody
			if err := json.Unmarshal(a.Payload, &body); err != nil {
				p.Fatal(err)
			}
			p.alert(p.T, &body)
		}
		for _, r := range out.Rejected {
			p.letter(p.T, letter{Stage: "detector", Reason: string(r.Reason), Rule: r.Rule,
				place:     place{ev.At.Topic, ev.At.Partition, ev.At.Offset, int(ev.At.Index)},
				Timestamp: ev.RecordTime.UnixMilli(), Key: sha256.Sum256(nil), Value: sha256.Sum256(ev.Raw)})
		}
		if p.txs[n].Len() > 4096 {
			p.txs[n].Sweep(4096)
			if err := p.txs[n].Apply(0); err != nil {
				p.Fatal(err)
			}
			p.txs[n] = shard.Begin()
		}
	}
}

// TestOracle: the oracle and the product's rules agree, field by field. At ten records a
// minute windows end all the time.
func TestOracle(t *testing.T) {
	w := newWorkload(7, testPartitions)
	w.pace = time.Minute / 10
	compareProduct(t, testRecords(w, 20_000))
}

// The answer does not depend on how the input partitions are interleaved: each may be far behind the one before.
func TestOracleInterleaving(t *testing.T) {
	w := newWorkload(8, testPartitions)
	w.pace = time.Hour / 500 // 10,000 records span 20 hours, which is less than duplicates are remembered
	records := testRecords(w, 10_000)
	slices.SortStableFunc(records, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	compareProduct(t, records)
}

// compareProduct runs records through the product and the oracle.
func compareProduct(t *testing.T, records []*kgo.Record) {
	t.Helper()
	p := newProduct(t)
	for _, r := range records {
		p.record(r)
	}
	want := oracleOutcome(t, records)
	compareOutcome(t, "alert", p.alerts, want.alerts)
	compareOutcome(t, "dead letter", p.letters, want.letters)
}

func compareOutcome(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	shown := 0
	for id := range union(got, want) {
		if got[id] != want[id] && shown < 5 {
			shown++
			t.Errorf("%s %s:\nproduct %s\n oracle %s", what, id, got[id], want[id])
		}
	}
	if len(got) != len(want) {
		t.Errorf("the product has %d %ss, the oracle %d", len(got), what, len(want))
	}
}

func union(a, b map[string]string) map[string]bool {
	all := make(map[string]bool)
	for _, id := range slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b))) {
		all[id] = true
	}
	return all
}

// The workload has everything in it that its answers are to be tried on.
func TestWorkload(t *testing.T) {
	const n = 10_000
	records := testRecords(newWorkload(7, testPartitions), n)
	out := oracleOutcome(t, records)
	counts := make(map[string]int)
	for _, a := range out.alerts {
		for _, sign := range []string{ruleDenied, ruleAssume, "asked for, but not assumed", `"event_id":""`} {
			counts[sign] += strings.Count(a, sign+"")
		}
	}
	for _, l := range out.letters {
		counts["reason "+strings.SplitN(strings.SplitN(l, "Reason:", 2)[1], " ", 2)[0]]++
	}
	size := 0
	for _, r := range records {
		size += len(r.Value)
		switch {
		case r.Value == nil:
			counts["tombstone"]++
		case len(r.Value) > 40_000:
			counts["large"]++
		case len(r.Value) > 2 && r.Value[0] == 0x1f:
			counts["gzip"]++
		}
	}
	t.Logf("%d records of %d bytes on average: %v", n, size/n, counts)
	for sign, least := range map[string]int{
		ruleDenied: 100, ruleAssume: 100, "asked for, but not assumed": 5, `"event_id":""`: 5,
		"reason not_json": 5, "reason cut_off": 5, "reason bad_gzip": 5, "reason no_event_time": 5, "reason bad_event_time": 5, "reason unknown_shape": 5,
		"reason too_far_ahead": 5, "reason too_late": 5, "reason key_too_long": 5, "reason value_too_large": 5,
		"tombstone": 5, "large": 5, "gzip": 100,
	} {
		if counts[sign] < least {
			t.Errorf("%d of %s in %d records; want at least %d", counts[sign], sign, n, least)
		}
	}
}

// A seed always gives the same stream, and another seed another one.
func TestWorkloadSeed(t *testing.T) {
	if a, b := testRecords(newWorkload(3, testPartitions), 500), testRecords(newWorkload(3, testPartitions), 500); !reflect.DeepEqual(a, b) {
		t.Error("two streams of one seed differ")
	}
	if a, b := testRecords(newWorkload(3, testPartitions), 500), testRecords(newWorkload(4, testPartitions), 500); reflect.DeepEqual(a, b) {
		t.Error("streams of two seeds are equal")
	}
}

func BenchmarkOracle(b *testing.B) {
	records := testRecords(newWorkload(1, testPartitions), 20_000)
	o := newOracle(oracleSettings{})
	for i := 0; b.Loop(); i++ {
		o.record(records[i%len(records)])
	}
}

func BenchmarkWorkload(b *testing.B) {
	w := newWorkload(1, testPartitions)
	for b.Loop() {
		w.next()
	}
}
