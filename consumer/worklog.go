package consumer

import (
	"context"
	"fmt"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// workLog is the state of the shard's work topic before the shard is taken.
type workLog struct {
	start  int64 // records below it have been deleted
	worked bool  // the group has a committed work offset
}

// lookUp must come before Take: work that other owners have deleted or evaluated by then is
// in the state that Take restores. Work deleted by an owner that takes the shard away later
// is not, and is no loss.
func (d *detector) lookUp(ctx context.Context) (workLog, error) {
	start, _, err := topic.Bounds(ctx, d.client, d.app.WorkTopic(), int32(d.shard))
	if err != nil {
		return workLog{}, fmt.Errorf("look up the ends of %s partition %d: %w", d.app.WorkTopic(), d.shard, err)
	}
	worked, err := d.group.worked(ctx, d.shard)
	return workLog{start, worked}, err
}

// workOffset returns where to go on in the work topic. Work that is gone before it was
// evaluated is a loss that an operator has to accept.
func (d *detector) workOffset(ctx context.Context, before workLog, newWork bool) (logPosition, error) {
	_, end, err := topic.Bounds(ctx, d.client, d.app.WorkTopic(), int32(d.shard))
	if err != nil {
		return logPosition{}, fmt.Errorf("look up the ends of %s partition %d: %w", d.app.WorkTopic(), d.shard, err)
	}
	start, worked := before.start, before.worked
	was := d.local.Position()
	at := was.Work
	if newWork {
		d.log.Error().Int64("lost_from", at).Str("event", "work_made_again").Msg("the work topic was made again; going on at its start, as accepted")
		return logPosition{start, noEpoch}, nil
	}
	if at < 0 && start == 0 && !worked {
		return logPosition{0, noEpoch}, nil // a new app
	}
	diverged, err := d.workDiverged(ctx, start)
	if err != nil {
		return logPosition{}, err
	}
	lost := ""
	switch {
	case diverged != nil:
		lost, end = workCutBack(diverged), min(end, diverged.End.End)
	case at < 0:
		lost = fmt.Sprintf("shard %d has no state, but some of its work has been done: its changelog %s was emptied or made again", d.shard, d.app.StateTopic())
	case at < start:
		lost = fmt.Sprintf("work records %d to %d of %s partition %d were deleted before they were evaluated; check who changed the topic's retention", at, start-1, d.app.WorkTopic(), d.shard)
	case at > end:
		lost = fmt.Sprintf("the state of shard %d stands at work offset %d, but %s ends at %d: the topic has lost records", d.shard, at, d.app.WorkTopic(), end)
	default:
		return logPosition{at, was.WorkEpoch}, nil
	}
	if !d.accept.Loss {
		return logPosition{}, workLost(lost)
	}
	d.log.Error().Str("lost", lost).Str("event", "work_lost").Msg("going on without what is lost, as accepted")
	to := logPosition{max(min(at, end), start), noEpoch}
	if diverged != nil && to.offset == diverged.End.End {
		to.epoch = diverged.End.Epoch
	}
	return to, nil
}

// workDiverged compares the shard's work with the log by the leader epoch of the last record
// that was evaluated; nil: the log holds that record, or the record has been deleted since,
// or no epoch is known. A fetch of Kafka 2.7 tells the same, later and of fewer logs.
func (d *detector) workDiverged(ctx context.Context, start int64) (*wire.DivergedError, error) {
	at := d.local.Position()
	if at.Work <= start || at.WorkEpoch < 0 {
		return nil, nil
	}
	end, ok, err := d.client.KnownEpochEnd(ctx, d.app.WorkTopic(), int32(d.shard), at.Work, at.WorkEpoch)
	if err != nil || !ok || end.Holds(at.WorkEpoch, at.Work) {
		return nil, err
	}
	return &wire.DivergedError{Topic: d.app.WorkTopic(), Partition: int32(d.shard), Offset: at.Work, Epoch: at.WorkEpoch, End: end}, nil
}

// workCutBack returns the sentence on a loss of work that was evaluated: records that were
// written in its place are not evaluated, and their input has been committed.
func workCutBack(e *wire.DivergedError) string {
	return fmt.Sprintf("topic %s partition %d was cut back (by an unclean leader election, or brokers that lost power): %s, and work that was not evaluated yet may be gone with them; see that unclean.leader.election.enable is false for the topic and min.insync.replicas at least 2", e.Topic, e.Partition, e.Lost())
}

// workLost returns the error that ends the run for lost work that is not accepted.
func workLost(what string) error {
	return fatal.Errorf("%s; start once with --accept-loss to go on without what is lost", what)
}
