package changelog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// newNoise returns bytes that do not compress, the same ones each time.
func newNoise() io.Reader { return rand.NewChaCha8([32]byte{1}) }

func TestTakeEmpty(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		o := b.owner("a")
		var claims []int64
		o.log.Progress = func(next, claim int64) {
			claims = append(claims, claim)
			if next <= claim && len(claims) > 1 {
				t.Errorf("Progress(%d, %d) as call %d; want the end", next, claim, len(claims))
			}
		}
		o.take()
		o.want("n", 0)
		if len(claims) == 0 || claims[0] != 0 {
			t.Errorf("Progress was told of the claims %v; want that at offset 0", claims)
		}
		if at := o.shard.Position(); at.Changelog < 1 || at.Work != -1 {
			t.Errorf("Position() = %+v; want the changelog offset behind the claim and no work offset", at)
		}
		records := kafkatest.ReadCommitted(t, brokers, b.topic)
		if len(records) != 1 || string(records[0].Key) != string(state.ClaimKey) || string(records[0].Value) != "\x01a" {
			t.Errorf("the changelog holds %v; want one claim, signed a", records)
		}
	})
}

// The leader moves while a shard is owned, and the next transaction goes to the new one:
// the copy is in a leader epoch that no broker told the owner. Unless the owner asks for
// it, the end of the epoch before would look like that of a log that was cut back.
func TestTakeAfterTheLeaderMoved(t *testing.T) {
	cluster := kafkatest.Fake(t, 3)
	b := newBench(t, cluster.ListenAddrs(), nil)
	warm := b.owner("warm")
	warm.take()
	b.unreadable() // below the position of the next write: only an owner that has wiped its copy reads it
	warm.write("n")
	for moved := range int32(2) {
		if err := cluster.MoveTopicPartition(b.topic, 0, (cluster.LeaderFor(b.topic, 0)+1)%3); err != nil {
			t.Fatal(err)
		}
		b.client.Refresh(t.Context())
		warm.write("n")
		if err := warm.log.LearnEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if at := warm.shard.Position(); at.Epoch != moved+1 {
			t.Errorf("Position().Epoch = %d after %d moves of the leader; want %d", at.Epoch, moved+1, moved+1)
		}
	}
	warm.take()
	warm.want("n", 3)
}

// A local copy is continued, not read anew; without one the changelog is read
// from its start; both give the same state.
func TestTakeReadsWhatIsMissing(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		warm := b.owner("warm")
		warm.take()
		b.unreadable() // below the position of the next write
		warm.write("n", "n")
		warm.take()
		warm.want("n", 2)

		b.owner("cold").wantStop("upgrade") // it reads everything
		warm.take()
		warm.write("m")
		if _, err := warm.add("n"); err != nil { // committed, and lost before it was applied
			t.Fatal(err)
		}
		warm.take()
		warm.want("n", 3)
		warm.want("m", 1)
		if at := warm.shard.Position().Work; at != 2 {
			t.Errorf("Position().Work = %d after 3 transactions; want 2", at)
		}
	})
}

func TestTakeAfterWipe(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		for range 20 {
			a.write("n", "m")
		}
		a.reset("m")
		before := a.shard.Position()
		if err := a.shard.Wipe(); err != nil {
			t.Fatalf("Wipe() = %v; want nil", err)
		}
		a.want("n", 0)
		a.take()
		a.want("n", 20)
		a.want("m", 0)
		if at := a.shard.Position(); at.Work != before.Work || at.Changelog <= before.Changelog {
			t.Errorf("Position() = %+v; want work offset %d and a changelog offset above %d", at, before.Work, before.Changelog)
		}
	})
}

// The owner before this one was in the middle of a transaction: Take aborts the
// transaction, and that owner can neither commit nor extend it. PROTOCOL D1, D5.
func TestTakeFromZombie(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		a.write("n")
		end := b.leaveOpen(b.id, "n")
		n := b.owner("n")
		n.take()
		n.want("n", 1)
		if err := end(true); err == nil && slices.Equal(brokers, kafkatest.Real()) { // kfake says yes, and does nothing
			t.Error("EndTransaction(commit) of the zombie = nil; want an error")
		}
		n.write("n")
		fresh := b.owner("fresh")
		fresh.take()
		fresh.want("n", 2)
		if _, err := n.add("n"); !errors.Is(err, txn.ErrFenced) {
			t.Errorf("Commit() of the owner before = %v; want %v", err, txn.ErrFenced)
		}
	})
}

