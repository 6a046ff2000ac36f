package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"trailhound/rules/alertdiff"
)

// diffSite returns a site after its service has evaluated the denials of two principals.
func diffSite(t *testing.T, brokers []string) *site {
	s := newSite(t, brokers, 1)
	s.send(0, denialsOf(0, 20, "alice")...)
	s.send(0, denialsOf(20, 7, "bob")...)
	service := s.call("run", "--set", "http.listen=127.0.0.1:0")
	s.await("the shards to be told that the input has ended", func() bool {
		_, status := service.get("/status")
		return strings.Contains(status, `"idle":true`) || strings.Contains(status, `"idle": true`)
	})
	s.drain() // of these marks, too
	service.end()
	return s
}

// The comparison tells the effect of other parameters, by rule and key, and by its exit
// code.
func TestReplayDiff(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := diffSite(t, brokers)
		same := s.must("", "replay", "--diff")
		if want := "NEW  VANISHED  KEPT  CHANGED  RULE\n0    0         2     0        access_denied\n0    0         2     0        total\n"; same.stdout != want {
			t.Errorf("replay --diff prints\n%s\nwant\n%s", same.stdout, want)
		}
		// A parameter that changes only the description of the rule in alerts.
		if r := s.command("", "--set", "rules.access_denied.window=2h", "replay", "--diff"); r.code != exitDone || r.stdout != same.stdout {
			t.Errorf("replay --diff with another window = %d with\n%s\nwant 0 and no difference", r.code, r.stdout)
		}
		lower := s.command("", "--set", "rules.access_denied.threshold=5", "replay", "--diff")
		want := "NEW  VANISHED  KEPT  CHANGED  RULE\n3    0         2     2        access_denied\n3    0         2     2        total\n\n" +
			"NEW  VANISHED  KEPT  CHANGED  RULE AND KEY\n2    0         2     2        access_denied alice\n1    0         0     0        access_denied bob\n"
		var titles []string
		table, listed, _ := strings.Cut(lower.stdout, "\nALERT  EVENT TIME            ID                                    TITLE\n")
		for _, line := range lines(listed) {
			fields := strings.Fields(line)
			titles = append(titles, fields[0]+" "+strings.Join(fields[3:], " "))
		}
		if want := []string{"new alice was denied 5 times in 4s", "new alice was denied 5 times in 4s", "new bob was denied 5 times in 4s"}; !slices.Equal(titles, want) {
			t.Errorf("replay --diff lists %q; want %q", titles, want)
		}
		if lower.stdout = table; lower.code != exitDifferent || lower.stdout != want {
			t.Errorf("replay --diff with a lower threshold = %d with\n%s\nwant %d with\n%s", lower.code, lower.stdout, exitDifferent, want)
		}
		if strings.Contains(lower.stderr, "trailhound:") {
			t.Errorf("replay --diff says %q; want no error", lower.stderr)
		}
		higher := s.command("", "--set", "rules.access_denied.threshold=15", "replay", "--diff", "--json")
		var result alertdiff.Result
		if err := json.Unmarshal([]byte(higher.stdout), &result); err != nil || higher.code != exitDifferent {
			t.Fatalf("replay --diff --json = %d with %q, %v; want %d", higher.code, higher.stdout, err, exitDifferent)
		}
		for _, id := range result.Keys[0].VanishedIDs {
			if result.Alerts[id].Title != "alice was denied 10 times in 9s" || result.Alerts[id].Time.IsZero() {
				t.Errorf("replay --diff --json has %+v of a vanished alert; want its title and time", result.Alerts[id])
			}
		}
		if got, want := result.Total, (alertdiff.Counts{New: 1, Vanished: 2}); got != want || len(result.Keys) != 1 || len(result.Keys[0].VanishedIDs) != 2 || result.Ranges[0].To != 27 {
			t.Errorf("replay --diff --json = %s; want %+v for one key", higher.stdout, want)
		}
		// A part of the range: alerts of the other records are no part of the comparison.
		if r := s.must("", "replay", "--diff", "--partition", "0", "--offsets", "10..20"); !strings.Contains(r.stdout, "0    0         1     0        total") {
			t.Errorf("replay --diff of a part = %q; want its one alert kept", r.stdout)
		}
	})
}

// Instead of the topic, a file holds the alerts to compare with.
func TestReplayDiffFile(t *testing.T) {
	s := diffSite(t, fakeCluster(t).ListenAddrs())
	alerts := lines(s.must("", "replay").stdout)
	file := filepath.Join(s.dir, "alerts.jsonl")
	write := func(lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := strings.Replace(alerts[0], s.app.Inputs[0], "other", 1)
	elsewhere = strings.Replace(elsewhere, `"source":{"topic":"`+s.app.Inputs[0], `"source":{"topic":"other`, 1)
	write(alerts[1], "", elsewhere)
	r := s.command("", "replay", "--diff", file)
	if r.code != exitDifferent || !strings.Contains(r.stdout, "1    0         1     0        total") || !strings.Contains(r.stderr, "has 1 alert of records outside of the range") {
		t.Errorf("replay --diff FILE = %d, %q, %q; want one alert new, one kept, and one elsewhere", r.code, r.stdout, r.stderr)
	}
	if r := s.command(strings.Join(alerts, "\n"), "replay", "--diff=-"); r.code != exitDone {
		t.Errorf("replay --diff=- = %d, %q, %q; want 0", r.code, r.stdout, r.stderr)
	}
	write(alerts[1], `{"id":7}`)
	if r := s.command("", "replay", "--diff", file); r.code != exitFailed || !strings.Contains(r.stderr, "--diff: line 2 of "+file+" is not an alert") {
		t.Errorf("replay --diff of junk = %d with %q; want 1 and the line", r.code, r.stderr)
	}
	if r := s.command("", "replay", "--diff", file+".no"); r.code != exitUsage || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("replay --diff of no file = %d with %q; want 2", r.code, r.stderr)
	}
}

// Caveats of a comparison are reported: alerts that were deleted, and alerts that the
// service has yet to make.
func TestReplayDiffCaveats(t *testing.T) {
	s := diffSite(t, fakeCluster(t).ListenAddrs())
	s.send(0, denialsOf(27, 3, "bob")...) // bob's tenth denial is among them
	r := s.command("", "replay", "--diff")
	if want := s.app.ID + " has 3 records still to read or to evaluate"; r.code != exitDifferent || !strings.Contains(r.stderr, want) {
		t.Errorf("replay --diff = %d with %q; want %d and %q", r.code, r.stderr, exitDifferent, want)
	}
	ends, err := endOffsets(t, s.admin, s.app.Alerts, false)
	if err != nil {
		t.Fatal(err)
	}
	for p, end := range ends {
		if err := s.client.DeleteRecords(t.Context(), s.app.Alerts, p, end); err != nil {
			t.Fatal(err)
		}
	}
	r = s.command("", "replay", "--diff")
	if r.code != exitDifferent || !strings.Contains(r.stderr, "alerts that were deleted from it count as new") || !strings.Contains(r.stderr, "has no alert of the range: if they went to another topic then") {
		t.Errorf("replay --diff = %d with %q; want %d and that alerts were deleted", r.code, r.stderr, exitDifferent)
	}
}
