// Package changelog takes a shard: it fences the former owner, claims the
// shard's changelog partition, and brings the local copy of the state up to the
// claim (PROTOCOL D1, D9, D10).
//
// Its one guarantee: when Take returns without an error, the local state holds
// every transaction that any earlier owner has committed, and no earlier owner
// can commit another.
//
// Types: [Changelog] is the partition of one shard; [Identity] is what an app's
// members must agree on.
package changelog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/txn"
	"trailhound/consumer/wire"
	"trailhound/state"
)

// claimFormat is the version byte of a claim record.
const claimFormat = 1

const (
	fetchWait  = 500 * time.Millisecond
	sharedWait = 20 * time.Millisecond // while other shards wait for their turn
	fetchBytes = 4 << 20
)

// StopError is a finding that no repetition mends: the instance must stop and
// say why, rather than go on with state that is not the truth.
type StopError struct {
	Sentence string
	Newer    bool // a newer build has written what was found: another instance may well go on
}

func (e *StopError) Error() string { return e.Sentence }

func stop(format string, args ...any) error {
	return &StopError{Sentence: fmt.Sprintf(format, args...)}
}

func stopNewer(format string, args ...any) error {
	return &StopError{Sentence: fmt.Sprintf(format, args...), Newer: true}
}

// Changelog is the changelog partition of one shard, and the local copy of it.
type Changelog struct {
	Client    *wire.Client
	Topic     string
	TopicID   [16]byte
	Partition int32
	Shard     *state.Shard
	Producer  *txn.Producer
	Owner     string // who claims, for people who read the changelog

	// TombstoneLife is the topic's delete.retention.ms. A local copy, or a
	// restore, older than half of it may have missed tombstones (PROTOCOL D9).
	TombstoneLife time.Duration
	// StableWithin bounds how long a restore waits for the end of a transaction
	// of somebody else that holds the stable offset back.
	StableWithin time.Duration
	// Progress is told the next offset and the claim's, after each load.
	Progress func(next, claim int64)
	// Restores is shared by the shards of an instance. nil: this one restores on
	// its own.
	Restores *Restores
	Now      func() time.Time
}

// Take fences the shard's former owner, commits a claim and restores up to it.
// InitProducerID alone would not do: it fences writers, not reads, so that a
// stale leader could still show an old end of the log (PROTOCOL D1).
func (c *Changelog) Take(ctx context.Context) error {
	if err := c.Producer.Init(ctx); err != nil {
		return err
	}
	claim, err := c.claim(ctx)
	if err != nil {
		return fmt.Errorf("claim %s partition %d: %w", c.Topic, c.Partition, err)
	}
	if err := c.discardStale(ctx, claim); err != nil {
		return err
	}
	return c.restore(ctx, claim)
}

// claim commits one record under the reserved key and returns its offset.
func (c *Changelog) claim(ctx context.Context) (int64, error) {
	to := txn.Partition{Topic: c.Topic, Number: c.Partition}
	value := append([]byte{claimFormat}, c.Owner...)
	c.Producer.Add(to, c.Now().UnixMilli(), state.ClaimKey, value)
	done, err := c.Producer.Commit(ctx)
	if err != nil {
		return 0, err
	}
	next, ok := done.Next(to)
	if !ok {
		return 0, fmt.Errorf("the broker acknowledged the transaction without an offset")
	}
	return next - 1, nil
}

// discardStale wipes a local copy that cannot be continued: one of another
// topic, one that is ahead of the log, one that may have missed tombstones, one of
// records that the log has lost. A copy that a newer build has written is left to that
// build.
func (c *Changelog) discardStale(ctx context.Context, claim int64) error {
	stale, err := c.stale(claim)
	if err == nil && !stale {
		stale, err = c.cutBack(ctx)
	}
	if err != nil || !stale {
		return err
	}
	return c.Shard.Wipe()
}

