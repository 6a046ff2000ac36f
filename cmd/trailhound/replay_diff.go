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
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/rules/alertdiff"
	"trailhound/rules/play"
	"trailhound/state"
)

// errDifferent ends a comparison that found a difference; the difference is printed before.
var errDifferent = errors.New("the alerts differ")

// comparison compares the alerts of a replay with the existing ones.
type comparison struct {
	app    *app
	setup  *setup
	flags  *replayFlags
	client *wire.Client
	ranges []replay.Range
	alerts *alertdiff.Diff
	file   io.ReadCloser // JSON lines of existing alerts; nil: the alerts topic holds them
}

// open opens the file, or looks up the alerts topic, before the replay.
func (c *comparison) open(ctx context.Context) (err error) {
	c.alerts = alertdiff.New(func(at state.Source) bool { return inRanges(c.ranges, at) })
	switch c.flags.against {
	case "":
		_, err = c.alertRanges(ctx)
		return err
	case "-":
		c.file = io.NopCloser(c.app.stdin)
		return nil
	}
	if c.file, err = os.Open(c.flags.against); err != nil {
		return namedError("--diff", err)
	}
	return nil
}

func (c *comparison) close() {
	if c.file != nil {
		_ = c.file.Close() // it was only read
	}
}

// alertRanges returns the ranges of all alerts in the alerts topic.
func (c *comparison) alertRanges(ctx context.Context) ([]replay.Range, error) {
	ranges, err := replay.Resolve(ctx, c.client, []string{c.setup.config.Topics.Alerts}, replay.Bounds{})
	if missing, ok := errors.AsType[*replay.NoTopicError](err); ok {
		return nil, fmt.Errorf("topics.alerts: %w; name the one that run writes to with --set topics.alerts=NAME, or compare with a file, --diff FILE", missing)
	}
	return ranges, err
}

// finish reads the existing alerts, and prints the differences. The first record of the
// replay has this timestamp.
func (c *comparison) finish(ctx context.Context, first time.Time) error {
	var err error
	if c.file != nil {
		err = c.existingFile(ctx)
	} else {
		err = c.existingTopic(ctx, first)
	}
	if err != nil {
		return err
	}
	ranges := make([]alertdiff.Range, len(c.ranges))
	for i := range c.ranges {
		g := &c.ranges[i]
		ranges[i] = alertdiff.Range{Topic: g.Topic, Partition: g.Partition, From: g.From, To: g.To}
	}
	result := c.alerts.Result(ranges)
	if n := result.Total; c.file == nil && n.New > 0 && n.Kept == 0 && n.Vanished == 0 {
		fmt.Fprintf(c.app.stderr, "topic %s has no alert of the range: if they went to another topic then, compare with that one: --set topics.alerts=NAME\n", c.setup.config.Topics.Alerts)
	}
	if c.flags.json {
		err = c.app.jsonLine(result)
	} else {
		err = printDiff(c.app, result, c.flags.diffAll)
	}
	if err != nil && !errors.Is(err, errNoReader) { // the exit code counts even without a reader
		return err
	}
	if result.Total.Differences() > 0 {
		return errDifferent
	}
	return nil
}

func (c *comparison) existingFile(ctx context.Context) error {
	in := bufio.NewReaderSize(c.file, 64<<10)
	for n := 1; ctx.Err() == nil; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("--diff: %w", pathError(err))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := c.alerts.Existing(line); err != nil {
				return fmt.Errorf("--diff: line %d of %s is %s", n, c.flags.against, brief(err.Error()))
			}
		}
		if err == io.EOF {
			break
		}
	}
	if c.alerts.Outside > 0 {
		fmt.Fprintf(c.app.stderr, "%s has %s of records outside of the range\n", c.flags.against, counted(c.alerts.Outside, "alert"))
	}
	return ctx.Err()
}

// existingTopic reads the alerts topic, outside of any group.
func (c *comparison) existingTopic(ctx context.Context, first time.Time) error {
	switch n, err := c.behind(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		fmt.Fprintf(c.app.stderr, "whether %s has evaluated all of the range is not known, and alerts that it has not made count as new: %s\n", c.setup.config.AppID, brief(err.Error()))
	case n > 0:
		fmt.Fprintf(c.app.stderr, "%s has %s still to read or to evaluate: alerts that it has not made yet count as new\n", c.setup.config.AppID, counted(n, "record"))
	}
	ranges, err := c.alertRanges(ctx)
	if err != nil {
		return err
	}
	console := c.app.recordConsole("compare", offsetsOf(ranges))
	defer console.close()
	log, err := c.app.logTo(consoleLog{console}, c.setup)
	if err != nil {
		return err
	}
	oldest := make([]time.Time, len(ranges)) // timestamp of each partition's first alert
	reader := replay.Reader{Client: c.client, Ranges: ranges, Log: log, Advance: func(n int64) { console.advance(int(n)) }}
	err = reader.Run(ctx, func(b *play.Batch) error {
		for i := range b.Records {
			rec := &b.Records[i]
			if n := rec.At.Partition; oldest[n].IsZero() {
				oldest[n] = rec.Time
			}
			if err := c.alerts.Existing(rec.Value); err != nil {
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
		if t := oldest[i]; ranges[i].From > 0 && (t.IsZero() || t.After(first)) {
			console.printf("topic %s partition %d begins at offset %d, later than the range: alerts that were deleted from it count as new",
				ranges[i].Topic, ranges[i].Partition, ranges[i].From)
		}
	}
	return nil
}

// behind returns how many records the service has yet to read from the ranges, or to
// evaluate from its work topic, where records of the ranges may wait.
func (c *comparison) behind(ctx context.Context) (int64, error) {
	inputs, err := c.unread(ctx, c.ranges)
	if err != nil {
		return 0, err
	}
	// After the inputs: their records read until then are in the work topic.
	ranges, err := replay.Resolve(ctx, c.client, []string{c.setup.topology().WorkTopic()}, replay.Bounds{})
	if err != nil {
		return 0, err
	}
	work, err := c.unread(ctx, ranges)
	return inputs + work, err
}

// unread returns how many offsets of ranges lie behind the service's committed offsets.
func (c *comparison) unread(ctx context.Context, ranges []replay.Range) (n int64, err error) {
	member := group.Member{Client: c.client, Group: c.setup.config.AppID}
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
