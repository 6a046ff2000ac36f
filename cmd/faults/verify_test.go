package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

var testTopics = verifyTopics{input: testInput, alerts: "alerts", deadLetters: "dead"}

// answers are the records that a product without faults makes of an input.
type answers struct{ alerts, letters []*kgo.Record }

func rightAnswers(records []*kgo.Record) *answers {
	a := &answers{}
	oracles := make(map[int32]*oracle)
	for _, r := range records {
		if oracles[r.Partition] == nil {
			oracles[r.Partition] = newOracle(oracleSettings{})
		}
		alerts, letters := oracles[r.Partition].record(r)
		for i := range alerts {
			a.alerts = append(a.alerts, alertRecord(r.Timestamp, &alerts[i]))
		}
		for _, l := range letters {
			a.letters = append(a.letters, letterRecord(r, l))
		}
	}
	return a
}

// clone returns answers with records and headers that can be changed; values and keys can
// be replaced.
func (a *answers) clone() *answers {
	deep := func(list []*kgo.Record) (all []*kgo.Record) {
		for _, r := range list {
			c := *r
			c.Headers = slices.Clone(r.Headers)
			all = append(all, &c)
		}
		return all
	}
	return &answers{deep(a.alerts), deep(a.letters)}
}

func alertRecord(sent time.Time, a *alertBody) *kgo.Record {
	return &kgo.Record{
		Topic: testTopics.alerts, Key: []byte(a.Dedup), Value: mustJSON(a), Timestamp: sent.Add(3 * time.Second),
		Headers: []kgo.RecordHeader{
			{Key: "alert_id", Value: []byte(a.ID)}, {Key: "rule_id", Value: []byte(a.Rule)}, {Key: "severity", Value: []byte(a.Severity)},
			{Key: "app_id", Value: []byte(appID)}, {Key: "version", Value: []byte("devel")},
			{Key: "schema", Value: []byte("trailhound.alert.v1")}, {Key: "content-type", Value: []byte("application/json")},
		},
	}
}

func letterRecord(in *kgo.Record, l letter) *kgo.Record {
	r := &kgo.Record{Topic: testTopics.deadLetters, Timestamp: in.Timestamp}
	header := func(key string, value any) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: fmt.Append(nil, value)})
	}
	header("app_id", appID)
	header("version", "devel")
	header("reason", l.Reason)
	header("detail", "because")
	header("stage", l.Stage)
	header("source_topic", l.Topic)
	header("source_partition", l.Partition)
	header("source_offset", l.Offset)
	if l.Index >= 0 {
		header("source_index", l.Index)
	}
	if l.Rule != "" {
		header("rule", l.Rule)
	}
	header("source_timestamp", l.Timestamp)
	if l.Errors != "" {
		header("errors", l.Errors)
	}
	if r.Value = in.Value; l.Stage == "router" {
		r.Key = in.Key
	} else {
		r.Value = unwrap(in.Value)[l.Index].raw
	}
	return r
}

// verdict compares the answers with the input, without Kafka.
func verdict(t *testing.T, records []*kgo.Record, a *answers) tally {
	t.Helper()
	v := newVerifier(nil, testTopics, oracleSettings{})
	if err := v.readSchema(); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		v.input(r)
	}
	for _, r := range a.alerts {
		v.alert(r)
	}
	for _, r := range a.letters {
		v.deadLetter(r)
	}
	return v.result()
}

// wantTally compares the faults that were counted; those not named in want are to be 0.
// There is to be an example of each.
func wantTally(t *testing.T, got, want tally) {
	t.Helper()
	faults := [5]int{got.Lost, got.Doubled, got.Wrong, got.DeadLost, got.DeadWrong}
	if faults != [5]int{want.Lost, want.Doubled, want.Wrong, want.DeadLost, want.DeadWrong} {
		t.Errorf("lost %d, doubled %d, wrong %d, dead letters lost %d, wrong %d; want %d, %d, %d, %d, %d: %q",
			got.Lost, got.Doubled, got.Wrong, got.DeadLost, got.DeadWrong, want.Lost, want.Doubled, want.Wrong, want.DeadLost, want.DeadWrong, got.Examples)
	}
	if sum := faults[0] + faults[1] + faults[2] + faults[3] + faults[4]; len(got.Examples) != min(sum, mostExamples) {
		t.Errorf("%d examples of %d faults: %q", len(got.Examples), sum, got.Examples)
	}
}