// cutBack reports that the log does not hold the record before the local copy's position
// any more: it was cut back since, and others may have been written in its place, up to
// the position and beyond. An offset alone does not tell that (PROTOCOL R8, KIP-320).
func (c *Changelog) cutBack(ctx context.Context) (bool, error) {
	at := c.Shard.Position()
	if at.Changelog == 0 || at.Epoch < 0 {
		return false, nil
	}
	end, err := c.Client.OffsetForLeaderEpoch(ctx, c.Topic, c.Partition, at.Epoch)
	if err != nil {
		return false, err
	}
	return !end.Holds(at.Epoch, at.Changelog), nil
}

func (c *Changelog) stale(claim int64) (bool, error) {
	since, restoring := c.Shard.Restoring()
	if restoring && c.expired(since) {
		return true, nil
	}
	switch at := c.Shard.Position().Changelog; {
	case at == 0:
		return false, nil // nothing is there
	case at > claim:
		return true, nil // the topic was deleted and made again
	}
	id, err := readIdentity(c.Shard)
	if stop, ok := errors.AsType[*StopError](err); ok && stop.Newer {
		return false, err
	}
	if err != nil {
		return true, nil // the copy cannot even say whose it is
	}
	if id != nil && id.State.ID != c.TopicID {
		return true, nil
	}
	at, ok := c.Shard.CaughtUpAt()
	return !restoring && (!ok || c.expired(at)), nil
}

// expired says whether tombstones written since t may already be compacted away. A
// mark in the future says nothing about how old the copy is: the clock that wrote it,
// or the one of now, is wrong (PROTOCOL D13).
func (c *Changelog) expired(t time.Time) bool {
	age := c.Now().Sub(t)
	return c.TombstoneLife > 0 && (age < 0 || age >= c.TombstoneLife/2)
}

// restore loads committed records until the next offset to fetch lies beyond
// the claim. Neither a high watermark nor an empty fetch ends it: both can be
// told by a stale leader (PROTOCOL D1).
func (c *Changelog) restore(ctx context.Context, claim int64) error {
	since := c.Now()
	if at, ok := c.Shard.CaughtUpAt(); ok && c.Shard.Position().Changelog > 0 {
		since = at // an interrupted restore must not outlive tombstones that its copy has not seen
	}
	if err := c.Shard.BeginRestore(since); err != nil {
		return err
	}
	if err := c.follow(ctx, claim); err != nil {
		return err
	}
	// In this order: between the two the copy is complete, and marked so twice
	// rather than not at all.
	if err := c.Shard.MarkCaughtUp(c.Now()); err != nil {
		return err
	}
	return c.Shard.EndRestore()
}

// follow loads rounds of records until the claim lies behind.
func (c *Changelog) follow(ctx context.Context, claim int64) error {
	shared := c.Restores
	if shared == nil {
		shared = new(Restores)
	}
	defer shared.end(c.Partition)
	heard := c.Now()
	next := c.Shard.Position().Changelog
	shared.advance(c.Partition, claim+1-next, 0)
	for turn := claim - next; next <= claim; {
		stable, got, err := c.round(ctx, shared, turn)
		if err != nil {
			return err
		}
		turn = claim - got
		if got == next {
			if c.Now().Sub(heard) > c.StableWithin {
				return c.stuck(next, claim, stable)
			}
			turn = math.MaxInt64 // it waits for somebody: first come those who need not
		} else {
			heard = c.Now()
			c.Progress(got, claim)
		}
		shared.advance(c.Partition, claim+1-got, got-next)
		next = got
	}
	return nil
}

