package ruletest

import (
	"fmt"
	"strings"
	"time"

	"trailhound/config/duration"
	"trailhound/state"
)

// How much of a failure is shown.
const (
	shownEvents  = 20
	shownValues  = 30
	shownMembers = 20
)

// Lines is the failure as text, without line ends. It may hold any text of an event: escape
// control characters before they reach a terminal.
func (f *Failure) Lines() []string {
	out := []string{fmt.Sprintf("step %d, line %d:", f.Step, f.Line)}
	for _, text := range f.Wrong {
		out = appendIndented(out, "  ", text)
	}
	for _, part := range []struct {
		head  string
		lines []string
	}{{"what came of its events:", f.Events}, {"state of the rule after it:", f.State}} {
		if len(part.lines) == 0 {
			continue
		}
		out = append(out, part.head)
		for _, text := range part.lines {
			out = appendIndented(out, "  ", text)
		}
	}
	return out
}

// String is Lines as one text.
func (f *Failure) String() string { return strings.Join(f.Lines(), "\n") }

func appendIndented(out []string, indent, text string) []string {
	for line := range strings.Lines(text) {
		out = append(out, indent+strings.TrimSuffix(line, "\n"))
	}
	return out
}

// events describes the outcomes of the step's events; equal ones, one after the other, on
// one line.
func (c *checker) events() []string {
	var out []string
	for rest := c.outcomes; len(rest) > 0; {
		if len(out) == shownEvents {
			return append(out, "and "+plural(len(rest), "event")+" more")
		}
		n := 1
		for n < len(rest) && rest[n].said() == rest[0].said() && rest[n].key == rest[0].key && rest[n].detail == rest[0].detail {
			n++
		}
		out = append(out, describe(rest[:n]))
		rest = rest[n:]
	}
	return out
}

func describe(same []outcome) string {
	first, last := same[0], same[len(same)-1]
	line := "no time"
	if !first.time.IsZero() {
		line = first.time.UTC().Format(time.RFC3339Nano)
	}
	if len(same) > 1 {
		line += fmt.Sprintf(" to %s, %d times", last.time.UTC().Format(time.RFC3339Nano), len(same))
	}
	line += "  " + first.said()
	if first.key != "" {
		line += "  key " + short([]byte(first.key))
	}
	if first.detail != "" {
		line += "\n  " + strings.ReplaceAll(first.detail, "\n", "\n  ")
	}
	return line
}

// state lists the state of the rule, key by key.
func (c *checker) state() []string {
	byKey := map[string][]string{}
	var keys []string
	n := 0
	for v := range c.tx.Values(c.rule, "") {
		if n++; n > shownValues {
			continue
		}
		if byKey[v.Key] == nil {
			keys = append(keys, v.Key)
		}
		byKey[v.Key] = append(byKey[v.Key], "  "+c.value(&v))
	}
	var out []string
	for _, key := range keys {
		out = append(append(out, "key "+short([]byte(key))), byKey[key]...)
	}
	if n > shownValues {
		out = append(out, fmt.Sprintf("and %d more values", n-shownValues))
	}
	if n == 0 {
		out = append(out, "nothing")
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// value is one value on a line. Times count from the test's start, as at does; times of
// events that bring their own are given as they are.
func (c *checker) value(v *state.Value) string {
	since := func(t time.Time) string {
		if c.step.records != nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
		return duration.Format(t.Sub(c.start))
	}
	end := "expires at "
	if !v.Live(c.now) {
		end = "expired at "
	}
	end += since(v.Expiry)
	switch v.Kind {
	case state.ValueCounter:
		return fmt.Sprintf("counter %s = %d, %s from %s to %s, %s", v.Name, v.Count, plural(int(v.Counted), "event"), since(v.First), since(v.Newest), end)
	case state.ValueSet:
		return fmt.Sprintf("set %s = %s, %s, written at %s, %s", v.Name, list(c.tx.MembersOf(*v, shownMembers)), plural(int(v.Count), "member"), since(v.Newest), end)
	case state.ValueTimeline:
		return fmt.Sprintf("timeline %s = %s from %s to %s, %s", v.Name, plural(int(v.Count), "event"), since(v.First), since(v.Newest), end)
	}
	return fmt.Sprintf("suppression until %s, %d held back, %s", since(v.Newest), v.Count, end)
}
