package rules_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/rules/ruletest"
	"trailhound/state"
)

var update = flag.Bool("update", false, "write the files that alert_file names")

// suite is the suite with which the program runs test files.
func suite(known ...rules.Spec) *ruletest.Suite {
	c := config.Default()
	return &ruletest.Suite{
		Rules:   known,
		Limits:  rules.Limits{DuplicatesWithin: c.Events.DuplicatesWithin, MaxLateness: c.Events.MaxLateness, MaxAhead: c.Events.MaxAhead},
		State:   state.Options{Lifetime: c.State.Lifetime, MaxSetMembers: c.Limits.MaxSetMembers},
		Parse:   config.ParseYAML,
		Decode:  config.DecodeParams,
		Nearest: config.Nearest,
	}
}

// kinds are the cases that each rule must show: the names of its tests begin with them.
var kinds = []string{"fires", "not yet", "after expiry", "another principal", "duplicate", "late", "null fields", "suppression"}

// TestScenarios runs the tests of testdata/<rule>, as trailhound rules test does,
// and checks each alert against the schema. Each rule must show some cases.
func TestScenarios(t *testing.T) {
	for _, spec := range rules.Builtin() {
		paths, err := filepath.Glob(filepath.Join("testdata", spec.ID, "*_test.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		shown := map[string]bool{}
		for _, path := range paths {
			runFile(t, spec.ID, path, shown)
		}
		for _, name := range kinds {
			if !shown[name] {
				t.Errorf("rule %s has no test whose name begins with %q; want one in testdata/%s", spec.ID, name, spec.ID)
			}
		}
	}
}

// runFile runs a file of tests, and notes the part of each name before its colon.
func runFile(t *testing.T, rule, path string, shown map[string]bool) {
	s := suite(rules.Builtin()...)
	s.Alert, s.Update = func(a *rules.Alert) { rules.CheckAlert(t, *a) }, *update
	f, err := s.Load(path)
	if err != nil {
		t.Errorf("Load(%s) = %v; want tests", path, err)
		return
	}
	if f.Rule != rule {
		t.Errorf("%s tests rule %s; want %s, whose folder it is in", path, f.Rule, rule)
	}
	for _, test := range f.Tests {
		kind, _, _ := strings.Cut(test.Name, ":")
		shown[kind] = true
		t.Run(rule+"/"+kind, func(t *testing.T) {
			failure, err := test.Run(t.Context())
			if err != nil {
				t.Fatalf("Run(%q) = %v; want no error", test.Name, err)
			}
			if failure != nil {
				t.Errorf("%s:%d: %s\n%s", path, test.Line, test.Name, failure)
			}
		})
	}
}
