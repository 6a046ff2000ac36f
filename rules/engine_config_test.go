package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"trailhound/state"
)

type tagged struct {
	probe
	Flag    bool          `param:"flag,alert" help:"a flag"`
	Small   int           `param:"small,alert"`
	Big     int64         `param:"big" help:"a number"`
	Text    string        `param:"text,alert"`
	List    []string      `param:"list,alert"`
	Span    time.Duration `param:"span,alert"`
	Ignored int
}

func newTagged() *tagged {
	return &tagged{
		probe: probe{id: "tagged", key: always("k"), evaluate: func(*Event, *state.Scope) *Finding { return &Finding{} }},
		Flag:  true, Small: -1, Big: 1 << 60, Text: `"x"`, List: []string{"a", "b"}, Span: 90 * time.Minute,
	}
}

func TestParameters(t *testing.T) {
	want := []Parameter{
		{"flag", "boolean", "true", "a flag", true},
		{"small", "integer", "-1", "", true},
		{"big", "integer", "1152921504606846976", "a number", false},
		{"text", "string", `"x"`, "", true},
		{"list", "list of strings", "[a, b]", "", true},
		{"span", "duration", "1h30m", "", true},
	}
	if got := Parameters(newTagged()); !slices.Equal(got, want) {
		t.Errorf("Parameters(tagged) = %v; want %v", got, want)
	}
	if got := Parameters(DefaultOptions()); len(got) != 2 || got[0].Name != "suppress" || got[0].Default != "0s" || got[1].Name != "ignore_aws_services" || got[1].Default != "true" {
		t.Errorf("Parameters(DefaultOptions()) = %v; want suppress 0s and ignore_aws_services true", got)
	}
	if got := Parameters(nil); got != nil {
		t.Errorf("Parameters(nil) = %v; want none", got)
	}
}

func TestParametersInAlert(t *testing.T) {
	f := newFeeder(t, defaultLimits, Active{Rule: newTagged()})
	_, out := f.event(eventAt("a", 0))
	want := `"techniques":[],"parameters":{"flag":true,"small":-1,"text":"\"x\"","list":["a","b"],"span":"1h30m","span_seconds":5400},"context":{}`
	if payload := string(out.Alerts[0].Payload); !strings.Contains(payload, want) {
		t.Errorf("payload = %s; want %s in it", payload, want)
	}
}

// Every built-in rule must be one that the configuration and the documentation
// can describe.
func TestBuiltin(t *testing.T) {
	for _, spec := range Builtin() {
		rule := spec.New()
		if got := rule.Info(); got.ID != spec.ID || got.Description == "" || len(got.Techniques) == 0 {
			t.Errorf("Info of %s = %+v; want that ID, a description and techniques", spec.ID, got)
		}
		for _, p := range append(Parameters(rule), Parameters(DefaultOptions())...) {
			if p.Help == "" || p.Type == "" {
				t.Errorf("parameter of %s = %+v; want help and a type", spec.ID, p)
			}
		}
		if _, err := NewEngine([]Active{{Rule: rule}}, defaultLimits); err != nil {
			t.Errorf("NewEngine(%s with its defaults) = %v; want no error", spec.ID, err)
		}
		if spec.New() == rule {
			t.Errorf("New of %s returned the same rule twice; want a new one each time", spec.ID)
		}
	}
}

type unsupported struct {
	probe
	Ratio float64 `param:"ratio"`
}

type twice struct {
	probe
	A int `param:"a"`
	B int `param:"a"`
}

type hidden struct {
	probe
	a int `param:"a"`
}

type described struct {
	probe
	info Info
}

func (d *described) Info() Info { return d.info }

