// Package changelog takes a shard: it fences the former owner, claims the
// shard's changelog partition, and brings the local copy of the state up to the
// claim (PROTOCOL D1, D9, D10).
//
// Its one guarantee: when Take returns without an error, the local state holds
// every transaction that any earlier owner has committed, and no earlier owner
// can commit another.
//
// Types: [Changelog] is the partition of one shard; [Identity] is the configuration
// that an app's members must agree on.
package changelog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// claimFormat is the version byte of a claim record.
const claimFormat = 1

const (
	fetchWait  = 500 * time.Millisecond
	sharedWait = 20 * time.Millisecond // while other shards wait for their turn
	fetchBytes = 4 << 20
)

// Changelog is the changelog partition of one shard, and the local copy of it.
type Changelog struct {
	Client    *wire.Client
	Topic     string
	TopicID   [16]byte
	Partition int32
	Shard     *state.Shard
	Producer  *txn.Producer
	Owner     string // name of the claiming instance, for people reading the changelog
	Accept    Accept // Loss: a log that was cut back
	Log       zerolog.Logger

	// TombstoneLife is the topic's delete.retention.ms. A local copy, or a
	// restore, older than half of it may have missed tombstones (PROTOCOL D9).
	TombstoneLife time.Duration
	// StableWithin bounds how long a restore waits for the end of another producer's
	// transaction that holds the last stable offset back.
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

// discardStale wipes a local copy that cannot be continued, and says so in the log. A copy
// that a newer build has written is left to that build.
func (c *Changelog) discardStale(ctx context.Context, claim int64) error {
	why, err := c.stale(ctx, claim)
	if err != nil || why == "" {
		return err
	}
	if at := c.Shard.Position().Changelog; at > 0 {
		c.Log.Warn().Str("topic", c.Topic).Int32("partition", c.Partition).Int64("position", at).Str("why", why).Str("event", "copy_discarded").Msg("the local copy of the state is deleted and restored from the changelog")
	}
	return c.Shard.Wipe()
}

// stale returns why the local copy cannot be continued; "": it can.
func (c *Changelog) stale(ctx context.Context, claim int64) (why string, err error) {
	const old = "it is older than half of delete.retention.ms, and may have missed that keys were deleted"
	since, restoring := c.Shard.Restoring()
	if c.Shard.Position().Changelog == 0 { // nothing is there
		if restoring && c.expired(since) {
			return old, nil
		}
		return "", nil
	}
	id, err := readIdentity(c.Shard)
	if stop, ok := errors.AsType[*fatal.Error](err); ok && stop.Newer {
		return "", err
	}
	if err != nil {
		return "it cannot say whose it is: " + err.Error(), nil
	}
	if id != nil && id.State.ID != c.TopicID {
		return "it is of another topic: the changelog was deleted and made again, or restored from a backup", nil
	}
	if why, err := c.cutBack(ctx, claim, id != nil); err != nil || why != "" {
		return why, err
	}
	at, ok := c.Shard.CaughtUpAt()
	if restoring && c.expired(since) || !restoring && (!ok || c.expired(at)) {
		return old, nil
	}
	return "", nil
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
	// In this order: a crash between the two leaves a complete copy with both marks
	// rather than with neither.
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
			turn = math.MaxInt64 // stuck behind an open transaction: shards with records to read go first
		} else {
			heard = c.Now()
			c.Progress(got, claim)
		}
		shared.advance(c.Partition, claim+1-got, got-next)
		next = got
	}
	return nil
}

// round fetches and loads the next records, and returns the last stable offset and the
// next one to fetch.
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

// outOfRange tells a copy from before a deletion of records (wiped, restored
// anew) from a changelog without its beginning (nothing can be rebuilt).
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
	return fatal.Errorf("the beginning of changelog %s partition %d has been deleted, so the state cannot be rebuilt: the topic must have cleanup.policy=compact and must never be given to kafka-delete-records; start a new app_id, or restore the topic from a backup", c.Topic, c.Partition)
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

// unreadable is the *fatal.Error of a record that this build cannot read; nil: err has
// another cause.
func unreadable(topic string, partition int32, err error) error {
	switch {
	case errors.Is(err, state.ErrFormat):
		return fatal.ByNewer("changelog %s partition %d holds records of a newer format: %v; upgrade this instance (readers are deployed before writers)", topic, partition, err)
	case errors.Is(err, state.ErrDamaged):
		return fatal.Errorf("changelog %s partition %d holds a record that nobody of this app has written: %v; find out who else writes to this topic, then start a new app_id or restore the topic from a backup", topic, partition, err)
	}
	return nil
}
