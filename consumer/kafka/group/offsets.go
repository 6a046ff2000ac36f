package group

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"

	"trailhound/consumer/kafka/wire"
)

// requestTimeout bounds one request for offsets; both are repeated.
const requestTimeout = 10 * time.Second

// Offset is a committed offset.
type Offset struct {
	At          int64  // offset of the record that comes next; -1: none is committed
	LeaderEpoch int32  // of the record before it (KIP-320); -1: not known
	Metadata    string // text that was committed with the offset
}

// Committed returns the group's committed offsets for partitions of a topic. It needs no
// membership, and repeats the request while the coordinator moves, until ctx ends. Errors
// wrap the broker's kafka.Error.
func (m *Member) Committed(ctx context.Context, topic string, partitions []int32) (map[int32]Offset, error) {
	if len(partitions) == 0 {
		return map[int32]Offset{}, nil // an empty list would mean all
	}
	var offsets map[int32]Offset
	err := m.repeat(ctx, func(ctx context.Context) (err error) {
		offsets, err = m.fetchOffsets(ctx, topic, partitions)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the offsets of %s that group %s has committed: %w", topic, m.Group, err)
	}
	return offsets, nil
}

func (m *Member) fetchOffsets(ctx context.Context, topic string, partitions []int32) (map[int32]Offset, error) {
	r, err := roundTrip[*offsetfetch.Response](ctx, m.Client, &offsetfetch.Request{
		GroupID: m.Group,
		Topics:  []offsetfetch.RequestTopic{{Name: topic, PartitionIndexes: partitions}},
	})
	if err != nil {
		return nil, err
	}
	offsets := make(map[int32]Offset, len(partitions))
	for _, p := range partitions {
		offsets[p] = Offset{At: -1, LeaderEpoch: -1}
	}
	switch code := kafka.Error(r.ErrorCode); code {
	case 0:
	case kafka.GroupIdNotFound:
		return offsets, nil // the group is not there: no join and no commit so far
	default:
		return nil, m.denied(code, "")
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("partition %d: %w", p.PartitionIndex, m.denied(kafka.Error(p.ErrorCode), t.Name))
			}
			offsets[p.PartitionIndex] = Offset{At: p.CommittedOffset, LeaderEpoch: p.ComittedLeaderEpoch, Metadata: p.Metadata}
		}
	}
	return offsets, nil
}

// Commit commits offsets of a topic in the name of the current generation. It refuses
// partitions that are not assigned to this member, as the broker refuses a past generation;
// an assigned partition may be committed also during a rebalance. It repeats the request
// while the coordinator moves, until ctx ends. Errors wrap the broker's kafka.Error.
func (m *Member) Commit(ctx context.Context, topic string, offsets map[int32]Offset) error {
	if len(offsets) == 0 {
		return nil
	}
	err := m.repeat(ctx, func(ctx context.Context) error { return m.commit(ctx, topic, offsets) })
	if err == nil {
		return nil
	}
	if !transient(err) {
		m.nudge() // the next heartbeat tells the cause
	}
	return fmt.Errorf("commit offsets of %s in group %s: %w", topic, m.Group, err)
}

func (m *Member) commit(ctx context.Context, topic string, offsets map[int32]Offset) error {
	a, ok := m.Current()
	if !ok {
		return fmt.Errorf("not a member: %w", kafka.UnknownMemberId)
	}
	t := offsetcommit.RequestTopic{Name: topic}
	for _, p := range slices.Sorted(maps.Keys(offsets)) {
		if !a.Has(topic, p) {
			return fmt.Errorf("partition %d is not assigned in generation %d: %w", p, a.Generation, kafka.IllegalGeneration)
		}
		t.Partitions = append(t.Partitions, offsets[p].request(p))
	}
	return m.commitAs(ctx, a, t)
}

func (o Offset) request(partition int32) offsetcommit.RequestPartition {
	return offsetcommit.RequestPartition{
		PartitionIndex: partition, CommittedOffset: o.At, CommittedLeaderEpoch: o.LeaderEpoch, CommittedMetadata: o.Metadata,
	}
}

// SetOffsets commits offsets by topic and partition for a group without members: while
// there are some, the broker answers kafka.UnknownMemberId, or kafka.RebalanceInProgress.
// kafka-go's own call sets the leader epoch of each offset to 0. Errors wrap the broker's
// kafka.Error.
func (m *Member) SetOffsets(ctx context.Context, topics map[string]map[int32]Offset) error {
	var all []offsetcommit.RequestTopic
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := offsetcommit.RequestTopic{Name: name}
		for _, p := range slices.Sorted(maps.Keys(topics[name])) {
			t.Partitions = append(t.Partitions, topics[name][p].request(p))
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil
	}
	outside := &Member{Client: m.Client, Group: m.Group} // without an instance: the group has none
	err := m.repeat(ctx, func(ctx context.Context) error { return outside.commitAs(ctx, Assignment{Generation: -1}, all...) })
	if err != nil {
		return fmt.Errorf("set the offsets of group %s: %w", m.Group, err)
	}
	return nil
}

// Begin commits the offsets at which a new group begins, by topic and partition, as SetOffsets
// does. A group that has committed an offset for one of the partitions has begun, and keeps its
// offsets.
func (m *Member) Begin(ctx context.Context, topics map[string]map[int32]Offset) error {
	for topic, offsets := range topics {
		committed, err := m.Committed(ctx, topic, slices.Sorted(maps.Keys(offsets)))
		if err != nil {
			return err
		}
		for _, o := range committed {
			if o.At >= 0 {
				return nil
			}
		}
	}
	return m.SetOffsets(ctx, topics)
}

// commitAs sends offsets in the name of a generation.
func (m *Member) commitAs(ctx context.Context, a Assignment, topics ...offsetcommit.RequestTopic) error {
	r, err := roundTrip[*offsetcommit.Response](ctx, m.Client, &offsetcommit.Request{
		GroupID:         m.Group,
		GenerationID:    a.Generation,
		MemberID:        a.MemberID,
		GroupInstanceID: m.Instance,
		RetentionTimeMs: -1,
		Topics:          topics,
	})
	if err != nil {
		return err
	}
	asked, answered := 0, 0
	for _, t := range topics {
		asked += len(t.Partitions)
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("%s partition %d: %w", t.Name, p.PartitionIndex, m.denied(kafka.Error(p.ErrorCode), t.Name))
			}
			answered++
		}
	}
	if answered < asked {
		return fmt.Errorf("the broker answered for %d of %d partitions", answered, asked)
	}
	return nil
}

// repeat calls fn until it succeeds, ctx ends, or the error is one that the
// coordinator will give again. To commit the same offsets twice does no harm.
func (m *Member) repeat(ctx context.Context, fn func(context.Context) error) error {
	wait := newBackoff()
	for {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := fn(attempt)
		cancel()
		// A topic that is missing may stay so, and must not hold back the offsets of others.
		if err == nil || !wire.Retriable(err) || wire.ClassOf(err) == wire.UnknownTopic || wait.Sleep(ctx) != nil {
			return err
		}
	}
}

// denied adds the lacking right to err, if it is an authorisation failure: to read the
// group, or the topic, "" in a request without one.
func (m *Member) denied(err error, topic string) error {
	return wire.Denied(err, wire.Right{Operation: "Read", Resource: "group", Name: m.Group}, wire.Right{Operation: "Read", Resource: "topic", Name: topic})
}