func TestNewEngineErrors(t *testing.T) {
	p := probe{id: "p", key: always("k"), evaluate: never}
	denied := func(f func(*AccessDenied)) Active {
		r := NewAccessDenied()
		f(r)
		return Active{Rule: r}
	}
	info := func(i Info) []Active { return []Active{{Rule: &described{p, i}}} }
	for _, test := range []struct {
		active []Active
		limits Limits
		want   string
	}{
		{[]Active{{}}, Limits{}, "a rule is nil"},
		{[]Active{{Rule: &p}, {Rule: &p}}, Limits{}, "rule p is there twice"},
		{[]Active{{Rule: &p, Options: Options{Suppress: -1}}}, Limits{}, "rule p: suppress is -1ns"},
		{[]Active{{Rule: &unsupported{p, 1}}}, Limits{}, "rule p: parameter ratio is a float64"},
		{[]Active{{Rule: &twice{probe: p}}}, Limits{}, `rule p: parameter "a" is not named, or named twice`},
		{[]Active{{Rule: &hidden{p, 1}}}, Limits{}, "rule p: parameter a is an unexported field"},
		{info(Info{ID: "Bad-ID"}), Limits{}, `rule ID "Bad-ID"`},
		{info(Info{ID: "p"}), Limits{}, "rule p has no title"},
		{info(Info{ID: "p", Title: "P", Severity: "urgent"}), Limits{}, `rule p has severity "urgent"`},
		{info(Info{ID: "p", Title: "P", Severity: SeverityLow, Techniques: []string{"1078"}}), Limits{}, `rule p has technique "1078"`},
		{[]Active{denied(func(r *AccessDenied) { r.Threshold = 0 })}, Limits{}, "rule access_denied: threshold is 0; it must be at least 1"},
		{
			[]Active{denied(func(r *AccessDenied) { r.Threshold, r.WindowKind = 200, slidingWindow })}, Limits{MaxSetMembers: 100},
			"rule access_denied: threshold is 200 and limits.max_set_members 100; with window_kind sliding, which keeps each denial, limits.max_set_members must be at least twice the threshold: raise it, lower the threshold, or choose window_kind fixed, which only counts",
		},
		{[]Active{denied(func(r *AccessDenied) { r.Window = 0 })}, Limits{}, "rule access_denied: window is 0s"},
		{[]Active{denied(func(r *AccessDenied) { r.ErrorCodes = nil })}, Limits{}, "rule access_denied: error_codes is empty"},
		{[]Active{denied(func(r *AccessDenied) { r.ErrorCodes = []string{""} })}, Limits{}, `rule access_denied: error_codes contains ""`},
		{[]Active{denied(func(r *AccessDenied) { r.Principal = "Role" })}, Limits{}, `rule access_denied: principal is "Role"; it must be session, role or user`},
		{[]Active{{Rule: &AssumeRoleUniqueIP{}}}, Limits{}, "rule assume_role_unique_ip: event_names is empty"},
		{nil, Limits{MaxAlertBytes: -1}, "a limit is negative"},
	} {
		_, err := NewEngine(test.active, test.limits)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("NewEngine(%+v, %+v) = %v; want %s…", test.active, test.limits, err, test.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	hash := func(active ...Active) []byte {
		t.Helper()
		e, err := NewEngine(active, defaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		return e.Fingerprint()
	}
	denied, assumed := Active{Rule: NewAccessDenied()}, Active{Rule: NewAssumeRoleUniqueIP()}
	first := hash(denied, assumed)
	if same := hash(assumed, denied); !bytes.Equal(first, same) {
		t.Errorf("Fingerprint() = %x, %x in another order; want the same", first, same)
	}
	longer := NewAccessDenied()
	longer.Window++
	others := NewAccessDenied()
	others.ErrorCodes = []string{"AccessDenied", "UnauthorizedOperation"}
	for i, other := range [][]byte{
		hash(denied), hash(),
		hash(assumed, Active{Rule: longer}),
		hash(assumed, Active{Rule: others}),
		hash(assumed, Active{Rule: denied.Rule, Options: Options{Suppress: 1}}),
	} {
		if bytes.Equal(first, other) {
			t.Errorf("Fingerprint() of variant %d = %x; want another than that of the defaults", i, other)
		}
	}
	first[0]++
	if again := hash(denied, assumed); bytes.Equal(first, again) {
		t.Errorf("Fingerprint() shares memory with its caller")
	}
}

// The shard of a key is part of the stored format: these numbers never change.
func TestShardOf(t *testing.T) {
	for _, test := range []struct {
		key    string
		shards int
		want   int
	}{
		{"arn:aws:iam::111122223333:user/alice", 8, 4},
		{"arn:aws:iam::111122223333:user/bob", 8, 2},
		{"arn:aws:iam::111122223333:role/admin", 8, 2},
		{"arn:aws:iam::111122223333:role/admin", 64, 2},
		{"", 1000, 921},
	} {
		if got := ShardOf(test.key, test.shards); got != test.want {
			t.Errorf("ShardOf(%q, %d) = %d; want %d", test.key, test.shards, got, test.want)
		}
	}
	if got, want := ShardOf("k", 1000), int(xxhash.Sum64String("k")%1000); got != want {
		t.Errorf("ShardOf(k, 1000) = %d; want %d, the hash of the key", got, want)
	}
	var used [8]int
	for i := range 8000 {
		used[ShardOf(fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", i), 8)]++
	}
	for shard, n := range used {
		if n < 800 || n > 1200 {
			t.Errorf("shard %d owns %d of 8000 keys; want about 1000", shard, n)
		}
	}
}
