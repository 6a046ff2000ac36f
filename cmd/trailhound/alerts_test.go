package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// testAlert returns an alert with only the members that its reader for people needs.
func testAlert(id int, title string) string {
	return fmt.Sprintf(`{"schema":"trailhound.alert.v1","rule_id":"access_denied","severity":"medium","title":%q,"event_id":"id-%d","event_time":"2026-03-01T10:00:00Z","source_ip":"198.51.100.7","evidence":{"total":10}}`, title, id)
}

// publish writes values to the alerts topic in one transaction of their own.
func (s *site) publish(end kgo.TransactionEndTry, values ...string) {
	s.Helper()
	client := kafkaClient(s, s.brokers, kgo.TransactionalID(uniqueName()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.BeginTransaction(); err != nil {
		s.Fatal(err)
	}
	for i, v := range values {
		client.Produce(s.Context(), &kgo.Record{Topic: s.app.Alerts, Partition: int32(i % s.app.AlertPartitions), Value: []byte(v)}, nil)
	}
	if err := client.Flush(s.Context()); err != nil {
		s.Fatal(err)
	}
	if err := client.EndTransaction(s.Context(), end); err != nil {
		s.Fatal(err)
	}
	s.await("the transaction's end to be marked", func() bool {
		stable, err := endOffsets(s, s.admin, s.app.Alerts, true)
		ends, err2 := endOffsets(s, s.admin, s.app.Alerts, false)
		return err == nil && err2 == nil && fmt.Sprint(stable) == fmt.Sprint(ends)
	})
}

// Alerts prints committed alerts only.
func TestAlerts(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		if r := s.command("", "alerts", "--no-follow"); r.code != exitDone || r.stdout+r.stderr != "" {
			t.Errorf("alerts of an empty topic = %d, %q, %q; want 0 and nothing", r.code, r.stdout, r.stderr)
		}
		first := []string{testAlert(1, "one"), testAlert(2, "two")}
		s.publish(kgo.TryCommit, first...)
		s.publish(kgo.TryAbort, testAlert(3, "aborted"), testAlert(4, "aborted"))
		r := s.command("", "alerts", "--no-follow", "--json")
		if got := lines(r.stdout); r.code != exitDone || r.stderr != "" || !slices.Equal(slices.Sorted(slices.Values(got)), first) {
			t.Errorf("alerts = %d, %q, %q; want 0 and the committed alerts", r.code, got, r.stderr)
		}
		if r := s.command("", "alerts", "--no-follow", "--new"); r.code != exitDone || r.stdout != "" {
			t.Errorf("alerts --new --no-follow = %d, %q; want 0 and nothing", r.code, r.stdout)
		}
		// Followed until interrupted, which is how the command ends.
		follower := s.call("alerts")
		s.await("the alerts that are there", func() bool { return len(lines(follower.stdout.String())) == 2 })
		s.publish(kgo.TryCommit, testAlert(5, "five"))
		s.await("the next alert", func() bool { return follower.stdout.has(`"title":"five"`) })
		if code := follower.end(); code != exitDone || follower.stderr.String() != "" || len(lines(follower.stdout.String())) != 3 {
			t.Errorf("alerts = %d, %q, %q after an interrupt; want 0 and three alerts", code, &follower.stdout, &follower.stderr)
		}
		// With --new only later alerts are printed, and none of the earlier ones.
		fresh := s.call("alerts", "--new")
		for n := 10; fresh.stdout.String() == ""; n++ { // the start of its reading is not visible from outside
			s.publish(kgo.TryCommit, testAlert(n, "new"))
		}
		if code := fresh.end(); code != exitDone || strings.Contains(fresh.stdout.String(), `"title":"one"`) {
			t.Errorf("alerts --new = %d, %q; want 0 and only new ones", code, &fresh.stdout)
		}
	})
}

// Records that are no alerts are reported and passed over, and nothing in them acts on a
// terminal.
func TestAlertsOfOthers(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, "topics.alert_partitions=1")
	s.app.AlertPartitions = 1
	const attack = `\u001b]0;owned\u0007` + "\u009b2J\u202eevil"
	s.publish(kgo.TryCommit, "junk \x1b[2J", testAlert(1, "one"), `{"two":`+"\n"+`"lines"}`, strings.ReplaceAll(testAlert(2, "EVIL"), "EVIL", attack))
	r := s.command("", "alerts", "--no-follow")
	if n := len(lines(r.stdout)); r.code != exitDone || n != 2 || !strings.Contains(r.stdout, attack) {
		t.Errorf("alerts = %d, %q; want 0 and the two alerts as they are", r.code, r.stdout)
	}
	if want := "partition 0 offset 0: not an alert: it is not JSON in one line\npartition 0 offset 2: not an alert: it is not JSON in one line\n"; r.stderr != want {
		t.Errorf("alerts says %q; want %q", r.stderr, want)
	}
	for _, args := range [][]string{{"alerts", "--no-follow"}, {"alerts", "--no-follow", "--json"}} {
		out, errs := newTerminal(t), newTerminal(t)
		code := execute(t.Context(), append([]string{"--config", s.config}, args...), strings.NewReader(""), out.side, errs.side, nil)
		stdout, stderr := out.text(), errs.text()
		if code != exitDone || strings.ContainsAny(stdout+stderr, "\x1b\x07\u009b\u202e") || !strings.Contains(stdout, "evil") || !strings.Contains(stderr, "offset 2: not an alert") {
			t.Errorf("%q on a terminal = %d, %q, %q; want 0, both alerts and nothing raw", args, code, stdout, stderr)
		}
	}
}

// The reader of the results has closed the pipe, as head does.
func TestAlertsNobodyReads(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	s.publish(kgo.TryCommit, testAlert(1, "one"))
	in, out := io.Pipe()
	in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var stderr output
	if code := execute(ctx, []string{"--config", s.config, "alerts"}, strings.NewReader(""), out, &stderr, nil); code != exitDone || stderr.String() != "" {
		t.Errorf("alerts = %d with %q when nobody reads; want 0 and nothing", code, &stderr)
	}
}
