package ruletest

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/state"
)

var update = flag.Bool("update", false, "write the golden files")

// newSuite is the suite with which the program runs test files, and some rules that
// misbehave.
func newSuite() *Suite {
	return &Suite{
		Rules: []rules.Spec{ // not all that are built in: one more must change nothing here
			{ID: rules.AccessDeniedID, New: func() rules.Rule { return rules.NewAccessDenied() }},
			{ID: rules.AssumeRoleUniqueIPID, New: func() rules.Rule { return rules.NewAssumeRoleUniqueIP() }},
			{ID: "panics", New: func() rules.Rule { return &panics{} }},
			{ID: "fills", New: func() rules.Rule { return fills{} }},
		},
		Limits:  rules.Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 168 * time.Hour, MaxAhead: 24 * time.Hour, MaxAlertBytes: 1 << 20},
		State:   state.Options{MaxSetMembers: 3},
		Parse:   config.ParseYAML,
		Decode:  config.DecodeParams,
		Nearest: config.Nearest,
	}
}

// panics panics in the method that its parameter names.
type panics struct {
	In string `param:"in" help:"method that panics"`
}

func (p *panics) at(method string) {
	if p.In == method {
		panic("in " + method)
	}
}

func (p *panics) Info() rules.Info {
	p.at("Info")
	return rules.Info{ID: "panics", Title: "Panics", Severity: rules.SeverityLow}
}
func (p *panics) Validate() error { p.at("Validate"); return nil }

func (p *panics) Key(e *rules.Event) string { p.at("Key"); return e.Name }

func (p *panics) Evaluate(_ *rules.Event, s *state.Scope) *rules.Finding {
	s.IncrementCounter("n")
	p.at("Evaluate")
	return nil
}

// fills adds each event's region to a set, which has room for three.
type fills struct{}

func (fills) Info() rules.Info {
	return rules.Info{ID: "fills", Title: "Fills a set", Severity: rules.SeverityLow}
}
func (fills) Key(e *rules.Event) string { return e.Name }
func (fills) Evaluate(e *rules.Event, s *state.Scope) *rules.Finding {
	s.AddToStringSet("regions", e.Region)
	return nil
}

// runAll runs the tests of a file, and reports those that fail as go test would.
func runAll(t *testing.T, path string) (passed int, report string) {
	t.Helper()
	f, err := newSuite().Load(path)
	if err != nil {
		t.Fatalf("Load(%s) = %v; want tests", path, err)
	}
	var b strings.Builder
	for _, test := range f.Tests {
		failure, err := test.Run(t.Context())
		switch {
		case err != nil:
			t.Fatalf("Run(%q) = %v; want no error", test.Name, err)
		case failure == nil:
			passed++
		default:
			b.WriteString(test.Name + "\n" + failure.String() + "\n\n")
		}
	}
	return passed, b.String()
}

// Each way to fail tells the differences, and shows the state at that point.
func TestFailures(t *testing.T) {
	passed, got := runAll(t, "testdata/failures.yaml")
	if passed != 1 {
		t.Errorf("%d tests of testdata/failures.yaml pass; want the first alone", passed)
	}
	const golden = "testdata/failures.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the failures are\n%s\nwant\n%s", got, want)
	}
}

