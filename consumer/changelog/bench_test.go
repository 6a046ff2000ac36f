package changelog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// week is delete.retention.ms as the topics are created; half of it is the
// oldest that a copy may be.
const week = 7 * 24 * time.Hour

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is one changelog partition on a cluster, with a clock of its own.
type bench struct {
	testing.TB
	brokers []string
	client  *wire.Client
	topic   string
	topicID [16]byte
	id      string // transactional
	now     time.Time
}

func newBench(t testing.TB, brokers []string, configs map[string]string) *bench {
	t.Helper()
	b := &bench{TB: t, brokers: brokers, client: wire.NewClient(brokers, nil, nil, nil), now: start}
	t.Cleanup(b.client.Close)
	b.id = kafkatest.Name(t)
	b.use(kafkatest.Topic(t, brokers, 1, configs))
	return b
}

// use makes the bench work on another topic from now on.
func (b *bench) use(name string) {
	b.Helper()
	infos, err := topic.Describe(kafkatest.Context(b), b.client, name)
	if err != nil {
		b.Fatal(err)
	}
	b.topic, b.topicID = name, infos[name].ID
}

// owner is one instance that may take the shard.
type owner struct {
	*bench
	store *state.Store
	shard *state.Shard
	log   changelog.Changelog
}

func (b *bench) owner(name string) *owner {
	b.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Errorf("Close() = %v; want nil", err)
		}
	})
	shard, err := store.Shard(0)
	if err != nil {
		b.Fatal(err)
	}
	o := &owner{bench: b, store: store, shard: shard}
	o.log = changelog.Changelog{
		Client: b.client, Topic: b.topic, TopicID: b.topicID, Shard: shard, Owner: name,
		Producer:      &txn.Producer{Client: b.client, ID: b.id, Codec: compress.Lz4, MaxBatch: map[string]int{b.topic: 8 << 20}},
		TombstoneLife: week, StableWithin: time.Minute,
		Progress: func(int64, int64) {},
		Now:      func() time.Time { return b.now },
	}
	return o
}

func (o *owner) take() {
	o.Helper()
	if err := o.log.Take(kafkatest.Context(o)); err != nil {
		o.Fatalf("%s: Take() = %v; want nil", o.log.Owner, err)
	}
	if since, restoring := o.shard.Restoring(); restoring {
		o.Errorf("%s: Restoring() = %v, true after Take; want false", o.log.Owner, since)
	}
	if at, ok := o.shard.CaughtUpAt(); !ok || !at.Equal(o.now) {
		o.Errorf("%s: CaughtUpAt() = %v, %t after Take; want %v, true", o.log.Owner, at, ok, o.now)
	}
}

// failTake expects Take to fail with a sentence that has all of words, and
// returns the error.
func (o *owner) failTake(words ...string) error {
	o.Helper()
	err := o.log.Take(kafkatest.Context(o))
	if err == nil {
		o.Fatalf("%s: Take() = nil; want an error with %q", o.log.Owner, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			o.Errorf("%s: Take() = %q; want a sentence with %q", o.log.Owner, err, w)
		}
	}
	return err
}

// wantRetry expects Take to fail with an error that the next Take may not give.
func (o *owner) wantRetry(words ...string) {
	o.Helper()
	var stop *fatal.Error
	if err := o.failTake(words...); errors.As(err, &stop) {
		o.Errorf("%s: Take() = %q, a *fatal.Error; want another error", o.log.Owner, err)
	}
}

// wantStop expects Take to fail with an error that no repetition mends.
func (o *owner) wantStop(words ...string) {
	o.Helper()
	var stop *fatal.Error
	if err := o.failTake(words...); !errors.As(err, &stop) {
		o.Errorf("%s: Take() = %q; want a *fatal.Error", o.log.Owner, err)
	}
}

// refs counts the events that were made: a counter counts each id once.
var refs atomic.Int64

// ref is an event to count.
func ref() state.Ref {
	n := refs.Add(1)
	return state.Ref{ID: fmt.Sprint("event-", n), Time: start, Source: state.Source{Topic: "t", Offset: n}}
}

// add commits one more count under each name, as the detector does, and returns the function
// that applies the counts to the local copy.
func (o *owner) add(names ...string) (apply func(), err error) {
	tx := o.shard.Begin()
	for _, name := range names {
		s := tx.Scope("rule", "key", ref())
		s.IncrementCounter(name)
		s.Commit()
	}
	tx.SetWorkOffset(tx.WorkOffset()+1, 0)
	return o.commit(tx)
}

