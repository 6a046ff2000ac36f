package txn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
)

// class is the kind of an error of Commit, as callers tell them apart.
func class(err error) string {
	var rejected *txn.RejectedError
	var code kafka.Error
	switch {
	case err == nil:
		return "committed"
	case errors.Is(err, txn.ErrFenced):
		return "fenced"
	case errors.Is(err, txn.ErrUnknown):
		return "unknown"
	case errors.As(err, &rejected):
		return "rejected"
	case errors.As(err, &code):
		return "refused"
	}
	return "none"
}

// TestEveryCode injects each error code of Kafka into each step of a transaction.
func TestEveryCode(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	brokers := cluster.ListenAddrs()
	topic := kafkatest.Topic(t, brokers, 1, nil)
	p := producer(t, brokers)

	fenced := map[*kerr.Error]bool{kerr.InvalidProducerEpoch: true, kerr.ProducerFenced: true, kerr.InvalidProducerIDMapping: true}
	rejected := map[*kerr.Error]bool{kerr.MessageTooLarge: true, kerr.RecordListTooLarge: true, kerr.InvalidTimestamp: true, kerr.InvalidRecord: true}
	open := map[*kerr.Error]bool{kerr.UnknownServerError: true, kerr.RequestTimedOut: true, kerr.NetworkException: true, kerr.NotEnoughReplicasAfterAppend: true}
	hidden := map[*kerr.Error]bool{kerr.CoordinatorLoadInProgress: true, kerr.CoordinatorNotAvailable: true, kerr.NotCoordinator: true, kerr.KafkaStorageError: true}

	for _, step := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn} {
		for code := int16(-1); code <= 120; code++ {
			var injected *kerr.Error
			if err := kerr.ErrorForCode(code); !errors.As(err, &injected) || injected == kerr.ConcurrentTransactions || injected.Code != code {
				continue
			}
			want := "refused"
			switch {
			case fenced[injected]:
				want = "fenced"
			case rejected[injected] && step == kmsg.Produce:
				want = "rejected"
			case open[injected], hidden[injected] && step == kmsg.EndTxn:
				want = "unknown"
			}
			initialise(t, p)
			fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{step}, TopLevel: step == kmsg.EndTxn, Err: injected})
			p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("never"))
			_, err := p.Commit(t.Context())
			if got := class(err); got != want || fault.Hits() != 1 {
				t.Errorf("Commit with %v at %v = %v (%s) after %d faults; want %s", injected, step, err, got, fault.Hits(), want)
			}
			fault.Remove()
		}
	}
	initialise(t, p)
	p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("at last"))
	commit(t, p)
	for _, text := range texts(t, brokers, topic) {
		if strings.HasSuffix(text, "never") {
			t.Fatalf("a record of a transaction that failed is committed: %s", text)
		}
	}
}

func TestConcurrentTransactionsIsAskedAgain(t *testing.T) {
	for _, step := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.EndTxn, kmsg.InitProducerID} {
		cluster := kafkatest.Fake(t, 1)
		topic := kafkatest.Topic(t, cluster.ListenAddrs(), 1, nil)
		p := producer(t, cluster.ListenAddrs())
		top := step != kmsg.AddPartitionsToTxn
		fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{step}, TopLevel: top, Err: kerr.ConcurrentTransactions, Count: 5})
		initialise(t, p)
		p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("v"))
		commit(t, p)
		if fault.Hits() != 5 {
			t.Errorf("%v met %d faults; want 5", step, fault.Hits())
		}
		wantTexts(t, cluster.ListenAddrs(), topic, "0/0 v")
	}
}