// TestVerifier: right answers are not complained about, and each wrong one is counted once.
func TestVerifier(t *testing.T) {
	records := testRecords(newWorkload(5, testPartitions), 1500)
	right := rightAnswers(records)
	detector := func(a *answers) int {
		return slices.IndexFunc(a.letters, func(r *kgo.Record) bool { return headers(r)["stage"] == "detector" })
	}
	router := func(a *answers) int {
		return slices.IndexFunc(a.letters, func(r *kgo.Record) bool { return headers(r)["stage"] == "router" })
	}
	for name, tt := range map[string]struct {
		change func(*answers)
		want   tally
	}{
		"all right":   {func(*answers) {}, tally{}},
		"nothing":     {func(a *answers) { *a = answers{} }, tally{Lost: len(right.alerts), DeadLost: len(right.letters)}},
		"one lost":    {func(a *answers) { a.alerts = a.alerts[1:] }, tally{Lost: 1}},
		"one doubled": {func(a *answers) { a.alerts = append(a.alerts, a.alerts[7]) }, tally{Doubled: 1}},
		"one thrice":  {func(a *answers) { a.alerts = append(a.alerts, a.alerts[7], a.alerts[7]) }, tally{Doubled: 2}},
		"one too many": {func(a *answers) {
			a.alerts[3].Value = renamed(a.alerts[3].Value)
			a.alerts = append(a.alerts, right.alerts[3])
		}, tally{Wrong: 1}},
		"unreadable":     {func(a *answers) { a.alerts[3].Value = a.alerts[3].Value[1:] }, tally{Wrong: 1, Lost: 1}},
		"two swapped":    {func(a *answers) { a.alerts[3].Headers, a.alerts[4].Headers = a.alerts[4].Headers, a.alerts[3].Headers }, tally{Wrong: 2}},
		"another key":    {func(a *answers) { a.alerts[3].Key = []byte("access_denied") }, tally{Wrong: 1}},
		"no header":      {func(a *answers) { a.alerts[3].Headers = a.alerts[3].Headers[1:] }, tally{Wrong: 1}},
		"twice a header": {func(a *answers) { a.alerts[3].Headers = append(a.alerts[3].Headers, a.alerts[3].Headers[0]) }, tally{Wrong: 1}},
		"in no order":    {func(a *answers) { slices.Reverse(a.alerts); slices.Reverse(a.letters) }, tally{}},

		"a letter lost":           {func(a *answers) { a.letters = a.letters[1:] }, tally{DeadLost: 1}},
		"a router's letter again": {func(a *answers) { a.letters = append(a.letters, a.letters[router(a)]) }, tally{}},
		"a detector's again":      {func(a *answers) { a.letters = append(a.letters, a.letters[detector(a)]) }, tally{DeadWrong: 1}},
		"letters swapped":         {func(a *answers) { a.letters[0].Value, a.letters[1].Value = a.letters[1].Value, a.letters[0].Value }, tally{DeadWrong: 2}},
		"a letter's key":          {func(a *answers) { a.letters[detector(a)].Key = []byte("key") }, tally{DeadWrong: 1}},
		"a letter of a good event": {func(a *answers) {
			a.letters = append(a.letters, letterRecord(records[0], letter{Stage: "router", Reason: "not_json", place: place{Offset: 1 << 40}}))
		}, tally{DeadWrong: 1}},
		"a letter that was cut": {func(a *answers) {
			a.letters[0].Headers = append(a.letters[0].Headers, kgo.RecordHeader{Key: "truncated_from", Value: []byte("9")})
		}, tally{DeadWrong: 1, DeadLost: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a := right.clone()
			tt.change(a)
			got := verdict(t, records, a)
			wantTally(t, got, tt.want)
			if got.Events < 1500 || got.Expected < 10 || got.DeadExpected < 5 || got.Seen != len(a.alerts) || got.DeadSeen != len(a.letters) {
				t.Errorf("counts %+v for %d records, %d alerts, %d dead letters", got, len(records), len(a.alerts), len(a.letters))
			}
			if len(a.alerts) > 0 && got.Longest != 3*time.Second {
				t.Errorf("longest delay %s, want 3s", got.Longest)
			}
		})
	}
}