// round fetches and loads what comes next, and returns the offset behind it and
// the last stable one.
func (c *Changelog) round(ctx context.Context, shared *Restores, turn int64) (stable, next int64, err error) {
	if since, ok := c.Shard.Restoring(); ok && c.expired(since) {
		if err := c.Shard.Wipe(); err != nil {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("restore of %s partition %d took longer than half of delete.retention.ms; it starts again from an empty copy", c.Topic, c.Partition)
	}
	f, err := shared.buffer(ctx, turn)
	if err != nil {
		return 0, 0, err
	}
	defer shared.give(f)
	at, wait := c.Shard.Position().Changelog, fetchWait
	if shared.busy() {
		wait = sharedWait
	}
	if err := c.fetch(ctx, at, wait, f); err != nil {
		return 0, 0, err
	}
	if f.Next == at {
		return f.LastStable, at, nil
	}
	return f.LastStable, f.Next, c.load(f)
}

// stuck says why a restore does not come to its end.
func (c *Changelog) stuck(next, claim, stable int64) error {
	if stable > claim {
		return fmt.Errorf("restore of %s partition %d waits for the records from offset %d on, but its leader sends none of them for %s", c.Topic, c.Partition, next, c.StableWithin)
	}
	return fmt.Errorf("restore of %s partition %d waits for offset %d, but its last stable offset stays at %d: a transaction was left open; find it with kafka-transactions.sh find-hanging and abort it", c.Topic, c.Partition, claim, stable)
}

func (c *Changelog) fetch(ctx context.Context, at int64, wait time.Duration, f *wire.Fetched) error {
	err := c.Client.Fetch(ctx, wire.FetchRequest{
		Topic: c.Topic, TopicID: c.TopicID, Partition: c.Partition, Offset: at, ReadCommitted: true,
		MaxWait: wait, MinBytes: 1, MaxBytes: fetchBytes,
	}, f)
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return c.outOfRange(ctx, at, err)
	}
	if err != nil {
		return fmt.Errorf("restore %s partition %d at offset %d: %w", c.Topic, c.Partition, at, err)
	}
	return nil
}

// LearnEpoch reads back in which leader epoch the record before the position of the
// local copy was written: its owner is not told when it writes. A copy that was written
// in a newer epoch than it knows of is taken for one of a log that was cut back, and
// made again, so an owner asks every few seconds. Without an answer, what is known stays.
func (c *Changelog) LearnEpoch(ctx context.Context) error {
	next := c.Shard.Position().Changelog
	if next == 0 {
		return nil
	}
	var f wire.Fetched
	err := c.Client.Fetch(ctx, wire.FetchRequest{
		Topic: c.Topic, TopicID: c.TopicID, Partition: c.Partition, Offset: next - 1,
		MinBytes: 1, MaxBytes: 1,
	}, &f)
	if err != nil || f.Next != next {
		return nil
	}
	return c.Shard.MarkEpoch(f.LastEpoch)
}

// outOfRange tells a copy from before a deletion of records (wiped, restored
// anew) from a changelog whose beginning is gone (nothing can be rebuilt).
func (c *Changelog) outOfRange(ctx context.Context, at int64, cause error) error {
	if at > 0 {
		if err := c.Shard.Wipe(); err != nil {
			return err
		}
		return fmt.Errorf("restore %s partition %d at offset %d: %w; it starts again from an empty copy", c.Topic, c.Partition, at, cause)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return stop("the beginning of changelog %s partition %d has been deleted, so the state cannot be rebuilt: the topic must have cleanup.policy=compact and must never be given to kafka-delete-records; start a new app_id, or restore the topic from a backup", c.Topic, c.Partition)
}

// load puts one fetch into the local copy.
func (c *Changelog) load(f *wire.Fetched) error {
	err := c.Shard.Load(f.Next, f.LastEpoch, func(yield func([]byte, []byte) bool) error {
		return f.Each(func(r *wire.Record) bool { return yield(r.Key, r.Value) })
	})
	if stop := unreadable(c.Topic, c.Partition, err); stop != nil {
		return stop
	}
	if err != nil {
		return fmt.Errorf("restore %s partition %d: %w", c.Topic, c.Partition, err)
	}
	return nil
}

// unreadable is the StopError of a record that this build cannot read; nil: err is none of
// that.
func unreadable(topic string, partition int32, err error) error {
	switch {
	case errors.Is(err, state.ErrFormat):
		return stopNewer("changelog %s partition %d holds records of a newer format: %v; upgrade this instance (readers are deployed before writers)", topic, partition, err)
	case errors.Is(err, state.ErrDamaged):
		return stop("changelog %s partition %d holds a record that nobody of this app has written: %v; find out who else writes to this topic, then start a new app_id or restore the topic from a backup", topic, partition, err)
	}
	return nil
}
