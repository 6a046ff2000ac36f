// Package replay reads ranges of topics again, outside of any consumer group: it
// leaves nothing behind in the cluster.
//
// [Resolve] turns [Bounds], of time or of offsets, into a [Range] of offsets for each
// partition; a [Reader] merges the records of all ranges into one sequence for a
// [trailhound/rules/play.Player].
//
// Its one guarantee: the same ranges give the same records in the same order, each
// time, as long as the topics still hold them.
package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// Range is the part of one partition that is read.
type Range struct {
	Topic     string
	TopicID   [16]byte // of the topic that had the name when the range was resolved
	Partition int32
	From, To  int64 // offsets; To is the first one that is not read

	// Trimmed is a sentence about the part of the requested range that is not there;
	// "": nothing is known to be missing.
	Trimmed string

	start, end int64 // offsets that could be read when the range was resolved
}

// Empty says whether there is nothing to read.
func (r *Range) Empty() bool { return r.From >= r.To }

// Bounds are the bounds of the range that is wanted of each partition. The zero value is
// all that a read-committed reader can read at present.
type Bounds struct {
	Partitions []int32 // none: all

	// From and To bound the timestamps of Kafka records, To exclusively; zero: no
	// bound. A range goes from the first record at From or later to the one before
	// the first at To or later; the times between them do not matter.
	From, To time.Time

	ByOffset             bool  // the offsets count, not the times
	FromOffset, ToOffset int64 // ToOffset is exclusive; -1: the end
}

// NoTopicError says that a topic does not exist.
type NoTopicError struct{ Topic string }

func (e *NoTopicError) Error() string { return fmt.Sprintf("topic %s does not exist", e.Topic) }

// Resolve looks up the offsets of the ranges, by topic as they are given, then by
// partition; a topic or a partition that is given twice counts once. Ranges are
// clipped to the offsets that the topics hold; those with no such offset are Empty. A
// topic, as a *NoTopicError, or a partition that does not exist is an error.
func Resolve(ctx context.Context, c *wire.Client, topics []string, b Bounds) ([]Range, error) {
	infos, err := c.Topics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look up topics %q: %w", topics, err)
	}
	var ranges []Range
	for i, name := range topics {
		if slices.Contains(topics[:i], name) {
			continue
		}
		info, ok := infos[name]
		if !ok || errors.Is(info.Err, kafka.UnknownTopicOrPartition) {
			return nil, &NoTopicError{Topic: name}
		}
		if info.Err != nil {
			return nil, fmt.Errorf("look up topic %s: %w", name, info.Err)
		}
		partitions, err := b.partitions(name, info.Partitions)
		if err != nil {
			return nil, err
		}
		for _, n := range partitions {
			r := Range{Topic: name, TopicID: info.ID, Partition: n}
			if err := r.resolve(ctx, c, b); err != nil {
				return nil, err
			}
			ranges = append(ranges, r)
		}
	}
	return ranges, nil
}

// partitions returns those of a topic that are asked for, in order.
func (b *Bounds) partitions(name string, has []wire.PartitionMetadata) ([]int32, error) {
	var all []int32
	for _, p := range has {
		all = append(all, p.Index)
	}
	slices.Sort(all)
	if len(b.Partitions) == 0 {
		return all, nil
	}
	wanted := slices.Compact(slices.Sorted(slices.Values(b.Partitions)))
	for _, n := range wanted {
		if !slices.Contains(all, n) {
			return nil, fmt.Errorf("topic %s has no partition %d; it has %d, from 0 on", name, n, len(all))
		}
	}
	return wanted, nil
}

func (r *Range) resolve(ctx context.Context, c *wire.Client, b Bounds) error {
	var err error
	if r.start, r.end, err = topic.Readable(ctx, c, r.Topic, r.Partition); err != nil {
		return err
	}
	if b.ByOffset {
		r.byOffset(b)
		return nil
	}
	return r.byTime(ctx, c, b)
}

func (r *Range) byOffset(b Bounds) {
	start, end, to := r.start, r.end, b.ToOffset
	if to < 0 {
		to = max(end, b.FromOffset)
	}
	r.From, r.To = max(b.FromOffset, start), min(to, end)
	switch {
	case b.FromOffset < start && start > 0:
		r.Trimmed = fmt.Sprintf("topic %s partition %d begins at offset %d: what was before it is deleted", r.Topic, r.Partition, start)
	case to > end || b.FromOffset > end:
		r.Trimmed = fmt.Sprintf("topic %s partition %d ends at offset %d at present", r.Topic, r.Partition, end)
	}
}

func (r *Range) byTime(ctx context.Context, c *wire.Client, b Bounds) (err error) {
	r.From, r.To = r.start, r.end
	if !b.From.IsZero() {
		if r.From, err = offsetAt(ctx, c, r, b.From, r.end); err != nil {
			return err
		}
		if r.From == r.start && r.start > 0 && r.start < r.end {
			r.Trimmed = r.beginsAfter(b.From) + ": what was before it is deleted"
		}
	}
	if !b.To.IsZero() {
		r.To, err = offsetAt(ctx, c, r, b.To, r.end)
	}
	return err
}

// beginsAfter says that the partition no longer goes back to t.
func (r *Range) beginsAfter(t time.Time) string {
	return fmt.Sprintf("topic %s partition %d begins at offset %d, after %s", r.Topic, r.Partition, r.start, t.UTC().Format(time.RFC3339))
}

// offsetAt is topic.OffsetAt, but at most end, the end of the readable offsets when the
// range was resolved; end, when there is no such record.
func offsetAt(ctx context.Context, c *wire.Client, r *Range, t time.Time, end int64) (int64, error) {
	offset, err := topic.OffsetAt(ctx, c, r.Topic, r.Partition, t)
	if offset < 0 || offset > end {
		offset = end
	}
	return offset, err
}

// WarmUp returns the ranges with a run-up before each: it begins at the first record
// of at most d before from, or, if from is zero, before the first record of the
// range. Ranges that are Empty get one too if there is a from. Trimmed says where a
// run-up is shorter because records were deleted.
func WarmUp(ctx context.Context, c *wire.Client, ranges []Range, from time.Time, d time.Duration) ([]Range, error) {
	warm := slices.Clone(ranges)
	for i := range warm {
		r, begins := &warm[i], from
		if begins.IsZero() {
			first, err := firstTime(ctx, c, r)
			if err != nil {
				return nil, err
			}
			if begins = first; begins.IsZero() {
				continue
			}
		}
		begins = begins.Add(-d)
		offset, err := offsetAt(ctx, c, r, begins, r.From)
		if err != nil {
			return nil, err
		}
		if r.Trimmed = ""; offset == r.start && r.start > 0 && r.start < r.end {
			r.Trimmed = r.beginsAfter(begins) + ": the run-up is shorter than was asked for"
		}
		r.From = offset
	}
	return warm, nil
}

// firstTime is the timestamp of the first record of a range; zero: none.
func firstTime(ctx context.Context, c *wire.Client, r *Range) (time.Time, error) {
	if r.Empty() {
		return time.Time{}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := stream{Range: r, reader: &Reader{Client: c, AcceptLoss: true}, bytes: leastFetch}
	s.start(ctx, r.From)
	defer s.stop()
	ok, err := s.next(ctx)
	if err != nil || !ok {
		return time.Time{}, err
	}
	return wire.TimeOf(s.record.Timestamp), nil
}
