package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"trailhound/config/duration"
	"trailhound/rules"
	"trailhound/state"
)

// checker compares the results of a step with those that the file expects.
type checker struct {
	*runner
	step  *step
	tx    *state.Tx
	wrong []string
}

func (c *checker) failf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) check() {
	c.checkVerdicts()
	if c.step.alertFile != "" {
		c.checkAlertFile()
	} else {
		c.checkAlerts()
	}
	c.wrong = append(c.wrong, c.unlike[:min(len(c.unlike), maxUnlike)]...)
	for _, want := range c.step.states {
		c.checkState(&want)
	}
}

// maxVerdicts bounds the wrong verdicts of a step that are told.
const maxVerdicts = 5

func (c *checker) checkVerdicts() {
	want := c.step.verdicts
	if len(want) > 1 && len(want) != len(c.outcomes) {
		c.failf("verdict: got %s; want %d", plural(len(c.outcomes), "event"), len(want))
		return
	}
	defer func(before int) { // of many that are wrong alike, the first show it
		if more := len(c.wrong) - before - maxVerdicts; more > 0 {
			c.wrong = append(c.wrong[:before+maxVerdicts], fmt.Sprintf("verdict of %s more: wrong too", plural(more, "event")))
		}
	}(len(c.wrong))
	for i, o := range c.outcomes {
		name := "verdict"
		if len(c.outcomes) > 1 {
			name = fmt.Sprintf("verdict of event %d", i+1)
		}
		switch {
		case len(want) == 0:
			if o.verdict != string(rules.VerdictEvaluated) && o.verdict != string(rules.VerdictAlerted) {
				c.failf("%s: got %s; want an event that the rule evaluates (if this is right, say verdict: %s)", name, o.said(), o.verdict)
			}
		case want[min(i, len(want)-1)] != verdictAny && want[min(i, len(want)-1)] != o.verdict:
			c.failf("%s: got %s; want %s", name, o.said(), want[min(i, len(want)-1)])
		case c.step.reason != "" && o.reason != c.step.reason:
			c.failf("%s: got %s; want the reason %s", name, o.said(), c.step.reason)
		}
	}
}

// said is the verdict with its reason.
func (o *outcome) said() string {
	if o.reason == "" || string(o.reason) == o.verdict {
		return o.verdict
	}
	return fmt.Sprintf("%s, %s", o.verdict, o.reason)
}

func (c *checker) checkAlerts() {
	want := c.step.alerts
	got := make([]any, len(c.alerts))
	for i, payload := range c.alerts {
		got[i] = decodeJSON(payload)
	}
	for i := range min(len(want), len(got)) {
		if want[i] != nil {
			c.wrong = append(c.wrong, c.differ(fmt.Sprintf("alert %d", i+1), plain(want[i]), got[i], false)...)
		}
	}
	switch {
	case len(got) < len(want):
		c.failf("alerts: got %s; want %d", counted(len(got)), len(want))
		if missing := want[len(got)]; missing != nil {
			c.failf("alert %d: got none; want %s", len(got)+1, short(jsonOf(missing)))
		}
	case len(want) == 0 && len(got) > 0:
		c.failf("alerts: got %s; want none", titles(got))
	case len(got) > len(want):
		c.failf("alerts: got %s; want %d", titles(got), len(want))
	}
}

func counted(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// titles lists alerts, so that one sees which were too many.
func titles(alerts []any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", len(alerts))
	for _, a := range alerts[:min(len(alerts), 5)] {
		if m, ok := a.(map[string]any); ok {
			fmt.Fprintf(&b, " %s", short(jsonOf(m["title"])))
		}
	}
	return b.String()
}

// checkAlertFile compares the payloads byte by byte with a file of them, one a
// line.
func (c *checker) checkAlertFile() {
	path := c.step.alertFile
	text := append(bytes.Join(c.alerts, []byte{'\n'}), '\n')
	if c.suite.Update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			c.failf("alert_file: %s", err)
		}
		return
	}
	data, err := readFile(path, maxEventFile)
	if err != nil {
		c.failf("alert_file: %s; --update writes it", err)
		return
	}
	want := bytes.Split(bytes.TrimRight(data, "\r\n"), []byte{'\n'})
	if len(want) == 1 && len(want[0]) == 0 {
		want = nil
	}
	for i := range min(len(want), len(c.alerts)) {
		if bytes.Equal(want[i], c.alerts[i]) {
			continue
		}
		name := fmt.Sprintf("alert %d", i+1)
		lines := c.differ(name, decodeJSON(want[i]), decodeJSON(c.alerts[i]), true)
		if len(lines) == 0 {
			lines = []string{fmt.Sprintf("%s: the same JSON, but other bytes than line %d of %s", name, i+1, path)}
		}
		c.wrong = append(c.wrong, lines...)
	}
	if len(want) != len(c.alerts) {
		c.failf("alerts: got %s; want the %d of %s", counted(len(c.alerts)), len(want), path)
	}
}

func (c *checker) checkState(want *stateWant) {
	key := want.key
	if key == "" {
		if key = c.key; key == "" {
			c.failf("expect: no event has had a key so far; give key")
			return
		}
	}
	have := map[state.ValueKind]map[string]state.Value{state.ValueCounter: {}, state.ValueSet: {}, state.ValueTimeline: {}}
	for _, v := range c.tx.ValuesAt(c.rule, key, c.now) {
		if v.Kind != state.ValueSuppression {
			have[v.Kind][v.Name] = v
		}
	}
	for _, w := range want.counters {
		if got := have[state.ValueCounter][w.name].Count; got != w.value {
			c.failf("counter %s of %s: got %d; want %d", w.name, short([]byte(key)), got, w.value)
		}
	}
	for _, w := range want.sets {
		got := []string{}
		if v, ok := have[state.ValueSet][w.name]; ok {
			got = append(got, c.tx.MembersOf(v, int(v.Count))...)
		}
		if !slices.Equal(got, w.value) {
			c.failf("set %s of %s: got %s; want %s", w.name, short([]byte(key)), list(got), list(w.value))
		}
	}
	for _, w := range want.timelines {
		if got := have[state.ValueTimeline][w.name].Count; got != w.value {
			c.failf("timeline %s of %s: got %s; want %d", w.name, short([]byte(key)), plural(int(got), "event"), w.value)
		}
	}
	for _, w := range want.expires {
		c.checkExpiry(key, w, have)
	}
}

// checkExpiry looks at the counter of the name, or else at the set, or the timeline.
func (c *checker) checkExpiry(key string, want wanted[time.Duration], have map[state.ValueKind]map[string]state.Value) {
	v, ok := have[state.ValueCounter][want.name]
	for _, kind := range []state.ValueKind{state.ValueSet, state.ValueTimeline} {
		if !ok {
			v, ok = have[kind][want.name]
		}
	}
	switch {
	case !ok:
		c.failf("expires %s of %s: there is no such value", want.name, short([]byte(key)))
	case v.Expiry.Sub(c.start) != want.value:
		c.failf("expires %s of %s: got %s; want %s", want.name, short([]byte(key)), duration.Format(v.Expiry.Sub(c.start)), duration.Format(want.value))
	}
}

// decodeJSON reads a payload; one that is not JSON is given as text.
func decodeJSON(data []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return string(data)
	}
	return v
}
