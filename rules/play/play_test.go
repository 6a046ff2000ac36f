package play

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

const shards = 3

func engine(t fataler) *rules.Engine {
	e, err := rules.NewEngine([]rules.Active{
		{Rule: &rules.AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 2, Window: time.Hour}},
		{Rule: rules.NewAssumeRoleUniqueIP(), Options: rules.Options{Suppress: time.Minute}},
	}, rules.Limits{DuplicatesWithin: time.Hour, MaxAhead: time.Hour - 10*time.Second})
	if err != nil {
		t.Fatalf("NewEngine = %v", err)
	}
	return e
}

// fataler is the part of *testing.T and *rapid.T that helpers use.
type fataler interface{ Fatalf(string, ...any) }

// told is the calls of the callbacks, in order.
type told []string

func (w *told) alert(_ *rules.Event, a *rules.Alert) error {
	*w = append(*w, string(a.Payload))
	return nil
}

func (w *told) rejected(at state.Source, index int, reason rules.Reason, detail string) {
	*w = append(*w, fmt.Sprintf("%s %d %d %d %s %s", at.Topic, at.Partition, at.Offset, index, reason, detail))
}

// oneByOne gives the calls that a Player must make: one record after the other is decoded,
// matched and evaluated.
func oneByOne(t fataler, records []Record) (w told, counts Counts) {
	store, err := state.Open(state.Options{Dir: "reference", FS: vfs.NewMem()})
	if err != nil {
		t.Fatalf("state.Open = %v", err)
	}
	e := engine(t)
	var txs [shards]*state.Tx
	for n := range txs {
		shard, err := store.Shard(n)
		if err != nil {
			t.Fatalf("Shard(%d) = %v", n, err)
		}
		txs[n] = shard.Begin()
	}
	counts.Verdicts = map[rules.VerdictKind]int64{}
	for _, rec := range records {
		counts.Records++
		cloudtrail.Decode(rec.Value, func(ev *rules.Event, err error) bool {
			if bad, ok := errors.AsType[*cloudtrail.DecodeError](err); ok {
				w.rejected(rec.At, bad.Index, bad.Reason, bad.Detail)
				return true
			}
			counts.Events++
			index := ev.At.Index
			ev.At, ev.RecordTime = rec.At, rec.Time
			ev.At.Index = index
			matches, unmatched := e.Match(ev, nil)
			for _, r := range unmatched {
				w.rejected(ev.At, int(index), r.Reason, r.Detail)
			}
			if ahead, ok := e.Ahead(ev, time.Time{}); ok && len(matches) > 0 {
				w.rejected(ev.At, int(index), ahead.Reason, ahead.Detail)
				return true
			}
			counts.Matches += int64(len(matches))
			for len(matches) > 0 { // once in each shard
				of := func(m rules.Match) int { return rules.ShardOf(m.Key, shards) }
				first := of(matches[0])
				mine := slices.DeleteFunc(slices.Clone(matches), func(m rules.Match) bool { return of(m) != first })
				matches = slices.DeleteFunc(matches, func(m rules.Match) bool { return of(m) == first })
				out := e.Evaluate(ev, mine, txs[first])
				for _, v := range out.Verdicts {
					counts.Verdicts[v.Kind]++
				}
				for _, r := range out.Rejected {
					w.rejected(ev.At, int(index), r.Reason, r.Detail)
				}
				for _, a := range out.Alerts {
					_ = w.alert(ev, &a)
				}
			}
			return true
		})
	}
	if err := store.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	return w, counts
}

// play gives a Player's calls for the same records, in batches of the sizes that cut
// returns.
func play(t fataler, o Options, records []Record, cut func(most int) int) (w told, counts Counts) {
	o.Engine, o.Shards, o.Alert, o.Rejected = engine(t), shards, w.alert, w.rejected
	p, err := New(o)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	var batches []*Batch
	var done []int
	for from := 0; from < len(records); {
		b, n := &Batch{}, len(batches)
		for range cut(len(records) - from) {
			r := records[from]
			r.Value = bytes.Clone(r.Value)
			b.Records = append(b.Records, r)
			from++
		}
		b.Done = func() { // as a producer that uses its memory again
			done = append(done, n)
			for _, r := range b.Records {
				clear(r.Value)
			}
		}
		batches = append(batches, b)
	}
	err = p.Run(context.Background(), func(_ context.Context, add func(*Batch) error) error {
		for _, b := range batches {
			if err := add(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatalf("Run, Close = %v", err)
	}
	if !slices.IsSorted(done) || len(done) != len(batches) {
		t.Fatalf("Done of %d batches was called in the order %d; want theirs", len(batches), done)
	}
	return w, p.Counts()
}

func same(t fataler, got, want told, gotCounts, wantCounts Counts) {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("the player tells %d things, one by one it is %d; they differ from %.300q, want %.300q", len(got), len(want), got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
		}
	}
	if fmt.Sprint(gotCounts) != fmt.Sprint(wantCounts) {
		t.Fatalf("Counts() = %v; want %v", gotCounts, wantCounts)
	}
}

func event(n int, name, code, who string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":"id-%d","eventTime":"2026-03-01T10:%02d:%02dZ","eventSource":"sts.amazonaws.com","eventName":%q,"errorCode":%q,`+
		`"sourceIPAddress":"192.0.2.%d","userIdentity":{"arn":"arn:%s"},"requestParameters":{"roleArn":"role \u00e9 %s"}}`, n, n/60%60, n%60, name, code, n%7, who, who)
}

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // into memory
	_ = w.Close()
	return b.String()
}

