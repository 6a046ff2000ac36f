package wire_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

func batch(t testing.TB, values ...string) []byte {
	t.Helper()
	var b wire.Batch
	for _, v := range values {
		b.Append(1, nil, []byte(v))
	}
	encoded, err := b.Encode(nil, wire.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func produce(t testing.TB, c *wire.Client, topic string, partition int32, values ...string) error {
	t.Helper()
	parts := []wire.PartitionBatch{{Topic: topic, Partition: partition, Batch: batch(t, values...)}}
	return errors.Join(c.Produce(t.Context(), "", time.Second, parts), parts[0].Err)
}

// fetch reads one batch and returns its first value.
func fetch(t testing.TB, c *wire.Client, topic string, partition int32, offset int64) (string, error) {
	t.Helper()
	var f wire.Fetched
	err := c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, Partition: partition, Offset: offset, MaxWait: time.Second, MaxBytes: 1}, &f)
	if err != nil {
		return "", err
	}
	value := ""
	return value, f.Each(func(r *wire.Record) bool { value = string(r.Value); return false })
}

func TestLeaderMoves(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, cluster *kfake.Cluster, c *wire.Client) {
		move := func() {
			if err := cluster.MoveTopicPartition("t", 0, (cluster.LeaderFor("t", 0)+1)%3); err != nil {
				t.Fatal(err)
			}
		}
		if err := produce(t, c, "t", 0, "first"); err != nil {
			t.Fatal(err)
		}
		for n := range int64(6) {
			move()
			// The error itself brings the new layout, long before the metadata's TTL is over.
			if _, err := fetch(t, c, "t", 0, n); !errors.Is(err, kafka.NotLeaderForPartition) {
				t.Fatalf("Fetch after the leader has moved = %v; want %v", err, kafka.NotLeaderForPartition)
			}
			if got, err := fetch(t, c, "t", 0, 0); err != nil || got != "first" {
				t.Fatalf("Fetch, again = %q, %v; want first", got, err)
			}
			move()
			if err := produce(t, c, "t", 0, "more"); !errors.Is(err, kafka.NotLeaderForPartition) {
				t.Fatalf("Produce after the leader has moved = %v; want %v", err, kafka.NotLeaderForPartition)
			}
			if err := produce(t, c, "t", 0, "more"); err != nil {
				t.Fatalf("Produce, again = %v; want nil", err)
			}
		}
	})
}

// Refresh stands on kafka-go's habit of renewing its layout after a *createtopics.Response:
// without it, no metadata would be asked for before the TTL is over.
func TestRefreshRenewsTheLayout(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	c := client(t, cluster.ListenAddrs())
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	if err := produce(t, c, topic, 0, "first"); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	for n := range int32(3) {
		before := asked.Load()
		if c.Refresh(t.Context()); asked.Load() == before {
			t.Fatalf("Refresh, call %d, has asked for no metadata: does kafka-go's Transport renew its layout after a *createtopics.Response?", n+1)
		}
	}
}

func TestBrokerDies(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	c := client(t, cluster.ListenAddrs())
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	if err := produce(t, c, topic, 0, "first"); err != nil {
		t.Fatal(err)
	}
	if err := cluster.RemoveNode(cluster.LeaderFor(topic, 0)); err != nil {
		t.Fatal(err)
	}
	// The first attempt meets the dead broker, a later one the new leader. One may
	// be spent on a second pooled connection.
	for range 3 {
		got, err := fetch(t, c, topic, 0, 0)
		if err == nil && got == "first" {
			return
		}
		t.Logf("Fetch = %q, %v", got, err)
	}
	t.Error("Fetch does not find the new leader after the old one has died")
}