func TestInitWaitsForItsCoordinator(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	p := producer(t, cluster.ListenAddrs())
	for _, passing := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator} {
		for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.FindCoordinator} {
			p.Client = client(t, cluster.ListenAddrs()) // that does not know the coordinator yet
			fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, TopLevel: true, Err: passing, Count: 2})
			if err := p.Init(kafkatest.Context(t)); err != nil || fault.Hits() != 2 {
				t.Errorf("Init with %v twice at %v = %v after %d faults; want nil", passing, key, err, fault.Hits())
			}
		}
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.TransactionalIDAuthorizationFailed, Count: -1})
	if err := p.Init(t.Context()); !errors.Is(err, kafka.TransactionalIDAuthorizationFailed) || class(err) != "refused" {
		t.Errorf("Init without authorisation = %v; want %v at once", err, kafka.TransactionalIDAuthorizationFailed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Init(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Init with a context that has ended = %v; want %v", err, context.Canceled)
	}
}

// scissors cuts connections at a request of one kind.
type scissors struct {
	armed  atomic.Bool
	key    int16
	behind bool // cut when the broker has answered, else before the request gets there
	cuts   atomic.Int32
}

func (s *scissors) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: c, by: s}, nil
}

type cutConn struct {
	net.Conn
	by  *scissors
	cut bool
}

var errCut = errors.New("cut by the test")

func (c *cutConn) Write(b []byte) (int, error) {
	if len(b) > 6 && int16(binary.BigEndian.Uint16(b[4:])) == c.by.key && c.by.armed.CompareAndSwap(true, false) {
		c.by.cuts.Add(1)
		if !c.by.behind {
			return 0, errCut
		}
		c.cut = true
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b) // the answer: the broker has done it
	if c.cut {
		return 0, errors.Join(errCut, err)
	}
	return n, err
}

// TestCutConnections loses each request of a transaction, and each answer.
func TestCutConnections(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn} {
			for _, behind := range []bool{false, true} {
				name := fmt.Sprintf("%v, answered %t", key, behind)
				topic := kafkatest.Topic(t, brokers, 1, nil)
				s := &scissors{key: int16(key), behind: behind}
				c := wire.NewClient(brokers, s.dial, nil, nil)
				p := &txn.Producer{Client: c, ID: kafkatest.Name(t)}
				initialise(t, p)
				p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("first"))
				commit(t, p)

				s.armed.Store(true)
				p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("cut"))
				_, err := p.Commit(kafkatest.Context(t))
				var unanswered *wire.NoAnswerError
				if !errors.Is(err, txn.ErrUnknown) || !errors.As(err, &unanswered) || s.cuts.Load() != 1 {
					t.Errorf("%s: Commit = %v after %d cuts; want %v", name, err, s.cuts.Load(), txn.ErrUnknown)
				}
				if _, err := p.Commit(t.Context()); err == nil {
					t.Errorf("%s: Commit, again, without Init = nil; want an error", name)
				}
				initialise(t, p)
				p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("last"))
				commit(t, p)
				c.Close()

				// Only a lost answer to EndTxn hides that the transaction is committed.
				var got []string
				for _, text := range texts(t, brokers, topic) {
					got = append(got, text[strings.Index(text, " ")+1:])
				}
				want := "first last"
				if key == kmsg.EndTxn && behind {
					want = "first cut last"
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s: committed %q; want %q", name, got, want)
				}
			}
		}
	})
}

// TestRequestsOfATransaction counts the requests that go over the wire.
func TestRequestsOfATransaction(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	brokers := cluster.ListenAddrs()
	topic := kafkatest.Topic(t, brokers, 6, nil)
	for n := range int32(6) {
		if err := cluster.MoveTopicPartition(topic, n, n%3); err != nil {
			t.Fatal(err)
		}
	}
	p := producer(t, brokers)
	initialise(t, p)
	counts := make(map[kmsg.Key]*kfake.FaultHandle)
	for _, key := range []kmsg.Key{kmsg.FindCoordinator, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn} {
		counts[key] = cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Observe: true, Count: -1})
	}
	for range 10 {
		for n := range int32(6) {
			p.Add(txn.Partition{Topic: topic, Number: n}, 1, nil, []byte("v"))
		}
		commit(t, p)
	}
	for key, want := range map[kmsg.Key]int{kmsg.FindCoordinator: 0, kmsg.AddPartitionsToTxn: 10, kmsg.Produce: 30, kmsg.EndTxn: 10} {
		if got := counts[key].Hits(); got != want {
			t.Errorf("10 transactions over 6 partitions of 3 leaders took %d %v requests; want %d", got, key, want)
		}
	}
}
