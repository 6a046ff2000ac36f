package consumer

import "fmt"

// opening is an input partition without a position, while the offset to begin at is being
// looked up, in as many attempts as that takes.
type opening struct {
	tries *attempts
	pulse pulse
}

// opens notes that a partition is going to be opened.
func (s *Service) opens(k inputKey) *opening {
	o := &opening{tries: newAttempts(s.Metrics.Part(partInput))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openings == nil {
		s.openings = make(map[inputKey]*opening)
	}
	s.openings[k] = o
	return o
}

// opensAfter notes a partition that is going to be opened once the goroutine that had it
// before has ended, which may be blocked. The caller holds the lock.
func (s *Service) opensAfter(k inputKey) *opening {
	o := &opening{tries: newAttempts(nil)}
	o.pulse.at(stepEnd)
	if s.openings == nil {
		s.openings = make(map[inputKey]*opening)
	}
	s.openings[k] = o
	return o
}

// opensNoMore removes the entry that opens has made.
func (s *Service) opensNoMore(k inputKey, o *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openings[k] == o {
		delete(s.openings, k)
	}
}

// look is for the watch. It reports progress since the last look.
func (o *opening) look() bool { return o.pulse.look() }

// stuck tells whether another instance should open the partition.
func (o *opening) stuck(patience int) bool {
	return o.pulse.looks() >= patience && !answers(o.tries.trouble())
}

// openingProblem says why a partition without a position is not read. The caller holds the lock.
func (s *Service) openingProblem(k inputKey) error {
	err := fmt.Errorf("input %s partition %d is not being read yet", k.topic, k.partition)
	o := s.openings[k]
	if o == nil {
		return err
	}
	if still := s.stall(o.pulse.stillness()); still != nil {
		return fmt.Errorf("%w: %w", err, still)
	}
	if failed := o.tries.trouble(); failed != nil {
		return fmt.Errorf("%w: %w", err, failed)
	}
	return err
}
