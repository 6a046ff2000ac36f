package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/group"
)

// avoidFor is how long the group is told that another member should have a partition.
// Where all members say so, it is shared out as any other.
const avoidFor = 30 * time.Minute

// membership is the place of an instance in the group: the attempts to take and to keep it,
// and the partitions that another member should have.
type membership struct {
	member *group.Member
	log    zerolog.Logger

	mu       sync.Mutex
	attempts *attempts              // nil: not begun
	assigned bool                   // the instance is a member
	avoided  map[inputKey]time.Time // partitions, of work too, that another member should have, and since when
}

// begin readies the membership for the first attempt; probes may ask it already.
func (m *membership) begin(member *group.Member, log zerolog.Logger, tries *attempts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member, m.log, m.attempts, m.avoided = member, log, tries, make(map[inputKey]time.Time)
}

// assign notes whether the instance is a member.
func (m *membership) assign(member bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.assigned = member
}

// tried notes the outcome of an attempt.
func (m *membership) tried(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.attempts.succeeded()
		return
	}
	log := m.log.With().Str("group", m.member.Group).Logger()
	line := m.attempts.failed(&log, err)
	if m.attempts.failures == 1 || coordinatorComes(err) && m.attempts.failures < coordinatorTries {
		line = line.Discard() // a coordinator that moves, or a group that is new, is no news
	}
	line.Str("event", "group_retry").Msg("the consumer group does not answer as it should; it is tried again until it does")
}

// missing says why an instance is not a member; nil: it is one.
func (m *membership) missing() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.assigned {
		return nil
	}
	if m.attempts != nil {
		if err := m.attempts.trouble(); err != nil {
			return fmt.Errorf("not a member of the consumer group: %w", err)
		}
	}
	return errors.New("not a member of the consumer group yet")
}

// handBack asks the group to give partitions to another member, each once in avoidFor. It
// reports whether it has asked.
func (m *membership) handBack(give []inputKey, now time.Time) bool {
	m.mu.Lock()
	var names []string
	for _, k := range give {
		if since, ok := m.avoided[k]; !ok || now.Sub(since) >= avoidFor {
			m.avoided[k] = now
			names = append(names, fmt.Sprintf("%s/%d", k.topic, k.partition))
		}
	}
	m.mu.Unlock()
	if len(names) == 0 {
		return false
	}
	m.log.Warn().Str("partitions", strings.Join(names, " ")).Str("event", "handed_back").Msg("partitions that make no progress here are handed back to the group; another member gets them if there is one that has not done so too")
	m.member.Rejoin()
	return true
}

// avoids tells the group which partitions another member should have.
func (m *membership) avoids() map[string][]int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string][]int32)
	for k, since := range m.avoided {
		if time.Since(since) < avoidFor {
			out[k.topic] = append(out[k.topic], k.partition)
		}
	}
	for _, p := range out {
		slices.Sort(p)
	}
	return out
}
