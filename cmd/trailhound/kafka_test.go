package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds every wait: a slow machine needs it, a healthy run does not come near it.
const patience = 90 * time.Second

// await polls a condition: a broker or another process gives no signal to wait for.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting after %s: %s", patience, what)
		}
	}
}

// realKafka returns the brokers that TRAILHOUND_TEST_BROKERS names; nil: none.
func realKafka() []string {
	if names := os.Getenv("TRAILHOUND_TEST_BROKERS"); names != "" {
		return strings.Split(names, ",")
	}
	return nil
}

// eachKafka runs a test on an in-process cluster, and on the real one, if there is one.
func eachKafka(t *testing.T, test func(t *testing.T, brokers []string)) {
	t.Run("kfake", func(t *testing.T) { test(t, fakeCluster(t).ListenAddrs()) })
	if brokers := realKafka(); brokers != nil {
		t.Run("kafka", func(t *testing.T) { test(t, brokers) })
	}
}

// fakeCluster returns an in-process cluster, which ends with the test.
func fakeCluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fakeKafka returns an in-process cluster with the topic.
func fakeKafka(t testing.TB, topic string, partitions int32, more ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return fakeCluster(t, append(more, kfake.SeedTopics(partitions, topic))...)
}

func setBrokers(brokers []string) string { return "kafka.brokers=" + strings.Join(brokers, ",") }

// uniqueName returns a name that no other test uses; Kafka takes it for a topic, and trailhound for an app.
func uniqueName() string { return "test-cmd-" + strings.ToLower(rand.Text()[:12]) }

// kafkaClient returns a client of another library than the program's own, which ends with
// the test.
func kafkaClient(t testing.TB, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// newTopic creates a topic, under a unique name if it is given none, and deletes it after the test.
func newTopic(t testing.TB, brokers []string, name string, partitions int32, configs ...string) string {
	t.Helper()
	if name == "" {
		name = uniqueName()
	}
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = name, partitions, -1
	for pair := range slices.Chunk(configs, 2) {
		wanted.Configs = append(wanted.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: pair[0], Value: &pair[1]})
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 30_000
	create.Topics = append(create.Topics, wanted)
	client := kafkaClient(t, brokers)
	created, err := create.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(created.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	deleteAtEnd(t, brokers, name)
	await(t, "leaders of topic "+name, func() bool {
		offsets, err := endOffsets(t, client, name, false)
		return err == nil && len(offsets) == int(partitions)
	})
	return name
}

// deleteAtEnd deletes topics after the test from a cluster that outlives it.
func deleteAtEnd(t testing.TB, brokers []string, topics ...string) {
	if !slices.Equal(brokers, realKafka()) {
		return
	}
	t.Cleanup(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		remove := kmsg.NewPtrDeleteTopicsRequest()
		remove.TimeoutMillis, remove.TopicNames = 30_000, topics
		for _, name := range topics {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = &name
			remove.Topics = append(remove.Topics, topic)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if _, err := remove.RequestWith(ctx, client); err != nil {
			t.Errorf("delete topics %q: %v", topics, err)
		}
	})
}

// setMaxMessage changes a topic's max.message.bytes.
func setMaxMessage(t *testing.T, brokers []string, topic, value string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: &value}}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(t.Context(), kafkaClient(t, brokers))
	if err == nil {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// produce writes records, each to the partition that it names.
func produce(t testing.TB, brokers []string, records ...*kgo.Record) {
	t.Helper()
	client := kafkaClient(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume returns the first n records of the topic by partition.
func consume(t *testing.T, brokers []string, topic string, n int) map[int32][]*kgo.Record {
	t.Helper()
	client := kafkaClient(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := map[int32][]*kgo.Record{}
	for n > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d records of %s are missing: %v", n, topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			found[r.Partition] = append(found[r.Partition], r)
			n--
		})
	}
	return found
}

// committed returns the records of a topic that a read-committed reader sees now, by partition and offset.
func committed(t testing.TB, brokers []string, topic string) []*kgo.Record {
	t.Helper()
	ends, err := endOffsets(t, kafkaClient(t, brokers), topic, true)
	if err != nil {
		t.Fatalf("look up the ends of topic %s: %v", topic, err)
	}
	from := make(map[int32]kgo.Offset, len(ends))
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	// Control records are asked for because one of them may be the last before the end.
	client := kafkaClient(t, brokers, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := map[int32][]*kgo.Record{}
	for left := len(from); left > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read topic %s up to %v: %v", topic, ends, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[r.Partition] && !r.Attrs.IsControl() {
				found[r.Partition] = append(found[r.Partition], r)
			}
			if r.Offset+1 == ends[r.Partition] {
				left--
			}
		})
	}
	var all []*kgo.Record
	for p := range int32(len(ends)) {
		all = append(all, found[p]...)
	}
	return all
}

// endOffsets returns the ends of a topic's partitions; stable: as far as no transaction is open.
func endOffsets(t testing.TB, client *kgo.Client, topic string, stable bool) (map[int32]int64, error) {
	t.Helper()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = &topic
	look := kmsg.NewPtrMetadataRequest()
	look.Topics = append(look.Topics, about)
	meta, err := look.RequestWith(t.Context(), client)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(meta.Topics[0].ErrorCode); err != nil {
		return nil, err
	}
	ask := kmsg.NewListOffsetsRequestTopic()
	ask.Topic = topic
	for _, p := range meta.Topics[0].Partitions {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = p.Partition, -1 // the end
		ask.Partitions = append(ask.Partitions, partition)
	}
	list := kmsg.NewPtrListOffsetsRequest()
	list.Topics = append(list.Topics, ask)
	if stable {
		list.IsolationLevel = 1
	}
	ends := map[int32]int64{}
	for _, shard := range client.RequestSharded(t.Context(), list) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
				}
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}