// Aborted records are in the log and must not reach a restored state; nor does a control
// record as the last one keep a restore waiting. FAILURES 8.
func TestTakeSkipsAborted(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		for range 3 {
			a.write("n")
			if err := b.leaveOpen(kafkatest.Name(t), "n", "ghost")(false); err != nil {
				t.Fatalf("EndTransaction(abort) = %v; want nil", err)
			}
		}
		cold := b.owner("cold")
		cold.take()
		for _, o := range []*owner{cold, a} {
			if o == a {
				o.take()
			}
			o.want("n", 3)
			o.want("ghost", 0)
		}
	})
}

// An open transaction of another producer holds the last stable offset back. Take waits as
// long as StableWithin, then names the tool that finds the transaction; once that has ended,
// Take succeeds.
func TestTakeWaitsForStableOffset(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		end := b.leaveOpen(kafkatest.Name(t), "ghost")
		a.write("n")
		cold := b.owner("cold")
		began := b.now
		cold.log.Now = func() time.Time { // a minute is over soon
			b.now = b.now.Add(10 * time.Second)
			return b.now
		}
		cold.wantRetry(b.topic, "partition 0", "kafka-transactions.sh find-hanging", "stable offset stays")
		if waited := b.now.Sub(began); waited < cold.log.StableWithin {
			t.Errorf("Take() gave up after %s; want it to wait %s", waited, cold.log.StableWithin)
		}
		if _, restoring := cold.shard.Restoring(); !restoring {
			t.Error("Restoring() = false after a Take that failed; want the copy marked")
		}
		if err := end(false); err != nil {
			t.Fatalf("EndTransaction(abort) = %v; want nil", err)
		}
		cold.log.Now = func() time.Time { return b.now }
		cold.take()
		cold.want("n", 1)
		cold.want("ghost", 0)
	})
}

// The local position lies beyond the end of the changelog: the topic was deleted
// and made again. FAILURES 9.
func TestTakePositionBeyondEnd(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		for range 5 {
			a.write("old")
		}
		b.use(kafkatest.Topic(t, brokers, 1, nil))
		a.log.Topic, a.log.TopicID = b.topic, b.topicID
		a.take()
		a.want("old", 0)
		if at := a.shard.Position().Work; at != -1 {
			t.Errorf("Position().Work = %d of a copy that was wiped; want -1", at)
		}
	})
}

// The changelog is another topic although the local position lies within it: the
// copy says of which topic it is one. PROTOCOL D10.
func TestTakeOtherTopic(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		a := b.owner("a")
		a.take()
		a.identify()
		a.write("old")
		b.use(kafkatest.Topic(t, brokers, 1, nil))
		n := b.owner("n")
		n.take()
		for range 9 {
			n.write("new")
		}
		a.log.Topic, a.log.TopicID = b.topic, b.topicID
		a.take()
		a.want("old", 0)
		a.want("new", 9)
	})
}

// identify commits an identity that names the bench's topic.
func (o *owner) identify() {
	o.Helper()
	id := changelog.Identity{App: "app", Shards: 1, State: changelog.Topic{Name: o.topic, ID: o.topicID}}
	tx := o.shard.Begin()
	id.Put(tx)
	apply, err := o.commit(tx)
	if err != nil {
		o.Fatal(err)
	}
	apply()
}

// A copy may be as old as half of delete.retention.ms and no older: the tombstones of keys
// deleted since may be compacted away. PROTOCOL D9, FAILURES 21.
func TestTakeOldCopy(t *testing.T) {
	for name, c := range map[string]struct {
		age  time.Duration
		full bool
	}{
		"fresh":     {0, false},
		"just":      {week/2 - 1, false},
		"half":      {week / 2, true},
		"years":     {1000 * 24 * time.Hour, true},
		"from 2038": {-365 * 24 * time.Hour, true}, // a clock was wrong: the mark says nothing about the age (PROTOCOL D13)
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
			a := b.owner("a")
			a.take()
			b.unreadable()
			a.write("n")
			b.now = b.now.Add(c.age)
			if c.full {
				a.wantStop("upgrade") // it has come upon the record that only a full restore reads
				a.want("n", 0)
				return
			}
			a.take()
			a.want("n", 1)
		})
	}
}

