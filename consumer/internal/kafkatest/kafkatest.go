// Package kafkatest gives tests a Kafka cluster: an in-process one always, and a
// real one too where TRAILHOUND_TEST_BROKERS names its brokers. franz-go, which
// shares no code with the service, is the other side of every exchange.
package kafkatest

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

// Env names the environment variable with the real brokers, "host:port,host:port".
const Env = "TRAILHOUND_TEST_BROKERS"

// patience bounds every wait for a cluster.
const patience = time.Minute

// Real returns the real brokers, nil if there are none.
func Real() []string {
	if list := os.Getenv(Env); list != "" {
		return strings.Split(list, ",")
	}
	return nil
}

// Each runs a test on a fresh in-process cluster of three brokers, as the subtest
// "kfake", and on the real one, if there is one, as the subtest "kafka".
func Each(t *testing.T, test func(t *testing.T, brokers []string)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { test(t, Fake(t, 3).ListenAddrs()) })
	if real := Real(); real != nil {
		t.Run("kafka", func(t *testing.T) { test(t, real) })
	}
}

// Brokers returns the real brokers if there are any, else those of a fresh
// in-process cluster of three.
func Brokers(t testing.TB) []string {
	t.Helper()
	if real := Real(); real != nil {
		return real
	}
	return Fake(t, 3).ListenAddrs()
}

// Fake returns a fresh in-process cluster, which ends with the test.
func Fake(t testing.TB, brokers int, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(brokers)}, opts...)...)
	if err != nil {
		t.Fatalf("start an in-process cluster: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// Name returns a name that no other test uses.
func Name(t testing.TB) string {
	t.Helper()
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("test-%.80s-%s", clean, rand.Text()[:10])
}

// Client returns a franz-go client of the brokers, which ends with the test.
func Client(t testing.TB, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, opts...)...)
	if err != nil {
		t.Fatalf("kgo.NewClient(%v) = %v", brokers, err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Context returns a context that ends long before the test binary gives up.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Topic creates a topic of a unique name, waits until its partitions have leaders,
// and deletes it after the test.
func Topic(t testing.TB, brokers []string, partitions int, configs map[string]string) string {
	t.Helper()
	name := Name(t)
	CreateTopic(t, brokers, name, partitions, configs)
	return name
}

// CreateTopic is Topic with a name of the caller's.
func CreateTopic(t testing.TB, brokers []string, name string, partitions int, configs map[string]string) {
	t.Helper()
	cl := Client(t, brokers)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), -1
	for key, value := range configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(patience.Milliseconds())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(Context(t), cl)
	if err == nil && len(resp.Topics) > 0 {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	if slices.Equal(brokers, Real()) {
		t.Cleanup(func() { Delete(t, brokers, name) })
	}
	waitForLeaders(t, cl, name, partitions)
}

// Delete deletes a topic. It works after the test too, when its clients are closed already.
func Delete(t testing.TB, brokers []string, name string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Errorf("delete topic %s: %v", name, err)
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	if _, err := req.RequestWith(ctx, cl); err != nil {
		t.Logf("delete topic %s: %v", name, err)
	}
}

// waitForLeaders asks the leaders themselves: a broker can be named as a leader
// shortly before it knows.
func waitForLeaders(t testing.TB, cl *kgo.Client, topic string, partitions int) {
	t.Helper()
	await(t, fmt.Sprintf("a leader for each of the %d partitions of topic %s", partitions, topic), func(ctx context.Context) (bool, error) {
		offsets, err := listOffsets(ctx, cl, topic, latest)
		return len(offsets) == partitions, err
	})
}

// Group returns the name of a group that no other test uses, and waits until its coordinator
// answers. A new cluster has no coordinator before the first question for one; retries of
// that question have tests of their own.
func Group(t testing.TB, brokers []string) string {
	t.Helper()
	name, cl := Name(t), Client(t, brokers)
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{name}
	await(t, "the coordinator of group "+name, func(ctx context.Context) (bool, error) {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil || len(resp.Groups) == 0 {
			return false, err
		}
		if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); kerr.IsRetriable(err) {
			return false, err
		}
		return true, nil // that there is no such group is an answer of the coordinator
	})
	return name
}

// await asks every so often until an answer is right.
func await(t testing.TB, what string, ask func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx := Context(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ask(ctx)
		if ok && err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still waiting after %s for %s; the last error: %v", patience, what, err)
		}
	}
}

// ReadCommitted returns the committed records of a topic as it stands, partition
// by partition, each in the order of its offsets.
func ReadCommitted(t testing.TB, brokers []string, topic string) []*kgo.Record {
	t.Helper()
	ends := stableOffsets(t, brokers, topic)
	from := make(map[int32]kgo.Offset)
	for p := range ends {
		from[p] = kgo.NewOffset().AtStart()
	}
	// Control records are asked for because one of them may be the last before the end.
	cl := Client(t, brokers, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	byPartition := make(map[int32][]*kgo.Record)
	for p, end := range ends {
		if end.empty() {
			delete(ends, p)
		}
	}
	for ctx := Context(t); len(ends) > 0; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read topic %s: %v; partitions short of their ends: %v", topic, err, ends)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				byPartition[r.Partition] = append(byPartition[r.Partition], r)
			}
			if r.Offset+1 >= ends[r.Partition].end {
				delete(ends, r.Partition)
			}
		})
	}
	var all []*kgo.Record
	for p := range int32(len(from)) {
		all = append(all, byPartition[p]...)
	}
	return all
}

type bounds struct{ start, end int64 }

func (b bounds) empty() bool { return b.start >= b.end }

// stableOffsets asks for the start and the last stable offset of each partition.
func stableOffsets(t testing.TB, brokers []string, topic string) map[int32]bounds {
	t.Helper()
	ctx, cl := Context(t), Client(t, brokers)
	starts, err := listOffsets(ctx, cl, topic, earliest)
	if err != nil {
		t.Fatalf("list start offsets of topic %s: %v", topic, err)
	}
	ends, err := listOffsets(ctx, cl, topic, latest)
	if err != nil {
		t.Fatalf("list end offsets of topic %s: %v", topic, err)
	}
	all := make(map[int32]bounds)
	for p, end := range ends {
		all[p] = bounds{starts[p], end}
	}
	return all
}

// Timestamps that ListOffsets takes for the ends of a partition.
const (
	earliest = -2
	latest   = -1
)

func listOffsets(ctx context.Context, cl *kgo.Client, topic string, at int64) (map[int32]int64, error) {
	ask := kmsg.NewListOffsetsRequestTopic()
	ask.Topic = topic
	partitions, err := partitionsOf(ctx, cl, topic)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, at
		ask.Partitions = append(ask.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1 // read committed
	req.Topics = append(req.Topics, ask)
	offsets := make(map[int32]int64)
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
				}
				offsets[p.Partition] = p.Offset
			}
		}
	}
	return offsets, nil
}

func partitionsOf(ctx context.Context, cl *kgo.Client, topic string) (partitions []int32, err error) {
	req := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = &topic
	req.Topics = append(req.Topics, about)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			partitions = append(partitions, p.Partition)
		}
	}
	return partitions, nil
}
