package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// severeAlert is a testAlert of another rule and severity.
func severeAlert(id int, rule, severity string) string {
	return strings.NewReplacer("access_denied", rule, "medium", severity).Replace(testAlert(id, fmt.Sprint("title ", id)))
}

// Alerts can be chosen by rule, severity, partition and the time at which they were written, and the last ones taken.
func TestAlertsChosen(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		now := time.Now()
		for n := range 6 {
			rule, severity := "access_denied", "medium"
			if n%2 == 1 {
				rule, severity = "assume_role_unique_ip", "high"
			}
			produce(t, s.brokers, &kgo.Record{
				Topic: s.app.Alerts, Partition: int32(n % s.app.AlertPartitions), Value: []byte(severeAlert(n, rule, severity)),
				Timestamp: now.Add(time.Duration(n-6) * time.Hour),
			})
		}
		produce(t, s.brokers, &kgo.Record{Topic: s.app.Alerts, Value: []byte("junk"), Timestamp: now.Add(-10 * time.Hour)})
		for _, c := range []struct {
			args, want []string
		}{
			{nil, []string{"0", "1", "2", "3", "4", "5"}},
			{[]string{"--rule", "access_denied"}, []string{"0", "2", "4"}},
			{[]string{"--severity", "high,critical"}, []string{"1", "3", "5"}},
			{[]string{"--rule", "access_denied", "--severity", "high"}, nil},
			{[]string{"--partition", "1"}, []string{"1", "3", "5"}},
			{[]string{"--since", "150m"}, []string{"4", "5"}},
			{[]string{"--since", now.Add(-4 * time.Hour).UTC().Format(time.RFC3339Nano)}, []string{"2", "3", "4", "5"}},
			{[]string{"--since", "now"}, nil},
			{[]string{"--last", "2"}, []string{"4", "5"}},
			{[]string{"--last", "2", "--rule", "access_denied"}, []string{"2", "4"}},
			{[]string{"--last", "100", "--since", "210m"}, []string{"3", "4", "5"}},
		} {
			r := s.must("", append([]string{"alerts", "--no-follow"}, c.args...)...)
			var got []string
			for _, line := range lines(r.stdout) {
				_, id, _ := strings.Cut(line, `"event_id":"id-`)
				got = append(got, id[:1])
			}
			if !slices.Contains(c.args, "--last") {
				slices.Sort(got) // partitions are read at once
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("alerts %q prints %q; want %q", c.args, got, c.want)
			}
		}
		if r := s.command("", "alerts", "--no-follow", "--partition", "7"); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "--partition 7: topic "+s.app.Alerts+" has no partition 7; it has ") {
			t.Errorf("alerts --partition 7 = %d, %q, %q; want 1 and how many there are", r.code, r.stdout, r.stderr)
		}
		// Alerts behind the last ones are followed, and none is printed twice.
		follower := s.call("alerts", "--last", "1", "--with-record")
		s.await("the last alert", func() bool { return follower.stdout.has(`"title 5"`) })
		s.publish(kgo.TryCommit, severeAlert(8, "access_denied", "low"), severeAlert(9, "access_denied", "low"))
		s.await("the next alerts", func() bool { return follower.stdout.has(`"title 8"`) && follower.stdout.has(`"title 9"`) })
		follower.end()
		if got := lines(follower.stdout.String()); len(got) != 3 {
			t.Errorf("alerts --last 1 prints %q; want the last alert and the two that came", got)
		}
		var placed struct {
			Record struct {
				Timestamp time.Time
				Partition *int32
				Offset    *int64
			}
			Alert json.RawMessage
		}
		first := lines(follower.stdout.String())[0]
		if err := json.Unmarshal([]byte(first), &placed); err != nil || placed.Record.Partition == nil || *placed.Record.Partition != 1 || *placed.Record.Offset != 2 ||
			placed.Record.Timestamp.UnixMilli() != now.Add(-time.Hour).UnixMilli() || string(placed.Alert) != severeAlert(5, "assume_role_unique_ip", "high") {
			t.Errorf("alerts --with-record prints %s, %v; want the place of the alert, and the alert as it is", first, err)
		}
	})
}

// Flags that contradict each other or make no sense are refused before anything is asked of
// Kafka.
func TestAlertsRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"alerts", "--severity", "hihg"}, `unknown severity "hihg"; there are info, low, medium, high, critical`},
		{[]string{"alerts", "--rule", "acess_denied"}, `unknown rule "acess_denied"; did you mean access_denied?`},
		{[]string{"alerts", "--since", "yesterday"}, "--since yesterday: a time is wanted"},
		{[]string{"alerts", "--last", "-1"}, "--last -1: a number of alerts is wanted, 10000 at most"},
		{[]string{"alerts", "--last", "3", "--new"}, "--new starts behind all alerts"},
		{[]string{"explain", "zzz"}, "explain zzz: that is no id of an alert"},
	} {
		r := command(t.Context(), "", nil, append(c.args, "--set", "kafka.brokers=127.0.0.1:1")...)
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, "trailhound: "+c.want) {
			t.Errorf("%q = %d with %q; want 2 with %q", c.args, r.code, r.stderr, c.want)
		}
	}
}

// Every view shows the alert's id beside the event's; given the id of an event, explain
// names the alert.
func TestExplainOfEvent(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	const event, other, alert = "b402b288-c136-4fe5-8d2f-9bba4479c074", "c402b288-c136-4fe5-8d2f-9bba4479c074", "8433fb4a-a02b-5f59-bd24-766b9c78c746"
	s.publish(kgo.TryCommit, "junk with "+event,
		fmt.Sprintf(`{"schema":"trailhound.alert.v1","id":%q,"rule_id":"access_denied","severity":"low","title":"t","key":"k","event_id":%q,"event_time":"2026-03-01T10:00:00Z",`+
			`"evidence":{"total":1,"events":[{"event_id":%q,"event_time":"2026-03-01T10:00:00Z","topic":"t","partition":0,"offset":1,"index":0}]},"source":{"topic":"t","partition":0,"offset":2,"index":0}}`, alert, event, other))
	for _, id := range []string{event, other} {
		s.wantRefused(exitFailed, []string{id + " is the id of an event, not of an alert", "trailhound explain " + alert}, "", "explain", id)
	}
	out := newTerminal(t)
	execute(t.Context(), []string{"--config", s.config, "alerts", "--no-follow", "--with-record"}, strings.NewReader(""), out.side, io.Discard, nil)
	text := out.text()
	for _, want := range []string{"         alert " + alert + "\n", "         event " + event + "\n", "         record partition 1 offset 0, written 20"} {
		if !strings.Contains(text, want) {
			t.Errorf("alerts on a terminal prints %q; want %q in it", text, want)
		}
	}
}
