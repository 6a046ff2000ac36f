package main

import (
	"cmp"
	"fmt"
	"io"
	"time"
)

// diffResult is the outcome of a comparison.
type diffResult struct {
	Total  diffCounts  `json:"total"`
	Rules  []*diffRow  `json:"rules"`
	Keys   []*diffRow  `json:"keys"` // sorted by differences, most first
	Ranges []diffRange `json:"ranges"`

	Alerts map[string]shownDiff `json:"alerts,omitempty"` // new and vanished ones, by id
}

// diffCounts counts alerts by outcome.
type diffCounts struct {
	New      int `json:"new"`
	Vanished int `json:"vanished"`
	Kept     int `json:"kept"`
	Changed  int `json:"changed"` // of those kept: with other content
}

// diffRow is the alerts of one rule, or of one key of it.
type diffRow struct {
	Rule string `json:"rule"`
	Key  string `json:"key,omitempty"`
	diffCounts
	NewIDs      []string `json:"new_ids,omitempty"`
	VanishedIDs []string `json:"vanished_ids,omitempty"`
	ChangedIDs  []string `json:"changed_ids,omitempty"`
}

// diffRange is the replayed range of one partition.
type diffRange struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"` // exclusive
}

// count sets the counts from the lists of ids.
func (r *diffRow) count() {
	r.New, r.Vanished, r.Changed = len(r.NewIDs), len(r.VanishedIDs), len(r.ChangedIDs)
}

func (c *diffCounts) addRow(r *diffRow) {
	c.New += r.New
	c.Vanished += r.Vanished
	c.Kept += r.Kept
	c.Changed += r.Changed
}

// differences returns how many alerts are new, vanished or changed.
func (c *diffCounts) differences() int { return c.New + c.Vanished + c.Changed }

func (r *diffResult) differs() bool { return r.Total.differences() > 0 }

func compareRows(x, y *diffRow) int {
	return cmp.Or(cmp.Compare(y.New+y.Vanished, x.New+x.Vanished), cmp.Compare(y.Changed, x.Changed),
		cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Key, y.Key))
}

// diffRows bounds how many keys a table shows without --all.
const diffRows = 20

// table prints the rules, and the keys with the most differences; all prints every key.
func (r *diffResult) table(a *app, all bool) error {
	w := a.columns(a.stdout)
	line := func(c diffCounts, what string) {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s\n", c.New, c.Vanished, c.Kept, c.Changed, what)
	}
	const head = "NEW\tVANISHED\tKEPT\tCHANGED\t"
	fmt.Fprintln(w, head+"RULE")
	for _, row := range r.Rules {
		line(row.diffCounts, brief(row.Rule))
	}
	line(r.Total, "total")
	var shown []*diffRow
	left := 0
	for _, row := range r.Keys {
		switch {
		case !all && row.differences() == 0:
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
		line(row.diffCounts, brief(row.Rule)+" "+brief(row.Key))
	}
	if left > 0 {
		fmt.Fprintf(w, "… and %d more keys; --all shows them\n", left)
	}
	r.titles(w, shown, all)
	return w.Flush()
}

// titles prints the alerts of the rows that are new or have vanished.
func (r *diffResult) titles(w io.Writer, rows []*diffRow, all bool) {
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
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", what, r.Alerts[id].Time.UTC().Format(time.RFC3339), brief(id), brief(r.Alerts[id].Title))
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

// json prints the whole result as one line of JSON, with or without --all.
func (r *diffResult) json(a *app, _ bool) error { return a.jsonLine(r) }