// write makes a file of tests in a directory of its own.
func write(t testing.TB, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "x_test.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// oneStep is a file of one test with one step.
func oneStep(text string) string {
	return "rule: access_denied\ntests: [{name: a, steps: [\n" + text + "\n]}]"
}

// A mistake is told with its line and column, and the way out.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "x:1:1: rule is missing; it names the rule that is tested, one of access_denied, assume_role_unique_ip, panics, fills",
		"rule: acess_denied":              `x:1:7: unknown rule "acess_denied"; did you mean access_denied? This build has access_denied, assume_role_unique_ip, panics, fills`,
		"rule: frobnicate":                `x:1:7: unknown rule "frobnicate"; this build has access_denied, assume_role_unique_ip, panics, fills`,
		"rule: access_denied":             "x:1:1: tests is missing; it is a list, each item with name and steps",
		"rule: access_denied\ntests: []":  "x:2:8: tests must be a list, each item with name and steps",
		"rule: access_denied\ntest: []":   "x:2:1: unknown key test; did you mean tests?",
		"rule: access_denied\ntests: [\n": "x:2:1: did not find expected node content",
		"a: 1\n---\nb: 1":                 "x:2:1: there is more than one YAML document; write one",
		"rule: access_denied\nparameters: {treshold: 1}\ntests: []":                                     "x:2:14: unknown key treshold; did you mean threshold?",
		"rule: access_denied\nparameters: {threshold: 0}\ntests: [{name: a, steps: [{event: {a: b}}]}]": "x:2:13: rule access_denied: threshold is 0; it must be at least 1",
		"rule: access_denied\nevents: {max_latenes: 1h}\ntests: []":                                     "x:2:10: unknown key events.max_latenes; did you mean events.max_lateness?",
		"rule: access_denied\nevents: {max_lateness: -1h}\ntests: []":                                   "x:2:24: events.max_lateness: -1h is too small; the least is 0",
		"rule: access_denied\nstart: noon\ntests: [{name: a, steps: [{event: {a: b}}]}]":                `x:2:8: start: "noon" is not a time; write one such as 2026-03-01T10:00:00Z`,
		"rule: access_denied\ntests: [{steps: [{event: {a: b}}]}]":                                      "x:2:9: name is missing; it says what the test shows",
		"rule: access_denied\ntests: [{name: a}]":                                                       "x:2:9: steps is missing; it is a list, each item with an event and what must come of it",
		"rule: access_denied\ntests: [{name: a, stps: []}]":                                             "x:2:19: unknown key stps; did you mean steps?",
		"rule: access_denied\nevent: {a: b}\ntests: [{name: a, steps: [{}]},\n{name: a, steps: [{}]}]":  `x:4:1: a test of the name "a" is in line 3 already`,
		"rule: panics\nparameters: {in: Validate}\ntests: [{name: a, steps: [{event: {a: b}}]}]":        "x:2:13: rule panics panicked: in Validate",
		"rule: panics\nparameters: {in: Info}\ntests: [{name: a, steps: [{event: {a: b}}]}]":            "x:2:13: rule panics panicked: in Info",
		oneStep("{}"):                    "x:3:1: the step has no event; give event, event_file or raw",
		oneStep("{event: a}"):            "x:3:9: an event is wanted here, such as {eventName: GetObject, errorCode: AccessDenied}",
		oneStep("{event: {a: b, a: c}}"): "x:3:16: a is given twice",
		oneStep("{event: {<<: {a: b}}}"): "x:3:10: << is not known here; put what several events share under event, at the head of the test or of the file",
		oneStep("{event: {[a]: b}}"):     "x:3:10: a name is wanted here; quote it if it is one",
		oneStep("{event: {userIdentity: {accountId: 111122223333}}}"): `x:3:36: accountId is text in CloudTrail; quote it: "111122223333"`,
		oneStep("{event: {eventVersion: 1.11}}"):                      `x:3:24: eventVersion is text in CloudTrail; quote it: "1.11"`,
		oneStep("{event: {a: 0x10}}"):                                 "x:3:13: 0x10 is not a number as JSON writes it; quote it if it is text",
		oneStep("{event: {a: .inf}}"):                                 "x:3:13: .inf is not a number as JSON writes it; quote it if it is text",
		oneStep("{event: {a: b}, at: 10}"):                            `x:3:21: at: "10" is not a duration; write one such as 90s, 1h30m or 7d`,
		oneStep("{event: {a: b}, at: 40000d}"):                        "x:3:21: at: 960000h is too large; the most is 36500d",
		oneStep("{event: {a: b}, times: 10001}"):                      "x:3:24: times: 10001 is too large; the most is 10000",
		oneStep("{event: {a: b}, times: 9, every: 36500d}"):           "x:3:1: the step ends more than a hundred years after the test's start",
		oneStep("{event: {a: b}, every: -1s}"):                        "x:3:24: every: -1s is too small; the least is 0",
		oneStep("{event: {a: b}, absent: [eventId]}"):                 "x:3:26: absent: the event has no eventId; it has a, awsRegion, eventCategory, eventID, eventTime, eventType, eventVersion, recipientAccountId",
		oneStep("{event: {a: {b: c}}, absent: [a.c]}"):                "x:3:31: absent: the event has no a.c; it has a, awsRegion, eventCategory, eventID, eventTime, eventType, eventVersion, recipientAccountId",
		oneStep("{event: {a: b}, verdict: evalated}"):                 `x:3:26: unknown verdict "evalated"; did you mean evaluated?`,
		oneStep("{event: {a: b}, verdict: good}"):                     `x:3:26: unknown verdict "good"; known are alerted, any, duplicate, evaluated, no_key, no_match, rejected, suppressed, undecodable`,
		oneStep("{event: {a: b}, verdict: [any, any]}"):               "x:3:26: verdict has 2 items for 1 event; give one each, or one for all",
		oneStep("{event: {a: b}, reason: to_late}"):                   `x:3:25: unknown reason "to_late"; did you mean too_late?`,
		oneStep("{event: {a: b}, verdict: []}"):                       "x:3:26: verdict is empty; give one for all events, or one each",
		oneStep("{event_file: [a]}"):                                  "x:3:14: event_file: one value is wanted (text), not a list",
		oneStep("{event: {a: b}, alerts: yes}"):                       `x:3:25: alerts is "yes"; write none, how many (at most one per event), or a list of what must be in each`,
		oneStep("{event: {a: b}, alerts: 2}"):                         `x:3:25: alerts is "2"; write none, how many (at most one per event), or a list of what must be in each`,
		oneStep("{event: {a: b}, alerts: [a]}"):                       "x:3:26: a part of an alert is wanted here, such as {title: …, context: {count: 3}}",
		oneStep("{event: {a: b}, alerts: none, alert_file: a}"):       "x:3:25: alerts and alert_file are both given; give one",
		oneStep("{event: {a: b}, expect: {conter: {a: 1}}}"):          "x:3:26: unknown key conter; did you mean counter?",
		oneStep("{event: {a: b}, expect: {counter: 1}}"):              "x:3:35: counter is a mapping of names to what they must be, such as {denied: 2}",
		oneStep("{event: {a: b}, expect: {counter: {a: b}}}"):         `x:3:39: counter a: "b" is not a whole number`,
		oneStep("{event: {a: b}, expect: {set: {a: b}}}"):             "x:3:35: set a: a list of its members is wanted, such as [a, b], or []",
		oneStep("{event: {a: b}, expect: {expires: {a: b}}}"):         `x:3:39: expires: "b" is not a duration; write one such as 90s, 1h30m or 7d`,
		oneStep("{event: {a: b}, raw: a}"):                            "x:3:9: event cannot go with event_file or raw, which are fed as they stand",
		oneStep("{at: 1s, raw: a}"):                                   "x:3:6: at cannot go with event_file or raw, which are fed as they stand",
		oneStep("{event_file: a, raw: a}"):                            "x:3:1: event_file and raw are both given; give one",
		oneStep("{raw: !!binary '*'}"):                                "x:3:7: raw: illegal base64 data at input byte 0",
		oneStep("{raw: [a]}"):                                         "x:3:7: raw is the text of one record, in quotes",
		oneStep("{event_file: a.json}"):                               "x:3:14: event_file: stat DIR/a.json: no such file or directory",
		oneStep("{event: {&k absent: b}, *k : [x]}"):                  "x:3:31: absent: the event has no x; it has absent, awsRegion, eventCategory, eventID, eventTime, eventType, eventVersion, recipientAccountId",
		oneStep("{expect: {key: &k event_file}, *k : a.json}"):        "x:3:37: event_file: stat DIR/a.json: no such file or directory",
		oneStep("{event_file: .}"):                                    "x:3:14: event_file: open DIR: not a regular file",
	} {
		path := write(t, text)
		_, err := newSuite().Load(path)
		if err == nil {
			t.Errorf("Load(%q) = nil; want %s", text, want)
			continue
		}
		got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), path, "x"), filepath.Dir(path), "DIR")
		if got != want {
			t.Errorf("Load(%q) =\n%s\nwant\n%s", text, got, want)
		}
	}
}

