package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
)

// A transactional producer has a transaction open nearly always: Kafka Connect, MirrorMaker
// and Flink do. Its open records cannot be read, and so are no backlog: a partition with a
// newest event hours old must not hold the others back until the commit.
func TestOpenTransactionIsNoBacklog(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 1)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in := r.start("a", disk(), func(s *consumer.Service) { s.MaxDrift = time.Hour })
	at := func(partition int32, id string, when time.Time) *kgo.Record {
		return &kgo.Record{Partition: partition, Value: attempt{id: id, who: "arn:" + id, ip: "192.0.2.1", at: when}.json()}
	}
	r.send(at(1, "quiet", now.Add(-3*time.Hour)))
	r.drain()
	open := kafkatest.Client(t, r.brokers, kgo.TransactionalID(kafkatest.Name(t)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	held := at(1, "held", now)
	held.Topic = r.app.Inputs[0]
	if err := open.ProduceSync(t.Context(), held).FirstErr(); err != nil {
		t.Fatal(err)
	}
	// A partition has a backlog once records were left behind its fetches for two seconds.
	for i, end := 0, time.Now().Add(5*time.Second); time.Now().Before(end); i++ {
		r.send(at(0, fmt.Sprint(i), now))
		r.await("the live partition to be read", func() bool {
			inputs := in.service.Status().Inputs
			if len(inputs) == 0 { // the membership has lapsed, as on a slow machine it may
				return false
			}
			live := inputs[0]
			if live.Waiting != "" {
				t.Fatalf("while a transaction is open in the other partition, %s", live.Waiting)
			}
			return live.Next > int64(i)
		})
	}
	// Nor does the transaction keep the partition from its idle mark: a hanging one would hold
	// the horizon back, and the state would grow, until it is ended.
	r.await("the partition with the open transaction to be at its end", func() bool {
		inputs := in.service.Status().Inputs
		return len(inputs) == 2 && inputs[1].Idle
	})
	if err := open.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	r.drain()
}
