package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
)

// shownLetters is how many dead letters a terminal shows, unless more are asked for.
const shownLetters = 20

// listFlags are the flags of dead-letters list as they are typed.
type listFlags struct {
	letterFilter
	asJSON, values, summary bool
	limit                   int
	limited                 bool // limit was given
}

func deadLettersListCommand(a *app) *cobra.Command {
	var f listFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the dead letters: for people on a terminal, as JSON lines elsewhere",
		Long: "List prints the dead letters that the topic holds. A terminal shows how many there are by reason, and the\n" +
			"newest of them; through a pipe, or with --json, each is one JSON object a line. What of its event can be\n" +
			"decoded is told, with the rules that look for it, and whether retry has sent it again.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			since, err := f.check(time.Now())
			if err != nil {
				return err
			}
			if f.limited = c.Flags().Changed("limit"); f.limit < 0 {
				return usagef("--limit %d: a number of dead letters is wanted; 0 is all", f.limit)
			}
			f.asJSON = f.asJSON || f.values || !a.stdoutTerminal
			return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error {
				r, err := newLetters(a, s, client, &f.letterFilter, since)
				if err != nil {
					return err
				}
				return listLetters(c.Context(), a, r, &f)
			})
		},
	}
	f.flags(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON lines on a terminal too")
	c.Flags().BoolVar(&f.values, "values", false, "with the bytes of each, base64, as JSON lines")
	c.Flags().BoolVar(&f.summary, "summary", false, "only how many there are, by reason")
	c.Flags().IntVar(&f.limit, "limit", 0, fmt.Sprintf("only the newest `N`; a terminal shows %d unless it is given, and 0 is all", shownLetters))
	return c
}

func listLetters(ctx context.Context, a *app, r *letters, f *listFlags) error {
	if !f.asJSON && !f.limited {
		f.limit = shownLetters
	}
	all, kept := letterCounts{}, newestLetters{most: f.limit}
	err := r.each(ctx, func(l *letter, rec *wire.Record) error {
		all.add(l)
		if f.summary {
			return nil
		}
		_ = r.decoder.decode(l, rec.Value) // the letter's reason tells why decoding failed
		if f.values {
			l.Value = &rec.Value
		}
		if f.limit == 0 {
			return printLetter(a, l, f.asJSON)
		}
		kept.add(l)
		return nil
	})
	if err != nil {
		return err
	}
	if f.summary || !f.asJSON {
		if err := printLetterCounts(a, all, f); err != nil {
			return err
		}
	}
	for _, l := range kept.letters {
		if err := printLetter(a, l, f.asJSON); err != nil {
			return err
		}
	}
	return nil
}

// letterCount is the dead letters with one reason.
type letterCount struct {
	Reason  string `json:"reason"`
	Count   int64  `json:"count"`
	Retried int64  `json:"retried"` // of them, those that were sent again
	Oldest  string `json:"oldest"`
	Newest  string `json:"newest"`
}

// letterCounts counts letters by reason. Records of other producers may have any reason:
// all unknown ones share one count, which bounds the map.
type letterCounts map[string]*letterCount

func (all letterCounts) add(l *letter) {
	reason := l.Reason
	if knownReason(reason) != nil {
		reason = "of others"
	}
	n := all[reason]
	if n == nil {
		n = &letterCount{Reason: reason, Oldest: l.Time}
		all[reason] = n
	}
	n.Count++
	if l.Retried {
		n.Retried++
	}
	n.Oldest, n.Newest = min(n.Oldest, l.Time), max(n.Newest, l.Time)
}

func printLetterCounts(a *app, all letterCounts, f *listFlags) error {
	rows := slices.SortedFunc(maps.Values(all), func(x, y *letterCount) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Reason, y.Reason))
	})
	if f.asJSON {
		for _, n := range rows {
			if err := a.jsonLine(n); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		what := "no dead letters"
		if len(f.reasons) > 0 || f.since != "" {
			what += " of those that were asked for"
		}
		_, err := fmt.Fprintln(a.stderr, what)
		return err
	}
	var total int64
	w := a.columns(a.stdout)
	fmt.Fprint(w, "COUNT\tREASON\tSENT AGAIN\tOLDEST\tNEWEST\n")
	for _, n := range rows {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\n", n.Count, n.Reason, n.Retried, n.Oldest, n.Newest)
		total += n.Count
	}
	switch {
	case f.summary:
	case f.limit > 0 && int64(f.limit) < total:
		fmt.Fprintf(w, "\nthe newest %d of %d; --limit 0 shows all, --reason and --since choose\n\n", f.limit, total)
	case f.limit > 0:
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// newestLetters keeps the newest dead letters, by the times at which they were given up.
type newestLetters struct {
	most    int
	letters []*letter
}

func (n *newestLetters) add(l *letter) {
	compare := func(x, y *letter) int {
		return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	}
	at, _ := slices.BinarySearchFunc(n.letters, l, compare)
	if len(n.letters) == n.most && at == 0 {
		return
	}
	kept := *l
	if l.Value != nil {
		value := slices.Clone(*l.Value)
		kept.Value = &value
	}
	n.letters = slices.Insert(n.letters, at, &kept)
	if len(n.letters) > n.most {
		n.letters = slices.Delete(n.letters, 0, 1)
	}
}

// detailBytes is the greatest length of a dead letter's detail.
const detailBytes = 4 << 10

func printLetter(a *app, l *letter, asJSON bool) error {
	if asJSON {
		return a.jsonLine(l)
	}
	source := fmt.Sprintf("%s partition %d offset %d", l.Source.Topic, l.Source.Partition, l.Source.Offset)
	if l.Source.Index != nil {
		source += fmt.Sprintf(" event %d", *l.Source.Index)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-20s %s, %d bytes\n         %s\n", printable(l.Time), brief(l.Reason), brief(source), l.Bytes, briefly(l.Detail, detailBytes))
	if e := l.Event; e != nil {
		fmt.Fprintf(&b, "         event %s: %s of %s", eventName(e.ID), brief(e.Name), e.Time)
		if e.Principal != "" {
			fmt.Fprintf(&b, ", by %s", brief(e.Principal))
		}
		b.WriteByte('\n')
	}
	for _, m := range l.keys() {
		fmt.Fprintf(&b, "         rule %s, key %s\n", brief(m.Rule), brief(m.Key))
	}
	if l.Retried {
		b.WriteString("         sent again by retry\n")
	}
	return a.printText(a.stdout, b.String(), alertHang)
}

// keys are the rules that look for the event; of a letter that one rule has refused, only
// that rule.
func (l *letter) keys() []letterKey {
	if l.Event == nil {
		return nil
	}
	if i := slices.IndexFunc(l.Event.Matches, func(m letterKey) bool { return m.Rule == l.Rule }); i >= 0 {
		return l.Event.Matches[i : i+1]
	}
	return l.Event.Matches
}
