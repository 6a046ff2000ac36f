package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// persist calls try until it succeeds or ctx ends.
func (v *verifier) persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w, while: %w", ctx.Err(), err)
		}
	}
}

// stableEnds returns the last stable offset of each partition of a topic.
func (v *verifier) stableEnds(ctx context.Context, topic string) (map[int32]int64, error) {
	l, err := v.locate(ctx, topic)
	if err != nil {
		return nil, err
	}
	ask := kmsg.NewListOffsetsRequestTopic()
	ask.Topic = topic
	for p := range l.leaders {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		ask.Partitions = append(ask.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1
	req.Topics = append(req.Topics, ask)
	resp, err := req.RequestWith(ctx, v.client)
	if err != nil {
		return nil, fmt.Errorf("look up the ends of topic %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("look up the end of topic %s partition %d: %w", topic, p.Partition, err)
			}
			ends[p.Partition] = p.Offset
		}
	}
	if len(ends) != len(l.leaders) {
		return nil, fmt.Errorf("topic %s has %d partitions, the brokers know the ends of %d", topic, len(l.leaders), len(ends))
	}
	return ends, nil
}

// location is the id and the leaders of a topic.
type location struct {
	id      [16]byte
	leaders map[int32]int32 // brokers by partition
}

// locate looks a topic up. A partition without a leader is an error.
func (v *verifier) locate(ctx context.Context, topic string) (*location, error) {
	ask := kmsg.NewMetadataRequestTopic()
	ask.Topic = &topic
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, ask)
	resp, err := req.RequestWith(ctx, v.client)
	if err != nil {
		return nil, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("look up topic %s: the answer is about %d topics", topic, len(resp.Topics))
	}
	found := resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	l := &location{id: found.TopicID, leaders: make(map[int32]int32)}
	for _, p := range found.Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, fmt.Errorf("look up topic %s partition %d: %w", topic, p.Partition, err)
		}
		l.leaders[p.Partition] = p.Leader
	}
	v.located[topic] = l
	return l, nil
}

// each calls take for the committed records of a topic below the ends, partition by partition.
func (v *verifier) each(ctx context.Context, topic string, ends map[int32]int64, take func(*kgo.Record)) error {
	if v.next[topic] == nil {
		v.next[topic] = make(map[int32]int64)
	}
	for p, end := range ends {
		for v.next[topic][p] < end {
			var records []*kgo.Record
			var next int64
			err := v.persist(ctx, func() (err error) {
				records, next, err = v.fetch(ctx, topic, p, v.next[topic][p])
				if err != nil {
					delete(v.located, topic) // the leader may be another by now
				}
				return err
			})
			if err != nil {
				return err
			}
			for _, rec := range records {
				if rec.Offset < end {
					take(rec)
				}
			}
			v.next[topic][p] = min(next, end)
		}
	}
	return nil
}

// fetch reads committed records from an offset on, and returns the offset to go on at. A consumer of kgo would not
// tell how far it has read: the last offsets of a partition can belong to an aborted transaction.
func (v *verifier) fetch(ctx context.Context, topic string, partition int32, offset int64) ([]*kgo.Record, int64, error) {
	l := v.located[topic]
	if l == nil {
		var err error
		if l, err = v.locate(ctx, topic); err != nil {
			return nil, 0, err
		}
	}
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = partition, offset, 8<<20
	ask := kmsg.NewFetchRequestTopic()
	ask.Topic, ask.TopicID = topic, l.id
	ask.Partitions = append(ask.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 500, 1, 8<<20, 1, -1
	req.Topics = append(req.Topics, ask)
	resp, err := req.RequestWith(ctx, v.client.Broker(int(l.leaders[partition])))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("fetch topic %s partition %d: %w", topic, partition, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, 0, fmt.Errorf("fetch topic %s partition %d: the answer is about something else", topic, partition)
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition},
		&resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		return nil, 0, fmt.Errorf("fetch topic %s partition %d at offset %d: %w", topic, partition, offset, got.Err)
	}
	return got.Records, next, nil
}