// The deleted key does come back if an old copy is continued: this is the reason for the
// bound on a copy's age.
func TestTakeOldCopyForgetsDeletedKeys(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
	old, n := b.owner("old"), b.owner("n")
	old.take()
	old.write("deleted", "kept")
	n.take()
	n.reset("deleted")
	// Compaction has removed the value and, a week later, the tombstone: all that
	// is left is in a log that begins behind them. kfake does not compact, so the
	// topic is one that never had them.
	b.use(kafkatest.Topic(t, b.brokers, 1, nil))
	n2 := b.owner("n2")
	n2.take()
	for range 9 {
		n2.write("kept")
	}
	old.log.Topic, old.log.TopicID = b.topic, b.topicID
	b.now = b.now.Add(week)
	old.take()
	old.want("deleted", 0)
	old.want("kept", 9)
}

// A restore that takes half of delete.retention.ms starts over instead of going on.
func TestTakeSlowRestore(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), bigMessages)
	a := b.owner("a")
	a.take()
	a.write("n")
	a.fill(9)
	cold := b.owner("cold")
	loads := 0
	cold.log.Progress = func(int64, int64) {
		loads++
		b.now = b.now.Add(week / 2)
	}
	cold.wantRetry("half of delete.retention.ms", "empty copy")
	if loads != 1 {
		t.Errorf("%d loads before Take gave up; want 1", loads)
	}
	cold.want("n", 0)
	if _, restoring := cold.shard.Restoring(); restoring {
		t.Error("Restoring() = true of an empty copy; want false, or the next restore is as old")
	}
	cold.log.Progress = func(int64, int64) {}
	cold.take()
	cold.want("n", 1)
}

var bigMessages = map[string]string{"max.message.bytes": "8388608"}

// A restore that was interrupted leaves a marked copy, with the position that it
// has come to, and goes on there. FAILURES 3, 4.
func TestTakeInterrupted(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, bigMessages)
		a := b.owner("a")
		a.take()
		a.write("n")
		a.fill(9)
		a.write("n")

		cold := b.owner("cold")
		ctx, cancel := context.WithCancel(kafkatest.Context(t))
		defer cancel()
		cold.log.Progress = func(int64, int64) { cancel() }
		if err := cold.log.Take(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Take() = %v when its context ends; want %v", err, context.Canceled)
		}
		since, restoring := cold.shard.Restoring()
		if !restoring || !since.Equal(start) {
			t.Errorf("Restoring() = %v, %t of a half-restored copy; want %v, true", since, restoring, start)
		}
		got := cold.shard.Position().Changelog
		if end := a.shard.Position().Changelog; got <= 0 || got >= end {
			t.Errorf("Position().Changelog = %d in the midst of a restore to %d; want something between", got, end)
		}

		b.now = b.now.Add(time.Hour)
		var first int64
		cold.log.Progress = func(next, _ int64) {
			if first == 0 {
				first = next
			}
			if since, restoring := cold.shard.Restoring(); !restoring || !since.Equal(start) {
				t.Errorf("Restoring() = %v, %t in the second half; want %v still: the copy is as old as its first half", since, restoring, start)
			}
		}
		cold.take()
		if first <= got {
			t.Errorf("the second Take began with a load up to %d; want it to go on behind %d", first, got)
		}
		cold.want("n", 2)
	})
}

// An interrupted copy that has grown too old in the meantime is thrown away.
func TestTakeInterruptedLongAgo(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
	b.unreadable()
	b.put(state.ClaimKey, []byte("claim"))
	cold := b.owner("cold")
	if err := cold.shard.BeginRestore(b.now); err != nil {
		t.Fatal(err)
	}
	if err := cold.shard.Load(1, 0, func(func([]byte, []byte) bool) error { return nil }); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(week/2 - 1)
	cold.take() // goes on behind the record that a full restore would read

	again := b.owner("again")
	if err := again.shard.BeginRestore(b.now); err != nil {
		t.Fatal(err)
	}
	if err := again.shard.Load(1, 0, func(func([]byte, []byte) bool) error { return nil }); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(week / 2)
	again.wantStop("upgrade")
}

// A restore that ended before its first load has left a mark and nothing else.
// However old that is, it is no reason to fail.
func TestTakeOldMarkOfNothing(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
	a := b.owner("a")
	if err := a.shard.BeginRestore(b.now); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(week)
	a.take()
}

// A record of a newer build is never stepped over: readers are deployed before
// writers. PROTOCOL D10.
func TestTakeUnknownFormat(t *testing.T) {
	for name, rec := range map[string][2][]byte{
		"version of a value": {[]byte("h\x01r\x01k\x01n"), {99, 1, 2}},
		"kind of a key":      {[]byte("?something new"), {1}},
		"empty value":        {[]byte("h\x01r\x01k\x01n"), {}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
			a := b.owner("a")
			a.take()
			a.write("n")
			at := a.shard.Position()
			b.put(rec[0], rec[1])
			for range 2 { // nor is it the second time
				if name == "empty value" {
					a.wantStop(b.topic, "partition 0", "who else writes")
				} else {
					a.wantStop(b.topic, "partition 0", "newer format", "upgrade")
				}
			}
			if got := a.shard.Position(); got.Changelog != at.Changelog {
				t.Errorf("Position().Changelog = %d in front of a record that cannot be read; want %d", got.Changelog, at.Changelog)
			}
		})
	}
}

