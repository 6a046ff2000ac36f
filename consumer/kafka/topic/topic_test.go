package topic

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// uniqueApp returns an application with topics that no other test uses and that are deleted
// afterwards.
func uniqueApp(t *testing.T, c *wire.Client) App {
	name := strings.ToLower(kafkatest.Name(t))
	a := App{ID: name, Shards: 3, Inputs: []string{name + "-in"}, Alerts: name + "-alerts", DeadLetter: name + "-dead", AlertPartitions: 2, DeadLetterPartitions: 1, InputPartitions: 4}
	t.Cleanup(func() {
		if _, err := c.Kafka().DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: append(a.outputs(), a.Inputs...)}); err != nil {
			t.Logf("delete the topics of %s: %v", name, err)
		}
	})
	return a
}

func newClient(t *testing.T, brokers []string) *wire.Client {
	c := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(c.Close)
	return c
}

func each(t *testing.T, test func(t *testing.T, ctx context.Context, brokers []string, c *wire.Client)) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		test(t, kafkatest.Context(t), brokers, newClient(t, brokers))
	})
}

// mustCheck gives changes time to reach all brokers.
func mustCheck(t *testing.T, ctx context.Context, c *wire.Client, a App, want int) []Problem {
	t.Helper()
	wait := newBackoff()
	for {
		problems, err := Check(ctx, c, a)
		if err == nil && len(problems) == want {
			return problems
		}
		if wait.Sleep(ctx) != nil {
			t.Fatalf("Check() = %v, %v; want %d problems", problems, err, want)
		}
	}
}

func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, _ []string, c *wire.Client) {
		a := uniqueApp(t, c)
		for _, p := range mustCheck(t, ctx, c, a, 5) {
			if !p.Missing {
				t.Errorf("Check() before Create = %v; want nothing but missing topics", p)
			}
		}
		outputs := slices.Sorted(slices.Values(a.outputs()))
		if created, err := Create(ctx, c, a); err != nil || !slices.Equal(created, outputs) {
			t.Fatalf("Create() = %v, %v; want %v", created, err, outputs)
		}
		if p := mustCheck(t, ctx, c, a, 1)[0]; p.Topic != a.Inputs[0] || !p.Missing {
			t.Errorf("Check() after Create = %v; want nothing but the missing input", p)
		}
		a.CreateInput = true
		if created, err := Create(ctx, c, a); err != nil || !slices.Equal(created, a.Inputs) {
			t.Fatalf("Create() with CreateInput = %v, %v; want %v", created, err, a.Inputs)
		}
		mustCheck(t, ctx, c, a, 0)
		if created, err := Create(ctx, c, a); err != nil || len(created) > 0 {
			t.Errorf("Create() again = %v, %v; want nothing to do", created, err)
		}
		infos, err := Describe(ctx, c, append(a.outputs(), a.Inputs[0], "absent-"+a.ID)...)
		if err != nil || len(infos) != 5 {
			t.Fatalf("Describe() = %v, %v; want 5 topics", infos, err)
		}
		for name, n := range map[string]int{a.WorkTopic(): 3, a.StateTopic(): 3, a.Alerts: 2, a.DeadLetter: 1, a.Inputs[0]: 4} {
			info := infos[name]
			if len(info.Partitions) != n || info.ID == [16]byte{} || info.Replication < 1 {
				t.Errorf("Describe(%s) = %+v; want %d partitions, an id, a replication", name, info, n)
			}
			if isr := info.Config["min.insync.replicas"]; info.Replication >= 3 && name != a.Inputs[0] && isr != "2" {
				t.Errorf("Create() made %s with %d replicas and min.insync.replicas=%s; want 2", name, info.Replication, isr)
			}
		}
	})
}

// TestRemedies: each setting is spoilt, found, and mended by its remedy.
func TestRemedies(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, _ []string, c *wire.Client) {
		a := uniqueApp(t, c)
		a.CreateInput = true
		if _, err := Create(ctx, c, a); err != nil {
			t.Fatalf("Create() = %v; want nil", err)
		}
		kfake := strings.HasSuffix(t.Name(), "/kfake")
		for _, s := range []struct{ topic, key, value string }{
			{a.WorkTopic(), "cleanup.policy", "compact"},
			{a.WorkTopic(), "message.timestamp.type", "CreateTime"},
			{a.WorkTopic(), "retention.ms", "604800000"},
			{a.WorkTopic(), "retention.bytes", "1073741824"},
			{a.WorkTopic(), "max.message.bytes", "1048588"},
			{a.WorkTopic(), "unclean.leader.election.enable", "true"},
			{a.StateTopic(), "cleanup.policy", "compact,delete"},
			{a.StateTopic(), "delete.retention.ms", "86400000"},
			{a.StateTopic(), "max.message.bytes", "1048588"},
			{a.StateTopic(), "unclean.leader.election.enable", "true"},
			{a.StateTopic(), "min.insync.replicas", "4"},
			{a.Alerts, "max.message.bytes", "8191"},
			{a.DeadLetter, "max.message.bytes", "4096"},
		} {
			if kfake && s.key == "unclean.leader.election.enable" {
				continue // it cannot be changed there
			}
			set(t, ctx, c, s.topic, s.key, s.value)
			p := mustCheck(t, ctx, c, a, 1)[0]
			if !strings.Contains(p.What, s.topic) || !strings.Contains(p.What, s.key+"="+s.value) {
				t.Errorf("Check() with %s %s=%s = %v; want them named", s.topic, s.key, s.value, p)
			}
			m := regexp.MustCompile(`--entity-name (\S+) --add-config ([^=]+)=(\S+)$`).FindStringSubmatch(p.Remedy)
			if m == nil {
				t.Fatalf("remedy %q; want a command that sets a config", p.Remedy)
			}
			set(t, ctx, c, m[1], m[2], m[3])
			mustCheck(t, ctx, c, a, 0)
		}
	})
}

