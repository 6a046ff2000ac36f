package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/cmd/internal/testbed"
)

// createTopic makes a topic that keeps everything, and waits for its leaders.
func (b *bench) createTopic(ctx context.Context, topic string, partitions int, settings ...kafka.ConfigEntry) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := b.client.Kafka().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: append(settings, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"}, kafka.ConfigEntry{ConfigName: "retention.bytes", ConfigValue: "-1"}),
	}}})
	if err == nil {
		err = resp.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	b.topics = append(b.topics, topic)
	for {
		found, err := b.client.Topics(ctx, topic)
		led := 0
		for _, p := range found[topic].Partitions {
			if p.Err == nil && p.Leader >= 0 {
				led++
			}
		}
		if led == partitions {
			return nil
		}
		if !testbed.Sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("topic %s has leaders for %d of %d partitions: %w", topic, led, partitions, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// deleteTopics deletes topics, which may be gone.
func (b *bench) deleteTopics(ctx context.Context, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	resp, err := b.client.Kafka().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: topics})
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	for topic, e := range resp.Errors {
		if e != nil && !errors.Is(e, kafka.UnknownTopicOrPartition) {
			err = errors.Join(err, fmt.Errorf("delete topic %s: %w", topic, e))
		}
	}
	return err
}

// leaveBrokers deletes the topics and groups of this run from brokers that are not ours.
func (b *bench) leaveBrokers(ctx context.Context) error {
	err := b.deleteTopics(ctx, b.topics...)
	for _, app := range b.apps {
		err = errors.Join(err, b.deleteTopics(ctx, topicsOf(app)...), b.deleteGroup(ctx, app))
	}
	return err
}

// deleteGroup deletes a consumer group, as soon as its last member is gone.
func (b *bench) deleteGroup(ctx context.Context, group string) error {
	for {
		resp, err := b.client.Kafka().DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err == nil {
			err = resp.Errors[group]
		}
		if err == nil || errors.Is(err, kafka.GroupIdNotFound) {
			return nil
		}
		if !errors.Is(err, kafka.NonEmptyGroup) || !testbed.Sleep(ctx, 500*time.Millisecond) {
			return fmt.Errorf("delete group %s: %w", group, err)
		}
	}
}