func TestTopicNewerThanTheLayout(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		old := kafkatest.Topic(t, brokers, 1, nil)
		if err := produce(t, c, old, 0, "x"); err != nil {
			t.Fatal(err)
		}
		topic := kafkatest.Topic(t, brokers, 2, nil) // by another client
		if err := produce(t, c, topic, 1, "y"); err != nil {
			t.Errorf("Produce to a topic made a moment ago = %v; want nil", err)
		}
		topic = kafkatest.Topic(t, brokers, 2, nil)
		if err := c.DeleteRecords(t.Context(), topic, 1, 0); err != nil {
			t.Errorf("DeleteRecords of a topic made a moment ago = %v; want nil", err)
		}
		absent := kafkatest.Name(t)
		if _, err := fetch(t, c, absent, 0, 0); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("Fetch of an absent topic = %v; want %v", err, kafka.UnknownTopicOrPartition)
		}
		if err := produce(t, c, absent, 0, "z"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("Produce to an absent topic = %v; want %v", err, kafka.UnknownTopicOrPartition)
		}
		// The others of a request are written nevertheless.
		parts := []wire.PartitionBatch{{Topic: topic, Partition: 7, Batch: batch(t, "a")}, {Topic: topic, Partition: 0, Batch: batch(t, "b")}}
		if err := c.Produce(t.Context(), "", time.Second, parts); err != nil || !errors.Is(parts[0].Err, kafka.UnknownTopicOrPartition) || parts[1].Err != nil {
			t.Errorf("Produce to partitions 7 and 0 of two = %v, parts %v, %v; want nil, %v, nil", err, parts[0].Err, parts[1].Err, kafka.UnknownTopicOrPartition)
		}
	})
}

func TestProduceRefusesTwoBatchesForOnePartition(t *testing.T) {
	c := client(t, []string{"127.0.0.1:1"})
	parts := []wire.PartitionBatch{{Topic: "t", Batch: batch(t, "a")}, {Topic: "t", Batch: batch(t, "b")}}
	if err := c.Produce(t.Context(), "", time.Second, parts); err == nil || !strings.Contains(err.Error(), "two batches") || parts[0].Err == nil {
		t.Errorf("Produce of two batches for a partition = %v, part %v; want an error about that", err, parts[0].Err)
	}
}

func TestFetchErrors(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		topic := kafkatest.Topic(t, brokers, 1, nil)
		if err := produce(t, c, topic, 0, "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(t, c, topic, 0, 4); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("Fetch behind the end = %v; want %v", err, kafka.OffsetOutOfRange)
		}
		if err := produce(t, c, topic, 0, "d"); err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteRecords(t.Context(), topic, 0, 3); err != nil {
			t.Fatalf("DeleteRecords(3) = %v; want nil", err)
		}
		if err := c.DeleteRecords(t.Context(), topic, 0, 3); err != nil {
			t.Errorf("DeleteRecords(3), again = %v; want nil", err)
		}
		if _, err := fetch(t, c, topic, 0, 2); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("Fetch of deleted records = %v; want %v", err, kafka.OffsetOutOfRange)
		}
		if got, err := fetch(t, c, topic, 0, 3); err != nil || got != "d" {
			t.Errorf("Fetch of what is left = %q, %v; want d", got, err)
		}
		if err := c.DeleteRecords(t.Context(), topic, 0, 99); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("DeleteRecords(99) = %v; want %v", err, kafka.OffsetOutOfRange)
		}
	})
}

// Another topic under the same name is refused when the id says so (KIP-516):
// its offsets would be taken for those of the one that is gone.
func TestFetchOfAnotherTopicByTheSameName(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		topic := kafkatest.Topic(t, brokers, 1, nil)
		if err := produce(t, c, topic, 0, "a"); err != nil {
			t.Fatal(err)
		}
		meta, err := c.Topics(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var f wire.Fetched
		id := meta[topic].ID
		if err := c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, TopicID: id}, &f); err != nil || f.Next != 1 {
			t.Errorf("Fetch by the topic's id = %v, next %d; want nil, 1", err, f.Next)
		}
		id[0] ^= 1
		err = c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, TopicID: id}, &f)
		if !errors.Is(err, kafka.UnknownTopicID) && !errors.Is(err, kafka.InconsistentTopicID) {
			t.Errorf("Fetch by another topic's id = %v; want %v or %v", err, kafka.UnknownTopicID, kafka.InconsistentTopicID)
		}
	})
}

