package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"trailhound/rules/explain"
	"trailhound/state"
)

// printExplanation prints the time-line for people. Values of events and of the alert are
// escaped.
func printExplanation(a *app, al *explain.Alert, e *explain.Explanation) error {
	if err := a.printAlert(a.stdout, e.Alert); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "         key %s\n         parameters %s\n         context %s\n\n",
		brief(al.Key), briefly(string(explain.Compact(al.Parameters)), titleBytes), briefly(string(explain.Compact(al.Context)), titleBytes))
	for i, s := range e.Timeline {
		printStep(&b, i+1, s)
	}
	b.WriteString("\n" + resultText[e.Result] + "\n")
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", briefly(note, titleBytes))
	}
	return a.printText(a.stdout, b.String(), timelineHang)
}

// timelineHang is deeper than any line of the time-line.
const timelineHang = 8

var resultText = map[explain.Result]string{
	explain.Same:      "The play comes to the same alert.",
	explain.Differs:   "The play comes to an alert, but not to the same one.",
	explain.None:      "The play does not come to the alert.",
	explain.NotPlayed: "The events were not played.",
}

func printStep(b *strings.Builder, n int, s *explain.Step) {
	fmt.Fprintf(b, "%4d  %s", n, s.EventTime.UTC().Format(time.RFC3339Nano))
	if ev := s.Event; ev != nil {
		fmt.Fprintf(b, "  %s %s", brief(ev.Source), brief(ev.Name))
		if ev.ErrorCode != "" {
			fmt.Fprintf(b, " %s", brief(ev.ErrorCode))
		}
		fmt.Fprintf(b, ", from %s, by %s", brief(ev.SourceIP), brief(ev.Principal))
	}
	fmt.Fprintf(b, "\n      event %s, %s partition %d offset %d event %d\n", eventName(s.EventID), brief(s.Topic), s.Partition, s.Offset, s.Index)
	if s.Missing != "" {
		fmt.Fprintf(b, "      not in the input: %s\n", briefly(s.Missing, titleBytes))
	}
	if s.From == explain.FromAlert {
		b.WriteString("      taken from the alert itself\n")
	}
	if s.Known != "" {
		fmt.Fprintf(b, "      not played: %s is known by it\n", brief(s.Known))
	}
	if s.Verdict == "" {
		return
	}
	fmt.Fprintf(b, "      before: %s\n      after:  %s\n", valuesText(s.Before), valuesText(s.After))
	if s.Detail != "" {
		fmt.Fprintf(b, "      %s: %s\n", s.Verdict, briefly(s.Detail, titleBytes))
	}
	if s.Alert != nil {
		var al explain.Alert
		if json.Unmarshal(s.Alert, &al) == nil {
			fmt.Fprintf(b, "      fired:  %s\n", briefly(al.Title, titleBytes))
		}
	}
}

func valuesText(values []explain.Value) string {
	if len(values) == 0 {
		return "nothing is remembered"
	}
	var parts []string
	for _, v := range values {
		parts = append(parts, valueText(&v))
	}
	return strings.Join(parts, "; ")
}

// membersInText bounds how many members of a set people see.
const membersInText = 10

func valueText(v *explain.Value) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d", v.Kind, brief(v.Name), v.Count)
	if v.Kind == state.ValueSet {
		names := make([]string, 0, membersInText)
		for _, m := range v.Members[:min(len(v.Members), membersInText)] {
			names = append(names, brief(m))
		}
		fmt.Fprintf(&b, " (%s", strings.Join(names, ", "))
		if int64(len(names)) < v.Count {
			b.WriteString(", …")
		}
		b.WriteString(")")
	}
	if v.First != nil {
		fmt.Fprintf(&b, " since %s", v.First.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, ", until %s", v.Expiry.UTC().Format(time.RFC3339))
	return b.String()
}
