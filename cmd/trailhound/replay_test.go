package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/replay"
)

// sorted sorts lines.
func sorted(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sendAt writes events to a partition of the input topic, with the timestamps of their records.
func (s *site) sendAt(partition int32, at time.Time, values ...string) {
	s.Helper()
	var records []*kgo.Record
	for i, v := range values {
		records = append(records, &kgo.Record{Topic: s.app.Inputs[0], Partition: partition, Value: []byte(v), Timestamp: at.Add(time.Duration(i) * time.Second)})
	}
	produce(s, s.brokers, records...)
}

// denialsOf returns n events of one principal, the first of them numbered from.
func denialsOf(from, n int, principal string) (events []string) {
	for i := range n {
		events = append(events, denial(from+i, principal))
	}
	return events
}

// recordTime is recent: a broker may delete records of long ago while a test runs.
var recordTime = time.Now().UTC().Add(-2 * time.Hour).Truncate(time.Minute)

// minute is so many minutes after recordTime, as flags and summaries have it.
func minute(n int) string { return recordTime.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }

// A replay of one partition gives the alerts of the service, byte for byte and each time,
// while the service works; it leaves nothing behind.
func TestReplayFindsWhatRunFinds(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		for _, set := range [][]string{nil, {"rules.access_denied.denied_family=true", "rules.access_denied.threshold=3"}} {
			// With the service's own limits on late and early events, which replay has only
			// with --set.
			set = append(set, "events.max_lateness=168h", "events.max_ahead=1h")
			s := newSite(t, brokers, 1, set...)
			s.must("", "ingest", realData)
			service := s.call(append(sets(set), "run")...)
			s.drain()
			topics := s.topicEnds()
			again := func(args ...string) result {
				return s.must("", append(sets(set), append([]string{"replay"}, args...)...)...)
			}
			first := again()
			if got, want := sorted(lines(first.stdout)), sorted(s.alerts()); got != want || got == "" {
				t.Errorf("replay prints\n%s\nwant the service's alerts,\n%s", got, want)
			}
			dir := filepath.Join(s.dir, "replay")
			if second := again("--state", dir); second.stdout != first.stdout {
				t.Errorf("the second replay prints\n%s\nwant, as the first,\n%s", second.stdout, first.stdout)
			}
			if r := s.command("", "replay", "--state", dir); r.code != exitUsage || !strings.Contains(r.stderr, "the directory is not empty") {
				t.Errorf("replay with the state of another = %d with %q; want 2", r.code, r.stderr)
			}
			if r := again("--diff"); !strings.Contains(r.stdout, "total") {
				t.Errorf("replay --diff prints %q; want a table", r.stdout)
			}
			// The work topic of a service that runs gets time marks.
			if got := s.topicEnds(); withoutWork(got) != withoutWork(topics) {
				t.Errorf("after the replays the topics end at\n%s\nwant, as before,\n%s", got, topics)
			}
			if code := service.end(); code != exitDone {
				t.Errorf("run = %d; want 0", code)
			}
			topics = s.topicEnds()
			again()
			if got := s.topicEnds(); got != topics {
				t.Errorf("after a replay beside no service the topics end at\n%s\nwant, as before,\n%s", got, topics)
			}
		}
	})
}

// withoutWork drops the work topic from the text of topicEnds.
func withoutWork(ends string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(ends, "\n"), func(line string) bool { return strings.Contains(line, ".work ") }), "\n")
}

// topicEnds describes where the topics of the site end, one a line.
func (s *site) topicEnds() string {
	s.Helper()
	var b strings.Builder
	for _, name := range append([]string{s.app.Alerts, s.app.DeadLetter, s.app.WorkTopic()}, s.app.Inputs...) {
		ends, err := endOffsets(s, s.admin, name, false)
		if err != nil {
			s.Fatal(err)
		}
		fmt.Fprintln(&b, name, ends)
	}
	return b.String()
}

// With several partitions the same is true as long as all events of a key are in one of them.
func TestReplayKeyedByTheRulesKey(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 3, "rules.access_denied.threshold=4")
		for p := range int32(3) {
			for n := range 30 {
				// The clocks of the producers differ, so the partitions are not merged as
				// they were read.
				s.sendAt(p, recordTime.Add(time.Duration(1000-n*int(p))*time.Second), denial(n, fmt.Sprintf("user-%d-%d", p, n%5)))
			}
		}
		service := s.call("--set", "rules.access_denied.threshold=4", "run")
		s.drain()
		service.end()
		got := s.must("", "--set", "rules.access_denied.threshold=4", "replay")
		if got, want := sorted(lines(got.stdout)), sorted(s.alerts()); got != want || len(lines(want)) != 15 {
			t.Errorf("replay prints\n%s\nwant the service's 15 alerts,\n%s", got, want)
		}
	})
}

