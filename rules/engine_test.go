package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trailhound/state"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// probe is a rule made of functions.
type probe struct {
	id       string
	key      func(*Event) string
	evaluate func(*Event, *state.Scope) *Finding
}

func (p *probe) Info() Info                                 { return Info{ID: p.id, Title: "Probe", Severity: SeverityLow} }
func (p *probe) Key(e *Event) string                        { return p.key(e) }
func (p *probe) Evaluate(e *Event, s *state.Scope) *Finding { return p.evaluate(e, s) }
func always(key string) func(*Event) string                 { return func(*Event) string { return key } }
func never(*Event, *state.Scope) *Finding                   { return nil }
func counting(_ *Event, s *state.Scope) *Finding            { return countTitle(s.IncrementCounter("n")) }
func countTitle(n int64) *Finding                           { return &Finding{Title: fmt.Sprint(n)} }
func eventAt(id string, at time.Duration) *Event            { return &Event{ID: id, Time: noon.Add(at)} }
func newProbe(id string, f func(*Event, *state.Scope) *Finding) Active {
	return Active{Rule: &probe{id: id, key: always("k"), evaluate: f}}
}

// summary is an Outcome as a line: verdicts, titles of alerts, rejections.
func summary(t testing.TB, out Outcome) string {
	t.Helper()
	var parts []string
	for _, v := range out.Verdicts {
		parts = append(parts, strings.TrimSpace(v.Rule+" "+string(v.Kind)))
	}
	for _, a := range out.Alerts {
		parts = append(parts, fmt.Sprintf("%q", decodeAlert(t, a.Payload).Title))
	}
	for _, r := range out.Rejected {
		parts = append(parts, fmt.Sprintf("(%s %s)", r.Rule, r.Reason))
	}
	return strings.Join(parts, " ")
}

func (f *feeder) want(ev *Event, want string) Outcome {
	f.t.Helper()
	_, out := f.event(ev)
	if got := summary(f.t, out); got != want {
		f.t.Errorf("Evaluate(%s at %s) = %s; want %s", ev.ID, rfc3339(ev.Time), got, want)
	}
	return out
}

func TestPanicStaysInItsPair(t *testing.T) {
	bad := true
	f := newFeeder(t, defaultLimits,
		newProbe("before", counting),
		newProbe("broken", func(e *Event, s *state.Scope) *Finding {
			n := s.IncrementCounter("n")
			if bad {
				_ = []string{"none"}[n]
			}
			return countTitle(n)
		}),
		newProbe("after", counting))

	out := f.want(eventAt("e1", 0), `before alerted broken rejected after alerted "1" "1" (broken rule_panic)`)
	detail := out.Rejected[0].Detail
	for _, part := range []string{"rule broken panicked in Evaluate", "index out of range", "TestPanicStaysInItsPair", "engine_test.go"} {
		if !strings.Contains(detail, part) {
			t.Errorf("detail of the panic = %q; want %q in it", detail, part)
		}
	}
	bad = false
	// The rule is mended: the event that it could not digest is evaluated when it is sent again.
	f.want(eventAt("e1", 0), `before duplicate broken alerted after duplicate "1"`)
	f.want(eventAt("e2", 0), `before alerted broken alerted after alerted "2" "2" "2"`)
}

