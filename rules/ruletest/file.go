package ruletest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/rules"
)

// Test is one test of a file.
type Test struct {
	Name string
	Line int // where the test begins in its file

	suite  *Suite
	engine *rules.Engine
	rule   string
	limits rules.Limits
	start  time.Time
	steps  []*step
}

// defaultStart is when a test begins unless it says otherwise.
var defaultStart = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// reader makes tests of the nodes of a file, and notes everything that is wrong with them.
// The tests are of use only if nothing is.
type reader struct {
	suite     *Suite
	path      string
	problems  []error
	nodesLeft int                 // of maxNodes
	inEvent   bool                // value reads an event
	files     map[string][][]byte // records of the files of events, by path
}

func (r *reader) problem(at *yaml.Node, format string, args ...any) {
	r.add(fmt.Errorf("%s:%d:%d: %s", r.path, max(at.Line, 1), max(at.Column, 1), fmt.Sprintf(format, args...)))
}

func (r *reader) add(err error) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, err)
	}
}

// decode fills the fields of target that the mapping in node gives.
func (r *reader) decode(node *yaml.Node, targets ...any) bool {
	err := r.suite.Decode(r.path, node, targets...)
	if err != nil {
		r.add(err)
	}
	return err == nil
}

// common are the settings that a file may give for all its tests, and each test for itself.
type common struct {
	Parameters *yaml.Node `param:"parameters"`
	Start      *yaml.Node `param:"start"`
	Events     events     `param:"events"`
	Event      *yaml.Node `param:"event"`
}

// events are the limits of the engine, named as in the configuration.
type events struct {
	DuplicatesWithin time.Duration `param:"duplicates_within" range:"0.."`
	MaxLateness      time.Duration `param:"max_lateness" range:"0.."`
	MaxAhead         time.Duration `param:"max_ahead" range:"0.."`
}

type fileText struct {
	common
	Rule  *yaml.Node `param:"rule"`
	Tests *yaml.Node `param:"tests"`

	start time.Time // the instant of Start
}

type testText struct {
	common
	Name  string     `param:"name"`
	Steps *yaml.Node `param:"steps"`
}

func (r *reader) file(root *yaml.Node, f *File) {
	limits := r.suite.Limits
	text := fileText{common: common{Events: events{limits.DuplicatesWithin, limits.MaxLateness, limits.MaxAhead}}}
	if !r.decode(root, &text) {
		return
	}
	spec, ok := r.spec(root, text.Rule)
	if !ok || text.Parameters != nil && !r.decode(text.Parameters, spec.New(), new(rules.DefaultOptions())) {
		return
	}
	f.Rule = spec.ID
	text.start = r.instant(text.Start, defaultStart)
	base := r.event(text.Event)
	for _, node := range r.list(root, text.Tests, "tests", "name and steps") {
		f.Tests = append(f.Tests, r.test(node, &text, spec, base))
	}
	r.distinct(root, f.Tests)
}

// spec finds the rule that the file is about.
func (r *reader) spec(root, name *yaml.Node) (rules.Spec, bool) {
	ids := make([]string, len(r.suite.Rules))
	for i, spec := range r.suite.Rules {
		if ids[i] = spec.ID; name != nil && name.Value == spec.ID {
			return spec, true
		}
	}
	switch {
	case name == nil:
		r.problem(root, "rule is missing; it names the rule that is tested, one of %s", strings.Join(ids, ", "))
	case r.suite.Nearest(name.Value, ids) != "":
		r.problem(name, "unknown rule %q; did you mean %s? This build has %s", name.Value, r.suite.Nearest(name.Value, ids), strings.Join(ids, ", "))
	default:
		r.problem(name, "unknown rule %q; this build has %s", name.Value, strings.Join(ids, ", "))
	}
	return rules.Spec{}, false
}

// list gives the items of a required list.
func (r *reader) list(parent, node *yaml.Node, name, of string) []*yaml.Node {
	switch {
	case node == nil:
		r.problem(parent, "%s is missing; it is a list, each item with %s", name, of)
	case node.Kind != yaml.SequenceNode || len(node.Content) == 0:
		r.problem(node, "%s must be a list, each item with %s", name, of)
	default:
		return node.Content
	}
	return nil
}

