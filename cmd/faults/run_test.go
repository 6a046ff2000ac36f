package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// A wrong command line is exit code 2 and a sentence, and starts nothing.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--rate", "0"}, {"--duration", "-1s"}, {"--brokers", "0"}, {"--instances", "21"}, {"more"}, {"--no-such-flag"}, {"--without", "kill,mistyped"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || stderr.Len() == 0 || stdout.Len() > 0 {
			t.Errorf("run(%q) = %d with %q on stderr; want 2 and what is wrong", args, code, &stderr)
		}
	}
}

// The command that a failed run prints gives the same options again.
func TestReplay(t *testing.T) {
	var stderr bytes.Buffer
	o, code := parse([]string{"--seed", "7", "--duration", "90s", "--rate", "11", "--without", "kill,cut"}, &stderr)
	if code >= 0 {
		t.Fatal(&stderr)
	}
	again, code := parse(strings.Fields(strings.TrimPrefix(o.replay(), "go run ./cmd/faults")), &stderr)
	if code >= 0 || again != o {
		t.Errorf("parse(%q) = %+v; want %+v", o.replay(), again, o)
	}
}

// Every way in which the promise can be broken fails the run.
func TestPassed(t *testing.T) {
	good := func() *report { return &report{Drained: true, Seen: 1} }
	if !good().passed() {
		t.Error("passed() = false without anything wrong")
	}
	for name, spoil := range map[string]func(*report){
		"lost":                   func(r *report) { r.Lost = 1 },
		"doubled":                func(r *report) { r.Doubled = 1 },
		"wrong":                  func(r *report) { r.Wrong = 1 },
		"a dead letter is lost":  func(r *report) { r.DeadLost = 1 },
		"a dead letter is wrong": func(r *report) { r.DeadWrong = 1 },
		"not drained":            func(r *report) { r.Drained = false },
		"nothing was seen":       func(r *report) { r.Seen = 0 },
		"an exit":                func(r *report) { r.ended(exit{}) },
	} {
		r := good()
		if spoil(r); r.passed() {
			t.Errorf("passed() = true; want false: %s", name)
		}
	}
	r := good()
	if r.ended(exit{Why: "its disk"}); !r.passed() {
		t.Error("passed() = false after an exit that a fault explains")
	}
}

func TestReport(t *testing.T) {
	r := newReport(5)
	r.happened(step{Fault: killTwo})
	r.happened(step{Fault: brokerKill})
	r.tally(tally{Events: 9, Expected: 3, Seen: 2, Lost: 1, Longest: 1500 * time.Millisecond, Examples: []string{"the alert of event x is lost"}})
	var text, js bytes.Buffer
	if err := r.write(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"seed 5:", "2 process kills, 1 broker kills", "kill-two 1", "lost 1", "NOT DRAINED", "1.5s", "the alert of event x is lost"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("write = %q; want %q in it", &text, want)
		}
	}
	if err := r.write(&js, true); err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := json.Unmarshal(js.Bytes(), &read); err != nil || read["lost"] != 1.0 || read["longest_alert_delay_seconds"] != 1.5 {
		t.Errorf("write as JSON = %s, %v", &js, err)
	}
}

// A fault excuses only the exit that it causes: an instance that crashes, or ends for another reason, fails the run.
func TestExplainedExits(t *testing.T) {
	damaged := trouble{damaged: true}
	cutOff := trouble{now: 1}
	over := trouble{until: time.Now().Add(-time.Hour)}
	for name, tt := range map[string]struct {
		trouble   trouble
		exit      exit
		explained bool
	}{
		"nothing happened":                  {trouble{}, exit{Last: []string{"trailhound: state_dir: torn"}}, false},
		"it says that its state is damaged": {damaged, exit{Started: true, Last: []string{"trailhound: state_dir: torn"}}, true},
		"it says something else":            {damaged, exit{Started: true, Last: []string{"trailhound: another reason"}}, false},
		"it crashes on damage":              {damaged, exit{Crashed: true, Last: []string{"goroutine 1: state_dir"}}, false},
		"it starts while cut off":           {cutOff, exit{Last: []string{"trailhound: no broker answers"}}, true},
		"it starts long after":              {over, exit{Ran: time.Second, Last: []string{"trailhound: no broker answers"}}, false},
		"it serves while cut off":           {cutOff, exit{Started: true, Last: []string{"trailhound: no broker answers"}}, false},
		"it crashes while cut off":          {cutOff, exit{Crashed: true, Last: []string{"exit status 2"}}, false},
	} {
		s := &suite{log: &lines{w: io.Discard, begun: time.Now()}, report: newReport(1), trouble: []trouble{tt.trouble}}
		tt.exit.Instance = 1
		s.ended(tt.exit)
		if got := s.report.unexplained() == 0; got != tt.explained {
			t.Errorf("%s: explained = %t; want %t", name, got, tt.explained)
		}
		if tt.explained && tt.trouble.damaged {
			if s.ended(tt.exit); s.report.unexplained() == 0 {
				t.Errorf("%s, twice: explained; want one exit for one damage", name)
			}
		}
	}
}
