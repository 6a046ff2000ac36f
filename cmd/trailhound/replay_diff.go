package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"trailhound/consumer/kafka/group"
	"trailhound/consumer/replay"
	"trailhound/rules/play"
)

// errDifferent ends a comparison that found a difference; the difference is printed before.
var errDifferent = errors.New("the alerts differ")

// alertDiff compares the alerts of a replay with the existing ones: those of the alerts
// topic or of a file.
type alertDiff struct {
	file     io.ReadCloser // JSON lines of existing alerts; nil: the alerts topic holds them
	seed     maphash.Seed
	rows     map[ruleKey]*diffRow
	alerts   map[string]*diffAlert // of the replay, by id
	vanished map[string]bool       // ids of existing alerts that the replay did not make
	shown    map[string]shownDiff  // of new and vanished alerts, by id
	outside  int                   // alerts of records outside of the range
}

// shownDiff holds the fields of an alert that people see, with a long title cut.
type shownDiff struct {
	Title string    `json:"title"`
	Time  time.Time `json:"event_time"`
}

// diffAlert is an alert of the replay.
type diffAlert struct {
	row  *diffRow
	sum  uint64
	kept bool // an existing alert has this id
	same bool // and the same content
}

// comparedAlert holds the fields of an alert that a comparison needs.
type comparedAlert struct {
	ID     string `json:"id"`
	RuleID string `json:"rule_id"`
	Key    string `json:"key"`
	shownDiff
	Source struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
	} `json:"source"`
	sum uint64 // of all members but the rule's parameters, which a comparison may be about
}

func (r *replaying) newDiff(ctx context.Context) (*alertDiff, error) {
	d := &alertDiff{seed: maphash.MakeSeed(), rows: map[ruleKey]*diffRow{}, alerts: map[string]*diffAlert{}, vanished: map[string]bool{}, shown: map[string]shownDiff{}}
	switch r.flags.against {
	case "":
		_, err := r.alertRanges(ctx)
		return d, err
	case "-":
		d.file = io.NopCloser(r.stdin)
		return d, nil
	}
	f, err := os.Open(r.flags.against)
	if err != nil {
		return nil, namedError("--diff", err)
	}
	d.file = f
	return d, nil
}

// alertRanges returns the ranges of all alerts in the alerts topic.
func (r *replaying) alertRanges(ctx context.Context) ([]replay.Range, error) {
	ranges, err := replay.Resolve(ctx, r.client, []string{r.Topics.Alerts}, replay.Bounds{})
	if missing, ok := errors.AsType[*replay.NoTopicError](err); ok {
		return nil, fmt.Errorf("topics.alerts: %w; name the one that run writes to with --set topics.alerts=NAME, or compare with a file, --diff FILE", missing)
	}
	return ranges, err
}

func (d *alertDiff) close() {
	if d.file != nil {
		_ = d.file.Close() // it was only read
	}
}

