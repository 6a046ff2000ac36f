// Package topic keeps the application's topics as the protocol needs them: it
// describes them, creates those that are missing with the right settings, and
// refuses wrong ones with a sentence that says how to mend them.
//
// App names the topics of one application and their requirements (PROTOCOL, "Topics");
// Check compares these with the cluster and returns a Problem for each setting that would
// lose or corrupt something; Create makes the missing topics. An existing topic is changed
// by Alter alone, and only in its settings: its records are not ours to risk.
package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// Info is a topic as the cluster describes it.
type Info struct {
	Name        string
	ID          [16]byte                 // survives everything but deletion
	Partitions  []wire.PartitionMetadata // by index
	Replication int                      // replicas of the partition that has fewest
	Config      map[string]string        // every setting in force, defaults included
}

// MaxMessageBytes returns the size of the largest record batch that the topic takes;
// Kafka's default when the cluster does not tell.
func (i Info) MaxMessageBytes() int {
	if n, err := strconv.Atoi(i.Config["max.message.bytes"]); err == nil && n > 0 {
		return n
	}
	return defaultMessageBytes
}

// defaultMessageBytes is Kafka's default of max.message.bytes.
const defaultMessageBytes = 1<<20 + 12

// Describe looks up topics. Those that do not exist are not in the result.
func Describe(ctx context.Context, c *wire.Client, names ...string) (map[string]Info, error) {
	infos := make(map[string]Info, len(names))
	if len(names) == 0 {
		return infos, nil
	}
	err := patiently(ctx, c, func(ctx context.Context) error { return describePartitions(ctx, c, names, infos) })
	if err == nil && len(infos) > 0 {
		err = patiently(ctx, c, func(ctx context.Context) error { return describeConfigs(ctx, c, infos) })
	}
	return infos, err
}

// describePartitions puts the topics that exist into infos.
func describePartitions(ctx context.Context, c *wire.Client, names []string, infos map[string]Info) error {
	found, err := c.Topics(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe topics %q: %w", names, err)
	}
	for _, name := range names {
		t, ok := found[name]
		switch {
		case !ok, errors.Is(t.Err, kafka.UnknownTopicOrPartition):
			continue
		case t.Err != nil:
			return fmt.Errorf("describe topic %s: %w", name, t.Err)
		}
		slices.SortFunc(t.Partitions, func(a, b wire.PartitionMetadata) int { return int(a.Index) - int(b.Index) })
		infos[name] = Info{Name: name, ID: t.ID, Partitions: t.Partitions, Replication: replication(t.Partitions)}
	}
	return nil
}

func replication(partitions []wire.PartitionMetadata) int {
	if len(partitions) == 0 {
		return 0
	}
	return len(slices.MinFunc(partitions, func(a, b wire.PartitionMetadata) int { return len(a.Replicas) - len(b.Replicas) }).Replicas)
}

// describeConfigs adds the settings to infos.
func describeConfigs(ctx context.Context, c *wire.Client, infos map[string]Info) error {
	req := new(kafka.DescribeConfigsRequest)
	for name := range infos {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: name})
	}
	res, err := c.Kafka().DescribeConfigs(ctx, req)
	if err != nil {
		return fmt.Errorf("describe the settings of topics: %w", err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			denied := wire.Denied(r.Error, wire.Right{Operation: "DescribeConfigs", Resource: "topic", Name: r.ResourceName})
			return fmt.Errorf("describe the settings of topic %s: %w", r.ResourceName, denied)
		}
		info, ok := infos[r.ResourceName]
		if !ok {
			continue
		}
		info.Config = make(map[string]string, len(r.ConfigEntries))
		for _, e := range r.ConfigEntries {
			if e.ConfigValue != "" { // null: the broker does not tell it
				info.Config[e.ConfigName] = e.ConfigValue
			}
		}
		infos[r.ResourceName] = info
	}
	return nil
}

// denied adds the right that a look-up of offsets lacks to err, if err is its refusal.
func denied(topic string, err error) error {
	return wire.Denied(err, wire.Right{Operation: "Describe", Resource: "topic", Name: topic})
}

// Bounds returns the first offset that a partition still has and the offset of its next
// record. Transactions that are still open count: end may lie behind the last offset that a
// read-committed reader can reach now.
func Bounds(ctx context.Context, c *wire.Client, topic string, partition int32) (start, end int64, err error) {
	err = patiently(ctx, c, func(ctx context.Context) error {
		start, end, err = bounds(ctx, c, topic, int(partition), kafka.ReadUncommitted)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look up the first and the last offset of %s partition %d: %w", topic, partition, err)
	}
	return start, end, nil
}

func bounds(ctx context.Context, c *wire.Client, topic string, partition int, isolation kafka.IsolationLevel) (start, end int64, err error) {
	res, err := c.Kafka().ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics:         map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}},
		IsolationLevel: isolation,
	})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return 0, 0, denied(topic, p.Error)
		}
		if p.FirstOffset >= 0 && p.LastOffset >= 0 {
			return p.FirstOffset, p.LastOffset, nil
		}
	}
	return 0, 0, kafka.OffsetNotAvailable
}
