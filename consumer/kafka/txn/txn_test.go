package txn_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
)

func client(t testing.TB, brokers []string) *wire.Client {
	t.Helper()
	c := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(c.Close)
	return c
}

func producer(t testing.TB, brokers []string) *txn.Producer {
	t.Helper()
	return &txn.Producer{Client: client(t, brokers), ID: kafkatest.Name(t)}
}

func initialise(t testing.TB, p *txn.Producer) {
	t.Helper()
	if err := p.Init(kafkatest.Context(t)); err != nil {
		t.Fatalf("Init() = %v; want nil", err)
	}
}

func commit(t testing.TB, p *txn.Producer) txn.Committed {
	t.Helper()
	done, err := p.Commit(kafkatest.Context(t))
	if err != nil {
		t.Fatalf("Commit() = %v; want nil", err)
	}
	return done
}

// texts are the committed values of a topic, sorted by partition and offset; a
// large one by its checksum.
func texts(t testing.TB, brokers []string, topic string) (all []string) {
	t.Helper()
	for _, r := range kafkatest.ReadCommitted(t, brokers, topic) {
		text := string(r.Value)
		if len(text) > 100 {
			text = sum(r.Value)
		}
		all = append(all, fmt.Sprintf("%d/%d %s", r.Partition, r.Offset, text))
	}
	return all
}

func sum(b []byte) string { return fmt.Sprintf("%d bytes %x", len(b), crc32.ChecksumIEEE(b)) }

func wantTexts(t testing.TB, brokers []string, topic string, want ...string) {
	t.Helper()
	got := texts(t, brokers, topic)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("committed records of %s =\n%s\nwant\n%s", topic, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCommit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		a, b := kafkatest.Topic(t, brokers, 3, nil), kafkatest.Topic(t, brokers, 1, nil)
		p := producer(t, brokers)
		initialise(t, p)
		p.Add(txn.Partition{Topic: a, Number: 2}, 1, []byte("k"), []byte("one"), wire.Header{Key: "h", Value: []byte("v")})
		p.Add(txn.Partition{Topic: b}, 1, nil, []byte("two"))
		p.Add(txn.Partition{Topic: a, Number: 2}, 1, nil, nil)
		if records, bytes := p.Pending(); records != 3 || bytes < 2*61 {
			t.Errorf("Pending() = %d, %d; want 3 records in two batches", records, bytes)
		}
		done := commit(t, p)
		for _, c := range []struct {
			p    txn.Partition
			next int64
			ok   bool
		}{{txn.Partition{Topic: a, Number: 2}, 2, true}, {txn.Partition{Topic: b}, 1, true}, {txn.Partition{Topic: a}, 0, false}} {
			if next, ok := done.Next(c.p); next != c.next || ok != c.ok {
				t.Errorf("Next(%v) = %d, %t; want %d, %t", c.p, next, ok, c.next, c.ok)
			}
		}
		if records, bytes := p.Pending(); records != 0 || bytes != 0 {
			t.Errorf("Pending() after Commit = %d, %d; want 0, 0", records, bytes)
		}
		if _, err := p.Commit(t.Context()); err != nil {
			t.Errorf("Commit of nothing = %v; want nil", err)
		}
		p.Add(txn.Partition{Topic: b}, 1, nil, []byte("dropped"))
		p.Drop()
		p.Add(txn.Partition{Topic: b}, 1, nil, []byte("three"))
		done = commit(t, p)
		if next, ok := done.Next(txn.Partition{Topic: b}); next != 3 || !ok { // offset 1 is the first commit's marker
			t.Errorf("Next = %d, %t; want 3, true", next, ok)
		}
		if _, ok := done.Next(txn.Partition{Topic: a, Number: 2}); ok {
			t.Error("Next of a partition that only the former transaction used = true; want false")
		}
		wantTexts(t, brokers, a, "2/0 one", "2/1 ")
		wantTexts(t, brokers, b, "0/0 two", "0/2 three")
		if r := kafkatest.ReadCommitted(t, brokers, a)[0]; string(r.Key) != "k" || len(r.Headers) != 1 || r.Timestamp.UnixMilli() != 1 {
			t.Errorf("committed record %+v; want its key, header and time", r)
		}
	})
}

// TestCommitMany writes transactions back to back, in every codec, with several
// batches for a partition and session after session.
func TestCommitMany(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		const limit = 20_000
		topic := kafkatest.Topic(t, brokers, 2, map[string]string{"max.message.bytes": fmt.Sprint(limit)})
		p := producer(t, brokers)
		p.MaxBatch = map[string]int{topic: limit}
		var want [2][]string
		var next [2]int64
		for round := range 15 {
			if round%5 == 0 {
				initialise(t, p)
			}
			p.Codec = compress.Compression(round % 5)
			for i := range 40 {
				to := (round + i) % 2
				value := []byte(strings.Repeat(fmt.Sprintf("%x", crc32.ChecksumIEEE([]byte{byte(i), byte(round)})), 20+100*(i%3)))
				p.Add(txn.Partition{Topic: topic, Number: int32(to)}, 1, nil, value)
				want[to] = append(want[to], fmt.Sprintf("%d/%d %s", to, next[to], sum(value)))
				next[to]++
			}
			done := commit(t, p)
			for to := range want {
				if got, ok := done.Next(txn.Partition{Topic: topic, Number: int32(to)}); got != next[to] || !ok {
					t.Fatalf("round %d: Next(%d) = %d, %t; want %d", round, to, got, ok, next[to])
				}
				next[to]++ // the marker
			}
		}
		wantTexts(t, brokers, topic, append(want[0], want[1]...)...)
	})
}