// The caveat of several partitions: the service evaluates records in the order in which
// they arrive, and a replay in that of their timestamps. With events of one key in two
// partitions, another event completes the window.
func TestReplayOfInterleavedPartitions(t *testing.T) {
	const threshold = "rules.access_denied.threshold=3"
	s := newSite(t, fakeCluster(t).ListenAddrs(), 2, threshold)
	service := s.call("--set", threshold, "run")
	s.sendAt(0, recordTime, denialsOf(0, 2, "alice")...)
	s.drain()
	s.sendAt(1, recordTime.Add(-time.Hour), denialsOf(10, 1, "alice")...) // it arrives last, and has the first timestamp
	s.drain()
	service.end()
	id := func(alerts []string) string {
		var a struct {
			EventID string `json:"event_id"`
		}
		if len(alerts) != 1 || json.Unmarshal([]byte(alerts[0]), &a) != nil {
			t.Fatalf("%d alerts; want 1: %q", len(alerts), alerts)
		}
		return a.EventID
	}
	if got := id(s.alerts()); got != "id-10" {
		t.Errorf("the service's alert is of event %s; want the one that arrived last, id-10", got)
	}
	if got := id(lines(s.must("", "--set", threshold, "replay").stdout)); got != "id-1" {
		t.Errorf("the alert of a replay is of event %s; want the one with the last timestamp, id-1", got)
	}
	if r := s.command("", "--set", threshold, "replay", "--diff"); r.code != exitDifferent {
		t.Errorf("replay --diff = %d with %q; want %d", r.code, r.stderr, exitDifferent)
	}
}

// A replay counts late events, unless a limit is given.
func TestReplayOfLateEvents(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, eachDenial, "shards=1")
	set := []string{"--set", eachDenial, "--set", "shards=1"}
	service := s.call(append(set, "run")...)
	s.send(0, strings.Replace(denial(1, "alice"), "2026-03", "2026-04", 1), denial(2, "alice"))
	s.drain()
	service.end()
	if n := len(s.alerts()); n != 1 {
		t.Errorf("the service makes %d alerts; want 1, since the other event is a month late", n)
	}
	if n := len(lines(s.must("", append(set, "replay")...).stdout)); n != 2 {
		t.Errorf("a replay makes %d alerts; want 2", n)
	}
	limited := s.must("", append(set, "replay", "--set", "events.max_lateness=168h")...)
	if got, want := lines(limited.stdout), s.alerts(); len(got) != 1 || got[0] != want[0] || !strings.Contains(limited.stderr, "/0:1:too_late: ") {
		t.Errorf("a replay with the limit makes %q and says %q; want %q and that one is too late", got, limited.stderr, want)
	}
}

// A range is given by time or by offsets; the warm-up counts, and its own alerts are not
// shown.
func TestReplayRange(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 2)
		for n, event := range denialsOf(0, 40, "alice") { // a batch each, since brokers find times by batch
			s.sendAt(1, recordTime.Add(time.Duration(n)*time.Minute), event)
		}
		for _, c := range []struct {
			args   []string
			alerts string // events that complete an alert
			says   string
		}{
			{nil, "id-9 id-19 id-29 id-39", "partitions 1, records 40, events 40, matches 40\n"},
			{[]string{"--from", strings.Replace(minute(5), ":00Z", "Z", 1)}, "id-14 id-24 id-34", "records 35"},
			{[]string{"--from", minute(5), "--to", minute(15)}, "id-14", "timestamps of the records: " + minute(5) + " to " + minute(14) + "\n"},
			{[]string{"--from", "2026-03-01", "--to", "now"}, "id-9 id-19 id-29 id-39", "records 40"},
			{[]string{"--partition", "1", "--offsets", "20..30"}, "id-29", "records 10"},
			{[]string{"--partition", "1", "--offsets", "25.."}, "id-34", "records 15"},
			{[]string{"--partition", "1", "--offsets", "..12"}, "id-9", "records 12"},
			// The warm-up holds five of the ten denials.
			{[]string{"--from", minute(25), "--to", minute(35), "--warm", "5m"}, "id-29", "records 15, events 15, matches 15, of which records 5 are before the range"},
			{[]string{"--partition", "1", "--offsets", "25..35", "--warm", "5m"}, "id-29", "of which records 5 "},
			{[]string{"--from", minute(25), "--to", minute(27), "--warm", "1d"}, "", "of which records 25 "},
			{[]string{"--partition", "1", "--offsets", "35..99"}, "", "partition 1 ends at offset 40 at present\n"},
		} {
			r := s.must("", append([]string{"replay"}, c.args...)...)
			var ids []string
			for _, alert := range lines(r.stdout) {
				var a struct {
					EventID string `json:"event_id"`
				}
				if err := json.Unmarshal([]byte(alert), &a); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, a.EventID)
			}
			if got := strings.Join(ids, " "); got != c.alerts || !strings.Contains(r.stderr, c.says) {
				t.Errorf("replay %q finds %q and says %q; want %q and %q", c.args, got, r.stderr, c.alerts, c.says)
			}
		}
		for want, args := range map[string][]string{
			"the range is empty: no partition has a record in it": {"--from", minute(600)},
			"the range is empty":                          {"--partition", "0"},
			"-in has no partition 7; it has 2, from 0 on": {"--partition", "7"},
		} {
			if r := s.command("", append([]string{"replay"}, args...)...); r.code != exitFailed || !strings.Contains(r.stderr, want) || r.stdout != "" {
				t.Errorf("replay %q = %d with %q; want 1 with %q", args, r.code, r.stderr, want)
			}
		}
	})
}

