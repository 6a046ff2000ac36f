package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// Rewind sets the times of shards back that lie beyond to: the newest event time of each
// input partition, and of the shard. It is the way out after an event of an absurd time has
// made all others too late. The instruction goes through the work topic, so that the owner
// of each shard carries it out once, in order with the events. An empty list means all
// shards. Values that were swept meanwhile do not come back.
func Rewind(ctx context.Context, c *wire.Client, app topic.App, shards []int, to time.Time, timeout time.Duration) error {
	infos, err := topic.Describe(ctx, c, app.WorkTopic())
	if err != nil {
		return err
	}
	info, ok := infos[app.WorkTopic()]
	if !ok {
		return fmt.Errorf("there is no topic %s: app %s has never run here", app.WorkTopic(), app.ID)
	}
	var parts []wire.Part
	for n := range len(info.Partitions) {
		if len(shards) > 0 && !slices.Contains(shards, n) {
			continue
		}
		batch, err := instruction(work{rewind: to.UnixNano()})
		if err != nil {
			return err
		}
		parts = append(parts, wire.Part{Topic: info.Name, Partition: int32(n), Batch: batch})
	}
	for _, n := range shards {
		if n < 0 || n >= len(info.Partitions) {
			return fmt.Errorf("there is no shard %d: app %s has shards 0 to %d", n, app.ID, len(info.Partitions)-1)
		}
	}
	for i := range parts {
		if err := c.Produce(ctx, "", timeout, parts[i:i+1]); err != nil {
			return err
		}
		if err := parts[i].Err; err != nil {
			return fmt.Errorf("write to %s partition %d: %w; what was asked of other shards stands, and may be asked again", parts[i].Topic, parts[i].Partition, err)
		}
	}
	return nil
}

// instruction encodes the record batch of an instruction to a shard.
func instruction(w work) ([]byte, error) {
	b := bundle{}
	b.add(w.appendHead(nil), nil)
	var batch wire.Batch
	batch.Append(time.Now().UnixMilli(), nil, b.record())
	return batch.Encode(nil, wire.NoProducer)
}