func (o *owner) commit(tx *state.Tx) (apply func(), err error) {
	o.Helper()
	to := txn.Partition{Topic: o.topic}
	for c := range tx.Changes() {
		o.log.Producer.Add(to, o.now.UnixMilli(), c.Key, c.Value)
	}
	done, err := o.log.Producer.Commit(kafkatest.Context(o))
	if err != nil {
		tx.Discard()
		return nil, err
	}
	next, ok := done.Next(to)
	if !ok {
		o.Fatal("Commit() gave no offset for the changelog")
	}
	return func() {
		if err := tx.Apply(next); err != nil {
			o.Fatalf("Apply(%d) = %v; want nil", next, err)
		}
	}, nil
}

// write commits and applies.
func (o *owner) write(names ...string) {
	o.Helper()
	apply, err := o.add(names...)
	if err != nil {
		o.Fatalf("%s: Commit() = %v; want nil", o.log.Owner, err)
	}
	apply()
}

// reset commits and applies the removal of a counter: a tombstone.
func (o *owner) reset(name string) {
	o.Helper()
	tx := o.shard.Begin()
	s := tx.Scope("rule", "key", ref())
	s.ResetCounter(name)
	s.Commit()
	apply, err := o.commit(tx)
	if err != nil {
		o.Fatalf("%s: Commit() = %v; want nil", o.log.Owner, err)
	}
	apply()
}

// fill commits n records of a MiB that do not compress, a transaction each, so
// that a restore takes several fetches.
func (o *owner) fill(n int) {
	o.Helper()
	rng := newNoise()
	for i := range n {
		tx := o.shard.Begin()
		value := make([]byte, 1<<20)
		if _, err := rng.Read(value); err != nil {
			o.Fatal(err)
		}
		tx.PutMeta(string(rune('a'+i)), value)
		apply, err := o.commit(tx)
		if err != nil {
			o.Fatalf("%s: Commit() = %v; want nil", o.log.Owner, err)
		}
		apply()
	}
}

// want compares a counter in the local copy.
func (o *owner) want(name string, n int64) {
	o.Helper()
	tx := o.shard.Begin()
	defer tx.Discard()
	if got := tx.Scope("rule", "key", ref()).GetCounter(name); got != n {
		o.Errorf("%s: GetCounter(%q) = %d; want %d", o.log.Owner, name, got, n)
	}
}

// put writes a record outside of any transaction, as no owner does.
func (b *bench) put(key, value []byte) {
	b.Helper()
	cl := kafkatest.Client(b, b.brokers, kgo.DefaultProduceTopic(b.topic))
	if err := cl.ProduceSync(kafkatest.Context(b), &kgo.Record{Key: key, Value: value}).FirstErr(); err != nil {
		b.Fatal(err)
	}
}

// unreadable writes a record that a restore stops at: it tells the owners that read it from
// those that do not.
func (b *bench) unreadable() { b.Helper(); b.put([]byte("h\x00\x00\x00"), []byte{99}) }

// leaveOpen begins a transaction of another client, writes changes of its own in it, and
// returns the function that ends it.
func (b *bench) leaveOpen(id string, names ...string) (end func(commit bool) error) {
	b.Helper()
	cl := kafkatest.Client(b, b.brokers, kgo.TransactionalID(id), kgo.DefaultProduceTopic(b.topic), kgo.TransactionTimeout(time.Minute))
	if err := cl.BeginTransaction(); err != nil {
		b.Fatal(err)
	}
	other := b.owner("scratch")
	tx := other.shard.Begin()
	defer tx.Discard()
	for _, name := range names {
		s := tx.Scope("rule", "key", ref())
		s.IncrementCounterBy(name, 1000)
		s.Commit()
	}
	for c := range tx.Changes() {
		rec := &kgo.Record{Key: append([]byte{}, c.Key...), Value: append([]byte{}, c.Value...)}
		if err := cl.ProduceSync(kafkatest.Context(b), rec).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}
	return func(commit bool) error {
		ctx, cancel := context.WithTimeout(kafkatest.Context(b), 20*time.Second)
		defer cancel()
		return cl.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	}
}
