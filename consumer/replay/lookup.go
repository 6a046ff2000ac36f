package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

const (
	lookupBytes = 1 << 20
	lookupWait  = 500 * time.Millisecond
	lookupTries = 10 // fetches at one offset that give nothing
)

// Lookup reads single records of one partition.
type Lookup struct {
	Client    *wire.Client
	Topic     string
	Partition int32
	Offsets   []int64 // in ascending order; one may be there several times

	// Found is given the record at Offsets[i], which is valid until it returns, or Missing
	// the reason why there is none.
	Found   func(i int, rec *wire.Record)
	Missing func(i int, why string)

	next int // index of the first offset without an outcome
}

// Run looks up each of the offsets.
func (l *Lookup) Run(ctx context.Context) error {
	meta, err := l.Client.Topics(ctx, l.Topic)
	if err != nil {
		return err
	}
	if err := meta[l.Topic].Err; errors.Is(err, kafka.UnknownTopicOrPartition) || err == nil && (l.Partition < 0 || int(l.Partition) >= len(meta[l.Topic].Partitions)) {
		l.missing(len(l.Offsets), fmt.Sprintf("there is no partition %d of a topic %q", l.Partition, l.Topic))
		return nil
	} else if err != nil {
		return fmt.Errorf("look up topic %s: %w", l.Topic, err)
	}
	start, end, err := topic.Bounds(ctx, l.Client, l.Topic, l.Partition)
	if err != nil {
		return err
	}
	var f wire.Fetched
	for tries := 0; l.next < len(l.Offsets); {
		at, before := l.Offsets[l.next], l.next
		switch {
		case at < start:
			l.missing(l.next+1, fmt.Sprintf("the input has been trimmed: %s partition %d begins at offset %d now", l.Topic, l.Partition, start))
			continue
		case at >= end:
			l.missing(l.next+1, fmt.Sprintf("%s partition %d ends at offset %d now: the topic was made again", l.Topic, l.Partition, end))
			continue
		case tries == lookupTries:
			return fmt.Errorf("read %s partition %d at offset %d: nothing comes; a transaction that was left open may stand before it", l.Topic, l.Partition, at)
		}
		err := l.Client.Fetch(ctx, wire.FetchRequest{
			Topic: l.Topic, Partition: l.Partition, Offset: at, ReadCommitted: true, MaxWait: lookupWait, MaxBytes: lookupBytes,
		}, &f)
		if errors.Is(err, kafka.OffsetOutOfRange) { // trimmed since
			start, end, err = topic.Bounds(ctx, l.Client, l.Topic, l.Partition)
		} else if err == nil {
			err = l.take(&f)
		}
		if err != nil {
			return err
		}
		if tries++; l.next > before {
			tries = 0
		}
	}
	return nil
}

// take looks for the offsets in a fetch: it reports those that are there, and those that the log has not any more.
func (l *Lookup) take(f *wire.Fetched) error {
	err := f.Each(func(rec *wire.Record) bool {
		for ; l.next < len(l.Offsets) && l.Offsets[l.next] <= rec.Offset; l.next++ {
			if l.Offsets[l.next] == rec.Offset {
				l.Found(l.next, rec)
			} else {
				l.Missing(l.next, noRecord)
			}
		}
		return l.next < len(l.Offsets)
	})
	for ; err == nil && l.next < len(l.Offsets) && l.Offsets[l.next] < f.Next; l.next++ {
		l.Missing(l.next, noRecord)
	}
	return err
}

const noRecord = "the input has no record at its offset any more"

// missing gives the offsets from next to end the same reason.
func (l *Lookup) missing(end int, why string) {
	for ; l.next < end; l.next++ {
		l.Missing(l.next, why)
	}
}
