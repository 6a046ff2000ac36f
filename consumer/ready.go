package consumer

import (
	"errors"
	"fmt"
	"slices"
)

// Ready returns nil once each input partition and shard assigned to this instance is being
// worked on; otherwise the first problem.
func (s *Service) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.assigned {
		return s.joining.missing()
	}
	if s.flipped != nil {
		return s.flipped
	}
	inputs := s.routers.keys()
	for _, k := range inputs {
		p := s.positions[k]
		if p == nil {
			return s.openingProblem(k)
		}
		if err := p.reading.trouble(); err != nil {
			return fmt.Errorf("input %s partition %d cannot be read: %w", k.topic, k.partition, err)
		}
		if err := s.stall(p.stillness()); err != nil {
			return fmt.Errorf("input %s partition %d stands still: %w", k.topic, k.partition, err)
		}
	}
	for _, n := range s.detectors.keys() {
		if err := s.shardProblem(s.shards[n]); err != nil {
			return fmt.Errorf("shard %d is not ready: %w", n, err)
		}
	}
	if len(inputs) > 0 {
		for _, l := range slices.Concat(s.producers, s.dead) {
			if err := l.tries.trouble(); err != nil {
				return l.cannotWrite(err)
			}
			if err := s.stall(l.pulse.stillness()); err != nil {
				return l.cannotWrite(err)
			}
		}
	}
	return s.diskStall()
}

// trouble returns why the shard is not worked on; nil if it is.
func (st *shardStatus) trouble() error {
	switch {
	case st == nil:
		return errNotTaken
	case st.ready.Load():
		return st.reading.trouble()
	}
	if err := st.taking.trouble(); err != nil {
		return err
	}
	return errNotTaken
}

var errNotTaken = errors.New("its state is being restored")
