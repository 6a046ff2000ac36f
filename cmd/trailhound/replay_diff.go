package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"trailhound/consumer/kafka/group"
	"trailhound/consumer/replay"
	"trailhound/rules/alertdiff"
	"trailhound/rules/play"
)

// errDifferent ends a comparison that found a difference; the difference is printed before.
var errDifferent = errors.New("the alerts differ")

// openExisting begins the comparison with the existing alerts: those of a file or, where
// none is named, those of the alerts topic, which is looked up before the replay.
func (r *replaying) openExisting(ctx context.Context) error {
	r.diff = alertdiff.New(r.inRange)
	switch r.flags.against {
	case "":
		_, err := r.alertRanges(ctx)
		return err
	case "-":
		r.existing = io.NopCloser(r.app.stdin)
		return nil
	}
	f, err := os.Open(r.flags.against)
	if err != nil {
		return namedError("--diff", err)
	}
	r.existing = f
	return nil
}

// alertRanges returns the ranges of all alerts in the alerts topic.
func (r *replaying) alertRanges(ctx context.Context) ([]replay.Range, error) {
	ranges, err := replay.Resolve(ctx, r.client, []string{r.setup.Topics.Alerts}, replay.Bounds{})
	if missing, ok := errors.AsType[*replay.NoTopicError](err); ok {
		return nil, fmt.Errorf("topics.alerts: %w; name the one that run writes to with --set topics.alerts=NAME, or compare with a file, --diff FILE", missing)
	}
	return ranges, err
}

// compare reads the existing alerts, and prints the differences.
func (r *replaying) compare(ctx context.Context) error {
	read := r.existingTopic
	if r.existing != nil {
		read = r.existingFile
	}
	if err := read(ctx); err != nil {
		return err
	}
	ranges := make([]alertdiff.Range, len(r.ranges))
	for i := range r.ranges {
		g := &r.ranges[i]
		ranges[i] = alertdiff.Range{Topic: g.Topic, Partition: g.Partition, From: g.From, To: g.To}
	}
	result := r.diff.Result(ranges)
	if n := result.Total; r.existing == nil && n.New > 0 && n.Kept == 0 && n.Vanished == 0 {
		fmt.Fprintf(r.app.stderr, "topic %s has no alert of the range: if they went to another topic then, compare with that one: --set topics.alerts=NAME\n", r.setup.Topics.Alerts)
	}
	var err error
	if r.flags.json {
		err = r.app.jsonLine(result)
	} else {
		err = printDiff(r.app, result, r.flags.diffAll)
	}
	if err != nil && !errors.Is(err, errNoReader) { // the exit code counts even without a reader
		return err
	}
	if result.Total.Differences() > 0 {
		return errDifferent
	}
	return nil
}

func (r *replaying) existingFile(ctx context.Context) error {
	in := bufio.NewReaderSize(r.existing, 64<<10)
	for n := 1; ctx.Err() == nil; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("--diff: %w", pathError(err))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := r.diff.Existing(line); err != nil {
				return fmt.Errorf("--diff: line %d of %s is %s", n, r.flags.against, brief(err.Error()))
			}
		}
		if err == io.EOF {
			break
		}
	}
	if r.diff.Outside > 0 {
		fmt.Fprintf(r.app.stderr, "%s has %s of records outside of the range\n", r.flags.against, counted(r.diff.Outside, "alert"))
	}
	return ctx.Err()
}

// existingTopic reads the alerts topic, outside of any group.
func (r *replaying) existingTopic(ctx context.Context) error {
	switch n, err := r.behind(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		fmt.Fprintf(r.app.stderr, "whether %s has evaluated all of the range is not known, and alerts that it has not made count as new: %s\n", r.setup.AppID, brief(err.Error()))
	case n > 0:
		fmt.Fprintf(r.app.stderr, "%s has %s still to read or to evaluate: alerts that it has not made yet count as new\n", r.setup.AppID, counted(n, "record"))
	}
	ranges, err := r.alertRanges(ctx)
	if err != nil {
		return err
	}
	console := r.app.recordConsole("compare", offsetsOf(ranges))
	defer console.close()
	log, err := r.app.logTo(consoleLog{console}, r.setup)
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
			if err := r.diff.Existing(rec.Value); err != nil {
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
	ranges, err := replay.Resolve(ctx, r.client, []string{r.setup.topology().WorkTopic()}, replay.Bounds{})
	if err != nil {
		return 0, err
	}
	work, err := r.unread(ctx, ranges)
	return inputs + work, err
}

// unread returns how many offsets of ranges lie behind the service's committed offsets.
func (r *replaying) unread(ctx context.Context, ranges []replay.Range) (n int64, err error) {
	member := group.Member{Client: r.client, Group: r.setup.AppID}
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
