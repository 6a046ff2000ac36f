package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

func TestOffsetForLeaderEpoch(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		topic := kafkatest.Topic(t, brokers, 2, nil)
		if err := produce(t, c, topic, 1, "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
		if end, err := c.OffsetForLeaderEpoch(t.Context(), topic, 1, 0); err != nil || end != (wire.EpochEnd{Epoch: 0, End: 3}) {
			t.Errorf("OffsetForLeaderEpoch(0) = %+v, %v; want epoch 0 to end at 3", end, err)
		}
		if end, err := c.OffsetForLeaderEpoch(t.Context(), topic, 1, 1_000); err != nil || end != (wire.EpochEnd{Epoch: -1, End: -1}) {
			t.Errorf("OffsetForLeaderEpoch(1000) = %+v, %v; want an epoch that the leader does not know", end, err)
		}
		absent := kafkatest.Name(t)
		if _, err := c.OffsetForLeaderEpoch(t.Context(), absent, 0, 0); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("OffsetForLeaderEpoch of an absent topic = %v; want %v", err, kafka.UnknownTopicOrPartition)
		}
		var f wire.Fetched
		if err := c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, Partition: 1, MaxWait: time.Second}, &f); err != nil || f.Next != 3 || f.LastEpoch != 0 {
			t.Errorf("Fetch = %v, next %d, last epoch %d; want 3, 0", err, f.Next, f.LastEpoch)
		}
	})
}

// A broker that keeps no epochs of the past says nothing of a loss; one that has never heard
// of the epoch is behind, and another leader has to be asked.
func TestKnownEpochEnd(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	c := client(t, cluster.ListenAddrs())
	topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
	if err := produce(t, c, topic, 0, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if end, ok, err := c.KnownEpochEnd(t.Context(), topic, 0, 2, 0); err != nil || !ok || end != (wire.EpochEnd{Epoch: 0, End: 2}) {
		t.Errorf("KnownEpochEnd(0) = %+v, %t, %v; want epoch 0 to end at 2", end, ok, err)
	}
	if _, ok, err := c.KnownEpochEnd(t.Context(), topic, 0, 2, 7); ok || err == nil || !strings.Contains(err.Error(), "knows no leader epoch 7") {
		t.Errorf("KnownEpochEnd(7) = %t, %v; want an error that names the epoch", ok, err)
	}
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		of, p := kmsg.NewOffsetForLeaderEpochResponseTopic(), kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		of.Topic, p.LeaderEpoch, p.EndOffset = topic, -1, -1
		of.Partitions = append(of.Partitions, p)
		resp.Topics = append(resp.Topics, of)
		return resp, nil, true
	})
	if end, ok, err := c.KnownEpochEnd(t.Context(), topic, 0, 2, 0); ok || err != nil {
		t.Errorf("KnownEpochEnd(0) of a broker that keeps no epochs = %+v, %t, %v; want nothing, without an error", end, ok, err)
	}
}

func TestOffsetForLeaderEpochAfterMoves(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, cluster *kfake.Cluster, c *wire.Client) {
		for n := range 3 {
			for try := 0; ; try++ {
				err := produce(t, c, "t", 0, "a", "b")
				if err == nil {
					break
				}
				if !errors.Is(err, kafka.NotLeaderForPartition) || try == 3 {
					t.Fatal(err)
				}
			}
			if err := cluster.MoveTopicPartition("t", 0, (cluster.LeaderFor("t", 0)+1)%3); err != nil {
				t.Fatalf("move %d: %v", n, err)
			}
		}
		// The layout that the client has leads to the old leader: the refusal renews it.
		if _, err := c.OffsetForLeaderEpoch(t.Context(), "t", 0, 0); !errors.Is(err, kafka.NotLeaderForPartition) {
			t.Errorf("OffsetForLeaderEpoch at the old leader = %v; want %v", err, kafka.NotLeaderForPartition)
		}
		for epoch, want := range []int64{2, 4} {
			if end, err := c.OffsetForLeaderEpoch(t.Context(), "t", 0, int32(epoch)); err != nil || end != (wire.EpochEnd{Epoch: int32(epoch), End: want}) {
				t.Errorf("OffsetForLeaderEpoch(%d) = %+v, %v; want end %d", epoch, end, err, want)
			}
		}
		var epochs string
		var f wire.Fetched
		for f.Next < 6 {
			req := wire.FetchRequest{Topic: "t", Offset: f.Next, Verify: true, LastEpoch: -1, MaxWait: time.Second}
			if err := c.Fetch(t.Context(), req, &f); err != nil {
				t.Fatal(err)
			}
			if err := f.Each(func(r *wire.Record) bool { epochs += fmt.Sprint(r.Epoch); return true }); err != nil {
				t.Fatal(err)
			}
		}
		if epochs != "001122" {
			t.Errorf("leader epochs of the records: %s; want 001122", epochs)
		}
	})
}

// Apache Kafka checks a consumer's last epoch as it does a follower's; the in-process
// broker does not. A log of one epoch that ends before the offset asked for looks like
// one that was cut back.
func TestFetchVerifiesTheLastEpoch(t *testing.T) {
	brokers := kafkatest.Real()
	if brokers == nil {
		t.Skip("needs Apache Kafka: set " + kafkatest.Env)
	}
	c := client(t, brokers)
	topic := kafkatest.Topic(t, brokers, 1, nil)
	if err := produce(t, c, topic, 0, "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	meta, err := c.Topics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range [][16]byte{{}, meta[topic].ID} {
		fetch := func(offset int64, epoch int32) (*wire.Fetched, error) {
			f := new(wire.Fetched)
			return f, c.Fetch(t.Context(), wire.FetchRequest{Topic: topic, TopicID: id, Offset: offset, Verify: true, LastEpoch: epoch, MaxWait: time.Second}, f)
		}
		if f, err := fetch(2, 0); err != nil || f.Next != 3 || f.LastEpoch != 0 {
			t.Errorf("Fetch(2) behind epoch 0 = %v, next %d; want 3", err, f.Next)
		}
		f, err := fetch(5, 0)
		got, ok := errors.AsType[*wire.DivergedError](err)
		if want := (wire.DivergedError{Topic: topic, Offset: 5, Epoch: 0, End: wire.EpochEnd{Epoch: 0, End: 3}}); !ok || *got != want || f.Next != 5 {
			t.Errorf("Fetch(5) behind epoch 0 = %v; want %+v", err, want)
		}
		// The leader cannot have written the records before the offset.
		if _, err := fetch(2, 1_000); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("Fetch(2) behind epoch 1000 = %v; want %v", err, kafka.OffsetOutOfRange)
		}
		if _, err := fetch(5, -1); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("Fetch(5) behind an unknown epoch = %v; want %v", err, kafka.OffsetOutOfRange)
		}
	}
}