func TestFencing(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		topic := kafkatest.Topic(t, brokers, 1, nil)
		to := txn.Partition{Topic: topic}
		old := producer(t, brokers)
		initialise(t, old)
		old.Add(to, 1, nil, []byte("old one"))
		commit(t, old)

		young := &txn.Producer{Client: client(t, brokers), ID: old.ID}
		initialise(t, young)
		old.Add(to, 1, nil, []byte("zombie"))
		if _, err := old.Commit(t.Context()); !errors.Is(err, txn.ErrFenced) {
			t.Fatalf("Commit of a fenced producer = %v; want %v", err, txn.ErrFenced)
		}
		if records, _ := old.Pending(); records != 0 {
			t.Errorf("Pending() after a failed Commit = %d records; want 0", records)
		}
		old.Add(to, 1, nil, []byte("zombie again"))
		if _, err := old.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "Init must come first") {
			t.Errorf("Commit without Init after one that failed = %v; want a refusal", err)
		}
		young.Add(to, 1, nil, []byte("young"))
		commit(t, young)

		initialise(t, old) // and back
		old.Add(to, 1, nil, []byte("old two"))
		commit(t, old)
		young.Add(to, 1, nil, []byte("zombie"))
		if _, err := young.Commit(t.Context()); !errors.Is(err, txn.ErrFenced) {
			t.Errorf("Commit of a producer that was fenced in its turn = %v; want %v", err, txn.ErrFenced)
		}
		wantTexts(t, brokers, topic, "0/0 old one", "0/2 young", "0/4 old two")
	})
}

// TestInitAborts leaves a transaction of franz-go open under our transactional id.
func TestInitAborts(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		topic := kafkatest.Topic(t, brokers, 1, nil)
		p := producer(t, brokers)
		dead := kafkatest.Client(t, brokers, kgo.TransactionalID(p.ID), kgo.DefaultProduceTopic(topic))
		if err := dead.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := dead.ProduceSync(t.Context(), kgo.StringRecord("left open")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		initialise(t, p)
		p.Add(txn.Partition{Topic: topic}, 1, nil, []byte("after"))
		done := commit(t, p)
		if next, _ := done.Next(txn.Partition{Topic: topic}); next != 3 {
			t.Errorf("Next = %d; want 3: behind the open record, its abort marker and ours", next)
		}
		wantTexts(t, brokers, topic, "0/2 after")
	})
}

func TestCommitNeedsInit(t *testing.T) {
	p := &txn.Producer{Client: client(t, []string{"127.0.0.1:1"}), ID: "x"}
	p.Add(txn.Partition{Topic: "t"}, 1, nil, nil)
	if _, err := p.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "Init must come first") {
		t.Errorf("Commit without Init = %v; want a refusal", err)
	}
}

func TestTooLarge(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		topic := kafkatest.Topic(t, brokers, 1, map[string]string{"max.message.bytes": "5000"})
		to := txn.Partition{Topic: topic}
		var rejected *txn.RejectedError
		p := producer(t, brokers)
		p.MaxBatch = map[string]int{topic: 5000}
		initialise(t, p)
		p.Add(to, 1, nil, []byte("small"))
		p.Add(to, 1, nil, make([]byte, 5000)) // would compress to nothing, but Size counts
		_, err := p.Commit(t.Context())
		if !errors.As(err, &rejected) || rejected.Code != kafka.MessageSizeTooLarge || rejected.Partition != to {
			t.Errorf("Commit with a record above max.message.bytes = %v; want a RejectedError", err)
		}

		p = &txn.Producer{Client: p.Client, ID: p.ID} // without MaxBatch, so that the broker finds out
		initialise(t, p)
		p.Add(to, 1, nil, []byte("small"))
		p.Add(to, 1, nil, make([]byte, 5000))
		_, err = p.Commit(t.Context())
		if !errors.As(err, &rejected) || rejected.Code != kafka.MessageSizeTooLarge || rejected.Partition != to || !errors.Is(err, kafka.MessageSizeTooLarge) {
			t.Errorf("Commit of a batch that the broker finds too large = %v; want a RejectedError", err)
		}
		initialise(t, p)
		p.Add(to, 1, nil, []byte("at last"))
		commit(t, p)
		got := texts(t, brokers, topic)
		if len(got) != 1 || !strings.HasSuffix(got[0], " at last") {
			t.Errorf("committed records = %q; want only the last transaction's", got)
		}
	})
}

func TestUnknownTopic(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		p := producer(t, brokers)
		initialise(t, p)
		p.Add(txn.Partition{Topic: kafkatest.Name(t)}, 1, nil, []byte("v"))
		_, err := p.Commit(t.Context())
		if !errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, txn.ErrUnknown) {
			t.Errorf("Commit to an absent topic = %v; want %v", err, kafka.UnknownTopicOrPartition)
		}
	})
}

func TestTransactionTimeout(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		p := producer(t, brokers)
		p.Timeout = time.Hour // above transaction.max.timeout.ms, 15 minutes
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := p.Init(ctx); !errors.Is(err, kafka.InvalidTransactionTimeout) {
			t.Errorf("Init with a time-out of an hour = %v; want %v at once", err, kafka.InvalidTransactionTimeout)
		}
	})
}
