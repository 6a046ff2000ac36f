package consumer

import (
	"context"
	"errors"
	"fmt"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"

	"github.com/segmentio/kafka-go"
)

// opening is an input partition without a position, while the offset to begin at is being
// looked up, in as many attempts as that takes.
type opening struct {
	tries *attempts
	pulse pulse
}

// opens notes that a partition is going to be opened.
func (i *inputs) opens(k inputKey) *opening {
	o := &opening{tries: newAttempts(i.metrics.Part(partInput))}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.openings[k] = o
	return o
}

// opensAfter notes a partition that is going to be opened once the goroutine that had it
// before has ended, which may be blocked. The caller holds the lock.
func (i *inputs) opensAfter(k inputKey) *opening {
	o := &opening{tries: newAttempts(nil)}
	o.pulse.at(stepEnd)
	i.openings[k] = o
	return o
}

// opensNoMore removes the entry that opens has made.
func (i *inputs) opensNoMore(k inputKey, o *opening) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.openings[k] == o {
		delete(i.openings, k)
	}
}

// look is for the watch. It reports progress since the last look.
func (o *opening) look() bool { return o.pulse.look() }

// stuck tells whether another instance should open the partition.
func (o *opening) stuck(patience int) bool {
	return o.pulse.looks() >= patience && !answers(o.tries.trouble())
}

// openingProblem says why a partition without a position is not read. The caller holds the lock.
func (i *inputs) openingProblem(k inputKey) error {
	err := fmt.Errorf("input %s partition %d is not being read yet", k.topic, k.partition)
	o := i.openings[k]
	if o == nil {
		return err
	}
	if still := i.stall(o.pulse.stillness()); still != nil {
		return fmt.Errorf("%w: %w", err, still)
	}
	if failed := o.tries.trouble(); failed != nil {
		return fmt.Errorf("%w: %w", err, failed)
	}
	return err
}

// openInTurn is open for mostOpening partitions at a time: each takes connections of its
// own for its requests, and a thousand partitions are assigned at once.
func (i *inputs) openInTurn(ctx context.Context, k inputKey, o *opening) (in input, start logPosition, clock int64, err error) {
	o.pulse.waiting(&i.opened, stepOpen)
	select {
	case i.tokens <- struct{}{}:
		defer func() {
			i.opened.Add(1)
			<-i.tokens
		}()
	case <-ctx.Done():
		return in, start, noNewest, ctx.Err()
	}
	o.pulse.waiting(nil, stepOpen)
	in, start, clock, err = i.open(ctx, k)
	if err == nil {
		o.pulse.beat()
	}
	return in, start, clock, err
}

// open finds the offset to start at in an input partition, and commits it before a record
// is produced (PROTOCOL R1, R4).
func (i *inputs) open(ctx context.Context, k inputKey) (in input, start logPosition, clock int64, err error) {
	in, clock = input{topic: k.topic, partition: k.partition}, noNewest
	meta, err := i.client.Topics(ctx, k.topic)
	if err != nil {
		return in, start, clock, err
	}
	if err := meta[k.topic].Err; err != nil {
		return in, start, clock, fmt.Errorf("look up input topic %s: %w", k.topic, err)
	}
	in.topicID = meta[k.topic].ID
	if err := topic.Identified(k.topic, in.topicID); err != nil {
		return in, start, clock, err
	}
	i.noteID(k.topic, in.topicID)
	committed, err := i.member.Committed(ctx, k.topic, []int32{k.partition})
	if err != nil {
		return in, start, clock, err
	}
	was, ok := committed[k.partition]
	if !ok {
		was.At = -1
	}
	from, err := i.recall(ctx, in, was)
	if err != nil {
		return in, start, clock, err
	}
	held, err := i.verify(ctx, in, from)
	if err != nil {
		return in, start, clock, err
	}
	first, end, err := topic.Bounds(ctx, i.client, k.topic, k.partition)
	in.end = end
	if err != nil {
		return in, start, clock, err
	}
	at, err := i.start(in, held, first, end)
	if err != nil {
		return in, start, clock, err
	}
	start = logPosition{at, noEpoch}
	if at == held.At {
		start.epoch = held.LeaderEpoch
	}
	if start.epoch == noEpoch && at > first {
		if start.epoch, err = topic.EpochBefore(ctx, i.client, k.topic, in.topicID, k.partition, at); err != nil {
			return in, start, clock, err
		}
	}
	m, ok := decodeInputMetadata(was.Metadata)
	if ok && m.topicID == in.topicID {
		clock = m.clock
	}
	if was.At != at || !ofTopic(was, in.topicID) {
		m = inputMetadata{topicID: in.topicID, clock: clock, backlog: end > at}
		return in, start, clock, i.commitOne(ctx, k, inputOffset(start, m))
	}
	return in, start, clock, nil
}

