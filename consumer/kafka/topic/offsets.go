package topic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// Readable returns the first offset that a partition still has and its last stable
// offset: up to there, exclusive, a read-committed reader can read now.
func Readable(ctx context.Context, c *wire.Client, topic string, partition int32) (start, end int64, err error) {
	err = patiently(ctx, c, func(ctx context.Context) error {
		start, end, err = bounds(ctx, c, topic, int(partition), kafka.ReadCommitted)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look up the first and the last stable offset of %s partition %d: %w", topic, partition, err)
	}
	return start, end, nil
}

// OffsetAt returns the offset of the first record of a partition with a timestamp of t or
// later; -1: there is none. The timestamps are those of Kafka's time index: of the records'
// producers, or of the broker where the topic says LogAppendTime.
func OffsetAt(ctx context.Context, c *wire.Client, topic string, partition int32, t time.Time) (offset int64, err error) {
	err = patiently(ctx, c, func(ctx context.Context) error {
		offset, err = offsetAt(ctx, c, topic, int(partition), t)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look up the first offset of %s partition %d at %s: %w", topic, partition, t.UTC().Format(time.RFC3339), err)
	}
	return offset, nil
}

func offsetAt(ctx context.Context, c *wire.Client, topic string, partition int, t time.Time) (int64, error) {
	// A negative time has another meaning: -1 and -2 ask for the ends.
	ask := kafka.OffsetRequest{Partition: partition, Timestamp: max(t.UnixMilli(), 0)}
	res, err := c.Kafka().ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {ask}}, IsolationLevel: kafka.ReadCommitted,
	})
	if err != nil {
		return 0, err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return 0, denied(topic, p.Error)
		}
		for offset := range p.Offsets {
			return offset, nil
		}
	}
	return 0, kafka.OffsetNotAvailable
}

// EpochBefore returns the leader epoch in which the record before an offset was written,
// for a reader that begins there and would otherwise learn of no epoch until the next
// record; -1: that record is gone or cannot be read, or the log keeps no epochs.
func EpochBefore(ctx context.Context, c *wire.Client, topic string, id [16]byte, partition int32, offset int64) (int32, error) {
	if offset <= 0 {
		return -1, nil
	}
	epoch, err := c.EpochBefore(ctx, topic, id, partition, offset)
	if _, corrupt := errors.AsType[*wire.CorruptError](err); corrupt || errors.Is(err, kafka.OffsetOutOfRange) {
		return -1, nil
	}
	return epoch, err
}