// Everything that is wrong is told at once, up to a bound.
func TestManyMistakes(t *testing.T) {
	_, err := newSuite().Load(write(t, oneStep(strings.Repeat("{evnt: a},\n{tims: 2},\n", 500))))
	if err == nil || strings.Count(err.Error(), "\n") != maxProblems-1 || !strings.Contains(err.Error(), ":4:2: unknown key tims; did you mean times?") {
		t.Errorf("Load(1000 mistakes) = %v; want the first %d", err, maxProblems)
	}
}

// A file cannot demand much more than its own size.
func TestBounds(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		a, b := string(rune('0'+i)), string(rune('1'+i))
		bomb += "a" + b + ": &a" + b + " [" + strings.Repeat("*a"+a+", ", 10) + "]\n"
	}
	long := "&a {x: [" + strings.Repeat("{y: "+strings.Repeat("z", 1000)+"},", 400) + "]}"
	for name, text := range map[string]string{
		"a bomb of aliases":     "rule: access_denied\nevent:\n  " + strings.ReplaceAll(bomb, "\n", "\n  ") + "\ntests: []",
		"an alias to itself":    "rule: access_denied\nevent: &a {x: *a}\ntests: []",
		"a list, often":         oneStep("{expect: &e {set: {x: [" + strings.Repeat("a,", 1000) + "]}}}" + strings.Repeat(",\n{expect: *e}", 1000)),
		"a list of lists":       oneStep("{expect: &e [" + strings.Repeat("{counter: {a: 1}},", 1000) + "]}" + strings.Repeat(",\n{expect: *e}", 1000)),
		"absent, often":         oneStep("{absent: &e [" + strings.Repeat("eventID,", 1000) + "]}" + strings.Repeat(",\n{absent: *e}", 1000)),
		"an event, often":       "rule: access_denied\nevent: {a: [" + strings.Repeat("a,", 1000) + "]}\ntests: [{name: a, steps: [" + strings.Repeat("{at: 1s},", 1000) + "]}]",
		"parameters, often":     "rule: access_denied\nparameters: {error_codes: &e [" + strings.Repeat("a,", 1000) + "]}\ntests: [" + strings.Repeat("{name: a, parameters: {error_codes: *e}},", 1000) + "]",
		"many members":          oneStep("{event: {" + strings.Repeat("? [a]\n,", 1001) + "}}"),
		"deep values":           oneStep("{event: {a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}}"),
		"a long value, often":   oneStep("{event: " + long + "}" + strings.Repeat(",\n{event: *a}", 100)),
		"a huge file":           "rule: access_denied\n# " + strings.Repeat("x", maxFile),
		"an endless test":       oneStep(strings.Repeat("{event: {a: b}, times: 10000},\n", 11)),
		"an event file too big": oneStep("{event_file: /dev/zero}"),
	} {
		if _, err := newSuite().Load(write(t, text)); err == nil || len(err.Error()) > 2000 {
			t.Errorf("Load(%s) = %.200v; want a short error", name, err)
		}
	}
}