func set(t *testing.T, ctx context.Context, c *wire.Client, topic, key, value string) {
	t.Helper()
	res, err := c.Kafka().IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil || res.Resources[0].Error != nil {
		t.Fatalf("set %s=%s of %s: %v, %+v", key, value, topic, err, res)
	}
}

func TestCreateWithTooFewBrokers(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, brokers []string, c *wire.Client) {
		a := uniqueApp(t, c)
		a.Replication = 7
		created, err := Create(ctx, c, a)
		if len(created) > 0 || !errors.Is(err, kafka.InvalidReplicationFactor) || !strings.Contains(err.Error(), "replication factor 7 is wanted, but the cluster has") {
			t.Errorf("Create() with replication 7 = %v, %v; want a sentence about the number of brokers", created, err)
		}
		mustCheck(t, ctx, c, a, 5)
	})
}

// TestCreateTogether: instances that start at the same time do not disturb each other.
func TestCreateTogether(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, brokers []string, c *wire.Client) {
		a := uniqueApp(t, c)
		a.CreateInput = true
		var (
			all sync.WaitGroup
			mu  sync.Mutex
			got []string
		)
		for range 4 {
			own := newClient(t, brokers)
			all.Go(func() {
				created, err := Create(ctx, own, a)
				if err != nil {
					t.Errorf("Create() beside others = %v; want nil", err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, created...)
			})
		}
		all.Wait()
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(append(a.outputs(), a.Inputs...))); !slices.Equal(got, want) {
			t.Errorf("four calls of Create made %v; want each of %v once", got, want)
		}
		mustCheck(t, ctx, c, a, 0)
	})
}

// TestCreateWaitsForLeaders: topics that the brokers do not serve yet are waited for.
func TestCreateWaitsForLeaders(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	c := newClient(t, cluster.ListenAddrs())
	a := uniqueApp(t, c)
	a.CreateInput = true
	late := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: a.StateTopic(), Partitions: []int32{0}, Err: kerr.LeaderNotAvailable, Count: 3, When: func(r kmsg.Request) bool {
		return r.GetVersion() >= 10 // not kafka-go's own
	}})
	if _, err := Create(kafkatest.Context(t), c, a); err != nil {
		t.Errorf("Create() = %v; want it to wait for the leaders", err)
	}
	if n := late.Hits(); n != 3 {
		t.Errorf("Create() looked at topics without leaders %d times; want 3", n)
	}
}

func TestDescribeErrors(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	c, ctx := newClient(t, cluster.ListenAddrs()), kafkatest.Context(t)
	name := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed})
	if _, err := Describe(ctx, c, name); !errors.Is(err, kafka.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "DescribeConfigs") {
		t.Errorf("Describe() without the right to = %v; want an error that names it", err)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.UnknownTopicOrPartition, Count: 2})
	if infos, err := Describe(ctx, c, name); err != nil || infos[name].Config["retention.ms"] == "" {
		t.Errorf("Describe() while a broker does not know the topic yet = %v, %v; want its settings", infos, err)
	}
	// With one broker of three down, nothing may keep an instance from starting.
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.BrokerNotAvailable, Count: 2})
	if infos, err := Describe(ctx, c, name); err != nil || infos[name].Config["retention.ms"] == "" {
		t.Errorf("Describe() while a broker is down = %v, %v; want its settings", infos, err)
	}
}

func TestBounds(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, brokers []string, c *wire.Client) {
		name := kafkatest.Topic(t, brokers, 2, nil)
		want := func(p int32, start, end int64) {
			t.Helper()
			if s, e, err := Bounds(ctx, c, name, p); s != start || e != end || err != nil {
				t.Errorf("Bounds(%d) = %d, %d, %v; want %d, %d", p, s, e, err, start, end)
			}
		}
		want(0, 0, 0)
		cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		for range 5 {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: name, Partition: 1, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatalf("produce: %v", err)
			}
		}
		want(0, 0, 0)
		want(1, 0, 5)
		if err := c.DeleteRecords(ctx, name, 1, 3); err != nil {
			t.Fatalf("DeleteRecords() = %v; want nil", err)
		}
		want(1, 3, 5)
		if _, _, err := Bounds(ctx, c, name, 9); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("Bounds(9) = %v; want UNKNOWN_TOPIC_OR_PARTITION", err)
		}
	})
}