// The beginning of the changelog is deleted, so that no copy can be rebuilt. A copy with a
// position below the new start is wiped; one at or behind the start is continued.
func TestTakeTrimmed(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		old, a := b.owner("old"), b.owner("a")
		old.take()
		old.write("n")
		a.take()
		a.write("n")
		a.write("n")
		if err := b.client.DeleteRecords(t.Context(), b.topic, 0, a.shard.Position().Changelog); err != nil {
			t.Fatalf("DeleteRecords() = %v; want nil", err)
		}
		a.take()
		a.want("n", 3)
		old.wantRetry(b.topic, "empty copy")
		old.wantStop(b.topic, "has been deleted", "cleanup.policy=compact")
	})
}

// Nothing is taken of a batch with a right checksum and malformed records, and the next take
// does not go on behind that batch. FAILURES 3.
func TestTakeMalformedRecord(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil) // Kafka itself would refuse it
	a := b.owner("a")
	a.take()
	a.write("n")
	at := a.shard.Position().Changelog

	var batch wire.Batch
	batch.Append(1, []byte("i1"), []byte{1})
	batch.Append(1, []byte("i2"), []byte{1})
	encoded, err := batch.Encode(nil, wire.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	encoded[len(encoded)-3] = 0x7e // the length of the last record's value, one byte before it and the number of headers
	binary.BigEndian.PutUint32(encoded[17:], crc32.Checksum(encoded[21:], crc32.MakeTable(crc32.Castagnoli)))
	parts := []wire.PartitionBatch{{Topic: b.topic, Batch: encoded}}
	if err := errors.Join(b.client.Produce(t.Context(), "", time.Second, parts), parts[0].Err); err != nil {
		t.Fatalf("Produce() = %v; want nil", err)
	}
	for range 3 {
		var corrupt *wire.CorruptError
		if err := a.failTake(b.topic); !errors.As(err, &corrupt) {
			t.Errorf("Take() = %v; want a CorruptError", err)
		}
		if got := a.shard.Position().Changelog; got > parts[0].BaseOffset {
			t.Fatalf("Position().Changelog = %d; want at most %d, the offset of the batch that cannot be read (it was %d before)", got, parts[0].BaseOffset, at)
		}
		if b, err := a.shard.Meta("1"); b != nil || err != nil {
			t.Errorf("Meta(1) = %x, %v; want nothing of the bad batch", b, err)
		}
	}
}

// A changelog as the cleaner leaves it: holes, batches without records, no
// tombstones any more. Only a real broker makes one.
func TestTakeCompacted(t *testing.T) {
	brokers := kafkatest.Real()
	if brokers == nil {
		t.Skip("needs a real Kafka: set " + kafkatest.Env)
	}
	b := newBench(t, brokers, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "100", "max.compaction.lag.ms": "100",
	})
	a := b.owner("a")
	a.take()
	for range 30 {
		a.write("n", "deleted")
	}
	a.reset("deleted")
	written := a.shard.Position().Changelog
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(500 * time.Millisecond); ; {
		a.write("n") // rolls the segment, so that those before it are cleaned
		if left := b.count(ctx, written); left < 10 {
			t.Logf("%d of %d offsets are left", left, written)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Skipf("the cleaner has not come by within 2 minutes (%d of %d offsets are left)", b.count(t.Context(), written), written)
		}
	}
	want := a.shard.Position().Work + 1
	cold := b.owner("cold")
	cold.take()
	cold.want("n", want)
	cold.want("deleted", 0)
	a.take()
	a.want("n", want)
	a.want("deleted", 0)
}

// count returns how many records there are below an offset.
func (b *bench) count(ctx context.Context, below int64) (n int) {
	b.Helper()
	var f wire.Fetched
	for at := int64(0); at < below; at = f.Next {
		err := b.client.Fetch(ctx, wire.FetchRequest{Topic: b.topic, Offset: at, MaxWait: time.Second}, &f)
		if err == nil {
			err = f.Each(func(r *wire.Record) bool {
				if r.Offset < below {
					n++
				}
				return true
			})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return n
}
