package consumer

import (
	"context"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/wire"
)

// noEpoch is a leader epoch that is not known: no log can be checked with it.
const noEpoch = -1

// logPosition is where a reader stands in a partition.
type logPosition struct {
	offset int64
	epoch  int32 // leader epoch of the record before offset; noEpoch: not known
}

// inputOffset is the offset that the group commits for an input partition.
func inputOffset(at logPosition, m inputMetadata) group.Offset {
	return group.Offset{At: at.offset, LeaderEpoch: at.epoch, Metadata: m.encode()}
}

// verify returns the committed offset of an input partition if the partition still holds
// the record before it. A log that was cut back since and written anew holds other records
// at offsets that were read, and an offset alone does not tell (PROTOCOL R8, KIP-320). That
// is a loss that an operator has to accept: the offset is then the one at which the present
// log departs from the records that were read. From there on records have a later leader
// epoch, so that no shard takes them for repeats (PROTOCOL D2).
//
// An offset that was committed without an epoch, or without the topic's id, cannot be
// checked: it comes from another tool, or from a topic that was made again.
func (i *inputs) verify(ctx context.Context, in input, was group.Offset) (group.Offset, error) {
	if was.At < 0 || was.LeaderEpoch < 0 || !ofTopic(was, in.topicID) {
		was.LeaderEpoch = noEpoch
		return was, nil
	}
	end, ok, err := i.client.KnownEpochEnd(ctx, in.topic, in.partition, was.At, was.LeaderEpoch)
	if err != nil || !ok || end.Holds(was.LeaderEpoch, was.At) {
		return was, err
	}
	found := &wire.DivergedError{Topic: in.topic, Partition: in.partition, Offset: was.At, Epoch: was.LeaderEpoch, End: end}
	if !i.accept.Loss {
		return was, cutBack(found)
	}
	i.log.Error().Str("topic", in.topic).Int32("partition", in.partition).Int64("committed", was.At).Int32("epoch", was.LeaderEpoch).
		Int64("offset", end.End).Int32("epoch_before", end.Epoch).Str("event", "input_lost").Msg("the input was cut back below the committed offset; going on where it departs from what was read, as accepted")
	was.At, was.LeaderEpoch = end.End, end.Epoch
	return was, nil
}

// cutBack returns the error of an input that no longer holds the records that were read.
func cutBack(d *wire.DivergedError) *fatal.Error {
	lost := d.Lost()
	if d.End.End >= d.Offset {
		lost += ", which are not evaluated"
	}
	return fatal.Errorf("input %s partition %d was cut back (by an unclean leader election, or a broker that lost power): %s; see that no producer's records are missing, then start once with --accept-loss to go on at offset %d", d.Topic, d.Partition, lost, d.End.End)
}
