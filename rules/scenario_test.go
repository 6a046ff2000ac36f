package rules

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trailhound/state"
)

var update = flag.Bool("update", false, "rewrite what the golden files expect")

// scenario is one file of testdata/<rule>: a comment, and sections that start
// with a line such as "-- events --". The sections verdicts and alerts are
// what must come out; -update rewrites them.
type scenario struct {
	about      string
	parameters string // one JSON object, without the section: {}
	events     string // one record per line
	verdicts   string // what became of each event
	alerts     string // payloads
}

func (s *scenario) section(name string) *string {
	switch name {
	case "parameters":
		return &s.parameters
	case "events":
		return &s.events
	case "verdicts":
		return &s.verdicts
	case "alerts":
		return &s.alerts
	}
	return nil
}

func readScenario(t *testing.T, path string) *scenario {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{}
	part := &s.about
	for line := range strings.Lines(string(data)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if !ok {
			*part += line
			continue
		}
		if part = s.section(strings.TrimSuffix(name, " --")); part == nil {
			t.Fatalf("%s: section %q; want parameters, events, verdicts or alerts", path, name)
		}
	}
	return s
}

func (s *scenario) write(t *testing.T, path string) {
	t.Helper()
	text := s.about
	if s.parameters != "" {
		text += "-- parameters --\n" + s.parameters
	}
	text += "-- events --\n" + s.events + "-- verdicts --\n" + s.verdicts + "-- alerts --\n" + s.alerts
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestScenarios runs the files of testdata/<rule> through Decode, Match and
// Evaluate with that rule alone.
func TestScenarios(t *testing.T) {
	for _, spec := range Builtin() {
		paths, err := filepath.Glob(filepath.Join("testdata", spec.ID, "*.txt"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("Glob(testdata/%s/*.txt) = %d files, %v; want scenarios", spec.ID, len(paths), err)
		}
		for _, path := range paths {
			t.Run(spec.ID+"/"+strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
				checkScenario(t, spec, path)
			})
		}
	}
}

// TestScenariosOfEveryRule keeps the cases that each rule must show.
func TestScenariosOfEveryRule(t *testing.T) {
	for _, spec := range Builtin() {
		for _, name := range []string{"fires", "not_yet", "after_expiry", "another_principal", "duplicate", "late", "null_fields", "suppression"} {
			if _, err := os.Stat(filepath.Join("testdata", spec.ID, name+".txt")); err != nil {
				t.Errorf("rule %s has no scenario %s; want one", spec.ID, name)
			}
		}
	}
}

func checkScenario(t *testing.T, spec Spec, path string) {
	s := readScenario(t, path)
	verdicts, alerts := s.run(t, spec)
	if *update {
		s.verdicts, s.alerts = verdicts, alerts
		s.write(t, path)
	}
	if verdicts != s.verdicts {
		t.Errorf("verdicts of %s =\n%s\nwant\n%s", path, verdicts, s.verdicts)
	}
	if alerts != s.alerts {
		t.Errorf("alerts of %s =\n%s\nwant\n%s", path, alerts, s.alerts)
	}
}

func (s *scenario) run(t *testing.T, spec Spec) (verdicts, alerts string) {
	t.Helper()
	active := Active{Rule: spec.New()}
	set(t, s.parameters, active.Rule, &active.Options)
	f := newFeeder(t, defaultLimits, active)
	var v, a strings.Builder
	for line := range strings.Lines(s.events) {
		f.feed([]byte(line), func(ev *Event, rejected []Rejection, out Outcome) {
			describe(&v, ev, rejected, out)
			for _, alert := range out.Alerts {
				a.Write(alert.Payload)
				a.WriteByte('\n')
			}
		})
	}
	return v.String(), a.String()
}

// describe writes a line per match: the event's number and time, the verdict.
func describe(w *strings.Builder, ev *Event, rejected []Rejection, out Outcome) {
	fmt.Fprintf(w, "%d %s", ev.At.Offset, rfc3339(ev.Time))
	for _, v := range out.Verdicts {
		fmt.Fprintf(w, " %s", v.Kind)
	}
	for _, r := range append(rejected, out.Rejected...) {
		fmt.Fprintf(w, " %s: %s", r.Reason, r.Detail)
	}
	if len(out.Verdicts)+len(rejected) == 0 {
		w.WriteString(" no match")
	}
	w.WriteByte('\n')
}

// feeder feeds records to an engine as a topic's partition would.
type feeder struct {
	t      testing.TB
	engine *Engine
	shard  *state.Shard
	tx     *state.Tx
	topic  string
	offset int64

	matches []Match
}

func newFeeder(t testing.TB, limits Limits, active ...Active) *feeder {
	t.Helper()
	engine, err := NewEngine(active, limits)
	if err != nil {
		t.Fatalf("NewEngine(%v) = %v; want no error", active, err)
	}
	f := &feeder{t: t, engine: engine, shard: newShard(t, state.Options{}), topic: "cloudtrail"}
	f.tx = f.shard.Begin()
	t.Cleanup(func() { f.tx.Discard() })
	return f
}

// feed evaluates the events of one record, checks each alert against the
// schema, and reports what came of each event.
func (f *feeder) feed(record []byte, report func(*Event, []Rejection, Outcome)) {
	f.t.Helper()
	Decode(bytes.TrimSpace(record), func(ev *Event, err error) bool {
		if err != nil {
			f.t.Fatalf("Decode(%q) = %v; want an event", record, err)
		}
		ev.At = state.Source{Topic: f.topic, Offset: f.offset, Index: ev.At.Index}
		rejected, out := f.event(ev)
		if report != nil {
			report(ev, rejected, out)
		}
		return true
	})
	f.offset++
}

func (f *feeder) event(ev *Event) ([]Rejection, Outcome) {
	f.t.Helper()
	var rejected []Rejection
	f.matches, rejected = f.engine.Match(ev, f.matches[:0])
	if len(f.matches) == 0 {
		return rejected, Outcome{}
	}
	out := f.engine.Evaluate(ev, f.matches, f.tx)
	for _, a := range out.Alerts {
		checkAlert(f.t, a)
	}
	if err := f.tx.Err(); err != nil {
		f.t.Fatalf("tx.Err() = %v; want no error", err)
	}
	return rejected, out
}

// commit ends the batch, and begins the next.
func (f *feeder) commit() {
	f.t.Helper()
	f.tx.Sweep(100)
	for range f.tx.Changes() { // as the changelog's producer does
	}
	if err := f.tx.Apply(f.shard.Position().Changelog + 1); err != nil {
		f.t.Fatalf("tx.Apply() = %v; want no error", err)
	}
	f.tx = f.shard.Begin()
}

// set sets the parameters in text, a JSON object, on the fields of the targets
// that are tagged with their names.
func set(t *testing.T, text string, targets ...any) {
	t.Helper()
	if text == "" {
		return
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("parameters %q: %v", text, err)
	}
	for _, target := range targets {
		for f := range parameterFields(target) {
			value, ok := values[f.name]
			if !ok {
				continue
			}
			if err := setField(f, value); err != nil {
				t.Fatalf("parameter %s = %s: %v", f.name, value, err)
			}
			delete(values, f.name)
		}
	}
	for name := range values {
		t.Fatalf("parameter %q: there is none of that name", name)
	}
}
