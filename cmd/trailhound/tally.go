package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"trailhound/rules"
	"trailhound/rules/play"
	"trailhound/state"
)

// tally counts the input of one command by outcome.
type tally struct {
	files, records, events int64

	alerts     map[string]int64            // by rule
	unheeded   map[rules.VerdictKind]int64 // duplicates and suppressed events
	badReasons map[rules.Reason]int64      // records and events that the service would send to the dead-letter topic
	reported   reported                    // of badReasons, those with a line of their own
	keys       map[ruleKey]int64           // alerts, of at most maxKeys
	keysLeft   bool                        // there were more keys
	skipped    map[rules.Reason]int64      // records without events, and events without a key for the rule
}

func newTally() *tally {
	return &tally{
		alerts: map[string]int64{}, unheeded: map[rules.VerdictKind]int64{},
		badReasons: map[rules.Reason]int64{}, skipped: map[rules.Reason]int64{}, keys: map[ruleKey]int64{},
	}
}

// played takes over the counts of a player.
func (t *tally) played(c play.Counts) {
	t.records, t.events = c.Records, c.Events
	for _, kind := range []rules.VerdictKind{rules.VerdictDuplicate, rules.VerdictSuppressed} {
		if n := c.Verdicts[kind]; n > 0 {
			t.unheeded[kind] = n
		}
	}
}

// alert counts an alert.
func (t *tally) alert(a *rules.Alert) {
	t.alerts[a.RuleID]++
	k := ruleKey{a.RuleID, strings.TrimPrefix(a.Dedup, a.RuleID+":")}
	if _, known := t.keys[k]; known || len(t.keys) < maxKeys {
		t.keys[k]++
	} else {
		t.keysLeft = true
	}
}

// bad counts a record, or an event in it, that could not be evaluated, and reports it on
// the console unless the reason is one to skip or has been reported often enough. index is
// -1 for a whole record.
func (t *tally) bad(c *console, at state.Source, index int, reason rules.Reason, detail string) {
	if rules.Skip(reason) {
		t.skipped[reason]++
		return
	}
	t.badReasons[reason]++
	if !t.reported.takes(at.Topic, reason) {
		return
	}
	detail, _, _ = strings.Cut(detail, "\n") // a panic's stack is for the service's dead letters
	if index >= 0 {
		detail = fmt.Sprintf("event %d: %s", index, detail)
	}
	c.printf("%s:%d:%s: %s", at.Topic, at.Offset, reason, detail)
}

// badTotal returns how many records or events were bad.
func (t *tally) badTotal() int64 {
	var sum int64
	for _, n := range t.badReasons {
		sum += n
	}
	return sum
}

// summary returns the counts as lines for people.
func (t *tally) summary(took time.Duration, more ...string) string {
	var b strings.Builder
	t.reported.more(&b)
	fmt.Fprintf(&b, "files %d, records %d, events %d", t.files, t.records, t.events)
	for _, m := range more {
		b.WriteString(", " + m)
	}
	b.WriteString("\n")
	t.outcome(&b, took)
	t.most(&b)
	return b.String()
}

// outcome adds the outcomes of the events, and their rate.
func (t *tally) outcome(b *strings.Builder, took time.Duration) {
	line(b, "alerts", t.alerts)
	line(b, "not evaluated again", t.unheeded)
	line(b, "left out", t.badReasons)
	line(b, "skipped", t.skipped)
	rate := float64(t.events) / max(took, time.Microsecond).Seconds()
	fmt.Fprintf(b, "took %s, %.0f events/s\n", took.Round(time.Millisecond), rate)
}

// line adds the counts, sorted by name, if there are any.
func line[K ~string](b *strings.Builder, what string, counts map[K]int64) {
	if len(counts) == 0 {
		return
	}
	b.WriteString(what + ":")
	for i, name := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(b, " %s %d", name, counts[name])
	}
	b.WriteString("\n")
}

const (
	// topKeys bounds how many keys a summary names.
	topKeys = 5
	// maxKeys bounds the memory for the keys of alerts, which an event chooses.
	maxKeys = 20_000
)

// most adds the keys that have most alerts.
func (t *tally) most(b *strings.Builder) {
	top := slices.SortedFunc(maps.Keys(t.keys), func(x, y ruleKey) int {
		return cmp.Or(cmp.Compare(t.keys[y], t.keys[x]), cmp.Compare(x.rule, y.rule), cmp.Compare(x.key, y.key))
	})
	if len(top) > 0 {
		b.WriteString("most alerts")
		if t.keysLeft {
			fmt.Fprintf(b, " of the first %d keys", maxKeys)
		}
		b.WriteString(":\n")
	}
	for _, k := range top[:min(len(top), topKeys)] {
		fmt.Fprintf(b, "  %d %s %s\n", t.keys[k], brief(k.rule), brief(k.key))
	}
}

// ruleKey groups alerts as people tell them apart.
type ruleKey struct{ rule, key string }
