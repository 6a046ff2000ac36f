// Package seed gives an app a state that was built from history, before the app
// runs for the first time or while it stands still.
//
// A [Seeder] has two steps: Begin refuses an app that cannot be seeded, before a long
// history is played; Finish writes the resulting state into the changelog.
//
// Its one guarantee: an instance of the service finds either the state as it was
// before or all of the new one, whenever the seed ends, and never a part.
//
// The steps of Finish, and the state of the app if it ends after each of them:
//
//  1. Each shard is taken as an instance takes it (changelog.Take): the former owner
//     is fenced and can commit nothing any more. The state is as before.
//  2. Each shard gets a mark, in a transaction of the shard's own id, so that this
//     fails if an instance has taken the shard since. An instance that finds a mark
//     stops with a sentence and has written nothing but its claim (changelog.Agree).
//     The state is as before, but no instance goes on with it; a seed may start again.
//     Then each shard is taken once more: another seed, which step 1 does not fence, may
//     have written up to now. It has lost the id of step 3 before the first mark.
//  3. The difference between the old records of the shard and the new ones is
//     written, in as many transactions as it takes. They are those of one more
//     transactional id, <app>.seed, which no instance fences: an instance that takes
//     a marked shard does no harm, and does not end the seed. Another seed does: it
//     begins with a session of that id. The shards' positions (work offsets,
//     sources, identity) are not touched, so that a seed that starts again finds them.
//  4. One transaction over all shards writes their positions, and takes the marks
//     away: the new state is there, in all shards at once.
//  5. After a range of the inputs, the group's offsets are set to its end. Before
//     that, the records of the range are read once more and none is evaluated: they
//     are not newer than the sources of step 4.
//
// None of this fences routers, as nothing ever does: the router of an instance that is
// neither running nor quite dead could still write to the work topic. Replacing a state
// therefore requires that all instances have ended.
package seed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/changelog"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/state"
)

// Seeder seeds one app. Its fields are set before Begin and not changed after; the
// topics of App must exist (see package topic).
type Seeder struct {
	Client *wire.Client
	App    topic.App
	Owner  string // name in claims and marks, for people reading the changelog

	// Replace allows that the app has a state already.
	Replace bool
	// Ranges are those of the history, if that was read from all partitions of the app's
	// own inputs: the app goes on exactly behind them. nil: the history is from elsewhere,
	// and the app reads its inputs from its committed offsets, or as a new app would.
	Ranges []replay.Range
	// StartLatest lets a new app read its inputs from their ends, as for the service. It
	// counts only without Ranges.
	StartLatest bool
	// Fingerprint is that of the engine that played the history.
	Fingerprint []byte

	Scratch            *state.Store // for copies of the shards; empty
	Codec              compress.Compression
	TransactionTimeout time.Duration
	RequestTimeout     time.Duration

	topics   map[string]topic.Info
	identity changelog.Identity
	shards   []*shard // nil: they have not been taken
}

// shard is one shard that was taken.
type shard struct {
	number  int
	old     *state.Shard // as the changelog has it
	log     changelog.Changelog
	seeding bool // an earlier seed has not come to its end
}

// Written counts the records that a seed has written.
type Written struct {
	Records, Removed int64 // records of the changelog: values that are new or others, and those that are gone
	Bytes            int64
}

// stableWithin is as for the service: how long a restore waits for an open transaction
// beyond the time after which the broker itself must have ended it.
const stableWithin = 30 * time.Second

// Begin refuses an app that runs, or that has a state unless that may be replaced. It
// leaves no trace in an app that is new.
func (s *Seeder) Begin(ctx context.Context) (err error) {
	if s.topics, err = s.App.Find(ctx, s.Client); err != nil {
		return err
	}
	s.identity = changelog.Identify(&s.App, s.topics)
	if err := s.standsStill(ctx); err != nil {
		return err
	}
	fresh, err := s.fresh(ctx)
	if err != nil || fresh {
		return err
	}
	return s.take(ctx)
}

// standsStill refuses an app of which an instance is in the consumer group.
func (s *Seeder) standsStill(ctx context.Context) error {
	n, err := s.member().Members(ctx)
	if err == nil && n > 0 {
		err = fmt.Errorf("app %s runs: its consumer group has members (%d); end all instances, and wait for kafka.session_timeout to pass", s.App.ID, n)
	}
	return err
}

// fresh says whether the changelog has never been written to.
func (s *Seeder) fresh(ctx context.Context) (bool, error) {
	for n := range s.App.Shards {
		if _, end, err := topic.Bounds(ctx, s.Client, s.App.StateTopic(), int32(n)); err != nil || end > 0 {
			return false, err
		}
	}
	return true, nil
}

// take takes all shards, and refuses those that have a state unless it may be
// replaced.
func (s *Seeder) take(ctx context.Context) error {
	var taken []*shard
	for n := range s.App.Shards {
		h, err := s.takeShard(ctx, n)
		if err != nil {
			return err
		}
		taken = append(taken, h)
	}
	s.shards = taken
	return nil
}

func (s *Seeder) takeShard(ctx context.Context, n int) (*shard, error) {
	local, err := s.Scratch.Shard(n)
	if err != nil {
		return nil, err
	}
	h := &shard{number: n, old: local}
	h.log = changelog.Changelog{
		Client: s.Client, Topic: s.identity.State.Name, TopicID: s.identity.State.ID, Partition: int32(n), Shard: local,
		Producer: s.producer(".shard." + strconv.Itoa(n)), Owner: s.Owner, StableWithin: s.TransactionTimeout + stableWithin, Now: time.Now, Progress: func(int64, int64) {},
	}
	if err := h.log.Take(ctx); err != nil {
		return nil, err
	}
	if h.seeding, err = changelog.Seeding(local); err != nil || h.seeding {
		return h, err
	}
	if _, err := changelog.Agree(local, &s.identity, changelog.Accept{}); err != nil {
		return nil, err
	}
	if has, err := remembers(local); err != nil || has && !s.Replace {
		return nil, errors.Join(err, fmt.Errorf("app %s has a state already: seed an app_id that is new, or replace what it remembers with --replace", s.App.ID))
	}
	return h, nil
}

// remembers says whether anything was ever evaluated in the shard.
func remembers(h *state.Shard) (bool, error) {
	if !h.Position().StreamTime.IsZero() {
		return true, nil
	}
	for _, err := range h.Dump() {
		return true, err
	}
	return false, nil
}

// producer returns a producer of one of the app's transactional ids.
func (s *Seeder) producer(id string) *txn.Producer {
	changes := s.topics[s.App.StateTopic()]
	return &txn.Producer{
		Client: s.Client, ID: s.App.ID + id, Timeout: s.TransactionTimeout, RequestTimeout: s.RequestTimeout,
		Codec: s.Codec, MaxBatch: map[string]int{changes.Name: changes.MaxMessageBytes()},
	}
}

func (s *Seeder) to(h *shard) txn.Partition {
	return txn.Partition{Topic: s.App.StateTopic(), Number: int32(h.number)}
}