// renamed gives an alert an id that is not expected.
func renamed(value []byte) []byte {
	at := strings.Index(string(value), `"id":"`) + len(`"id":"`)
	return slices.Concat(value[:at], []byte("00000000-0000-5000-8000-000000000000"), value[at+36:])
}

// TestVerifierFields: every change of an alert, down to the last field of its evidence and
// its event, is noticed. Alerts are known by their ids: another id makes one alert that is
// not expected, and one that is lost.
func TestVerifierFields(t *testing.T) {
	right := rightAnswers(testRecords(newWorkload(5, testPartitions), 2000)).alerts
	checker := newVerifier(nil, testTopics, oracleSettings{})
	if err := checker.readSchema(); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{ruleDenied, ruleAssume} {
		alert := right[slices.IndexFunc(right, func(r *kgo.Record) bool { return strings.HasPrefix(string(r.Key), rule) })]
		var body alertBody
		if err := json.Unmarshal(alert.Value, &body); err != nil {
			t.Fatal(err)
		}
		changes := mutations(t, alert.Value)
		if len(changes) < 50 {
			t.Fatalf("only %d ways to change an alert of %s", len(changes), rule)
		}
		changes["nothing"] = alert.Value
		for path, value := range changes {
			v := newVerifier(nil, testTopics, oracleSettings{})
			v.schema = checker.schema
			v.expect(body, alert.Timestamp)
			v.alert(&kgo.Record{Topic: alert.Topic, Key: alert.Key, Value: value, Headers: alert.Headers, Timestamp: alert.Timestamp})
			want := tally{Wrong: 1}
			switch path {
			case "nothing":
				want.Wrong = 0
			case "/id", "/id gone":
				want.Lost = 1
			}
			t.Run(rule+" "+path, func(t *testing.T) { wantTally(t, v.result(), want) })
		}
	}
}

// mutations returns the alert with one thing changed in it, by where that is.
func mutations(t *testing.T, alert []byte) map[string][]byte {
	t.Helper()
	var root map[string]any
	var raw struct{ Event json.RawMessage }
	if err := errors.Join(json.Unmarshal(alert, &root), json.Unmarshal(alert, &raw)); err != nil {
		t.Fatal(err)
	}
	root["event"] = raw.Event // is compared byte for byte
	if again := mustJSON(root); len(again) != len(alert) {
		t.Fatalf("an alert of %d bytes has %d when it is written again", len(alert), len(again))
	}
	all := make(map[string][]byte)
	var change func(path string, v any, set func(any))
	change = func(path string, v any, set func(any)) {
		try := func(what string, other any) {
			set(other)
			all[path+what] = mustJSON(root)
			set(v)
		}
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				change(path+"/"+name, inner, func(o any) { v[name] = o })
				delete(v, name)
				all[path+"/"+name+" gone"] = mustJSON(root)
				v[name] = inner
			}
			v["extra"] = 1
			all[path+" and more"] = mustJSON(root)
			delete(v, "extra")
		case []any:
			for i, inner := range v {
				change(fmt.Sprintf("%s/%d", path, i), inner, func(o any) { v[i] = o })
			}
			if len(v) > 0 {
				try(" less one", v[1:])
			}
			if len(v) > 1 {
				try(" in another order", append(slices.Clone(v[1:]), v[0]))
			}
		case json.RawMessage:
			try("", json.RawMessage(strings.Replace(string(v), `"1.11"`, `"1.10"`, 1)))
		case string:
			try("", v+"0")
		case float64:
			try("", v+1)
		case bool:
			try("", !v)
		}
	}
	change("", root, func(any) {})
	return all
}

