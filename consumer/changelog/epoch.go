package changelog

import (
	"context"
	"fmt"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/wire"
)

// LearnEpoch reads back the leader epoch of the record before the position of the local
// copy: the broker does not tell it to the owner that writes the record. Without LearnEpoch
// the copy knows the epoch of an earlier offset only, and once the leader has moved, the next
// Take cannot tell the owner's records behind that offset from those of a log that was cut
// back. An owner therefore calls it every few seconds, and before the shard is handed back. An
// error leaves the known epoch as it is; a repetition is harmless. Only an owner may call it:
// after another one has written, the record before the position may be the other's.
func (c *Changelog) LearnEpoch(ctx context.Context) error {
	at := c.Shard.Position()
	if at.EpochTo == at.Changelog {
		return nil
	}
	epoch, err := c.Client.EpochBefore(ctx, c.Topic, c.TopicID, c.Partition, at.Changelog)
	if err != nil {
		return err
	}
	return c.Shard.MarkEpoch(epoch)
}

// cutBack compares the local copy with the log that the claim has been committed to, by the
// leader epoch that the copy knows of (PROTOCOL R8, KIP-320). An offset alone does not tell:
// new records may stand in the place of the lost ones, up to the copy's position and beyond.
//
// A log without the records that the copy was made of is a loss of committed state, and a
// *fatal.Error unless the loss is accepted. If the loss is not certain, the copy is unusable,
// and why is the reason. Either the copy may be of another topic (not own); or its epoch ends
// between EpochTo and the position: then the leader has moved in the last seconds before the
// copy's end, or the log was cut back to there.
func (c *Changelog) cutBack(ctx context.Context, claim int64, own bool) (why string, err error) {
	at := c.Shard.Position()
	gone := &wire.DivergedError{Topic: c.Topic, Partition: c.Partition, Offset: at.EpochTo, Epoch: at.Epoch}
	known := at.Epoch >= 0
	if known {
		if gone.End, known, err = c.Client.KnownEpochEnd(ctx, c.Topic, c.Partition, at.EpochTo, at.Epoch); err != nil {
			return "", err
		}
	}
	switch {
	case known && !gone.End.Holds(at.Epoch, at.EpochTo):
	case at.Changelog > claim:
		gone.Offset = at.Changelog
		if !known || gone.End.End > claim {
			gone.End.End = claim
		}
	case !known || gone.End.Holds(at.Epoch, at.Changelog):
		return "", nil
	default:
		return fmt.Sprintf("its leader epoch %d is known up to offset %d and ends at %d, before the copy's end at %d: it cannot be told whether the leader has moved or the log was cut back", at.Epoch, at.EpochTo, gone.End.End, at.Changelog), nil
	}
	if !own {
		return "the log does not hold what it was made of, and it does not say of which topic that was", nil
	}
	if !c.Accept.Loss {
		return "", fatal.Errorf("changelog %s partition %d was cut back (by an unclean leader election, or brokers that lost power): %s; the state that was committed with them is lost, so that events may count and alert again or not at all; see that unclean.leader.election.enable is false for the topic and min.insync.replicas at least 2, then start once with --accept-loss to go on with the log as it is", c.Topic, c.Partition, gone.Lost())
	}
	c.Log.Error().Str("topic", c.Topic).Int32("partition", c.Partition).Int64("position", gone.Offset).Int32("epoch", at.Epoch).
		Int64("offset", gone.End.End).Str("event", "changelog_lost").Msg("the changelog was cut back; going on with the log as it is, as accepted")
	return "the changelog was cut back, as accepted", nil
}