func (r *reader) test(node *yaml.Node, file *fileText, spec rules.Spec, base object) *Test {
	text := testText{common: common{Events: file.Events}}
	t := &Test{Line: node.Line, suite: r.suite, rule: spec.ID}
	if !r.decode(node, &text) {
		return t
	}
	if t.Name = text.Name; t.Name == "" {
		r.problem(node, "name is missing; it says what the test shows")
	}
	t.start = r.instant(text.Start, file.start)
	t.limits = r.suite.Limits
	t.limits.DuplicatesWithin, t.limits.MaxLateness, t.limits.MaxAhead = text.Events.DuplicatesWithin, text.Events.MaxLateness, text.Events.MaxAhead
	r.bind(t, node, file.Parameters, text.Parameters, spec)
	base = base.merge(r.event(text.Event))
	total, last := 0, time.Duration(0)
	for _, n := range r.list(node, text.Steps, "steps", "an event and what must come of it") {
		if !r.afford(file.Event, text.Event) { // each step has a copy
			break
		}
		s := r.step(n, base, last)
		t.steps = append(t.steps, s)
		last = s.lastAt()
		if total += s.count(); total > maxEvents {
			r.problem(n, "the test has more than %d events with this step; split it", maxEvents)
			break
		}
	}
	return t
}

// bind makes the engine of the one rule, with the file's parameters and over them
// the test's.
func (r *reader) bind(t *Test, node, below, above *yaml.Node, spec rules.Spec) {
	at := node
	defer func() { // the rule's Info and Validate are the author's
		if v := recover(); v != nil {
			r.problem(at, "rule %s panicked: %v", spec.ID, v)
		}
	}()
	active := rules.Active{Rule: spec.New(), Options: rules.DefaultOptions()}
	for _, parameters := range []*yaml.Node{below, above} {
		if parameters == nil {
			continue
		}
		at = parameters
		if !r.afford(parameters) || !r.decode(parameters, active.Rule, &active.Options) {
			return
		}
	}
	var err error
	if t.engine, err = rules.NewEngine([]rules.Active{active}, t.limits); err != nil {
		r.problem(at, "%s", err)
	}
}

// instant reads a time; without one it is otherwise.
func (r *reader) instant(n *yaml.Node, otherwise time.Time) time.Time {
	if n == nil {
		return otherwise
	}
	t, err := time.Parse(time.RFC3339Nano, n.Value)
	if err != nil {
		r.problem(n, "start: %q is not a time; write one such as %s", n.Value, defaultStart.Format(time.RFC3339))
	}
	return t
}

// distinct refuses two tests of one name: a report could not tell them apart.
func (r *reader) distinct(root *yaml.Node, tests []*Test) {
	seen := map[string]int{}
	for _, t := range tests {
		if first, ok := seen[t.Name]; ok && t.Name != "" {
			r.problem(&yaml.Node{Line: t.Line, Column: root.Column}, "a test of the name %q is in line %d already", t.Name, first)
		}
		seen[t.Name] = t.Line
	}
}

// event reads the members that an event is to have; nil has none.
func (r *reader) event(node *yaml.Node) object {
	if node == nil {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		r.problem(node, "an event is wanted here, such as {eventName: GetObject, errorCode: AccessDenied}")
		return nil
	}
	r.inEvent = true
	defer func() { r.inEvent = false }()
	return r.object(node)
}

// records reads a file of events; name is relative to the test file's folder.
func (r *reader) records(at *yaml.Node, name string) [][]byte {
	path := r.beside(name)
	if records, ok := r.files[path]; ok {
		return records
	}
	records, err := readRecords(path)
	switch {
	case err != nil:
		r.problem(at, "event_file: %s", err)
	case len(records) == 0:
		r.problem(at, "event_file: %s is empty", path)
	}
	r.files[path] = records
	return records
}

func (r *reader) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(r.path), name)
}

func quoted(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }
