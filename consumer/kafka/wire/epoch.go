package wire

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/internal/primitive"
)

// noEpoch is a leader epoch that is not known.
const noEpoch = -1

// EpochEnd is the end of a leader epoch in a log (KIP-101, KIP-320).
type EpochEnd struct {
	// Epoch is the one asked about or, if the log holds none of its records, the
	// largest below it; -1: the leader knows of no such epoch.
	Epoch int32
	// End is the offset behind the last record of Epoch: the first one of the next
	// epoch, or the end of the log; -1: the leader knows of no such epoch.
	End int64
}

// Holds tells whether a log still holds the record before an offset, read in an epoch; e is
// the answer of the log's leader about that epoch.
func (e EpochEnd) Holds(epoch int32, offset int64) bool {
	return e.Epoch == epoch && e.End >= offset
}

// DivergedError says that a partition no longer holds the record before the offset
// that was asked for: the log was cut back (an unclean leader election, a power loss),
// and other records may have been written in the place of those that were read.
type DivergedError struct {
	Topic     string
	Partition int32
	Offset    int64 // the offset asked for
	Epoch     int32 // in which the record before Offset was read
	End       EpochEnd
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("topic %s partition %d no longer holds the records below offset %d that were read in leader epoch %d: in the log as it is, leader epoch %d ends at offset %d",
		e.Topic, e.Partition, e.Offset, e.Epoch, e.End.Epoch, e.End.End)
}

// Lost says which records are gone, and which ones stand in their place.
func (e *DivergedError) Lost() string {
	if e.End.End >= e.Offset {
		// The leader is of an epoch before that of the records read, and its log is longer.
		return fmt.Sprintf("records below offset %d that were read in leader epoch %d are gone, and in their place stand records of leader epoch %d, up to offset %d", e.Offset, e.Epoch, e.End.Epoch, e.End.End-1)
	}
	return fmt.Sprintf("records %d to %d that were read are gone, and others may stand in their place from offset %d on", e.End.End, e.Offset-1, e.End.End)
}

// OffsetForLeaderEpoch asks the leader of a partition for the end of a leader epoch in its
// log. It needs Describe on the topic. The error is the broker's (a kafka.Error), or the
// cause for which there was no answer; asking again is harmless.
func (c *Client) OffsetForLeaderEpoch(ctx context.Context, topic string, partition, epoch int32) (EpochEnd, error) {
	end, code := EpochEnd{noEpoch, -1}, int16(kafka.Unknown)
	k := &call{
		api:     apiOffsetForLeaderEpoch,
		request: fmt.Sprintf("ask where leader epoch %d of %s partition %d ends", epoch, topic, partition),
		write: func(b []byte, _ int16) []byte {
			b = appendInt32(b, -1) // replica: none
			b = appendString(appendInt32(b, 1), topic)
			b = appendInt32(appendInt32(b, 1), partition)
			b = appendInt32(b, -1) // the leader's own epoch: any
			return appendInt32(b, epoch)
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			for range r.Array(6) {
				r.Raw() // topic
				for range r.Array(18) {
					code = r.Int16()
					r.Int32() // partition
					end = EpochEnd{Epoch: r.Int32(), End: r.Int64()}
				}
			}
		},
	}
	k.toLeader(topic, partition)
	if err := c.do(ctx, k, 0); err != nil {
		return EpochEnd{noEpoch, -1}, err
	}
	err := Denied(answered(k.request, code, ""), Right{"Describe", "topic", topic})
	if misled(err) {
		c.Refresh(ctx)
	}
	return end, err
}

// KnownEpochEnd is OffsetForLeaderEpoch for a reader that checks whether a log still holds
// the record before an offset, read in a leader epoch. Not ok: the broker keeps no epochs
// of the past, and the offset alone counts. A leader that has never heard of the epoch
// gives an error; another leader may answer.
func (c *Client) KnownEpochEnd(ctx context.Context, topic string, partition int32, offset int64, epoch int32) (end EpochEnd, ok bool, err error) {
	if end, err = c.OffsetForLeaderEpoch(ctx, topic, partition, epoch); err != nil || end.Epoch >= 0 {
		return end, err == nil, err
	}
	meta, err := c.Topics(ctx, topic)
	if err != nil {
		return end, false, err
	}
	if meta[topic].LeaderEpoch(partition) >= epoch {
		return end, false, nil
	}
	return end, false, fmt.Errorf("the leader of topic %s partition %d knows no leader epoch %d, in which the record before offset %d was read: it has not heard yet that it is not the leader any more, or the cluster's metadata was restored from an old copy", topic, partition, epoch, offset)
}

// EpochBefore reads back the leader epoch of the record before an offset, above 0; -1: the
// log keeps none. A broker does not tell the epoch to the producer that writes the record,
// nor to a reader that begins behind it.
func (c *Client) EpochBefore(ctx context.Context, topic string, topicID [16]byte, partition int32, offset int64) (int32, error) {
	var f Fetched
	// One batch: the first one comes whole, and is more than MaxBytes (KIP-74).
	err := c.Fetch(ctx, FetchRequest{Topic: topic, TopicID: topicID, Partition: partition, Offset: offset - 1, MinBytes: 1, MaxBytes: 1}, &f)
	if err == nil && f.Next < offset {
		err = fmt.Errorf("the leader sends nothing")
	}
	if err != nil {
		return noEpoch, fmt.Errorf("read back the leader epoch of topic %s partition %d before offset %d: %w", topic, partition, offset, err)
	}
	return f.LastEpoch, nil
}

// lastEpoch is the epoch that a request sends for the record before its offset.
func (q *FetchRequest) lastEpoch() int32 {
	if q.Verify {
		return q.LastEpoch
	}
	return noEpoch
}

// divergingEpoch is the tag of the field with the EpochEnd of a log that has diverged.
const divergingEpoch = 0

// readTags reads the tagged fields of a partition of a Fetch response.
func (a *fetchAnswer) readTags(r *primitive.Reader) {
	r.EachTag(func(tag int, field *primitive.Reader) {
		if tag == divergingEpoch {
			a.diverged = &EpochEnd{Epoch: field.Int32(), End: field.Int64()}
		}
	})
}

// follows checks that a batch can come behind those before it: the leader epochs of a log
// never go down. Readers order records by epoch before offset, and would take records of a
// lower epoch for ones that they have read before.
func (f *Fetched) follows(h *header) error {
	if h.epoch < 0 || f.LastEpoch < 0 || h.epoch >= f.LastEpoch || h.next <= f.Next {
		return nil
	}
	return f.damaged(h, fmt.Sprintf("its leader epoch is %d, and that of the batch before it %d: it was damaged on disk or on its way", h.epoch, f.LastEpoch))
}
