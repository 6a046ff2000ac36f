package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trailhound/config"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
)

// bounds returns the range that the flags give.
func (f *replayFlags) bounds(now time.Time) (b replay.Bounds, err error) {
	if f.offsets != "" {
		err = f.byOffset(&b)
	} else {
		b, err = byTime(f.from, f.to, now)
	}
	b.Partitions = f.partitions
	return b, err
}

// byTime returns the range that --from and --to give.
func byTime(from, to string, now time.Time) (b replay.Bounds, err error) {
	if b.From, err = rangeTime("--from", from, now); err != nil {
		return b, err
	}
	if to != "now" { // the end of the topic, independent of clocks
		if b.To, err = rangeTime("--to", to, now); err != nil {
			return b, err
		}
	}
	if !b.To.IsZero() && !b.From.Before(b.To) {
		return b, usagef("--from %s is not before --to %s", from, to)
	}
	return b, nil
}

func (f *replayFlags) byOffset(b *replay.Bounds) error {
	if f.from != "" || f.to != "" {
		return usagef("a range is given by times, with --from and --to, or by --offsets")
	}
	if len(f.partitions) != 1 || len(f.inputs) != 1 {
		return usagef("--offsets are those of one partition: name it with --partition, and the topic with --input if there are several")
	}
	from, to, ok := strings.Cut(f.offsets, "..")
	b.ByOffset, b.FromOffset, b.ToOffset = true, 0, -1
	var err error
	if from != "" {
		b.FromOffset, err = strconv.ParseInt(from, 10, 64)
	}
	if to != "" && err == nil {
		b.ToOffset, err = strconv.ParseInt(to, 10, 64)
	}
	if !ok || err != nil || b.FromOffset < 0 || to != "" && b.ToOffset <= b.FromOffset {
		return usagef("--offsets %s: two offsets are wanted, the smaller one first, as in 1000..2000, 1000.. or ..2000", f.offsets)
	}
	return nil
}

// timeFormats are the formats of a bound; a date is its first moment in UTC.
var timeFormats = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly}

// rangeTime reads the value of a flag; "" is the zero time.
func rangeTime(flag, text string, now time.Time) (time.Time, error) {
	switch {
	case text == "":
		return time.Time{}, nil
	case text == "now":
		return now, nil
	}
	if d, err := config.ParseDuration(strings.TrimPrefix(text, "-")); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, format := range timeFormats {
		if t, err := time.Parse(format, text); err == nil && t.Unix() >= 0 {
			return t, nil
		}
	}
	return time.Time{}, usagef("%s %s: a time is wanted, as in 2026-03-01T00:00Z, 2026-03-01, 24h (ago) or now", flag, text)
}

// inputRanges resolves a range of inputs, and reports its trimmed part; an empty range is
// an error.
func inputRanges(ctx context.Context, a *app, client *wire.Client, inputs []string, b replay.Bounds) ([]replay.Range, error) {
	ranges, err := replay.Resolve(ctx, client, inputs, b)
	if missing, ok := errors.AsType[*replay.NoTopicError](err); ok {
		return nil, fmt.Errorf("topics.input: %w; name one that does with --set topics.input=NAME, or create it with: trailhound topics create --input-partitions N", missing)
	}
	if err != nil {
		return nil, err
	}
	tellTrimmed(a, ranges)
	if partitionsOf(ranges) == 0 {
		return nil, emptyRange(ctx, client, ranges)
	}
	return ranges, nil
}

// tellTrimmed reports the parts of ranges that the topics hold no more.
func tellTrimmed(a *app, ranges []replay.Range) {
	for i := range ranges {
		if r := &ranges[i]; r.Trimmed != "" {
			fmt.Fprintln(a.stderr, r.Trimmed)
		}
	}
}

// emptyRange is the error of a range without a record. Most often --from and --to were
// meant as times of events; the error names the timestamps that the topics hold.
func emptyRange(ctx context.Context, client *wire.Client, ranges []replay.Range) error {
	first, last, found, err := replay.Span(ctx, client, ranges)
	switch {
	case err != nil:
		return fmt.Errorf("the range is empty; what there is instead is not known: %w", err)
	case !found:
		return errors.New("the range is empty: its partitions hold no record at all")
	case first.IsZero():
		return errors.New("the range is empty: no partition has a record in it; those that there are have no timestamps, and --from and --to go by them")
	}
	return fmt.Errorf("the range is empty: no partition has a record in it; those that there are have timestamps from %s to %s",
		first.Format(time.RFC3339), last.Format(time.RFC3339))
}

// offsetsOf returns the number of offsets in the ranges.
func offsetsOf(ranges []replay.Range) (n int64) {
	for i := range ranges {
		if r := &ranges[i]; !r.Empty() {
			n += r.To - r.From
		}
	}
	return n
}

// partitionsOf returns the number of ranges that are not empty.
func partitionsOf(ranges []replay.Range) (n int) {
	for i := range ranges {
		if !ranges[i].Empty() {
			n++
		}
	}
	return n
}
