package main

import (
	"fmt"
	"io"
	"time"

	"trailhound/rules/alertdiff"
)

// diffRows bounds how many keys a table shows without --all.
const diffRows = 20

// printDiff prints the rules, and the keys with the most differences; all prints every key.
func printDiff(a *app, r *alertdiff.Result, all bool) error {
	w := a.columns(a.stdout)
	line := func(c alertdiff.Counts, what string) {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s\n", c.New, c.Vanished, c.Kept, c.Changed, what)
	}
	const head = "NEW\tVANISHED\tKEPT\tCHANGED\t"
	fmt.Fprintln(w, head+"RULE")
	for _, row := range r.Rules {
		line(row.Counts, brief(row.Rule))
	}
	line(r.Total, "total")
	var shown []*alertdiff.Row
	left := 0
	for _, row := range r.Keys {
		switch {
		case !all && row.Differences() == 0:
		case !all && len(shown) == diffRows:
			left++
		default:
			shown = append(shown, row)
		}
	}
	if len(shown) > 0 {
		fmt.Fprintln(w, "\n"+head+"RULE AND KEY")
	}
	for _, row := range shown {
		line(row.Counts, brief(row.Rule)+" "+brief(row.Key))
	}
	if left > 0 {
		fmt.Fprintf(w, "… and %d more keys; --all shows them\n", left)
	}
	printDiffAlerts(w, r.Alerts, shown, all)
	return w.Flush()
}

// printDiffAlerts prints the alerts of the rows that are new or have vanished.
func printDiffAlerts(w io.Writer, alerts map[string]alertdiff.Shown, rows []*alertdiff.Row, all bool) {
	printed, left := 0, 0
	line := func(what string, ids []string) {
		for _, id := range ids {
			if !all && printed == diffRows {
				left++
				continue
			}
			if printed++; printed == 1 {
				fmt.Fprintln(w, "\nALERT\tEVENT TIME\tID\tTITLE")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", what, alerts[id].Time.UTC().Format(time.RFC3339), brief(id), brief(alerts[id].Title))
		}
	}
	for _, row := range rows {
		line("new", row.NewIDs)
		line("vanished", row.VanishedIDs)
	}
	if left > 0 {
		fmt.Fprintf(w, "… and %d more alerts; --all shows them\n", left)
	}
}
