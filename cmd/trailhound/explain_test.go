package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/rules/explain"
)

// explained runs explain, and decodes its JSON.
func (s *site) explained(stdin string, args ...string) explain.Explanation {
	s.Helper()
	var e explain.Explanation
	r := s.must(stdin, append([]string{"explain", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil || len(lines(r.stdout)) != 1 {
		s.Fatalf("explain %q = %q (%v); want one JSON object in a line", args, r.stdout, err)
	}
	return e
}

// denials returns n denials of one user, a minute apart.
func denials(n int) []deed {
	var all []deed
	for i := range n {
		all = append(all, deed{id: fmt.Sprintf("denial-%d", i), who: "arn:aws:iam::111122223333:user/mallory", ip: "192.0.2.1", at: time.Date(2026, 3, 1, 10, i, 0, 0, time.UTC)})
	}
	return all
}

// An alert of the service is explained from the input: each event with the state before and after it.
func TestExplain(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 3)
		all := denials(10)
		role := deed{role: "arn:aws:iam::111122223333:role/admin", at: all[0].at}
		for i, ip := range []string{"192.0.2.1", "203.0.113.9"} {
			role.id, role.ip = fmt.Sprintf("use-%d", i), ip
			all = append(all, role)
		}
		s.ingest(all)
		p := s.call("run")
		s.drain()
		p.end()
		ids := map[string]string{}
		for _, alert := range s.alerts() {
			var al explain.Alert
			if err := json.Unmarshal([]byte(alert), &al); err != nil {
				t.Fatal(err)
			}
			ids[al.RuleID] = al.ID
		}

		e := s.explained("", ids["access_denied"])
		if e.Result != explain.Same || len(e.Notes) != 0 || len(e.Timeline) != 10 {
			t.Fatalf("explain = %s with %d events, notes %q; want the same alert of 10 events", e.Result, len(e.Timeline), e.Notes)
		}
		for i, m := range e.Timeline {
			if m.From != "input" || count(m.Before) != int64(i) || count(m.After) != int64(i+1)%10 || (m.Alert != nil) != (i == 9) {
				t.Errorf("event %d is %+v; want the count to go from %d to %d, and an alert at the last", i, m, i, (i+1)%10)
			}
		}
		if e := s.explained("", ids["assume_role_unique_ip"]); e.Result != explain.Same || len(e.Timeline) != 2 || e.Timeline[0].Known != "192.0.2.1" || e.Timeline[0].Verdict != "" ||
			!slices.Equal(e.Timeline[1].Before[0].Members, []string{"192.0.2.1"}) || !strings.Contains(strings.Join(e.Notes, "\n"), "known_ips") {
			t.Errorf("explain = %s of %d events, notes %q; want the same alert, the event of the known address before it, and a note that the addresses are those it carries", e.Result, len(e.Timeline), e.Notes)
		}

		// Other parameters than those of the alert are noted, and change nothing.
		if r := s.must("", "explain", "--set", "rules.access_denied.threshold=3", ids["access_denied"]); !strings.Contains(r.stdout, "The play comes to the same alert.") || !strings.Contains(r.stdout, "threshold was 10 when the alert was made; the configuration says 3 now") {
			t.Errorf("explain with another threshold prints %s; want the same alert and a note", r.stdout)
		}
		s.wantRefused(exitFailed, []string{"no alert with the id", "holds 2 records"}, "", "explain", "00000000-0000-5000-8000-000000000000")

		// Trimmed input: the evidence in the alert takes its place.
		s.trim(s.app.Inputs[0], e.Timeline[3].Partition, e.Timeline[3].Offset)
		trimmed := s.explained("", ids["access_denied"])
		for i, m := range trimmed.Timeline {
			if gone := i < 3; gone != strings.Contains(m.Missing, "trimmed") || gone == (m.Verdict != "") {
				t.Errorf("event %d is %+v; want the first three to be missing", i, m)
			}
		}
		if trimmed.Result != explain.Same || count(trimmed.Timeline[3].Before) != 3 {
			t.Errorf("explain = %+v; want the same alert, played from the fourth denial on", trimmed)
		}
		s.trim(s.app.Inputs[0], e.Timeline[9].Partition, e.Timeline[9].Offset+1)
		if trimmed = s.explained("", ids["access_denied"]); trimmed.Result != explain.Same || trimmed.Timeline[9].From != "alert" {
			t.Errorf("explain = %+v; want the same alert, with the event that it carries", trimmed)
		}
	})
}