func TestBootstrap(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	dead := []string{"127.0.0.1:1", "127.0.0.1:2"} // ports that no other test can get
	// With one of three alive, each attempt must get through in any order.
	for range 8 {
		c := client(t, append(cluster.ListenAddrs(), dead...))
		if _, err := c.Topics(t.Context(), topic); err != nil {
			t.Fatalf("Topics with two dead bootstrap addresses of three = %v; want nil", err)
		}
	}
	c := client(t, dead)
	var unanswered *wire.UnknownOutcomeError
	if _, err := fetch(t, c, topic, 0, 0); err == nil || errors.As(err, &unanswered) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Fetch without a living broker = %v; want the dialer's error, as of something not sent", err)
	}
	if err := produce(t, c, topic, 0, "x"); err == nil || errors.As(err, &unanswered) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Produce without a living broker = %v; want the dialer's error, as of something not sent", err)
	}
	if _, err := client(t, nil).Topics(t.Context()); err == nil {
		t.Error("Topics without a broker address = nil; want an error")
	}
}

func TestOldBroker(t *testing.T) {
	old := kfake.MaxVersions(kversion.V2_3_0())
	c := client(t, kafkatest.Fake(t, 1, old).ListenAddrs())
	_, err := c.Topics(t.Context())
	if !errors.Is(err, wire.ErrUnsupported) || !strings.Contains(err.Error(), "is too old: it speaks Metadata up to version 8, and version 10 is needed (Apache Kafka 2.8 or newer)") {
		t.Errorf("Topics of a broker of Kafka 2.3 = %v; want a sentence that names the release needed", err)
	}
}

func TestGroupMembership(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		ctx, c, group := kafkatest.Context(t), client(t, brokers), kafkatest.Group(t, brokers)
		if err := c.Heartbeat(ctx, group, 1, "nobody", ""); !isNobody(err) {
			t.Errorf("Heartbeat of nobody = %v; want %v", err, kafka.UnknownMemberId)
		}
		for _, instance := range []string{"", "static"} {
			generation, member := join(t, c, group, instance)
			if err := c.Heartbeat(ctx, group, generation, member, instance); err != nil {
				t.Errorf("Heartbeat of instance %q = %v; want nil", instance, err)
			}
			if err := c.Heartbeat(ctx, group, generation+7, member, instance); !errors.Is(err, kafka.IllegalGeneration) {
				t.Errorf("Heartbeat of another generation = %v; want %v", err, kafka.IllegalGeneration)
			}
			if instance != "" {
				if err := c.Heartbeat(ctx, group, generation, "another", instance); !errors.Is(err, kafka.FencedInstanceID) {
					t.Errorf("Heartbeat of another member of the instance = %v; want %v", err, kafka.FencedInstanceID)
				}
			}
			if err := c.LeaveGroup(ctx, group, member, instance); err != nil {
				t.Errorf("LeaveGroup of instance %q = %v; want nil", instance, err)
			}
			if err := c.Heartbeat(ctx, group, generation, member, instance); !errors.Is(err, kafka.UnknownMemberId) {
				t.Errorf("Heartbeat after LeaveGroup = %v; want %v", err, kafka.UnknownMemberId)
			}
			if err := c.LeaveGroup(ctx, group, member, instance); !errors.Is(err, kafka.UnknownMemberId) {
				t.Errorf("LeaveGroup, again = %v; want %v", err, kafka.UnknownMemberId)
			}
		}
	})
}

// isNobody says whether a coordinator does not know the member: the in-process one answers
// for the group when that does not exist either.
func isNobody(err error) bool {
	return errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.GroupIdNotFound)
}

