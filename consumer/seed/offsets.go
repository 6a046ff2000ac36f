package seed

import (
	"context"
	"encoding/hex"

	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
)

// goOnBehind sets the group's offsets to the ends of the history.
func (s *Seeder) goOnBehind(ctx context.Context) error {
	topics := offsets{}
	for i := range s.Ranges {
		r := &s.Ranges[i]
		epoch, err := topic.EpochBefore(ctx, s.Client, r.Topic, r.TopicID, r.Partition, r.To)
		if err != nil {
			return err
		}
		topics.add(r.Topic, r.Partition, group.Offset{At: r.To, LeaderEpoch: epoch}, r.TopicID)
	}
	return s.member().SetOffsets(ctx, topics)
}

// startLatest makes a new app begin at the ends of its inputs as they are now, which
// the service would no longer do once there is a state.
func (s *Seeder) startLatest(ctx context.Context) error {
	if s.Ranges != nil || !s.StartLatest {
		return nil
	}
	topics := offsets{}
	for _, name := range s.App.Inputs {
		info := s.topics[name]
		for _, p := range info.Partitions {
			_, end, err := topic.Bounds(ctx, s.Client, name, p.Index)
			if err != nil {
				return err
			}
			topics.add(name, p.Index, group.Offset{At: end, LeaderEpoch: -1}, info.ID)
		}
	}
	return s.member().Begin(ctx, topics)
}

func (s *Seeder) member() *group.Member {
	return &group.Member{Client: s.Client, Group: s.App.ID}
}

// offsets are those to commit, by topic and partition.
type offsets map[string]map[int32]group.Offset

func (o offsets) add(topic string, partition int32, at group.Offset, id [16]byte) {
	if o[topic] == nil {
		o[topic] = make(map[int32]group.Offset)
	}
	at.Metadata = hex.EncodeToString(id[:])
	o[topic][partition] = at
}