// count returns the value of the only counter.
func count(values []explain.Value) int64 {
	if len(values) == 0 {
		return 0
	}
	return values[0].Count
}

// trim deletes the records of a partition before an offset.
func (s *site) trim(topic string, partition int32, before int64) {
	s.Helper()
	if err := s.client.DeleteRecords(s.Context(), topic, partition, before); err != nil {
		s.Fatal(err)
	}
}

// The event at a position is played only if it is the event of the alert.
func TestExplainOfAnotherTopic(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	all := denials(10)
	detected := lines(s.must("", "detect", s.history(all)).stdout)
	alert := strings.ReplaceAll(detected[0], s.dir+"/history.jsonl", s.app.Inputs[0])
	for i := range all[:9] {
		all[i].id = "another-" + all[i].id
	}
	s.send(0, (&all[0]).line(), "", all[1].line())
	e := s.explained(alert)
	for i, want := range []string{"another event", "does not hold it", "another event", "made again"} {
		if m := e.Timeline[i]; m.From != "nowhere" || !strings.Contains(m.Missing, want) || m.Verdict != "" {
			t.Errorf("event %d is %+v; want it missing: %q", i, m, want)
		}
	}
	if e.Result != explain.Same || e.Timeline[9].From != "alert" {
		t.Errorf("explain = %+v; want what the alert carries", e)
	}
	for _, change := range [][2]string{{s.app.Inputs[0], "no-such-topic"}, {`"partition":0`, `"partition":-1`}, {`"partition":0`, `"partition":1`}} {
		changed := strings.ReplaceAll(alert, change[0], change[1])
		if e := s.explained(changed); !strings.Contains(e.Timeline[0].Missing, "there is no partition") || e.Result != explain.Same {
			t.Errorf("explain of an alert with %s = %+v; want that the partition is missing", change[1], e.Timeline[0])
		}
	}
}

// Nothing in an alert or an event acts on a terminal.
func TestExplainOnTerminal(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	d := denials(1)[0]
	d.who = "evil" + "\x1b]0;owned\x07\u009b2J\u202e"
	encoded, _ := json.Marshal(d.who)
	line := strings.ReplaceAll(d.line(), fmt.Sprintf("%q", d.who), string(encoded))
	s.send(0, line)
	p := s.call("run", "--set", "rules.access_denied.threshold=1")
	s.drain()
	p.end()
	var al explain.Alert
	if err := json.Unmarshal([]byte(s.alerts()[0]), &al); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"explain", al.ID}, {"explain", "--json", al.ID}} {
		out := newTerminal(t)
		var stderr output
		code := run(t.Context(), append([]string{"--config", s.config}, args...), strings.NewReader(""), out.side, &stderr, nil)
		if text := out.text(); code != exitDone || strings.ContainsAny(text, "\x1b\x07\u009b\u202e") || !strings.Contains(text, "evil") {
			t.Errorf("%q on a terminal = %d, %q, %q; want 0 and nothing raw", args, code, text, &stderr)
		}
	}
}

// An alert copied without its headers is found by the id in its JSON.
func TestExplainWithoutHeaders(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	alert := lines(s.must("", "detect", s.history(denials(10))).stdout)[0]
	s.publish(kgo.TryCommit, "junk", alert)
	var al explain.Alert
	if err := json.Unmarshal([]byte(alert), &al); err != nil {
		t.Fatal(err)
	}
	if e := s.explained("", al.ID); e.Result != explain.Same {
		t.Errorf("explain = %s; want the same alert", e.Result)
	}
}

