package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"trailhound/state"
)

func (a *app) printExplanationJSON(e *explanation) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if a.stdoutTerminal {
		line = printableJSON(nil, line)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", line)
	return err
}

// printExplanation prints the time-line for people. Values of events and of the alert are
// escaped.
func (a *app) printExplanation(e *explanation) error {
	if err := a.printAlert(a.stdout, e.Alert); err != nil {
		return err
	}
	var al carriedAlert
	if err := json.Unmarshal(e.Alert, &al); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "         key %s\n         parameters %s\n         context %s\n\n",
		brief(al.Key), briefly(string(compact(al.Parameters)), titleBytes), briefly(string(compact(al.Context)), titleBytes))
	for i, m := range e.Timeline {
		m.print(&b, i+1)
	}
	b.WriteString("\n" + verdictOf(e.Result) + "\n")
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", briefly(note, titleBytes))
	}
	return a.printText(a.stdout, b.String(), timelineHang)
}

// timelineHang is deeper than any line of the time-line.
const timelineHang = 8

func verdictOf(result string) string {
	return map[string]string{
		playedSame:    "The play comes to the same alert.",
		playedDiffers: "The play comes to an alert, but not to the same one.",
		playedNone:    "The play does not come to the alert.",
		notPlayed:     "The events were not played.",
	}[result]
}

func (m *moment) print(b *strings.Builder, n int) {
	fmt.Fprintf(b, "%4d  %s", n, m.EventTime.UTC().Format(time.RFC3339Nano))
	if ev := m.Event; ev != nil {
		fmt.Fprintf(b, "  %s %s", brief(ev.Source), brief(ev.Name))
		if ev.ErrorCode != "" {
			fmt.Fprintf(b, " %s", brief(ev.ErrorCode))
		}
		fmt.Fprintf(b, ", from %s, by %s", brief(ev.SourceIP), brief(ev.Principal))
	}
	fmt.Fprintf(b, "\n      event %s, %s\n", eventName(m.EventID), m.position)
	if m.Missing != "" {
		fmt.Fprintf(b, "      not in the input: %s\n", briefly(m.Missing, titleBytes))
	}
	if m.From == "alert" {
		b.WriteString("      taken from the alert itself\n")
	}
	if m.Known != "" {
		fmt.Fprintf(b, "      not played: %s is known by it\n", brief(m.Known))
	}
	if m.Verdict == "" {
		return
	}
	fmt.Fprintf(b, "      before: %s\n      after:  %s\n", valuesText(m.Before), valuesText(m.After))
	if m.Detail != "" {
		fmt.Fprintf(b, "      %s: %s\n", m.Verdict, briefly(m.Detail, titleBytes))
	}
	if m.Alert != nil {
		var al carriedAlert
		if json.Unmarshal(m.Alert, &al) == nil {
			fmt.Fprintf(b, "      fired:  %s\n", briefly(al.Title, titleBytes))
		}
	}
}

func valuesText(values []shownValue) string {
	if len(values) == 0 {
		return "nothing is remembered"
	}
	var parts []string
	for _, v := range values {
		parts = append(parts, v.text())
	}
	return strings.Join(parts, "; ")
}

// membersInText bounds how many members of a set people see.
const membersInText = 10

func (v *shownValue) text() string {
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
