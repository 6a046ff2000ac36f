package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/changelog"
	"trailhound/consumer/group"
	"trailhound/consumer/topic"
)

// route keeps a router on one input partition until ctx ends (nil), or until
// the partition has lost records that nobody accepted to lose.
func (s *Service) route(ctx context.Context, k inputKey) error {
	wait := newBackoff()
	for ctx.Err() == nil {
		err := s.routeOnce(ctx, k)
		var stop *changelog.StopError
		if errors.As(err, &stop) {
			return err
		}
		if ctx.Err() != nil {
			break
		}
		s.Log.Warn().Err(err).Str("topic", k.topic).Int32("partition", k.partition).Msg("input partition is opened again")
		wait.sleep(ctx)
	}
	return nil
}

func (s *Service) routeOnce(ctx context.Context, k inputKey) error {
	in, start, err := s.open(ctx, k)
	if err != nil {
		return err
	}
	log := s.Log.With().Str("stage", stageRouter).Logger()
	r := &router{
		in: in, engine: s.Engine, lanes: s.lanes, deadLetters: s.dead,
		mostWork: mostBytes(s.topics[s.App.WorkTopic()]), mostDead: mostBytes(s.topics[s.App.DeadLetter]),
		log: log, meter: s.Metrics.Input(k.topic, k.partition), progress: newProgress(start),
		feed: feed{client: s.Client, topic: k.topic, partition: k.partition, readCommitted: true, log: log},
	}
	r.decoder.MaxUnpacked = s.MaxUnpacked
	if !s.follow(ctx, k, &position{progress: r.progress, topicID: in.topicID, committed: start}) {
		return ctx.Err()
	}
	log.Info().Str("topic", k.topic).Int32("partition", k.partition).Int64("offset", start).Msg("reading input")
	err = r.run(ctx)
	if errors.Is(err, kafka.OffsetOutOfRange) {
		wait := context.WithoutCancel(ctx)
		return errors.Join(s.commitOne(wait, k, r.progress.position(), in.topicID), err)
	}
	return err
}

// follow makes the committer commit the partition's position; false: ctx has ended.
func (s *Service) follow(ctx context.Context, k inputKey, p *position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	s.positions[k] = p
	return true
}

// open decides where to start in an input partition, and has it committed
// before anything is produced (PROTOCOL R1, R4).
func (s *Service) open(ctx context.Context, k inputKey) (input, int64, error) {
	in := input{topic: k.topic, partition: k.partition}
	meta, err := s.Client.Topics(ctx, k.topic)
	if err != nil {
		return in, 0, err
	}
	if err := meta[k.topic].Err; err != nil {
		return in, 0, fmt.Errorf("look up input topic %s: %w", k.topic, err)
	}
	in.topicID = meta[k.topic].ID
	partitions := make([]int32, len(meta[k.topic].Partitions))
	for i := range partitions {
		partitions[i] = int32(i)
	}
	committed, err := s.member.Committed(ctx, k.topic, partitions)
	if err != nil {
		return in, 0, err
	}
	first, end, err := topic.Bounds(ctx, s.Client, k.topic, k.partition)
	if err != nil {
		return in, 0, err
	}
	at, err := s.start(in, committed, first, end)
	if err != nil {
		return in, 0, err
	}
	if was := committed[k.partition]; was.At != at || was.Metadata != hex.EncodeToString(in.topicID[:]) {
		return in, at, s.commitOne(ctx, k, at, in.topicID)
	}
	return in, at, nil
}

// start returns the offset at which to go on, given the group's committed
// offsets of the topic and the ends of the partition.
func (s *Service) start(in input, committed map[int32]group.Offset, first, end int64) (int64, error) {
	was, ok := committed[in.partition]
	if !ok || was.At < 0 {
		if s.StartLatest && fresh(committed) {
			return end, nil
		}
		return first, nil // also for partitions that were added later: what is in them is new
	}
	log := s.Log.With().Str("topic", in.topic).Int32("partition", in.partition).Int64("committed", was.At).Int64("start", first).Int64("end", end).Logger()
	if id := hex.EncodeToString(in.topicID[:]); was.Metadata != "" && was.Metadata != id {
		log.Error().Str("was", was.Metadata).Str("is", id).Msg("the input topic was deleted and made again; it is read from its start")
		return first, nil
	}
	switch {
	case was.At < first && !s.Accept.Loss:
		return 0, &changelog.StopError{Sentence: fmt.Sprintf("input %s partition %d: records %d to %d were deleted by retention before they were read; lengthen the topic's retention, then start once with --accept-loss to go on without them", in.topic, in.partition, was.At, first-1)}
	case was.At < first:
		log.Error().Msg("input records were deleted before they were read; going on behind them, as accepted")
		return first, nil
	case was.At > end && !s.Accept.Loss:
		return 0, &changelog.StopError{Sentence: fmt.Sprintf("input %s partition %d ends at %d, before the committed offset %d: the partition has lost records (or another group's offsets were copied); start once with --accept-loss to go on at its end", in.topic, in.partition, end, was.At)}
	case was.At > end:
		log.Error().Msg("the input ends before the committed offset; going on at its end, as accepted")
		return end, nil
	}
	return was.At, nil
}

// fresh says whether the group has never committed anything for the topic.
func fresh(committed map[int32]group.Offset) bool {
	for _, o := range committed {
		if o.At >= 0 {
			return false
		}
	}
	return true
}
