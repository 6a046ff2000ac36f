package group

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// missingInterval is how often to look for a topic that was not there: it may have
// been created just now, and not all brokers know it yet.
const missingInterval = 2 * time.Second

// nextWatch returns when to look at the topics again.
func (m *Member) nextWatch() time.Duration {
	d := m.watchInterval()
	if slices.ContainsFunc(m.Topics, func(topic string) bool { return m.counts[topic] == 0 }) {
		d = min(d, missingInterval)
	}
	return jitter(d)
}

// partitions asks the brokers how many partitions topics have. A topic that is
// not there, or may not be described, has none.
func (m *Member) partitions(ctx context.Context, topics []string) (map[string]int32, error) {
	counts := make(map[string]int32, len(topics))
	if len(topics) == 0 {
		return counts, nil
	}
	found, err := m.Client.Topics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look up the partitions of %q: %w", topics, err)
	}
	for _, topic := range topics {
		t := found[topic]
		if t.Err != nil {
			m.Log.Warn().Err(t.Err).Str("group", m.Group).Str("topic", topic).Str("event", "topic_not_described").Msg("the topic is not shared out until it can be described")
		}
		if n := int32(len(t.Partitions)); n > 0 {
			counts[topic] = n
		}
	}
	return counts, nil
}

// grown reports whether a topic has more partitions than the assignment at hand was
// computed from. Every member looks, not the leader alone: a static leader that was
// restarted gets its assignment back without learning that it leads (that came with
// JoinGroup v9, KIP-814). The counts seen travel in the subscription, so that the broker
// does not take the new join for a repetition.
func (m *Member) grown(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, m.sessionTimeout()/3)
	defer cancel()
	seen, err := m.partitions(ctx, m.Topics)
	if err != nil {
		m.Log.Debug().Err(err).Str("group", m.Group).Str("event", "partitions_not_watched").Msg("looking for new partitions failed")
		return false
	}
	if m.counts == nil { // another build computed the assignment and does not tell
		m.counts = seen
	}
	for topic, n := range seen {
		if n > m.counts[topic] {
			m.Log.Info().Str("group", m.Group).Str("topic", topic).Int32("partitions", n).Int32("before", m.counts[topic]).Str("event", "partitions_added").Msg("new partitions; joining again")
			m.seen = seen
			return true
		}
	}
	return false
}