func TestPanicInKey(t *testing.T) {
	broken := &probe{id: "broken", key: func(e *Event) string { panic("no " + e.ID) }, evaluate: never}
	last := &probe{id: "last", key: func(e *Event) string { panic("nor " + e.ID) }, evaluate: never}
	engine, err := NewEngine([]Active{newProbe("before", never), {Rule: broken}, newProbe("after", never), {Rule: last}}, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	matches, rejected := engine.Match(eventAt("e1", 0), nil)
	if want := []Match{{"before", "k"}, {"after", "k"}}; !slices.Equal(matches, want) {
		t.Errorf("Match = %v; want %v", matches, want)
	}
	if len(rejected) != 2 || rejected[0].Rule != "broken" || rejected[1].Rule != "last" {
		t.Fatalf("Match rejected %v; want broken and last", rejected)
	}
	for i, message := range []string{"panicked in Key: no e1", "panicked in Key: nor e1"} {
		if r := rejected[i]; r.Reason != ReasonRulePanic || !strings.Contains(r.Detail, message) || !strings.Contains(r.Detail, "engine_test.go") {
			t.Errorf("Match rejected %+v; want %s with %q and a stack", r, ReasonRulePanic, message)
		}
	}
}

func TestPanicValueCannotPanic(t *testing.T) {
	f := newFeeder(t, defaultLimits, newProbe("broken", func(*Event, *state.Scope) *Finding { panic(brokenError{}) }))
	f.want(eventAt("e1", 0), "broken rejected (broken rule_panic)")

	shown := func(*Event, *state.Scope) *Finding { return &Finding{Context: Context{{"v", (*exploding)(nil)}}} }
	f = newFeeder(t, defaultLimits, newProbe("shown", shown))
	f.want(eventAt("e1", 0), `shown alerted "Probe"`)
}

type brokenError struct{}

func (brokenError) Error() string { panic("again") }

type exploding struct{ text string }

func (e *exploding) String() string { return e.text }

func TestLateAndAhead(t *testing.T) {
	limits := Limits{MaxLateness: time.Hour, MaxAhead: time.Minute}
	f := newFeeder(t, limits, newProbe("count", counting))
	recordAt := func(ev *Event, at time.Duration) *Event {
		ev.RecordTime = noon.Add(at)
		return ev
	}
	f.want(eventAt("no record time", 0), `count alerted "1"`)
	f.want(eventAt("at the limit of lateness", -time.Hour), `count alerted "2"`)
	f.want(eventAt("too late", -time.Hour-1), "rejected ( too_late)")
	f.want(recordAt(eventAt("at the limit ahead", time.Minute), 0), `count alerted "3"`)
	f.want(recordAt(eventAt("too far ahead", 2*time.Minute+1), time.Minute), "rejected ( too_far_ahead)")
	if got, want := f.tx.StreamTime(), noon.Add(time.Minute); !got.Equal(want) {
		t.Errorf("StreamTime() = %s; want %s: a rejected event must not move it", got, want)
	}
	out := f.want(eventAt("late now", -time.Hour), "rejected ( too_late)")
	if detail := out.Rejected[0].Detail; !strings.Contains(detail, "2026-03-01T11:00:00Z") || !strings.Contains(detail, "replay") {
		t.Errorf("detail = %q; want the event's time and a word on replay", detail)
	}

	if f.engine.Evaluate(eventAt("without a match", time.Hour), nil, f.tx); !f.tx.StreamTime().Equal(noon.Add(time.Minute)) {
		t.Errorf("StreamTime() = %s; want it unmoved by an event without matches", f.tx.StreamTime())
	}

	// The clock bounds an event in a record that has the event's own time, and one in a
	// record without a time.
	f = newFeeder(t, limits, newProbe("count", counting))
	f.now = noon
	f.want(recordAt(eventAt("stamped with its own time", time.Hour), time.Hour), "rejected ( too_far_ahead)")
	f.want(eventAt("without a record time", time.Minute+1), "rejected ( too_far_ahead)")
	f.want(recordAt(eventAt("a record of the past", -time.Hour), -2*time.Hour), "rejected ( too_far_ahead)")
	f.want(eventAt("at the limit", time.Minute), `count alerted "1"`)

	// Partitions that drift apart in a backlog make nothing late in each other.
	f = newFeeder(t, limits, newProbe("count", counting))
	other := eventAt("of another partition", -500*time.Hour)
	other.At.Partition = 7
	f.want(eventAt("ahead by weeks", 0), `count alerted "1"`)
	f.want(other, `count alerted "2"`)

	f = newFeeder(t, Limits{}, newProbe("count", counting))
	f.want(eventAt("e1", 0), `count alerted "1"`)
	f.want(recordAt(eventAt("no limits", -1e5*time.Hour), -2e5*time.Hour), `count alerted "2"`)
}

func TestDuplicates(t *testing.T) {
	f := newFeeder(t, Limits{DuplicatesWithin: time.Hour}, newProbe("count", counting))
	f.want(eventAt("a", 0), `count alerted "1"`)
	f.want(eventAt("a", 0), `count duplicate`)
	f.want(eventAt("b", time.Hour), `count alerted "2"`)
	f.want(eventAt("a", 0), `count duplicate`)
	f.want(eventAt("c", time.Hour+1), `count alerted "3"`)
	f.want(eventAt("a", 0), `count alerted "3"`) // evaluated, and the counter's evidence has it
	f.want(eventAt("", 0), `count alerted "4"`)
	f.want(eventAt("", 0), `count alerted "5"`)

	f = newFeeder(t, Limits{}, newProbe("count", counting))
	f.want(eventAt("a", 0), `count alerted "1"`)
	f.want(eventAt("a", 0), `count alerted "1"`)
}

// An event is a duplicate only for the rule and key that have seen it.
func TestDuplicatesPerPair(t *testing.T) {
	f := newFeeder(t, defaultLimits, newProbe("one", counting), newProbe("two", counting))
	evaluate := func(want string, matches ...Match) {
		t.Helper()
		if got := summary(t, f.engine.Evaluate(eventAt("a", 0), matches, f.tx)); got != want {
			t.Errorf("Evaluate(a, %v) = %s; want %s", matches, got, want)
		}
	}
	evaluate(`one alerted "1"`, Match{"one", "x"})
	evaluate(`one duplicate two alerted "1"`, Match{"one", "x"}, Match{"two", "x"})
	evaluate(`one alerted one duplicate "1"`, Match{"one", "y"}, Match{"one", "y"})
}

func TestUnknownRule(t *testing.T) {
	f := newFeeder(t, defaultLimits, newProbe("count", counting))
	out := f.engine.Evaluate(eventAt("a", 0), []Match{{"gone", "k"}, {"count", "k"}}, f.tx)
	if got, want := summary(t, out), `gone unknown_rule count alerted "1"`; got != want {
		t.Errorf("Evaluate = %s; want %s", got, want)
	}
}

func TestLimitsOfState(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, test := range []struct {
		name     string
		evaluate func(e *Event, s *state.Scope)
		key      string
		reason   Reason
	}{
		{"key", func(*Event, *state.Scope) {}, strings.Repeat("k", 2<<10+1), ReasonKeyTooLong},
		{"member", func(e *Event, s *state.Scope) { s.AddToStringSet("s", long) }, "k", ReasonMemberTooLong},
		{"set", func(e *Event, s *state.Scope) { s.AddToStringSet("s", "a", "b", "c") }, "k", ReasonSetFull},
	} {
		t.Run(test.name, func(t *testing.T) {
			rule := &probe{id: "limited", key: func(e *Event) string {
				if e.ID == "good" {
					return "k"
				}
				return test.key
			}}
			rule.evaluate = func(e *Event, s *state.Scope) *Finding {
				n := s.IncrementCounter("n")
				if e.ID != "good" {
					test.evaluate(e, s)
				}
				return countTitle(n)
			}
			f := newFeeder(t, defaultLimits, Active{Rule: rule}, newProbe("other", counting))
			f.shard = newShard(t, state.Options{MaxSetMembers: 2})
			f.tx.Discard()
			f.tx = f.shard.Begin()
			out := f.want(eventAt("bad", 0), fmt.Sprintf(`limited rejected other alerted "1" (limited %s)`, test.reason))
			if out.Rejected[0].Detail == "" {
				t.Errorf("rejection %+v has no detail; want one", out.Rejected[0])
			}
			f.want(eventAt("bad", 0), fmt.Sprintf(`limited rejected other duplicate (limited %s)`, test.reason))
			f.want(eventAt("good", 0), `limited alerted other alerted "1" "2"`)
		})
	}
}

func TestEvidence(t *testing.T) {
	last := func(e *Event, s *state.Scope) *Finding {
		if n := s.IncrementCounter("n"); n < 150 {
			return nil
		}
		s.ResetCounter("n") // must not lose it
		return &Finding{}
	}
	f := newFeeder(t, defaultLimits, newProbe("count", last))
	var out Outcome
	for i := range 150 {
		ev := eventAt(fmt.Sprint("e", i), -time.Duration(i)*time.Second)
		ev.At = state.Source{Topic: "t", Partition: 3, Offset: int64(i), Index: 7}
		_, out = f.event(ev)
	}
	got := decodeAlert(t, out.Alerts[0].Payload).Evidence
	if got.Total != 150 || len(got.Events) != 100 {
		t.Fatalf("evidence = %d events of %d; want 100 of 150", len(got.Events), got.Total)
	}
	for i, e := range got.Events { // the newest to come, in order of their times
		if e.Offset != int64(149-i) || e.EventID != fmt.Sprint("e", 149-i) || e.Index != 7 {
			t.Fatalf("evidence event %d = %+v; want e%d", i, e, 149-i)
		}
	}
}

func TestSuppressedAlertsKeepState(t *testing.T) {
	rule := newProbe("count", counting)
	rule.Options.Suppress = time.Minute
	f := newFeeder(t, defaultLimits, rule)
	f.want(eventAt("a", 0), `count alerted "1"`)
	f.want(eventAt("b", time.Second), "count suppressed")
	f.want(eventAt("c", 2*time.Second), "count suppressed")
	out := f.want(eventAt("d", time.Minute), `count alerted "4"`)
	if got := decodeAlert(t, out.Alerts[0].Payload).Suppressed; got != 2 {
		t.Errorf("suppressed = %d; want 2", got)
	}
}

// An event that a rule looks for but cannot key is told apart from one that is not for it.
func TestUnkeyed(t *testing.T) {
	e := mustEngine(t, defaultRules()...)
	for _, test := range []struct {
		ev   Event
		want []Rejection
	}{
		{Event{ErrorCode: "AccessDenied"}, []Rejection{noKey(AccessDeniedID)}},
		{Event{ErrorCode: "NoSuchBucket"}, nil},
		{Event{}, nil},
		{Event{Name: "AssumeRole", SourceIP: "198.51.100.7"}, []Rejection{noKey(AssumeRoleUniqueIPID)}},
		{Event{Name: "AssumeRole"}, nil},
	} {
		matches, got := e.Match(&test.ev, nil)
		if len(matches) != 0 || !slices.Equal(got, test.want) {
			t.Errorf("Match(%+v) = %v, %v; want none, %v", test.ev, matches, got, test.want)
		}
	}
}
