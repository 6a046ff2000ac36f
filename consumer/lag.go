package consumer

import (
	"context"

	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// Lag returns how many records the app has still to read, input and work together, by its
// committed offsets. It is 0 only when each record that was in the input before the call
// has had its effect.
func Lag(ctx context.Context, c *wire.Client, app topic.App) (int64, error) {
	var lag int64
	// The order matters: a committed input offset means that its matches are in
	// the work topic, so the work topic's ends must be asked for afterwards.
	for _, name := range append(append([]string(nil), app.Inputs...), app.WorkTopic()) {
		n, err := topicLag(ctx, c, app, name)
		if err != nil {
			return 0, err
		}
		lag += n
	}
	return lag, nil
}

func topicLag(ctx context.Context, c *wire.Client, app topic.App, name string) (lag int64, err error) {
	partitions, err := Lags(ctx, c, app, name)
	for _, p := range partitions {
		lag += p.Lag
	}
	return lag, err
}

// PartitionLag is how far an app has come with one partition.
type PartitionLag struct {
	Partition int32
	Next      int64 // offset that it has committed; -1: none
	Lag       int64 // records from there, or from the partition's start, to its end
}

// Lags returns how far the app has come with each partition of a topic, in order.
func Lags(ctx context.Context, c *wire.Client, app topic.App, name string) ([]PartitionLag, error) {
	meta, err := c.Topics(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := meta[name].Err; err != nil {
		return nil, err
	}
	partitions := make([]int32, len(meta[name].Partitions))
	for i := range partitions {
		partitions[i] = int32(i)
	}
	member := group.Member{Client: c, Group: app.ID}
	committed, err := member.Committed(ctx, name, partitions)
	if err != nil {
		return nil, err
	}
	lags := make([]PartitionLag, len(partitions))
	for i, p := range partitions {
		start, end, err := topic.Bounds(ctx, c, name, p)
		if err != nil {
			return nil, err
		}
		lags[i] = PartitionLag{Partition: p, Next: committed[p].At, Lag: end - max(committed[p].At, start)}
	}
	return lags, nil
}