// Alerts go to a file that appears at the end, or to a topic with the keys and headers of
// the service's alerts.
func TestReplayOutputs(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1, eachDenial)
		s.send(0, denialsOf(0, 5, "alice")...)
		service := s.call("--set", eachDenial, "run")
		s.drain()
		service.end()
		want := s.must("", "--set", eachDenial, "replay").stdout
		file := filepath.Join(s.dir, "alerts.jsonl")
		other := newTopic(t, brokers, "", 1)
		r := s.must("", "--set", eachDenial, "replay", "--out", file, "--topic", other)
		if got, err := os.ReadFile(file); err != nil || string(got) != want || r.stdout != "" {
			t.Errorf("--out writes %q, %v and prints %q; want %q in the file alone", got, err, r.stdout, want)
		}
		show := func(records []*kgo.Record) string {
			var all []string
			for _, rec := range records {
				all = append(all, fmt.Sprintf("%s %s %v", rec.Key, rec.Value, rec.Headers))
			}
			return sorted(all)
		}
		if got, want := show(committed(t, brokers, other)), show(committed(t, brokers, s.app.Alerts)); got != want || got == "" {
			t.Errorf("--topic writes\n%s\nwant, as the service,\n%s", got, want)
		}
		if left, err := filepath.Glob(filepath.Join(s.dir, "*.part-*")); err != nil || len(left) > 0 {
			t.Errorf("%q are left, %v; want nothing", left, err)
		}
		if r := s.command("", "replay", "--topic", "no-such-topic"); r.code != exitFailed || !strings.Contains(r.stderr, "topic no-such-topic does not exist") {
			t.Errorf("replay --topic = %d with %q; want 1 and that it does not exist", r.code, r.stderr)
		}
		// A failed replay leaves an existing file as it was.
		if r := s.command("", "replay", "--strict", "--out", filepath.Join(s.dir, "no", "such")); r.code != exitUsage || !strings.Contains(r.stderr, "there is no directory "+filepath.Join(s.dir, "no")) {
			t.Errorf("replay --out = %d with %q; want 2", r.code, r.stderr)
		}
	})
}

// An interrupted replay says so, and leaves no partial file behind.
func TestReplayInterrupted(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, eachDenial)
	s.send(0, denialsOf(0, 100, "alice")...)
	file := filepath.Join(s.dir, "alerts.jsonl")
	if err := os.WriteFile(file, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{stdin: strings.NewReader(""), stdout: &output{}, stderr: &output{}, configFile: s.config, set: []string{eachDenial}}
	setup, err := a.setup()
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := replay.Resolve(t.Context(), s.client, s.app.Inputs, replay.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	ranges[0].To += 1000 // the replay waits for records that never come
	r := replaying{app: a, setup: setup, flags: &replayFlags{out: file}, client: s.client, ranges: ranges, read: ranges}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	parts := func() int {
		found, err := filepath.Glob(file + ".part-*")
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	await(t, "the replay to begin", func() bool { return parts() == 1 })
	cancel()
	if code := a.exit(<-ended); code != exitFailed || !strings.HasSuffix(fmt.Sprint(a.stderr), "trailhound: interrupted\n") {
		t.Errorf("replay = %d with %q; want 1 and that it was interrupted", code, a.stderr)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "before\n" || parts() > 0 {
		t.Errorf("the file holds %q, %v, and %d others are beside it; want what it held before", text, err, parts())
	}
}
