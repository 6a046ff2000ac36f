package rules

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Evaluations between two commits in the benchmarks, as under backlog.
const benchBatch = 1000

func defaultRules() []Active {
	return []Active{{Rule: NewAccessDenied()}, {Rule: NewAssumeRoleUniqueIP()}}
}

func benchEvent() *Event {
	return &Event{
		ID: "8f14e45f-ceea-467f-a000-000000000001", Name: "GetObject", Source: "s3.amazonaws.com", Region: "eu-west-1",
		SourceIP: "198.51.100.7", Account: "111122223333", Time: noon,
		Identity: cloudtrail.Identity{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/alice", AccountID: "111122223333"},
		Raw:      []byte(`{"eventVersion":"1.11","eventID":"8f14e45f-ceea-467f-a000-000000000001"}`),
		At:       state.Source{Topic: "cloudtrail", Partition: 3},
	}
}

func mustEngine(tb testing.TB, active ...Active) *Engine {
	tb.Helper()
	e, err := NewEngine(active, defaultLimits)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// BenchmarkMatchNothing is the cost of most events: no rule is for them.
func BenchmarkMatchNothing(b *testing.B) {
	e, ev := mustEngine(b, defaultRules()...), benchEvent()
	var matches []Match
	b.ReportAllocs()
	for b.Loop() {
		matches, _ = e.Match(ev, matches[:0])
	}
}

// BenchmarkDecodeMatch is the cost of an event until its matches are known; a twentieth
// match.
func BenchmarkDecodeMatch(b *testing.B) {
	e := mustEngine(b, defaultRules()...)
	var events [][]byte
	size := 0
	eachRecord(b, "bench/events.jsonl.gz", func(record []byte) {
		events = append(events, bytes.Clone(record))
		size += len(record)
	})
	var d cloudtrail.Decoder
	var matches []Match
	b.ReportAllocs()
	b.SetBytes(int64(size / len(events)))
	yield := func(ev *Event, err error) bool {
		if err != nil {
			b.Fatal(err)
		}
		matches, _ = e.Match(ev, matches[:0])
		return true
	}
	d.Decode(events[0], yield) // allocates the memory that it keeps
	i := 0
	for b.Loop() {
		d.Decode(events[i%len(events)], yield)
		i++
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	e, ev := mustEngine(t, defaultRules()...), benchEvent()
	matches := make([]Match, 0, 4)
	for _, code := range []string{"", "AccessDenied"} {
		ev.ErrorCode = code
		if n := testing.AllocsPerRun(100, func() { matches, _ = e.Match(ev, matches[:0]) }); n != 0 {
			t.Errorf("Match(event with errorCode %q) allocates %v times; want 0", code, n)
		}
	}
}

// BenchmarkEvaluate evaluates events that match each rule: spread over many keys, or all
// under one.
func BenchmarkEvaluate(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		name := "hot"
		if keys > 1 {
			name = "spread"
		}
		principals, roles := make([]string, keys), make([][]byte, keys)
		for i := range keys {
			principals[i] = fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", i)
			roles[i] = fmt.Appendf(nil, `{"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/r%d"}}`, i)
		}
		b.Run(AccessDeniedID+"/"+name, func(b *testing.B) {
			benchEvaluate(b, Active{Rule: NewAccessDenied()}, func(ev *Event, i int) {
				ev.ErrorCode, ev.Identity.ARN = "AccessDenied", principals[i%keys]
			})
		})
		b.Run(AssumeRoleUniqueIPID+"/"+name, func(b *testing.B) {
			benchEvaluate(b, Active{Rule: NewAssumeRoleUniqueIP()}, func(ev *Event, i int) {
				ev.Name, ev.Raw = "AssumeRole", roles[i%keys]
			})
		})
	}
}

func benchEvaluate(b *testing.B, rule Active, prepare func(ev *Event, i int)) {
	e, shard := mustEngine(b, rule), newShard(b, state.Options{})
	ev := benchEvent()
	var matches []Match
	tx := shard.Begin()
	id := []byte(ev.ID)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id = fmt.Appendf(id[:0], "8f14e45f-ceea-467f-a000-%012d", i)
		ev.ID = string(id)
		ev.At.Offset = int64(i)
		ev.Time = noon.Add(time.Duration(i) * time.Millisecond)
		prepare(ev, i)
		matches, _ = e.Match(ev, matches[:0])
		e.Evaluate(ev, matches, tx)
		if i%benchBatch == benchBatch-1 {
			if err := tx.Apply(int64(i)); err != nil {
				b.Fatal(err)
			}
			tx = shard.Begin()
		}
	}
	tx.Discard()
}

// An alert with ten events of evidence and an event of 1.7 KB, as the real
// ones have.
func BenchmarkAlert(b *testing.B) {
	e := mustEngine(b, defaultRules()...)
	ev := benchEvent()
	ev.Raw = fmt.Appendf(nil, `{"eventVersion": "1.11", "userAgent": "%01600d"}`, 0)
	a := alertDraft{
		rule: e.rules[0], event: ev, key: ev.Identity.ARN, dedup: "access_denied:" + ev.Identity.ARN, counted: 10,
		finding: &Finding{Title: "arn:aws:iam::111122223333:user/alice was denied 10 times in 7m12s", Context: Context{{"count", int64(10)}, {"window_start", noon}}},
	}
	for range 10 {
		a.refs = append(a.refs, state.Ref{ID: ev.ID, Time: ev.Time, Source: ev.At})
	}
	b.ReportAllocs()
	for b.Loop() {
		e.out.Alerts, e.buf = e.out.Alerts[:0], e.buf[:0]
		if rejected := e.alert(&a); rejected != nil {
			b.Fatal(rejected)
		}
	}
	b.SetBytes(int64(len(e.buf)))
}