// The alerts of a step are kept in memory until its end.
func TestAlertsAreBounded(t *testing.T) {
	f, err := newSuite().Load(write(t, "rule: access_denied\nparameters: {threshold: 1}\n"+
		"tests: [{name: a, steps: [{times: 10000, alerts: 10000, event: {errorCode: AccessDenied, userIdentity: {arn: alice}, a: "+strings.Repeat("x", 1<<19)+"}}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "the step in line 3 makes more than 64 MiB of alerts; split it"
	if _, err := f.Tests[0].Run(t.Context()); err == nil || err.Error() != want {
		t.Errorf("Run = %v; want %s", err, want)
	}
}

// A rule that panics, or meets a limit, fails the test that does not expect it, and none of
// its writes stays.
func TestContainment(t *testing.T) {
	_, err := newSuite().Load(filepath.Join(t.TempDir(), "none.yaml"))
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		t.Errorf("Load(no file) = %v; want an *fs.PathError", err)
	}
	for text, want := range map[string]string{
		"rule: panics\nparameters: {in: Evaluate}\ntests: [{name: a, steps: [{event: {eventName: b}}]}]":                                                                                                       "got rejected, rule_panic; want an event that the rule evaluates",
		"rule: panics\nparameters: {in: Key}\ntests: [{name: a, steps: [{event: {eventName: b}}]}]":                                                                                                            "got rejected, rule_panic; want an event that the rule evaluates",
		"rule: panics\nparameters: {in: Evaluate}\ntests: [{name: a, steps: [{event: {eventName: b}, reason: rule_panic, expect: {counter: {n: 1}}}]}]":                                                        "counter n of b: got 0; want 1",
		"rule: fills\ntests: [{name: a, steps: [{event: {eventName: b, awsRegion: d}}, {event: {eventName: b, awsRegion: e}}, {event: {eventName: b, awsRegion: f}}, {event: {eventName: b, awsRegion: g}}]}]": "got rejected, set_full;",
		"rule: panics\nparameters: {in: Evaluate}\ntests: [{name: a, steps: [{event: {eventName: b, &k n: c}, reason: rule_panic, expect: {counter: {*k : 1}}}]}]":                                             "counter n of b: got 0; want 1",
		"rule: fills\ntests: [{name: a, steps: [{event: {eventName: b, awsRegion: d}, expect: {set: {regions: [e]}}}]}]":                                                                                       `set regions of b: got ["d"]; want ["e"]`,
	} {
		_, report := runAll(t, write(t, text))
		if !strings.Contains(report, want) {
			t.Errorf("Run(%q) =\n%s\nwant it to say %s", text, report, want)
		}
	}
}

// Events come from files of every form, and bytes that are not text from raw.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	event := `{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","errorCode":"AccessDenied","userIdentity":{"arn":"alice"}}`
	for name, text := range map[string]string{
		"one.json": event, "two.jsonl": event + "\n" + event, "records.json": `{"Records":[` + event + "," + event + "]}",
		"x_test.yaml": `
rule: access_denied
parameters: {threshold: 100}
tests:
  - name: files
    steps:
      - {event_file: one.json, expect: {key: alice, counter: {denied: 1}}}
      - {event_file: two.jsonl, verdict: [evaluated, evaluated], expect: {counter: {denied: 3}}}
      - {event_file: records.json, times: 2, verdict: evaluated, expect: {counter: {denied: 7}}}
      - {event_file: ` + filepath.Join(dir, "one.json") + `, expect: {counter: {denied: 8}}}
  - name: raw
    events: {max_ahead: 1h, duplicates_within: 0s}
    steps:
      - {raw: '` + event + `', expect: {counter: {denied: 1}}}
      - {raw: "\u00ff", verdict: undecodable, reason: not_json}
      - {raw: !!binary "/w==", verdict: undecodable, reason: not_json}
      - {raw: '` + event + `', record_at: -2h, reason: too_far_ahead, expect: {counter: {denied: 1}}}
      - {event: {errorCode: AccessDenied, userIdentity: {arn: alice}, eventID: a}, times: 2, record_at: 0s, expect: {counter: {denied: 2}}}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if passed, report := runAll(t, filepath.Join(dir, "x_test.yaml")); passed != 2 {
		t.Errorf("%d tests passed; want 2\n%s", passed, report)
	}
}

// The window of a counter that a step expects is the one that an event of the step's last
// time meets: not the newest one, and none that begins later and cannot move back to it.
func TestExpectMeetsTheWindowOfItsTime(t *testing.T) {
	path := write(t, `
rule: access_denied
parameters: {threshold: 100}
event: {errorCode: AccessDenied, userIdentity: {arn: alice}}
tests:
  - name: windows
    steps:
      - {times: 2, expect: {counter: {denied: 2}, expires: {denied: 1h}}}
      - {at: 2h, expect: {counter: {denied: 1}, expires: {denied: 3h}}}
      - {at: 30m, expect: {counter: {denied: 3}, expires: {denied: 1h}}}
      - {at: 59m, event: {errorCode: null}, verdict: no_match, expect: {key: alice, counter: {denied: 3}}}
      - {at: 1h, event: {errorCode: null}, verdict: no_match, expect: {key: alice, counter: {denied: 0}}}
      - {at: 1h1m, event: {errorCode: null}, verdict: no_match, expect: {key: alice, counter: {denied: 1}, expires: {denied: 3h}}}
      - {at: 3h, event: {errorCode: null}, verdict: no_match, expect: {key: alice, counter: {denied: 0}}}
      - {at: -10m, expect: {counter: {denied: 4}, expires: {denied: 50m}}}
      - {at: -31m, event: {errorCode: null}, verdict: no_match, expect: {key: alice, counter: {denied: 0}}}
`)
	if passed, report := runAll(t, path); passed != 1 {
		t.Error(report)
	}
}

// Update writes the file that alert_file names, and then the test passes.
func TestUpdate(t *testing.T) {
	path := write(t, oneStep("{event: {errorCode: AccessDenied, userIdentity: {arn: alice}}, times: 20, alert_file: alerts.jsonl}"))
	for _, update := range []bool{true, false} {
		s := newSuite()
		s.Update = update
		f, err := s.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if failure, err := f.Tests[0].Run(t.Context()); failure != nil || err != nil {
			t.Errorf("Run with Update %t = %v, %v; want it to pass", update, failure, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "alerts.jsonl"))
	if n := strings.Count(string(data), "\n"); n != 2 || err != nil {
		t.Errorf("alerts.jsonl has %d lines, %v; want 2", n, err)
	}
}

func TestRunIsInterrupted(t *testing.T) {
	f, err := newSuite().Load(write(t, oneStep("{event: {a: b}, verdict: no_match}")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Tests[0].Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run(cancelled) = %v; want %v", err, context.Canceled)
	}
}

// Any file is either a list of mistakes or tests that run.
func FuzzLoad(f *testing.F) {
	const head = "rule: access_denied\nparameters: {threshold: 2, suppress: 1h}\nevent: {errorCode: AccessDenied, userIdentity: {arn: alice}}\ntests:\n- name: a\n  steps:\n"
	for _, seed := range []string{
		"", "[]", "a: &a [*a]", "rule: access_denied\ntests: &t [*t]", "&a {rule: *a}", oneStep("&s {event: &e {a: *e}, alerts: *s}"), oneStep("*x"),
		head + "  - {times: 3, every: 1m, alerts: [{title: x, context: {count: 2.0}, evidence: {events: [{}]}}], expect: {counter: {denied: 1}, set: {a: [b]}, expires: {denied: 1h}}}",
		head + "  - {raw: !!binary \"/w==\", reason: not_json}\n  - {absent: [userIdentity.arn], verdict: [no_key]}\n  - {at: -1h, record_at: 2d, alerts: 1}",
		head + "  - {event_file: x, alert_file: y}\n  events: {max_ahead: 1h}\n  start: 2026-03-01T10:00:00Z",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := newSuite().Read("fuzz/x_test.yaml", data)
		if err != nil {
			if err.Error() == "" {
				t.Fatalf("Read(%q) = an error that says nothing", data)
			}
			return
		}
		test, n := file.Tests[0], 0
		for _, s := range test.steps {
			n += s.count()
		}
		if n > 20 {
			return // each event is a transaction
		}
		failure, err := test.Run(t.Context())
		if err != nil {
			t.Fatalf("Run(%q) = %v; want no error", data, err)
		}
		if failure != nil && len(failure.Wrong) == 0 {
			t.Fatalf("Run(%q) fails and does not say why", data)
		}
	})
}
