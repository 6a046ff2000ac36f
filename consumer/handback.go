package consumer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// avoidFor is how long the group is told that another member should have a partition.
// Where all members say so, it is shared out as any other.
const avoidFor = 30 * time.Minute

// patience is how many looks without progress a partition stays here. A partition taken in
// exchange for one that was handed back meets the same broker as a rule, and goes sooner.
func (w *watching) patience() int {
	if w.gave > 0 && w.looks-w.gave < suspectLooks {
		return stalledLooks
	}
	return handBackLooks
}

// handBack asks the group to give partitions to another member, each once in avoidFor. It
// reports whether it has asked.
func (s *Service) handBack(give []inputKey, now time.Time) bool {
	s.mu.Lock()
	if s.avoided == nil {
		s.avoided = make(map[inputKey]time.Time)
	}
	var names []string
	for _, k := range give {
		if since, ok := s.avoided[k]; !ok || now.Sub(since) >= avoidFor {
			s.avoided[k] = now
			names = append(names, fmt.Sprintf("%s/%d", k.topic, k.partition))
		}
	}
	s.mu.Unlock()
	if len(names) == 0 {
		return false
	}
	s.Log.Warn().Str("partitions", strings.Join(names, " ")).Str("event", "handed_back").Msg("partitions that make no progress here are handed back to the group; another member gets them if there is one that has not done so too")
	s.member.Rejoin()
	return true
}

// avoids tells the group which partitions another member should have.
func (s *Service) avoids() map[string][]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string][]int32)
	for k, since := range s.avoided {
		if time.Since(since) < avoidFor {
			out[k.topic] = append(out[k.topic], k.partition)
		}
	}
	for _, p := range out {
		slices.Sort(p)
	}
	return out
}
