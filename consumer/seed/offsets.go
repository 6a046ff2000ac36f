package seed

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/group"
	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
)

// goOnBehind sets the group's offsets to the ends of the history.
func (s *Seeder) goOnBehind(ctx context.Context) error {
	topics := map[string][]kafka.OffsetCommit{}
	for i := range s.Ranges {
		r := &s.Ranges[i]
		topics[r.Topic] = append(topics[r.Topic], kafka.OffsetCommit{Partition: int(r.Partition), Offset: r.To, Metadata: hex.EncodeToString(r.TopicID[:])})
	}
	return s.commit(ctx, topics)
}

// startLatest makes a new app begin at the ends of its inputs as they are now, which
// the service would no longer do once there is a state.
func (s *Seeder) startLatest(ctx context.Context) error {
	if s.Ranges != nil || !s.StartLatest {
		return nil
	}
	member := group.Member{Client: s.Client, Group: s.App.ID}
	topics := map[string][]kafka.OffsetCommit{}
	for _, name := range s.App.Inputs {
		info := s.topics[name]
		var partitions []int32
		for _, p := range info.Partitions {
			_, end, err := topic.Bounds(ctx, s.Client, name, p.Index)
			if err != nil {
				return err
			}
			partitions = append(partitions, p.Index)
			topics[name] = append(topics[name], kafka.OffsetCommit{Partition: int(p.Index), Offset: end, Metadata: hex.EncodeToString(info.ID[:])})
		}
		committed, err := member.Committed(ctx, name, partitions)
		if err != nil {
			return err
		}
		for _, o := range committed {
			if o.At >= 0 {
				return nil // it has begun before
			}
		}
	}
	return s.commit(ctx, topics)
}

func (s *Seeder) commit(ctx context.Context, topics map[string][]kafka.OffsetCommit) error {
	if len(topics) == 0 {
		return nil
	}
	res, err := s.Client.Kafka().OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: s.App.ID, GenerationID: -1, Topics: topics})
	if err != nil {
		return fmt.Errorf("commit offsets in group %s: %w", s.App.ID, err)
	}
	for name, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				err := wire.Denied(p.Error, wire.Right{Operation: "Read", Resource: "group", Name: s.App.ID}, wire.Right{Operation: "Read", Resource: "topic", Name: name})
				return fmt.Errorf("commit the offset of %s partition %d in group %s: %w", name, p.Partition, s.App.ID, err)
			}
		}
	}
	return nil
}
