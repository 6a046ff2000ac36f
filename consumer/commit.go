package consumer

import (
	"context"
	"errors"
	"time"

	"trailhound/consumer/kafka/group"
)

// commitUntil commits the routers' positions to the group every commitEvery,
// until ctx ends.
func (s *Service) commitUntil(ctx context.Context) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	tries := newAttempts(s.Metrics.Part(partGroup))
	for {
		select {
		case <-tick.C:
		case <-s.alignment.learns():
			s.flushSlowest()
			if !pause(ctx, s.alignPause()) {
				return
			}
		case <-ctx.Done():
			return
		}
		// A refused commit needs no cure of its own: the next one carries the same positions or
		// better ones, and after a rebalance the next owner reads the uncommitted records again.
		err := s.commit(ctx)
		if err == nil {
			tries.succeeded()
		} else if ctx.Err() == nil {
			tries.failed(&s.Log, err).Str("event", "positions_not_committed").Msg("positions were not committed; the next commit tries again")
		}
	}
}

// commit commits every position that has moved: of inputs, because the next
// owner starts there; of work, so that tools can show the lag.
func (s *Service) commit(ctx context.Context) error {
	var failed []error
	for topic, moved := range s.moved() {
		offsets := make(map[int32]group.Offset, len(moved))
		for partition, m := range moved {
			offsets[partition] = m.Offset
		}
		if err := s.member.Commit(ctx, topic, offsets); err != nil {
			failed = append(failed, err)
			continue
		}
		s.mu.Lock()
		for _, m := range moved {
			*m.committed = m.Offset
			if m.router != nil {
				m.router.committed.Store(m.At)
			}
		}
		s.mu.Unlock()
	}
	return errors.Join(failed...)
}

// movement is a position to commit, and the place that notes its commit.
type movement struct {
	group.Offset

	committed *group.Offset
	router    *progress // nil: of work
}

func (s *Service) moved() map[string]map[int32]movement {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]map[int32]movement)
	put := func(topic string, partition int32, m movement) {
		if *m.committed == m.Offset {
			return
		}
		if out[topic] == nil {
			out[topic] = make(map[int32]movement)
		}
		out[topic][partition] = m
	}
	for k, p := range s.positions {
		put(k.topic, k.partition, movement{s.inputOffset(k, p), &p.committed, p.progress})
	}
	for n, st := range s.shards {
		if st.ready.Load() {
			put(s.App.WorkTopic(), int32(n), movement{group.Offset{At: st.work.Load(), LeaderEpoch: noEpoch}, &st.shown, nil})
		}
	}
	return out
}

// inputOffset is the offset of an input partition that may be committed, with the event
// time that its acknowledged records have come to, for the other instances.
func (s *Service) inputOffset(k inputKey, p *position) group.Offset {
	at, clock := p.reachedTime()
	m := inputMetadata{topicID: p.topicID, clock: clock}
	if s.alignment != nil {
		t := s.alignment.state(k)
		m.backlog, m.waiting, m.steps = t.backlog, t.waiting, t.steps
	}
	return inputOffset(at, m)
}

// commitOne commits the position of one input partition.
func (s *Service) commitOne(ctx context.Context, k inputKey, o group.Offset) error {
	return s.member.Commit(ctx, k.topic, map[int32]group.Offset{k.partition: o})
}