// transact produces records in one transaction, and ends it in one of the ways of kgo unless it is to stay open.
func transact(ctx context.Context, t *testing.T, cl *kgo.Client, records []*kgo.Record, end ...kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	fresh := make([]*kgo.Record, len(records)) // producing sets fields
	for i, r := range records {
		fresh[i] = &kgo.Record{Topic: r.Topic, Partition: int32(i % 2), Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
	}
	if err := cl.ProduceSync(ctx, fresh...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for _, e := range end {
		if err := cl.EndTransaction(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifierRead: read stops at the last stable offset, goes on there, and sees committed
// records only.
func TestVerifierRead(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(testPartitions, testTopics.input), kfake.SeedTopics(2, testTopics.alerts, testTopics.deadLetters))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	records := testRecords(newWorkload(6, testPartitions), 3000)
	right := rightAnswers(records)
	v := newVerifier(cluster.ListenAddrs(), testTopics, oracleSettings{})
	t.Cleanup(v.close)
	read := func(want tally) tally {
		t.Helper()
		got, err := v.read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		wantTally(t, got, want)
		return got
	}
	read(tally{})
	if err := client().ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	read(tally{Lost: len(right.alerts), DeadLost: len(right.letters)})

	owner, other := client(kgo.TransactionalID("shard.0")), client(kgo.TransactionalID("shard.1"))
	half := len(right.alerts) / 2
	transact(ctx, t, owner, right.alerts[:half], kgo.TryCommit)
	transact(ctx, t, owner, right.alerts[half:], kgo.TryAbort)
	read(tally{Lost: len(right.alerts) - half, DeadLost: len(right.letters)})

	// A transaction that is open in partition 0 holds back the records that other producers
	// commit there: every other record.
	transact(ctx, t, owner, right.alerts[:1])
	transact(ctx, t, other, right.alerts[half:], kgo.TryCommit)
	read(tally{Lost: (len(right.alerts) - half + 1) / 2, DeadLost: len(right.letters)})
	if err := owner.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	read(tally{DeadLost: len(right.letters)})

	transact(ctx, t, other, append(right.letters, right.alerts[0]), kgo.TryCommit)
	got := read(tally{Doubled: 1})
	if got.Seen != len(right.alerts)+1 || got.Events < 3000 {
		t.Errorf("%d alerts seen and %d events; want %d and at least 3000", got.Seen, got.Events, len(right.alerts)+1)
	}
}

// TestVerifierEnds: records written since the ends were looked up are left for the next
// call, also in the same batch.
func TestVerifierEnds(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, testTopics.alerts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	v := newVerifier(cluster.ListenAddrs(), testTopics, oracleSettings{})
	if err := v.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	for i := range 10 {
		rec := &kgo.Record{Topic: testTopics.alerts, Value: fmt.Append(nil, i)}
		v.client.Produce(t.Context(), rec, nil)
	}
	if err := v.client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, end := range []int64{3, 3, 7, 10} {
		err := v.each(t.Context(), testTopics.alerts, map[int32]int64{0: end}, func(r *kgo.Record) { got = append(got, string(r.Value)) })
		if err != nil || len(got) != int(end) {
			t.Errorf("%q are read up to offset %d, %v", got, end, err)
		}
	}
}

// Brokers that are away are waited for, until the time is over.
func TestVerifierWaits(t *testing.T) {
	v := newVerifier([]string{"127.0.0.1:1"}, testTopics, oracleSettings{})
	t.Cleanup(v.close)
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := v.read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) < time.Second {
		t.Errorf("read without brokers = %v after %s; want it to try until the time is over", err, time.Since(begun))
	}
}