// anyRecord draws a record of any kind: events for both rules, for one and for none,
// documents of them, packed ones, and invalid ones.
func anyRecord(t *rapid.T, n int) []byte {
	who := rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(t, "who")
	one := event(n/2, rapid.SampledFrom([]string{"AssumeRole", "GetObject"}).Draw(t, "name"),
		rapid.SampledFrom([]string{"AccessDenied", ""}).Draw(t, "code"), who)
	other := event(n, "AssumeRole", "AccessDenied", who)
	document := fmt.Sprintf(`{"Records":[%s,{"eventVersion":"1"},%s]}`, one, other)
	return []byte(rapid.SampledFrom([]string{
		one, one, one, other, document, packed(document), base64.StdEncoding.EncodeToString([]byte(packed(document))),
		"junk", one + "junk\n" + other, `{"eventVersion":"1","eventTime":"never"}`, document[:len(document)-9], "{}", "[]", "",
		strings.Replace(other, `"arn:`+who+`"`, "null", 1), "\x1f\x8bjunk",
	}).Draw(t, "record"))
}

// For any cut into batches and any number of decoders, the results are those of one record
// after the other.
func TestPlayerIsSequential(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var records []Record
		for n := range rapid.IntRange(0, 60).Draw(rt, "records") {
			r := Record{At: state.Source{Topic: "topic", TopicID: [16]byte{1}, Partition: int32(n % 3), Offset: int64(n)}, Value: anyRecord(rt, n)}
			if n%5 == 0 {
				r.Time = time.Date(2026, 3, 1, 9, 0, n, 0, time.UTC)
			}
			if n%17 == 16 {
				r.Value = nil
			}
			records = append(records, r)
		}
		o := Options{Decoders: rapid.IntRange(1, 4).Draw(rt, "decoders"), MaxAhead: rapid.SampledFrom([]int64{0, 1, 4000}).Draw(rt, "ahead")}
		want, wantCounts := oneByOne(rt, records)
		got, gotCounts := play(rt, o, records, func(most int) int { return rapid.IntRange(0, min(most, 9)).Draw(rt, "batch") })
		same(rt, got, want, gotCounts, wantCounts)
	})
}

// Real events, in the envelopes that they came in.
func TestPlayerRealData(t *testing.T) {
	files, err := filepath.Glob("../cloudtrail/testdata/real/*.json*")
	if err != nil || len(files) < 8 {
		t.Fatalf("Glob = %q, %v; want the files of real events", files, err)
	}
	for _, file := range files {
		var records []Record
		for n, value := range split(t, file) {
			records = append(records, Record{At: state.Source{Topic: file, Offset: int64(n)}, Value: value})
		}
		want, wantCounts := oneByOne(t, records)
		for _, decoders := range []int{1, 4} {
			got, gotCounts := play(t, Options{Decoders: decoders}, records, func(most int) int { return min(most, 7) })
			same(t, got, want, gotCounts, wantCounts)
		}
	}
}

func split(t *testing.T, file string) (records [][]byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(data)
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	for s := (&cloudtrail.Splitter{Reader: r}); ; {
		record, err := s.Next()
		if err == io.EOF {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, bytes.Clone(record))
	}
}

// Records that unpack to more than a decoder may hold beside others, with more matches than
// wait for evaluation: they come to their turn one after the other, and decoders that wait
// for theirs do not hold others up.
func TestPlayerLargeRecords(t *testing.T) {
	var records []Record
	for n := range 5 {
		var text strings.Builder
		for i := range 2500 {
			text.WriteString(event(n*2500+i, "GetObject", "AccessDenied", "alice") + strings.Repeat(" ", 1500) + "\n")
		}
		records = append(records, Record{At: state.Source{Topic: "large", Offset: int64(n)}, Value: []byte(packed(text.String()))})
	}
	want, wantCounts := oneByOne(t, records)
	got, gotCounts := play(t, Options{Decoders: 3}, records, func(int) int { return 1 })
	same(t, got, want, gotCounts, wantCounts)
	if len(got) != 5*2500/2 {
		t.Errorf("%d alerts; want one for every second event", len(got))
	}
}
