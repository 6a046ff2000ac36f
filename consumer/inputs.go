package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules/cloudtrail"
)

// route keeps a router on one input partition until ctx ends (nil), or until a loss of its
// records that is not accepted.
func (s *Service) route(ctx context.Context, k inputKey) error {
	meter := s.Metrics.Input(k.topic, k.partition)
	defer meter.Close()
	o := s.opens(k)
	defer s.opensNoMore(k, o)
	tries := o.tries
	for ctx.Err() == nil {
		opened := time.Now()
		err := s.routeOnce(ctx, k, o, meter)
		s.unfollow(k)
		if time.Since(opened) > backoffMost {
			tries.succeeded()
		}
		if ctx.Err() != nil {
			break // the partition has another owner, and so the error does not count
		}
		var stop *changelog.FatalError
		if errors.As(err, &stop) {
			return err
		}
		tries.failed(&s.Log, err).Str("topic", k.topic).Int32("partition", k.partition).Str("event", "input_retry").Msg("input partition is opened again")
		if tries.sleep(ctx) != nil {
			break
		}
	}
	return nil
}

func (s *Service) routeOnce(ctx context.Context, k inputKey, o *opening, meter *admin.InputMetrics) error {
	in, start, clock, err := s.openInTurn(ctx, k, o)
	if err != nil {
		return err
	}
	log := s.Log.With().Str("stage", stageRouter).Logger()
	r := &router{
		in: in, engine: s.Engine, unpacking: s.Unpacking, producers: s.producers, deadLetters: s.dead, app: s.App.ID, version: s.Version,
		acceptLoss: s.Accept.Loss, mostWork: min(mostBytes(s.topics[s.App.WorkTopic()]), s.mostEvent()), mostDead: mostBytes(s.topics[s.App.DeadLetter]),
		log: rateLimited(log, s.Metrics.Suppressed()), meter: meter, progress: newAckTracker(start.offset).behind(start.epoch), marks: newTimeMarks(len(s.producers)),
		feed: prefetcher{
			client: s.Client, topic: k.topic, topicID: in.topicID, partition: k.partition, bytes: fetchBytes(inputMemory, s.inputPartitions(), fewInputs), readCommitted: true,
			log: log, tries: newAttempts(s.Metrics.Part(partInput)), shared: s.inputFeeds, told: new(logEnd),
		},
	}
	r.turn.Memory = s.Client.Memory
	r.turn.Waiting = func(others *atomic.Uint64) { r.progress.pulse.waiting(others, stepRoute) }
	r.decoder.MaxUnpacked, r.decoder.MaxHeld = s.MaxUnpacked, s.MaxHeld
	r.decoder.Scratch, r.decoder.Turn = s.Client.Memory.Share(), (*decoderTurn)(r)
	r.progress.clock = clock
	r.gate = newGate(s.alignment, k, clock, in.end > start.offset, time.Now())
	at := &position{ackTracker: r.progress, topicID: in.topicID, reading: r.feed.tries, end: r.feed.told, meter: meter}
	if !s.follow(ctx, k, at) {
		return ctx.Err()
	}
	log.Info().Str("topic", k.topic).Int32("partition", k.partition).Int64("offset", start.offset).Str("event", "input_opened").Msg("reading input")
	err = r.run(ctx)
	if wire.Lasting(err) {
		// The next opening starts from the committed offset, and so needs this router's position
		// and topic.
		return errors.Join(err, s.commitOne(ctx, k, s.inputOffset(k, at)))
	}
	return err
}

// openInTurn is open for mostOpening partitions at a time: each takes connections of its
// own for its requests, and a thousand partitions are assigned at once.
func (s *Service) openInTurn(ctx context.Context, k inputKey, o *opening) (in input, start logPosition, clock int64, err error) {
	if s.opening != nil {
		o.pulse.waiting(&s.opened, stepOpen)
		select {
		case s.opening <- struct{}{}:
			defer func() {
				s.opened.Add(1)
				<-s.opening
			}()
		case <-ctx.Done():
			return in, start, noNewest, ctx.Err()
		}
	}
	o.pulse.waiting(nil, stepOpen)
	in, start, clock, err = s.open(ctx, k)
	if err == nil {
		o.pulse.beat()
	}
	return in, start, clock, err
}

// mostEvent bounds the size of an event that is handed to its shard, beside the limits of
// the topics: each partition producer and each shard holds a few events at a time.
func (s *Service) mostEvent() int {
	d := cloudtrail.Decoder{MaxUnpacked: s.MaxUnpacked, MaxHeld: s.MaxHeld}
	return int(d.MostEvent())
}

// noteInputs remembers the ids of the input topics, as far as infos has them.
func (s *Service) noteInputs(infos map[string]topic.Info) {
	for _, name := range s.App.Inputs {
		s.noteInput(name, infos[name].ID)
	}
}

// noteInput remembers the id of an input topic. A zero id says nothing: the topic is
// missing at the moment, or the broker has not heard of it yet.
func (s *Service) noteInput(name string, id [16]byte) {
	if id == [16]byte{} {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inputIDs == nil {
		s.inputIDs = make(map[string][16]byte)
	}
	s.inputIDs[name] = id
}

// inputID returns the id of an input topic as last looked up.
func (s *Service) inputID(name string) [16]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputIDs[name]
}

// lookUpInputs looks the ids of the input topics up.
func (s *Service) lookUpInputs(ctx context.Context) error {
	meta, err := s.Client.Topics(ctx, s.App.Inputs...)
	if err != nil {
		return fmt.Errorf("look up the input topics: %w", err)
	}
	for _, name := range s.App.Inputs {
		if meta[name].Err == nil {
			s.noteInput(name, meta[name].ID)
		}
	}
	return nil
}

