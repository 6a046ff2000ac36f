package deploy_test

import (
	"context"
	"crypto/rand"
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

// docRealKafka returns the brokers that TRAILHOUND_TEST_BROKERS names; nil: none.
func docRealKafka() []string {
	if names := os.Getenv("TRAILHOUND_TEST_BROKERS"); names != "" {
		return strings.Split(names, ",")
	}
	return nil
}

// docEachKafka runs a test on an in-process cluster, and on the real one, if there is one.
func docEachKafka(t *testing.T, test func(t *testing.T, brokers []string)) {
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		test(t, docFakeKafka(t).ListenAddrs())
	})
	if brokers := docRealKafka(); brokers != nil {
		t.Run("kafka", func(t *testing.T) {
			t.Parallel()
			test(t, brokers)
		})
	}
}

func docFakeKafka(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func docName() string { return "test-docs-" + strings.ToLower(rand.Text()[:12]) }

func docClient(t *testing.T, brokers []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// docTopic creates a topic, which is deleted after the test.
func docTopic(t *testing.T, brokers []string, name string, partitions int, options ...kgo.Opt) {
	t.Helper()
	docDeleteAtEnd(t, brokers, name)
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = name, int32(partitions), -1
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 30_000
	create.Topics = append(create.Topics, wanted)
	created, err := create.RequestWith(t.Context(), docClient(t, brokers, options...))
	if err == nil {
		err = kerr.ErrorForCode(created.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

// docDeleteAtEnd deletes topics from a cluster that outlives the test.
func docDeleteAtEnd(t *testing.T, brokers []string, names ...string) {
	if !slices.Equal(brokers, docRealKafka()) {
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
		remove.TimeoutMillis, remove.TopicNames = 30_000, names
		for _, name := range names {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = &name
			remove.Topics = append(remove.Topics, topic)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if _, err := remove.RequestWith(ctx, client); err != nil {
			t.Errorf("delete topics %q: %v", names, err)
		}
	})
}

// docRead reads a topic from its start until enough says that it has seen enough.
func docRead(t *testing.T, brokers []string, topic string, committed bool, enough func(*kgo.Record) bool) {
	t.Helper()
	options := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	if committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client := docClient(t, brokers, options...)
	ctx, cancel := context.WithTimeout(t.Context(), docPatience)
	defer cancel()
	for done := false; !done; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read topic %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { done = enough(r) || done })
	}
}

// docAwait polls a condition of another process until it holds.
func docAwait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(docPatience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting after %s: %s", docPatience, what)
		}
	}
}
