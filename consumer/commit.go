package consumer

import (
	"context"
	"errors"
	"slices"
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
		case <-s.inputs.alignment.learns():
			s.inputs.flushSlowest()
			if !pause(ctx, s.inputs.alignPause()) {
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
		if err := s.instance.member.Commit(ctx, topic, offsets); err != nil {
			failed = append(failed, err)
			continue
		}
		for _, m := range moved {
			*m.committed = m.Offset
			if m.router != nil {
				m.router.committed.Store(m.At)
			}
		}
	}
	return errors.Join(failed...)
}

// movement is a position to commit, and the place that notes its commit.
type movement struct {
	key inputKey
	group.Offset

	committed *group.Offset
	router    *ackTracker // nil: of work
}

// moved returns the positions that are not committed yet, by topic and partition.
func (s *Service) moved() map[string]map[int32]movement {
	out := make(map[string]map[int32]movement)
	for _, m := range slices.Concat(s.inputs.reached(), s.shards.reached()) {
		if *m.committed == m.Offset {
			continue
		}
		if out[m.key.topic] == nil {
			out[m.key.topic] = make(map[int32]movement)
		}
		out[m.key.topic][m.key.partition] = m
	}
	return out
}