// inputPartitions is the number of partitions of all inputs: as many as one
// instance may come to read.
func (s *Service) inputPartitions() (n int) {
	for _, name := range s.App.Inputs {
		n += len(s.topics[name].Partitions)
	}
	return n
}

// unfollow makes the committer forget the partition, unless the run ends: an old position must
// not overtake the next opening. At the end of the run the position is still to be committed.
func (s *Service) unfollow(k inputKey) {
	if s.routers.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.positions, k)
	s.alignment.forget(k, time.Now())
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

// open finds the offset to start at in an input partition, and commits it before a record
// is produced (PROTOCOL R1, R4).
func (s *Service) open(ctx context.Context, k inputKey) (in input, start logPosition, clock int64, err error) {
	in, clock = input{topic: k.topic, partition: k.partition}, noNewest
	meta, err := s.Client.Topics(ctx, k.topic)
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
	s.noteInput(k.topic, in.topicID)
	committed, err := s.member.Committed(ctx, k.topic, []int32{k.partition})
	if err != nil {
		return in, start, clock, err
	}
	was, ok := committed[k.partition]
	if !ok {
		was.At = -1
	}
	from, err := s.recall(ctx, in, was)
	if err != nil {
		return in, start, clock, err
	}
	held, err := s.verify(ctx, in, from)
	if err != nil {
		return in, start, clock, err
	}
	first, end, err := topic.Bounds(ctx, s.Client, k.topic, k.partition)
	in.end = end
	if err != nil {
		return in, start, clock, err
	}
	at, err := s.start(in, held, first, end)
	if err != nil {
		return in, start, clock, err
	}
	start = logPosition{at, noEpoch}
	if at == held.At {
		start.epoch = held.LeaderEpoch
	}
	if start.epoch == noEpoch && at > first {
		if start.epoch, err = topic.EpochBefore(ctx, s.Client, k.topic, in.topicID, k.partition, at); err != nil {
			return in, start, clock, err
		}
	}
	m, ok := decodeInputMetadata(was.Metadata)
	if ok && m.topicID == in.topicID {
		clock = m.clock
	}
	if was.At != at || !ofTopic(was, in.topicID) {
		m = inputMetadata{topicID: in.topicID, clock: clock, backlog: end > at}
		return in, start, clock, s.commitOne(ctx, k, inputOffset(start, m))
	}
	return in, start, clock, nil
}

// start returns the offset at which to go on, given the group's committed offset
// (At -1: none) and the ends of the partition.
func (s *Service) start(in input, was group.Offset, first, end int64) (int64, error) {
	if was.At < 0 {
		return first, nil // also for a partition that was added later: its records are new
	}
	log := s.Log.With().Str("topic", in.topic).Int32("partition", in.partition).Int64("committed", was.At).Int64("start", first).Int64("end", end).Logger()
	if m, ok := decodeInputMetadata(was.Metadata); was.Metadata != "" && (!ok || m.topicID != in.topicID) {
		log.Error().Str("was", was.Metadata).Hex("is", in.topicID[:]).Str("event", "input_made_again").Msg("the input topic was deleted and made again; it is read from its start")
		return first, nil
	}
	switch {
	case was.At < first && !s.Accept.Loss:
		return 0, &changelog.FatalError{Sentence: fmt.Sprintf("input %s partition %d: records %d to %d were deleted by retention before they were read; lengthen the topic's retention, then start once with --accept-loss to go on without them", in.topic, in.partition, was.At, first-1)}
	case was.At < first:
		log.Error().Str("event", "input_lost").Msg("input records were deleted before they were read; going on behind them, as accepted")
		return first, nil
	case was.At > end && !s.Accept.Loss:
		return 0, &changelog.FatalError{Sentence: fmt.Sprintf("input %s partition %d ends at %d, before the committed offset %d: the partition has lost records (or another group's offsets were copied); start once with --accept-loss to go on at its end", in.topic, in.partition, end, was.At)}
	case was.At > end:
		log.Error().Str("event", "input_lost").Msg("the input ends before the committed offset; going on at its end, as accepted")
		return end, nil
	}
	return was.At, nil
}

// startLatest makes a new app begin at the end of its inputs: it commits the ends of all
// partitions at once, before any instance has joined the group. An app that has state is not
// new, even without offsets, and partitions that are added later are read from their start.
func (s *Service) startLatest(ctx context.Context) error {
	if !s.StartLatest {
		return nil
	}
	for shard := range s.App.Shards {
		if _, end, err := topic.Bounds(ctx, s.Client, s.App.StateTopic(), int32(shard)); err != nil || end > 0 {
			return err
		}
	}
	return s.commitEnds(ctx)
}

// commitEnds commits the ends of all input partitions in one request, unless the
// group has offsets or is at work already: then another instance has done it.
func (s *Service) commitEnds(ctx context.Context) error {
	ends := make(map[string]map[int32]group.Offset)
	for _, name := range s.App.Inputs {
		info := s.topics[name]
		ends[name] = make(map[int32]group.Offset)
		for _, p := range info.Partitions {
			_, end, err := topic.Bounds(ctx, s.Client, name, p.Index)
			if err != nil {
				return err
			}
			ends[name][p.Index] = inputOffset(logPosition{end, noEpoch}, inputMetadata{topicID: info.ID, clock: noNewest})
		}
	}
	err := s.member.Begin(ctx, ends)
	if err != nil && !errors.Is(err, kafka.UnknownMemberId) && !errors.Is(err, kafka.RebalanceInProgress) {
		return fmt.Errorf("commit the ends of the inputs, to start there: %w", err)
	}
	return nil
}
