package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// positions matches the places of events: the only part of an alert that differs between a
// file and a topic.
var positions = regexp.MustCompile(`"topic":"[^"]*","partition":\d+,"offset":\d+,"index":\d+`)

// The service makes the same alerts from a topic as detect from the file, byte for byte but
// for the positions.
func TestRunFindsWhatDetectFinds(t *testing.T) {
	t.Parallel()
	eachKafka(t, func(t *testing.T, brokers []string) {
		type twin struct {
			*site
			name    string
			detect  result
			service *program
		}
		var twins []twin // all at work at once: each mostly waits
		for _, file := range []string{"invictus_aws_dataset", "stratus_red_team_detonation", "otrf_ec2_proxy_s3_exfiltration"} {
			for _, family := range []bool{false, true} {
				path := filepath.Join(realData, file+".jsonl.gz")
				// With the service's own limit on late events, which detect has only with
				// --set.
				set := []string{fmt.Sprintf("rules.access_denied.denied_family=%t", family), "events.max_lateness=168h"}
				s := newSite(t, brokers, 1, set...)
				s.must("", "ingest", path)
				twins = append(twins, twin{
					site: s, name: fmt.Sprintf("%s denied_family=%t", file, family),
					detect: s.must("", append(sets(set), "detect", path)...), service: s.call(append(sets(set), "run")...),
				})
			}
		}
		for _, w := range twins {
			t.Run(w.name, func(t *testing.T) {
				w.T = t
				w.drain()
				w.sameAlerts(lines(w.detect.stdout))
				w.sameDeadLetters(w.detect.stderr)
				if code := w.service.end(); code != exitDone {
					t.Errorf("run = %d; want 0", code)
				}
			})
		}
	})
}

// sameAlerts compares the committed alerts with those that detect has printed.
func (s *site) sameAlerts(want []string) {
	s.Helper()
	got := s.alerts()
	input := s.input()
	for _, alert := range got {
		checkAlert(s, alert)
		var a struct {
			EventID string `json:"event_id"`
			Source  struct {
				Topic  string
				Offset int
			}
			Evidence struct {
				Events []struct {
					EventID string `json:"event_id"`
					Topic   string
					Offset  int
				}
			}
		}
		if err := json.Unmarshal([]byte(alert), &a); err != nil {
			s.Fatal(err)
		}
		at := func(topic string, offset int, id string) {
			var event struct{ EventID string }
			if topic != s.app.Inputs[0] || offset >= len(input) || json.Unmarshal(input[offset].Value, &event) != nil || event.EventID != id {
				s.Errorf("alert %s places event %s at %s offset %d, where there is %q", alert, id, topic, offset, event.EventID)
			}
		}
		at(a.Source.Topic, a.Source.Offset, a.EventID)
		for _, e := range a.Evidence.Events {
			at(e.Topic, e.Offset, e.EventID)
		}
	}
	placeless := func(alerts []string) string {
		var out []string
		for _, a := range alerts {
			out = append(out, positions.ReplaceAllString(a, ""))
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	if got, want := placeless(got), placeless(want); got != want {
		s.Errorf("the alerts topic has\n%s\nwant, as detect prints,\n%s", got, want)
	}
}

// sameDeadLetters compares the dead letters with detect's reports, FILE:RECORD:REASON.
func (s *site) sameDeadLetters(stderr string) {
	s.Helper()
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\S+:(\d+):(\w+): `).FindAllStringSubmatch(stderr, -1) {
		want = append(want, m[1]+" "+m[2])
	}
	for _, line := range lines(s.must("", "dead-letters", "list").stdout) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s", l.Source.Offset, l.Reason))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.Errorf("dead letters %q; want, as detect reports, %q", got, want)
	}
}

// Without a limit on late events, an event of last month completes its window, in a topic
// as in a file: no value that a late event may need is swept away.
func TestRunWithoutLatenessLimit(t *testing.T) {
	t.Parallel()
	set := []string{"events.max_lateness=0", "shards=1"}
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, set...)
	var parts [3]string
	for n := range 9 {
		parts[0] += denial(n, "alice")
	}
	parts[1] = strings.Replace(denial(100, "bob"), "2026-03", "2026-04", 1)
	parts[2] = denial(9, "alice")
	service := s.call(append(sets(set), "run")...)
	for _, part := range parts { // each in a transaction of its own, which ends with a sweep
		s.must(part, "ingest")
		s.drain()
	}
	service.end()
	detect := s.must(strings.Join(parts[:], ""), append(sets(set), "detect")...)
	if n := len(lines(detect.stdout)); n != 1 {
		t.Errorf("detect prints %d alerts; want 1", n)
	}
	s.sameAlerts(lines(detect.stdout))
	s.sameDeadLetters(detect.stderr)
}
