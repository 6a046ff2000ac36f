package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail/files"
	"trailhound/state"
)

// slot is the place of one event in the time-line.
type slot struct {
	carriedRef
	ok      bool   // event is there
	carried bool   // event is from the alert itself, not from the input
	missing string // why the input does not hold the event; "" if it does
	event   rules.Event
}

// gather looks up every event of the alert. A failure to find one event is noted in its
// slot.
func (x *explainer) gather(ctx context.Context, local bool) error {
	logs := map[position][]*slot{}
	x.slots = x.alert.places(x.past)
	for _, s := range x.slots {
		of := position{Topic: s.Topic, Partition: s.Partition}
		logs[of] = append(logs[of], s)
	}
	for of, slots := range logs {
		slices.SortFunc(slots, func(a, b *slot) int { return cmp.Compare(a.Offset, b.Offset) })
		if err := x.read(ctx, of, slots, local); err != nil {
			return err
		}
	}
	if last := x.slots[len(x.slots)-1]; !last.ok && len(x.alert.Event) > 0 {
		why := last.missing
		x.take(last, x.alert.Event, 0, time.Time{})
		last.carried, last.missing = last.ok, why
	}
	return nil
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// read reads the events of one partition or, for an alert that detect may have made (local),
// of one file.
func (x *explainer) read(ctx context.Context, of position, slots []*slot, local bool) error {
	if local && !slices.Contains(x.settings.Topics.Input, of.Topic) {
		if file, ok := files.Find(ctx, of.Topic); ok {
			return x.readFile(ctx, file, slots)
		}
	}
	if of.Topic == "-" {
		return missing(slots, "it came through standard input, of which nothing is kept")
	}
	if !topicName.MatchString(of.Topic) {
		return missing(slots, "it came from the file %q, which is not here", of.Topic)
	}
	client, err := x.connect(ctx)
	if err != nil && local {
		return missing(slots, "no file has the name %q, and no Kafka answers: %v", of.Topic, err)
	}
	if err != nil {
		return err
	}
	meta, err := client.Topics(ctx, of.Topic)
	if err != nil {
		return err
	}
	if err := meta[of.Topic].Err; errors.Is(err, kafka.UnknownTopicOrPartition) || err == nil && (of.Partition < 0 || int(of.Partition) >= len(meta[of.Topic].Partitions)) {
		return missing(slots, "there is no partition %d of a topic %q", of.Partition, of.Topic)
	} else if err != nil {
		return fmt.Errorf("look up topic %s: %w", of.Topic, err)
	}
	return x.readPartition(ctx, client, of, slots)
}

// missing notes the same cause in all slots that have no event.
func missing(slots []*slot, format string, args ...any) error {
	for _, s := range slots {
		if !s.ok && s.missing == "" {
			s.missing = fmt.Sprintf(format, args...)
		}
	}
	return nil
}

var errEnough = errors.New("nothing more is wanted")

// readFile reads the slots, sorted by offset, from a file.
func (x *explainer) readFile(ctx context.Context, file files.File, slots []*slot) error {
	t := newTally()
	r := x.app.fileReader(&console{w: x.app.stderr}, x.settings, t)
	next := 0
	err := eachRecord(ctx, r, []files.File{file}, t, func(at state.Source, record []byte) error {
		for ; next < len(slots) && slots[next].Offset <= at.Offset; next++ {
			if slots[next].Offset == at.Offset {
				x.take(slots[next], record, slots[next].Index, time.Time{})
			}
		}
		if next == len(slots) {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return missing(slots, "file %q has no such record: it is not as it was", file.Name)
}

const (
	explainFetchBytes = 1 << 20
	explainFetchWait  = 500 * time.Millisecond
	explainFetchTries = 10
)

// readPartition reads the slots, sorted by offset, from a partition.
func (x *explainer) readPartition(ctx context.Context, client *wire.Client, of position, slots []*slot) error {
	start, end, err := topic.Bounds(ctx, client, of.Topic, of.Partition)
	if err != nil {
		return err
	}
	var f wire.Fetched
	for next, tries := 0, 0; next < len(slots); {
		s := slots[next]
		switch {
		case s.Offset < start:
			s.missing = fmt.Sprintf("the input has been trimmed: %s partition %d begins at offset %d now", of.Topic, of.Partition, start)
		case s.Offset >= end:
			s.missing = fmt.Sprintf("%s partition %d ends at offset %d now: the topic was made again", of.Topic, of.Partition, end)
		case tries == explainFetchTries:
			return fmt.Errorf("read %s partition %d at offset %d: nothing comes; a transaction that was left open may stand before it", of.Topic, of.Partition, s.Offset)
		default:
			err := client.Fetch(ctx, wire.FetchRequest{
				Topic: of.Topic, Partition: of.Partition, Offset: s.Offset, ReadCommitted: true, MaxWait: explainFetchWait, MaxBytes: explainFetchBytes,
			}, &f)
			if errors.Is(err, kafka.OffsetOutOfRange) { // trimmed since
				if start, end, err = topic.Bounds(ctx, client, of.Topic, of.Partition); err != nil {
					return err
				}
				tries++
				continue
			}
			if err != nil {
				return err
			}
			before := next
			if next, err = x.takeFetched(&f, slots, next); err != nil {
				return err
			}
			if tries++; next > before {
				tries = 0
			}
			continue
		}
		next++
	}
	return nil
}

// takeFetched fills slots from a fetch, and returns the next slot behind it.
func (x *explainer) takeFetched(f *wire.Fetched, slots []*slot, next int) (int, error) {
	err := f.Each(func(rec *wire.Record) bool {
		for ; next < len(slots) && slots[next].Offset <= rec.Offset; next++ {
			if slots[next].Offset == rec.Offset {
				x.take(slots[next], rec.Value, slots[next].Index, time.UnixMilli(rec.Timestamp).UTC())
			} else {
				slots[next].missing = "the input has no record at its offset any more"
			}
		}
		return next < len(slots)
	})
	for ; err == nil && next < len(slots) && slots[next].Offset < f.Next; next++ {
		slots[next].missing = "the input has no record at its offset any more"
	}
	return next, err
}

// take puts the event of this index in a record into the slot, if it is the event of the
// alert: a topic that was made again may hold another event at its position.
func (x *explainer) take(s *slot, record []byte, index int32, at time.Time) {
	d := x.settings.decoder()
	s.missing = "the record at its position does not hold it any more: the topic or the file was made again"
	d.Decode(record, func(ev *rules.Event, err error) bool {
		if err != nil || ev.At.Index < index {
			return true
		}
		if ev.At.Index > index {
			return false
		}
		if ev.ID != s.EventID || !ev.Time.Equal(s.EventTime) {
			s.missing = fmt.Sprintf("at its position there is another event now (%q of %s): the topic or the file was made again", brief(ev.ID), ev.Time.UTC().Format(time.RFC3339))
			return false
		}
		ev.At = state.Source{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Index: s.Index}
		ev.RecordTime = at
		s.event, _ = ev.Copy(nil)
		s.ok, s.missing = true, ""
		return false
	})
}