// read reads the compared fields of an alert.
func (d *alertDiff) read(payload []byte) (a comparedAlert, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return a, fmt.Errorf("%w: %w", errNoAlert, err)
	}
	if err := json.Unmarshal(payload, &a); err != nil {
		return a, fmt.Errorf("%w: %w", errNoAlert, err)
	}
	if a.ID == "" || a.RuleID == "" {
		return a, fmt.Errorf("%w: it has no id or no rule_id", errNoAlert)
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

func (d *alertDiff) row(a *comparedAlert) *diffRow {
	k := ruleKey{a.RuleID, a.Key}
	if d.rows[k] == nil {
		d.rows[k] = &diffRow{Rule: a.RuleID, Key: a.Key}
	}
	return d.rows[k]
}

// replayed adds an alert of the replay.
func (d *alertDiff) replayed(payload []byte) error {
	a, err := d.read(payload)
	if err == nil {
		d.alerts[a.ID] = &diffAlert{row: d.row(&a), sum: a.sum}
		d.show(&a)
	}
	return err
}

func (d *alertDiff) show(a *comparedAlert) {
	if title := a.Title; len(title) > shownBytes {
		a.Title = strings.ToValidUTF8(title[:shownBytes], "") + "…"
	}
	d.shown[a.ID] = a.shownDiff
}

// existing adds an existing alert.
func (d *alertDiff) existing(r *replaying, payload []byte) error {
	a, err := d.read(payload)
	if err != nil {
		return err
	}
	if !within(r.ranges, a.Source.Topic, a.Source.Partition, a.Source.Offset) {
		d.outside++
		return nil
	}
	if ours := d.alerts[a.ID]; ours != nil {
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

// compare reads the existing alerts, and prints the differences.
func (r *replaying) compare(ctx context.Context) error {
	read := r.existingTopic
	if r.diff.file != nil {
		read = r.existingFile
	}
	if err := read(ctx); err != nil {
		return err
	}
	result := r.diff.result(r.ranges)
	show := result.table
	if r.flags.json {
		show = result.json
	}
	if n := result.Total; r.diff.file == nil && n.New > 0 && n.Kept == 0 && n.Vanished == 0 {
		fmt.Fprintf(r.stderr, "topic %s has no alert of the range: if they went to another topic then, compare with that one: --set topics.alerts=NAME\n", r.Topics.Alerts)
	}
	if err := show(r.app, r.flags.diffAll); err != nil && !errors.Is(err, errNoReader) { // the exit code counts even without a reader
		return err
	}
	if result.differs() {
		return errDifferent
	}
	return nil
}

func (r *replaying) existingFile(ctx context.Context) error {
	in := bufio.NewReaderSize(r.diff.file, 64<<10)
	for n := 1; ctx.Err() == nil; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("--diff: %w", pathError(err))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := r.diff.existing(r, line); err != nil {
				return fmt.Errorf("--diff: line %d of %s is %s", n, r.flags.against, brief(err.Error()))
			}
		}
		if err == io.EOF {
			break
		}
	}
	if r.diff.outside > 0 {
		fmt.Fprintf(r.stderr, "%s has %s of records outside of the range\n", r.flags.against, counted(r.diff.outside, "alert"))
	}
	return ctx.Err()
}

// existingTopic reads the alerts topic, outside of any group.
func (r *replaying) existingTopic(ctx context.Context) error {
	switch n, err := r.behind(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		fmt.Fprintf(r.stderr, "whether %s has evaluated all of the range is not known, and alerts that it has not made count as new: %s\n", r.AppID, brief(err.Error()))
	case n > 0:
		fmt.Fprintf(r.stderr, "%s has %s still to read or to evaluate: alerts that it has not made yet count as new\n", r.AppID, counted(n, "record"))
	}
	ranges, err := r.alertRanges(ctx)
	if err != nil {
		return err
	}
	console := r.recordConsole("compare", offsetsOf(ranges))
	defer console.close()
	log, err := r.logTo(consoleLog{console}, r.settings)
	if err != nil {
		return err
	}
	oldest := make([]time.Time, len(ranges)) // timestamp of each partition's first alert
	reader := replay.Reader{Client: r.client, Ranges: ranges, Log: log, Advance: func(n int64) { console.advance(int(n)) }}
	err = reader.Run(ctx, func(b *play.Batch) error {
		for i := range b.Records {
			rec := &b.Records[i]
			if n := rec.At.Partition; oldest[n].IsZero() {
				oldest[n] = rec.Time
			}
			if err := r.diff.existing(r, rec.Value); err != nil {
				console.printf("%s partition %d offset %d: %s", rec.At.Topic, rec.At.Partition, rec.At.Offset, brief(err.Error()))
			}
		}
		b.Done()
		return nil
	})
	if err != nil {
		return err
	}
	for i := range ranges {
		// An alert is written after the record that completed it.
		if t := oldest[i]; ranges[i].From > 0 && (t.IsZero() || t.After(r.first)) {
			console.printf("topic %s partition %d begins at offset %d, later than the range: alerts that were deleted from it count as new",
				ranges[i].Topic, ranges[i].Partition, ranges[i].From)
		}
	}
	return nil
}

// behind returns how many records the service has yet to read from the ranges, or to
// evaluate from its work topic, where records of the ranges may wait.
func (r *replaying) behind(ctx context.Context) (int64, error) {
	inputs, err := r.unread(ctx, r.ranges)
	if err != nil {
		return 0, err
	}
	// After the inputs: their records read until then are in the work topic.
	ranges, err := replay.Resolve(ctx, r.client, []string{r.topology().WorkTopic()}, replay.Bounds{})
	if err != nil {
		return 0, err
	}
	work, err := r.unread(ctx, ranges)
	return inputs + work, err
}

// unread returns how many offsets of ranges lie behind the service's committed offsets.
func (r *replaying) unread(ctx context.Context, ranges []replay.Range) (n int64, err error) {
	member := group.Member{Client: r.client, Group: r.AppID}
	partitions, committed := map[string][]int32{}, map[string]map[int32]group.Offset{} // by topic
	for i := range ranges {
		g := &ranges[i]
		partitions[g.Topic] = append(partitions[g.Topic], g.Partition)
	}
	for i := range ranges {
		g := &ranges[i]
		if committed[g.Topic] == nil {
			if committed[g.Topic], err = member.Committed(ctx, g.Topic, partitions[g.Topic]); err != nil {
				return 0, err
			}
		}
		n += max(g.To-max(g.From, committed[g.Topic][g.Partition].At), 0)
	}
	return n, nil
}

// result sorts the alerts by outcome into rows for each rule and key.
func (d *alertDiff) result(ranges []replay.Range) *diffResult {
	for _, id := range slices.Sorted(maps.Keys(d.alerts)) {
		switch a := d.alerts[id]; {
		case !a.kept:
			a.row.NewIDs = append(a.row.NewIDs, id)
		case a.same:
			a.row.Kept++
		default:
			a.row.Kept++
			a.row.ChangedIDs = append(a.row.ChangedIDs, id)
		}
	}
	result := &diffResult{Alerts: d.shown}
	for i := range ranges {
		g := &ranges[i]
		result.Ranges = append(result.Ranges, diffRange{g.Topic, g.Partition, g.From, g.To})
	}
	byRule := map[string]*diffRow{}
	for _, row := range d.rows {
		slices.Sort(row.VanishedIDs)
		row.count()
		if byRule[row.Rule] == nil {
			byRule[row.Rule] = &diffRow{Rule: row.Rule}
		}
		byRule[row.Rule].addRow(row)
		result.Total.addRow(row)
		result.Keys = append(result.Keys, row)
	}
	result.Rules = slices.SortedFunc(maps.Values(byRule), func(x, y *diffRow) int { return strings.Compare(x.Rule, y.Rule) })
	slices.SortFunc(result.Keys, compareRows)
	return result
}