// The event that completes an alert is played last, although it comes late and stands
// before others in the evidence; the play leads to the same alert when the input has lost
// all but that event. Both kinds of window are tested.
func TestExplainWindows(t *testing.T) {
	for _, kind := range []string{"fixed", "sliding"} {
		for _, late := range []int{9, 4} {
			t.Run(fmt.Sprintf("%s/%d", kind, late), func(t *testing.T) {
				s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
				all := denials(10)
				all = append(append(all[:late:late], all[late+1:]...), all[late])
				set := []string{"--set", "rules.access_denied.window_kind=" + kind}
				file := s.history(all)
				alert := lines(s.must("", append(set, "detect", file)...).stdout)[0]
				e := s.explained(alert, set...)
				if last := e.Timeline[len(e.Timeline)-1]; e.Result != explain.Same || len(e.Timeline) != 10 || last.EventID != all[9].id || count(last.Before) != 9 {
					t.Errorf("explain = %s of %d events, notes %q, at last %+v; want the same alert of 10 events, the last of them %s", e.Result, len(e.Timeline), e.Notes, last, all[9].id)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				gone := s.explained(alert, set...)
				if last := gone.Timeline[len(gone.Timeline)-1]; gone.Result != explain.Same || last.From != "alert" || count(last.Before) != 9 {
					t.Errorf("explain without the input = %s, notes %q, at last %+v; want the same alert, played from what it carries", gone.Result, gone.Notes, last)
				}
			})
		}
	}
}

// Events of the evidence that the alert does not name are taken to lie at the beginning of
// the interval.
func TestExplainCutEvidence(t *testing.T) {
	for _, kind := range []string{"fixed", "sliding"} {
		s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
		set := []string{"--set", "rules.access_denied.window_kind=" + kind, "--set", "rules.access_denied.threshold=120", "--set", "rules.access_denied.window=3h"}
		alert := lines(s.must("", append(set, "detect", s.history(denials(120)))...).stdout)[0]
		e := s.explained(alert, set...)
		if e.Result != explain.Same || len(e.Timeline) != 100 || count(e.Timeline[0].Before) != 20 || !strings.Contains(strings.Join(e.Notes, "\n"), "names the newest 100") {
			t.Errorf("explain of a %s window = %s of %d events, notes %q; want the same alert, its newest 100 events played after 20", kind, e.Result, len(e.Timeline), e.Notes)
		}
	}
}

// Of several known addresses each is shown with its event, and none is played: an address
// that was trusted after an alert would make that alert once more.
func TestExplainManyAddresses(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	var all []deed
	for i := range 4 {
		all = append(all, deed{role: "arn:aws:iam::111122223333:role/admin", id: fmt.Sprintf("use-%d", i), ip: fmt.Sprintf("192.0.2.%d", i), at: time.Date(2026, 3, 1, 10, i, 0, 0, time.UTC)})
	}
	file := s.history(all)
	set := []string{"--set", "rules.assume_role_unique_ip.remember=true"}
	alerts := lines(s.must("", append(set, "detect", file)...).stdout)
	e := s.explained(alerts[len(alerts)-1], set...)
	if e.Result != explain.Same || len(e.Timeline) != 4 || count(e.Timeline[3].Before) != 3 {
		t.Fatalf("explain = %s of %d events, notes %q; want the same alert after three known addresses", e.Result, len(e.Timeline), e.Notes)
	}
	for i, m := range e.Timeline[:3] {
		if m.Known != all[i].ip || m.Verdict != "" {
			t.Errorf("event %d is %+v; want it shown as that of %s, not played", i, m, all[i].ip)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if e := s.explained(alerts[len(alerts)-1], set...); e.Result != explain.Same || count(e.Timeline[3].Before) != 3 {
		t.Errorf("explain without the input = %s, notes %q; want the same alert", e.Result, e.Notes)
	}
}

// An event that is in the evidence twice counts once, and the time-line says so: an alert
// of an older build may name an event twice, and the play then does not lead to that alert.
func TestExplainDuplicate(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "f", []byte(denial(1, "alice")+denial(2, "alice")+denial(1, "alice")))
	alert := command(t.Context(), "", nil, "detect", "--set", "rules.access_denied.threshold=2", "f").stdout
	twice := strings.Replace(alert, `"evidence":{"total":2,"events":[`,
		`"evidence":{"total":3,"events":[{"event_id":"id-1","event_time":"2026-03-01T10:00:01Z","topic":"f","partition":0,"offset":2,"index":0},`, 1)
	r := command(t.Context(), twice, nil, "explain")
	if want := "      duplicate: the eventID was evaluated before, and counts once\n"; r.code != exitDone || !strings.Contains(r.stdout, want) {
		t.Errorf("explain = %d with\n%s%s\nwant %q in it", r.code, r.stdout, r.stderr, want)
	}
}