// join makes the only member of a group through kafka-go.
func join(t testing.TB, c *wire.Client, group, instance string) (generation int32, member string) {
	t.Helper()
	for {
		req := &kafka.JoinGroupRequest{GroupID: group, GroupInstanceID: instance, MemberID: member, ProtocolType: "consumer",
			SessionTimeout: 30 * time.Second, RebalanceTimeout: 30 * time.Second,
			Protocols: []kafka.GroupProtocol{{Name: "p", Metadata: kafka.GroupProtocolSubscription{}}}}
		resp, err := c.Kafka().JoinGroup(kafkatest.Context(t), req)
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(resp.Error, kafka.MemberIDRequired) {
			member = resp.MemberID
			continue
		}
		if resp.Error != nil {
			t.Fatal(resp.Error)
		}
		_, err = c.Kafka().SyncGroup(kafkatest.Context(t), &kafka.SyncGroupRequest{GroupID: group, GroupInstanceID: instance,
			GenerationID: resp.GenerationID, MemberID: resp.MemberID, ProtocolType: "consumer", ProtocolName: "p",
			Assignments: []kafka.SyncGroupRequestAssignment{{MemberID: resp.MemberID}}})
		if err != nil {
			t.Fatal(err)
		}
		return int32(resp.GenerationID), resp.MemberID
	}
}

func TestCoordinatorMoves(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	c, group := client(t, cluster.ListenAddrs()), kafkatest.Name(t)
	asked := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Observe: true, Count: -1})
	beat := func() error { return c.Heartbeat(t.Context(), group, 1, "nobody", "") }
	for range 3 {
		if err := beat(); !isNobody(err) {
			t.Fatal(err)
		}
	}
	if asked.Hits() != 1 {
		t.Errorf("3 heartbeats asked for the coordinator %d times; want once", asked.Hits())
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, TopLevel: true, Err: kerr.NotCoordinator})
	if err := beat(); !errors.Is(err, kafka.NotCoordinatorForGroup) {
		t.Fatalf("Heartbeat to the old coordinator = %v; want %v", err, kafka.NotCoordinatorForGroup)
	}
	if err := beat(); !isNobody(err) || asked.Hits() != 2 {
		t.Errorf("Heartbeat, again = %v after asking %d times; want the answer of the new coordinator, 2", err, asked.Hits())
	}
	asked.Remove()
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: -1})
	other := client(t, cluster.ListenAddrs())
	if err := other.Heartbeat(t.Context(), group, 1, "nobody", ""); !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("Heartbeat to a group that is not ours = %v; want %v", err, kafka.GroupAuthorizationFailed)
	}
}

// TestProduceAnswersAndSilence has three leaders: one writes, one refuses, one
// closes the connection.
func TestProduceAnswersAndSilence(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 3, nil)
	parts := make([]wire.PartitionBatch, 3)
	for p := range int32(3) {
		if err := cluster.MoveTopicPartition(topic, p, p); err != nil {
			t.Fatal(err)
		}
		parts[p] = wire.PartitionBatch{Topic: topic, Partition: p, Batch: batch(t, "v")}
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Nodes: []int32{1}, Err: kerr.TopicAuthorizationFailed})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cluster.CurrentNode() != 2 {
			cluster.KeepControl()
			return nil, nil, false
		}
		return nil, errors.New("closed by the test"), true
	})
	c := client(t, cluster.ListenAddrs())
	err := c.Produce(t.Context(), "", time.Second, parts)
	var unanswered *wire.UnknownOutcomeError
	if !errors.As(err, &unanswered) || !errors.As(parts[2].Err, &unanswered) || parts[2].BaseOffset != -1 {
		t.Errorf("Produce to a leader that closes the connection = %v, part %v; want a NoAnswerError", err, parts[2].Err)
	}
	if parts[0].Err != nil || parts[0].BaseOffset != 0 {
		t.Errorf("Produce to a good leader = %v at %d; want nil at 0", parts[0].Err, parts[0].BaseOffset)
	}
	if !errors.Is(parts[1].Err, kafka.TopicAuthorizationFailed) {
		t.Errorf("Produce to a leader that refuses = %v; want %v", parts[1].Err, kafka.TopicAuthorizationFailed)
	}
}