// start returns the offset at which to go on, given the group's committed offset
// (At -1: none) and the ends of the partition.
func (i *inputs) start(in input, was group.Offset, first, end int64) (int64, error) {
	if was.At < 0 {
		return first, nil // also for a partition that was added later: its records are new
	}
	log := i.log.With().Str("topic", in.topic).Int32("partition", in.partition).Int64("committed", was.At).Int64("start", first).Int64("end", end).Logger()
	if m, ok := decodeInputMetadata(was.Metadata); was.Metadata != "" && (!ok || m.topicID != in.topicID) {
		log.Error().Str("was", was.Metadata).Hex("is", in.topicID[:]).Str("event", "input_made_again").Msg("the input topic was deleted and made again; it is read from its start")
		return first, nil
	}
	switch {
	case was.At < first && !i.accept.Loss:
		return 0, fatal.Errorf("input %s partition %d: records %d to %d were deleted by retention before they were read; lengthen the topic's retention, then start once with --accept-loss to go on without them", in.topic, in.partition, was.At, first-1)
	case was.At < first:
		log.Error().Str("event", "input_lost").Msg("input records were deleted before they were read; going on behind them, as accepted")
		return first, nil
	case was.At > end && !i.accept.Loss:
		return 0, fatal.Errorf("input %s partition %d ends at %d, before the committed offset %d: the partition has lost records (or another group's offsets were copied); start once with --accept-loss to go on at its end", in.topic, in.partition, end, was.At)
	case was.At > end:
		log.Error().Str("event", "input_lost").Msg("the input ends before the committed offset; going on at its end, as accepted")
		return end, nil
	}
	return was.At, nil
}

// startLatest makes a new app begin at the end of its inputs: it commits the ends of all
// partitions at once, before any instance has joined the group. An app that has state is not
// new, even without offsets, and partitions that are added later are read from their start.
func (i *inputs) startLatest(ctx context.Context) error {
	for shard := range i.app.Shards {
		if _, end, err := topic.Bounds(ctx, i.client, i.app.StateTopic(), int32(shard)); err != nil || end > 0 {
			return err
		}
	}
	return i.commitEnds(ctx)
}

// commitEnds commits the ends of all input partitions in one request, unless the
// group has offsets or is at work already: then another instance has done it.
func (i *inputs) commitEnds(ctx context.Context) error {
	ends := make(map[string]map[int32]group.Offset)
	for _, name := range i.app.Inputs {
		info := i.topics[name]
		ends[name] = make(map[int32]group.Offset)
		partitions := make([]int32, len(info.Partitions))
		for n, p := range info.Partitions {
			partitions[n] = p.Index
			_, end, err := topic.Bounds(ctx, i.client, name, p.Index)
			if err != nil {
				return err
			}
			ends[name][p.Index] = inputOffset(logPosition{end, noEpoch}, inputMetadata{topicID: info.ID, clock: noNewest})
		}
		committed, err := i.member.Committed(ctx, name, partitions)
		if err != nil {
			return err
		}
		for _, o := range committed {
			if o.At >= 0 {
				return nil
			}
		}
	}
	err := i.member.SetOffsets(ctx, ends)
	if err != nil && !errors.Is(err, kafka.UnknownMemberId) && !errors.Is(err, kafka.RebalanceInProgress) {
		return fmt.Errorf("commit the ends of the inputs, to start there: %w", err)
	}
	return nil
}
