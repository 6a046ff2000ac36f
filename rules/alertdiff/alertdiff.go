// Package alertdiff compares the alerts of a replay with those that exist, by their ids: new
// ones, vanished ones, and kept ones, with the same content or another.
//
// A [Diff] takes all alerts of the replay, then the existing ones; its [Result] has them
// counted for each rule and key.
package alertdiff

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Diff is a comparison under way.
type Diff struct {
	Outside int // existing alerts of events outside of the range

	inRange  func(state.Source) bool
	seed     maphash.Seed
	rows     map[[2]string]*Row   // by rule and key
	replayed map[string]*replayed // by id
	vanished map[string]bool      // ids of existing alerts that the replay did not make
	shown    map[string]Shown     // new and vanished alerts, by id
}

// replayed is an alert of the replay.
type replayed struct {
	row  *Row
	sum  uint64
	kept bool // an existing alert has this id
	same bool // and the same content
}

// Shown holds the fields of an alert that people see, with a long title cut.
type Shown struct {
	Title string    `json:"title"`
	Time  time.Time `json:"event_time"`
}

// alert holds the fields of an alert that a comparison needs.
type alert struct {
	ID     string `json:"id"`
	RuleID string `json:"rule_id"`
	Key    string `json:"key"`
	Shown
	Source rules.Position `json:"source"`
	sum    uint64         // of all members but the rule's parameters, which a comparison may be about
}

// New returns a comparison of the alerts of those events that are in the range.
func New(inRange func(state.Source) bool) *Diff {
	return &Diff{
		inRange: inRange, seed: maphash.MakeSeed(),
		rows: map[[2]string]*Row{}, replayed: map[string]*replayed{}, vanished: map[string]bool{}, shown: map[string]Shown{},
	}
}

// read reads the compared fields of an alert.
func (d *Diff) read(payload []byte) (a alert, err error) {
	var members map[string]json.RawMessage
	if err := cmp.Or(json.Unmarshal(payload, &members), json.Unmarshal(payload, &a)); err != nil {
		return a, fmt.Errorf("not an alert: %w", err)
	}
	if a.ID == "" || a.RuleID == "" {
		return a, errors.New("not an alert: it has no id or no rule_id")
	}
	delete(members, "parameters")
	var h maphash.Hash
	h.SetSeed(d.seed)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		_, _ = h.WriteString(name) // a hash takes everything
		_, _ = h.Write(members[name])
	}
	a.sum = h.Sum64()
	return a, nil
}

func (d *Diff) row(a *alert) *Row {
	k := [2]string{a.RuleID, a.Key}
	if d.rows[k] == nil {
		d.rows[k] = &Row{Rule: a.RuleID, Key: a.Key}
	}
	return d.rows[k]
}

// Replayed adds an alert of the replay.
func (d *Diff) Replayed(payload []byte) error {
	a, err := d.read(payload)
	if err == nil {
		d.replayed[a.ID] = &replayed{row: d.row(&a), sum: a.sum}
		d.show(&a)
	}
	return err
}

// shownTitle bounds how many bytes of a title are kept.
const shownTitle = 512

func (d *Diff) show(a *alert) {
	a.Title = cloudtrail.Clip(a.Title, shownTitle)
	d.shown[a.ID] = a.Shown
}

// Existing adds an existing alert.
func (d *Diff) Existing(payload []byte) error {
	a, err := d.read(payload)
	if err != nil {
		return err
	}
	if !d.inRange(a.Source.Source()) {
		d.Outside++
		return nil
	}
	if ours := d.replayed[a.ID]; ours != nil {
		ours.kept, ours.same = true, ours.same || ours.sum == a.sum
		delete(d.shown, a.ID)
	} else if !d.vanished[a.ID] {
		d.vanished[a.ID] = true
		row := d.row(&a)
		row.VanishedIDs = append(row.VanishedIDs, a.ID)
		d.show(&a)
	}
	return nil
}

// Result is the outcome of a comparison.
type Result struct {
	Total  Counts  `json:"total"`
	Rules  []*Row  `json:"rules"`
	Keys   []*Row  `json:"keys"` // sorted by differences, most first
	Ranges []Range `json:"ranges"`

	Alerts map[string]Shown `json:"alerts,omitempty"` // new and vanished ones, by id
}

// Range is the part of one partition that was compared.
type Range struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"` // exclusive
}

// Counts counts alerts by outcome.
type Counts struct {
	New      int `json:"new"`
	Vanished int `json:"vanished"`
	Kept     int `json:"kept"`
	Changed  int `json:"changed"` // of those kept: with other content
}

// Row is the alerts of one rule, or of one key of it.
type Row struct {
	Rule string `json:"rule"`
	Key  string `json:"key,omitempty"`
	Counts
	NewIDs      []string `json:"new_ids,omitempty"`
	VanishedIDs []string `json:"vanished_ids,omitempty"`
	ChangedIDs  []string `json:"changed_ids,omitempty"`
}

// Differences returns how many alerts are new, vanished or changed.
func (c *Counts) Differences() int { return c.New + c.Vanished + c.Changed }

func (c *Counts) add(o Counts) {
	c.New += o.New
	c.Vanished += o.Vanished
	c.Kept += o.Kept
	c.Changed += o.Changed
}

// Result sorts the alerts by outcome into rows for each rule and key. It ends the
// comparison.
func (d *Diff) Result(ranges []Range) *Result {
	for _, id := range slices.Sorted(maps.Keys(d.replayed)) {
		switch a := d.replayed[id]; {
		case !a.kept:
			a.row.NewIDs = append(a.row.NewIDs, id)
		case a.same:
			a.row.Kept++
		default:
			a.row.Kept++
			a.row.ChangedIDs = append(a.row.ChangedIDs, id)
		}
	}
	result := &Result{Ranges: ranges, Alerts: d.shown}
	byRule := map[string]*Row{}
	for _, row := range d.rows {
		slices.Sort(row.VanishedIDs)
		row.New, row.Vanished, row.Changed = len(row.NewIDs), len(row.VanishedIDs), len(row.ChangedIDs)
		if byRule[row.Rule] == nil {
			byRule[row.Rule] = &Row{Rule: row.Rule}
		}
		byRule[row.Rule].add(row.Counts)
		result.Total.add(row.Counts)
		result.Keys = append(result.Keys, row)
	}
	result.Rules = slices.SortedFunc(maps.Values(byRule), func(x, y *Row) int { return strings.Compare(x.Rule, y.Rule) })
	slices.SortFunc(result.Keys, func(x, y *Row) int {
		return cmp.Or(cmp.Compare(y.New+y.Vanished, x.New+x.Vanished), cmp.Compare(y.Changed, x.Changed),
			cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Key, y.Key))
	})
	return result
}
