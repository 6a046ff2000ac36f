package ruletest

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/rules"
)

// verdictNames are the verdicts of the engine, and those of events that do not reach it.
var verdictNames = []string{
	verdictAny, verdictNoMatch, verdictNoKey, verdictUndecodable,
	string(rules.VerdictEvaluated), string(rules.VerdictAlerted), string(rules.VerdictSuppressed),
	string(rules.VerdictDuplicate), string(rules.VerdictRejected),
}

const (
	verdictAny         = "any"
	verdictNoMatch     = "no_match"    // the rule's Key gave ""
	verdictNoKey       = "no_key"      // so it did, and Unkeyed told that it should not have
	verdictUndecodable = "undecodable" // the record is no event
)

// reasonNames returns the reasons that a step can name: all.
func reasonNames() (names []string) {
	for _, r := range slices.Concat(rules.DeadLetterReasons(), rules.SkipReasons()) {
		names = append(names, string(r))
	}
	return names
}

func (r *reader) verdicts(s *step, text *stepText, reason *yaml.Node) {
	if n := text.Verdict; n != nil {
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		for _, item := range items {
			item = target(item)
			if !slices.Contains(verdictNames, item.Value) {
				r.unknown(item, "verdict", item.Value, verdictNames)
			}
			s.verdicts = append(s.verdicts, item.Value)
		}
		if len(items) == 0 {
			r.problem(n, "verdict is empty; give one for all events, or one each")
		}
		if len(items) > 1 && s.records == nil && len(items) != s.count() {
			r.problem(n, "verdict has %d items for %s; give one each, or one for all", len(items), plural(s.count(), "event"))
		}
	}
	if s.reason = rules.Reason(text.Reason); s.reason != "" {
		if names := reasonNames(); !slices.Contains(names, text.Reason) {
			r.unknown(reason, "reason", text.Reason, names)
		}
		if s.verdicts == nil {
			s.verdicts = []string{string(rules.VerdictRejected)}
		}
	}
	if s.verdicts == nil && text.EventFile != "" {
		s.verdicts = []string{verdictAny}
	}
}

// unknown says that a name is none of those known.
func (r *reader) unknown(at *yaml.Node, what, name string, known []string) {
	if near := r.suite.Nearest(name, known); near != "" {
		r.problem(at, "unknown %s %q; did you mean %s?", what, name, near)
		return
	}
	r.problem(at, "unknown %s %q; known are %s", what, name, quoted(known))
}

// alerts reads none, a number, one alert or a list of them.
func (r *reader) alerts(s *step, text *stepText) {
	if text.AlertFile != "" {
		if s.alertFile = r.beside(text.AlertFile); text.Alerts != nil {
			r.problem(text.Alerts, "alerts and alert_file are both given; give one")
		}
		return
	}
	n := text.Alerts
	if n == nil {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		s.alerts = []any{r.value(n)}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if target(item).Kind != yaml.MappingNode {
				r.problem(item, "a part of an alert is wanted here, such as {title: …, context: {count: 3}}")
				return
			}
			s.alerts = append(s.alerts, r.value(item))
		}
	default:
		count, err := strconv.Atoi(n.Value)
		if n.Value == "none" {
			return
		}
		if err != nil || count < 0 || count > s.count() && s.records == nil {
			r.problem(n, "alerts is %q; write none, how many (at most one per event), or a list of what must be in each", n.Value)
			return
		}
		s.alerts = make([]any, count)
	}
}

type stateText struct {
	Key      string     `param:"key"`
	Counter  *yaml.Node `param:"counter"`
	Set      *yaml.Node `param:"set"`
	Timeline *yaml.Node `param:"timeline"`
	Expires  *yaml.Node `param:"expires"`
}

// states reads the state expected of one key, or a list of such.
func (r *reader) states(s *step, n *yaml.Node) {
	if n == nil {
		return
	}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for _, item := range items {
		var text stateText
		if !r.decode(item, &text) {
			continue
		}
		want := stateWant{key: text.Key}
		want.counters = r.numbers(text.Counter, "counter")
		want.timelines = r.numbers(text.Timeline, "timeline")
		for _, m := range r.named(text.Set, "set") {
			want.sets = append(want.sets, wanted[[]string]{m.name, r.members(m.name, m.value)})
		}
		for _, m := range r.named(text.Expires, "expires") {
			want.expires = append(want.expires, wanted[time.Duration]{m.name, r.span(m.value)})
		}
		s.states = append(s.states, want)
	}
}

// numbers reads a mapping from names to whole numbers.
func (r *reader) numbers(n *yaml.Node, what string) (list []wanted[int64]) {
	for _, m := range r.named(n, what) {
		n, err := strconv.ParseInt(m.value.Value, 10, 64)
		if err != nil {
			r.problem(m.value, "%s %s: %q is not a whole number", what, m.name, m.value.Value)
		}
		list = append(list, wanted[int64]{m.name, n})
	}
	return list
}

// span reads a span of time as the configuration has them.
func (r *reader) span(n *yaml.Node) time.Duration {
	var text struct {
		Expires time.Duration `param:"expires" range:"-36500d..36500d"`
	}
	name := &yaml.Node{Kind: yaml.ScalarNode, Value: "expires", Line: n.Line, Column: n.Column}
	r.decode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{name, n}}, &text)
	return text.Expires
}

// named gives the members of a mapping from names to values.
func (r *reader) named(n *yaml.Node, what string) (members []wanted[*yaml.Node]) {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.problem(n, "%s is a mapping of names to what they must be, such as {denied: 2}", what)
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		members = append(members, wanted[*yaml.Node]{target(n.Content[i]).Value, target(n.Content[i+1])})
	}
	return members
}

func (r *reader) members(name string, n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode {
		r.problem(n, "set %s: a list of its members is wanted, such as [a, b], or []", name)
		return nil
	}
	members := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		members = append(members, target(item).Value)
	}
	slices.Sort(members)
	return members
}
