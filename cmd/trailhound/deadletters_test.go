package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/rules"
)

// letters returns the dead letters that dead-letters list prints.
func (s *site) letters(args ...string) []letter {
	s.Helper()
	var all []letter
	for _, line := range lines(s.must("", append([]string{"dead-letters", "list"}, args...)...).stdout) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.Fatalf("dead-letters list %q prints %q: %v", args, line, err)
		}
		all = append(all, l)
	}
	return all
}

// A service gives up on records that it cannot evaluate; their bytes come back unchanged,
// to be looked at and to be sent again.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		junk, timeless := "\x00\xff\x1b[2Jjunk", `{"eventVersion":"1.11","eventName":"GetObject"}`
		ahead := strings.Replace(denial(2, "alice"), "2026", "2200", 1)
		s.send(0, denial(1, "alice"), junk, timeless, ahead)
		service := s.call("run")
		s.drain()
		if code := service.end(); code != exitDone {
			t.Fatalf("run = %d; want 0", code)
		}
		want := map[string]string{"not_json": junk, "no_event_time": timeless, "too_far_ahead": ahead}
		for _, l := range s.letters("--values") {
			if l.Value == nil || string(*l.Value) != want[l.Reason] || l.Bytes != len(want[l.Reason]) {
				t.Errorf("dead-letters list --values has %+v; want %q", l, want[l.Reason])
			}
			if l.Source.Topic != s.app.Inputs[0] || l.Source.Offset < 1 || l.Detail == "" || l.Stage == "" {
				t.Errorf("dead-letters list has %+v; want its source, stage and detail", l)
			}
			delete(want, l.Reason)
		}
		if len(want) > 0 {
			t.Errorf("dead-letters list misses %v", want)
		}
		var reasons []string
		for _, l := range s.letters("--reason", "not_json", "--reason", "no_event_time") {
			reasons = append(reasons, l.Reason)
			if l.Value != nil {
				t.Errorf("dead-letters list has the bytes of %+v; want them only with --values", l)
			}
		}
		if slices.Sort(reasons); !slices.Equal(reasons, []string{"no_event_time", "not_json"}) {
			t.Errorf("dead-letters list with two reasons has %q", reasons)
		}
		s.wantRefused(exitUsage, []string{`unknown reason "nonsense"; there are not_json, `}, "", "dead-letters", "list", "--reason", "nonsense")
		for _, l := range s.letters("--reason", "too_far_ahead") {
			if e := l.Event; e == nil || e.ID != "id-2" || e.Name != "GetObject" || len(e.Matches) != 1 || e.Matches[0] != (letterKey{"access_denied", "alice"}) {
				t.Errorf("dead-letters list has the event %+v; want the rule and the key that it is for", e)
			}
		}
		s.retries(junk, timeless)
		s.onTerminal()
	})
}

// retries sends the dead letters again: those that this build cannot decode either only by
// force, and each once.
func (s *site) retries(junk, timeless string) {
	s.Helper()
	before := s.input()
	r := s.must("", "dead-letters", "retry", "--dry-run")
	if !strings.HasSuffix(r.stderr, "1 dead letters would be sent again, 2 would come back (--force sends them), 0 cannot be\n") ||
		!strings.Contains(r.stderr, "it would come back as not_json: ") || len(s.input()) != len(before) {
		s.Errorf("dead-letters retry --dry-run says %q, and the input has %d records; want 1 to be sent, and %d as before", r.stderr, len(s.input()), len(before))
	}
	r = s.must("", "dead-letters", "retry", "--force", "--reason", "not_json,no_event_time")
	var got []string
	for _, rec := range s.input()[len(before):] {
		got = append(got, string(rec.Value))
		if len(rec.Headers) != 1 || rec.Headers[0].Key != "retried_from" || !strings.HasPrefix(string(rec.Headers[0].Value), s.app.DeadLetter+"/") {
			s.Errorf("dead-letters retry sends the headers %v; want the place of the letter", rec.Headers)
		}
	}
	slices.Sort(got)
	if r.stderr != "2 dead letters sent again, 0 cannot be\n" || !slices.Equal(got, []string{junk, timeless}) {
		s.Errorf("dead-letters retry says %q and sends %q; want the bytes as they were", r.stderr, got)
	}
	for _, l := range s.letters() {
		if sent := l.Reason != "too_far_ahead"; l.Retried != sent {
			s.Errorf("dead-letters list has %+v; want it to be marked as sent again: %t", l, sent)
		}
	}
	sent := len(s.input())
	if r = s.must("", "dead-letters", "retry", "--force", "--reason", "not_json,no_event_time", "--json"); r.stdout != `{"sent":0,"sent_before":2,"would_come_back":0,"cannot_be_sent":0}`+"\n" || len(s.input()) != sent {
		s.Errorf("dead-letters retry says %q the second time; want nothing to be sent", r.stdout)
	}
	if r = s.must("", "dead-letters", "retry", "--force", "--again", "--reason", "not_json"); r.stderr != "1 dead letters sent again, 0 cannot be\n" || len(s.input()) != sent+1 {
		s.Errorf("dead-letters retry --again says %q; want 1 to be sent", r.stderr)
	}
	want := []letterCount{{Reason: "no_event_time", Count: 1, Retried: 1}, {Reason: "not_json", Count: 1, Retried: 1}, {Reason: "too_far_ahead", Count: 1}}
	for i, line := range lines(s.must("", "dead-letters", "list", "--summary").stdout) {
		var n letterCount
		if err := json.Unmarshal([]byte(line), &n); err != nil || n.Oldest == "" || n.Newest < n.Oldest {
			s.Errorf("dead-letters list --summary prints %q, %v; want counts with times", line, err)
		}
		if n.Oldest, n.Newest = "", ""; i >= len(want) || n != want[i] {
			s.Errorf("dead-letters list --summary prints %+v; want %+v", n, want)
		}
	}
	if n := len(s.letters("--since", "1h")); n != 3 {
		s.Errorf("dead-letters list --since 1h has %d; want 3", n)
	}
	if n := len(s.letters("--since", "now")); n != 0 {
		s.Errorf("dead-letters list --since now has %d; want none", n)
	}
	if n := len(s.letters("--limit", "2")); n != 2 {
		s.Errorf("dead-letters list --limit 2 has %d; want 2", n)
	}
}

// onTerminal looks at the list for people.
func (s *site) onTerminal() {
	s.Helper()
	out := terminalOf(s.T, 160)
	code := execute(s.Context(), []string{"--config", s.config, "dead-letters", "list"}, strings.NewReader(""), out.side, &output{}, nil)
	text := out.text()
	want := fmt.Sprintf("  not_json             %s partition 0 offset 1, 10 bytes\n", s.app.Inputs[0])
	counts := "COUNT  REASON         SENT AGAIN  OLDEST                NEWEST\n1      no_event_time  1 "
	if code != exitDone || !strings.HasPrefix(text, counts) || !strings.Contains(text, want) || !strings.Contains(text, "         rule access_denied, key alice\n") || strings.Contains(text, "\x1b") {
		s.Errorf("dead-letters list on a terminal = %d, %q; want %q in it, and nothing raw", code, text, want)
	}
}

// Letters that cannot be sent again are reported, and the others are sent.
func TestDeadLettersRetryPartly(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	setMaxMessage(t, s.brokers, s.app.Inputs[0], "2000")
	write := func(value string, headers ...string) {
		rec := &kgo.Record{Topic: s.app.DeadLetter, Value: []byte(value)}
		for pair := range slices.Chunk(headers, 2) {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: pair[0], Value: []byte(pair[1])})
		}
		produce(t, s.brokers, rec)
	}
	source := []string{"reason", "not_json", "source_topic", s.app.Inputs[0], "source_partition", "0", "source_offset", "7"}
	write("whole", source...)
	write("cut", append(source, "truncated_from", "3000000")...)
	write("of somebody else")
	write("from elsewhere", "reason", "not_json", "source_topic", "else\x1bwhere")
	write(strings.Repeat("large", 1000), source...)
	write("whole too", source...)
	r := s.must("", "dead-letters", "retry", "--force")
	want := "offset 1 of partition 0: only 3 of 3000000 bytes were kept; its source is " + s.app.Inputs[0] + " partition 0 offset 7\n" +
		"offset 2 of partition 0: it has no header reason, so it is no dead letter of trailhound\n" +
		`offset 3 of partition 0: its source topic, "else\x1bwhere", is not in topics.input` + "\n" +
		"offset 4 of partition 0: the event makes a record of "
	if !strings.HasPrefix(r.stderr, want) || !strings.HasSuffix(r.stderr, "\n2 dead letters sent again, 4 cannot be\n") {
		t.Errorf("dead-letters retry says %q; want %q", r.stderr, want)
	}
	var got [][]byte
	for _, rec := range s.input() {
		got = append(got, rec.Value)
	}
	if string(bytes.Join(got, []byte("|"))) != "whole|whole too" {
		t.Errorf("dead-letters retry sends %q; want the two whole ones in order", got)
	}
	if n := len(s.letters()); n != 6 {
		t.Errorf("dead-letters list has %d after a retry; want all 6 still", n)
	}
}

// An event in a dead letter has not been evaluated: sent again after the cause is mended it
// counts, and is no duplicate of itself. The engine's own rejections, such as rule_panic,
// are tested in package rules.
func TestDeadLettersRetryMended(t *testing.T) {
	t.Parallel()
	late, ahead := denials(5), denials(5)
	late[4].at = late[4].at.Add(-48 * time.Hour)
	for i := range ahead {
		ahead[i].at = time.Now().Add(2 * time.Hour).Truncate(time.Second)
	}
	for _, c := range []struct {
		reason        string
		events        []deed
		before, after string // the setting that is mended
		letters       int    // before the retry
		alerts        int    // after it
	}{
		{"too_far_ahead", ahead, "events.max_ahead=1h", "events.max_ahead=3h", 5, 1},
		// An event that is too late stays so within the same limit; replay is the way.
		{"too_late", late, "events.max_lateness=24h", "events.max_lateness=25h", 1, 0},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
			run := func(setting string, alerts, letters int) {
				t.Helper()
				p := s.call("run", "--set", setting, "--set", "leave_on_stop=true", "--set", "rules.access_denied.threshold=5")
				s.drain()
				code := p.end()
				if got := s.letters(); code != exitDone || len(s.alerts()) != alerts || len(got) != letters || got[0].Reason != c.reason {
					t.Errorf("run with %s = %d, alerts %d, dead letters %+v; want 0, %d alerts, %d letters: %s", setting, code, len(s.alerts()), got, alerts, letters, c.reason)
				}
			}
			s.ingest(c.events)
			run(c.before, 0, c.letters)
			retried := s.must("", "dead-letters", "retry")
			letters := c.letters
			if c.alerts == 0 {
				if want := "it would come back as too_late: events.max_lateness holds for it still; trailhound replay evaluates events whatever their age\n"; !strings.Contains(retried.stderr, want) {
					t.Errorf("dead-letters retry says %q; want %q", retried.stderr, want)
				}
				s.must("", "dead-letters", "retry", "--force")
				letters *= 2
			}
			run(c.after, c.alerts, letters)
		})
	}
}

// Every reason that can be in a dead letter is known to list and retry: those of a decoder and an engine, and those
// that the service adds.
func TestLetterReasons(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^\t[rR]eason\w+ +(?:rules\.)?Reason += "(\w+)"`)
	for _, pattern := range []string{"../../rules/*.go", "../../consumer/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				if reason := rules.Reason(m[1]); !rules.Skip(reason) && !slices.Contains(consumer.DeadLetterReasons(), reason) {
					t.Errorf("DeadLetterReasons() lacks %s of %s", reason, name)
				}
			}
		}
	}
}

// A terminal is told that there are no dead letters.
func TestNoDeadLetters(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "no dead letters\n"}, {[]string{"--reason", "too_late"}, "no dead letters of those that were asked for\n"},
	} {
		out := newTerminal(t)
		var errs output
		code := execute(t.Context(), append([]string{"--config", s.config, "dead-letters", "list"}, c.args...), strings.NewReader(""), out.side, &errs, nil)
		if text := out.text(); code != exitDone || text != "" || errs.String() != c.want {
			t.Errorf("dead-letters list %q = %d, %q, %q; want %q", c.args, code, text, &errs, c.want)
		}
		if r := s.must("", append([]string{"dead-letters", "list"}, c.args...)...); r.stdout+r.stderr != "" {
			t.Errorf("dead-letters list %q through a pipe prints %q %q; want nothing", c.args, r.stdout, r.stderr)
		}
	}
}