// tap is a connection that tells of fetches written to it, and lets a test change the answers.
type tap struct {
	net.Conn
	fetched func()
	answer  func([]byte)
}

func (c tap) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if len(b) > 6 && int16(binary.BigEndian.Uint16(b[4:])) == int16(kmsg.Fetch) {
		c.fetched()
	}
	return n, err
}

func (c tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.answer(b[:n])
	return n, err
}

// TestCancelledRequest ends the context of requests in mid-air, which must free
// their buffers at once and leave no connection with an answer to come.
func TestCancelledRequest(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		fetches := make(chan struct{}, 1)
		c := wire.NewClient(brokers, func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return tap{conn, func() {
				select {
				case fetches <- struct{}{}:
				default: // the test has not looked for the one before
				}
			}, func([]byte) {}}, err
		}, nil, nil)
		defer c.Close()
		topic := kafkatest.Topic(t, brokers, 2, nil)
		for p := range int32(2) {
			if err := produce(t, c, topic, p, fmt.Sprint(p)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			select {
			case <-fetches: // of those before
			default:
			}
			var f wire.Fetched
			done := make(chan error, 1)
			go func() { // long poll: nothing comes behind the end
				done <- c.Fetch(ctx, wire.FetchRequest{Topic: topic, Offset: 1, MaxWait: time.Minute}, &f)
			}()
			sent := n > 15
			if sent {
				select {
				case <-fetches:
				case err := <-done:
					t.Fatalf("Fetch = %v before it is cancelled; want it to wait", err)
				}
			}
			time.AfterFunc(time.Duration(n)*time.Millisecond, cancel)
			var unanswered *wire.UnknownOutcomeError
			if err := <-done; !errors.Is(err, context.Canceled) || sent && !errors.As(err, &unanswered) {
				t.Fatalf("Fetch with a cancelled context = %v; want %v", err, context.Canceled)
			}
			for p := range int32(2) { // of the other partition last: an answer of the first must not be taken for it
				if got, err := fetch(t, c, topic, p, 0); err != nil || got != fmt.Sprint(p) {
					t.Fatalf("Fetch of partition %d after a cancelled one = %q, %v; want %d", p, got, err, p)
				}
			}
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, cluster *kfake.Cluster, c *wire.Client) {
		c.RequestTimeout = 50 * time.Millisecond
		if err := produce(t, c, "t", 0, "v"); err != nil {
			t.Fatal(err)
		}
		cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true }) // no answer
		var f wire.Fetched
		var unanswered *wire.UnknownOutcomeError
		err := c.Fetch(t.Context(), wire.FetchRequest{Topic: "t", MaxWait: time.Millisecond}, &f)
		if !errors.As(err, &unanswered) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Fetch from a silent broker = %v; want a NoAnswerError for %v", err, context.DeadlineExceeded)
		}
		if got, err := fetch(t, c, "t", 0, 0); err != nil || got != "v" {
			t.Errorf("Fetch, again = %q, %v; want v", got, err)
		}
	})
}

func TestAnswerToAnotherRequest(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	var once sync.Once
	c := wire.NewClient(cluster.ListenAddrs(), func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		asked := new(atomic.Bool)
		return tap{conn, func() { asked.Store(true) }, func(b []byte) {
			if asked.Load() && len(b) >= 8 {
				once.Do(func() { b[4] ^= 0x40 }) // in the correlation id
			}
		}}, err
	}, nil, nil)
	defer c.Close()
	if err := produce(t, c, topic, 0, "v"); err != nil {
		t.Fatal(err)
	}
	var unanswered *wire.UnknownOutcomeError
	if _, err := fetch(t, c, topic, 0, 0); !errors.As(err, &unanswered) || !strings.Contains(err.Error(), "instead of") {
		t.Errorf("Fetch whose answer carries another id = %v; want a NoAnswerError that says so", err)
	}
	if got, err := fetch(t, c, topic, 0, 0); err != nil || got != "v" {
		t.Errorf("Fetch, again = %q, %v; want v", got, err)
	}
}
