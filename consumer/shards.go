package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"

	"github.com/segmentio/kafka-go/compress"
)

// shards are the shards of an instance: those that it owns or restores, and those of which
// it has had a copy. Its first fields are set before the group is joined.
type shards struct {
	*instance

	owner              string // name of this instance in its claims
	transactionTimeout time.Duration
	requestTimeout     time.Duration
	codec              compress.Compression
	formats            formats
	identity           changelog.Identity
	settings           *settings
	inputs             *inputs
	fetches            *sharedFetches
	changed            ruleChanges
	restores           changelog.Restores
	detectors          taskSet[int]

	mu  sync.Mutex
	all map[int]*shardStatus
}

// shardStatus is a detector's state for concurrent readers while it works.
type shardStatus struct {
	ready     atomic.Bool
	work      atomic.Int64 // next work offset as committed; -1: not known yet
	shown     group.Offset // as last committed to the group, for lag display; the committer's
	changelog atomic.Int64 // next changelog offset held locally
	next      atomic.Int64 // offset behind the work evaluated
	restoring atomic.Int64 // changelog offsets that a restore has still to read
	taking    *attempts    // starts over once work has been committed
	reading   *attempts    // of the work
	end       logEnd       // of the work, as last told
	pulse     pulse
	failing   atomic.Bool // the last transaction, or taking the shard, has failed
	meter     atomic.Pointer[admin.ShardMetrics]
	silence   silence // of the watch
}

// trouble returns why the shard is not worked on; nil if it is.
func (st *shardStatus) trouble() error {
	switch {
	case st == nil:
		return errNotTaken
	case st.ready.Load():
		return st.reading.trouble()
	}
	if err := st.taking.trouble(); err != nil {
		return err
	}
	return errNotTaken
}

var errNotTaken = errors.New("its state is being restored")

// assign makes the detectors follow a new assignment.
func (s *shards) assign(want map[int]bool) {
	s.detectors.assign(want)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, st := range s.all {
		if !want[n] {
			st.ready.Store(false)
		}
	}
}

// detect keeps a detector on one shard until ctx ends. A local state that has
// failed ends the run: its damage would be met again with every take of the shard,
// and on a full disk writers wait for ever.
func (s *shards) detect(ctx context.Context, n int) error {
	d, err := s.detector(n)
	if err != nil {
		return blame(s.store, err)
	}
	return blame(s.store, d.run(ctx))
}

func (s *shards) detector(n int) (*detector, error) {
	local, err := s.store.Shard(n)
	if err != nil {
		return nil, err
	}
	status := s.status(n)
	changes := s.topics[s.app.StateTopic()]
	meter := s.metrics.Shard(n)
	status.meter.Store(meter)
	log := s.log.With().Str("stage", stageDetector).Int("shard", n).Logger()
	producer := &txn.Producer{
		Client: s.client, ID: s.app.ID + ".shard." + strconv.Itoa(n), Timeout: s.transactionTimeout,
		RequestTimeout: s.requestTimeout, Codec: s.codec,
	}
	d := &detector{
		shard: n, app: s.app, version: s.version, changed: &s.changed, client: s.client, local: local, identity: &s.identity, accept: s.accept,
		producer: producer, engine: s.engine.Clone(), status: status, meter: meter, log: log, noisy: rateLimited(log, s.metrics.Suppressed()), now: time.Now,
		alerts: len(s.topics[s.app.Alerts].Partitions), dead: len(s.topics[s.app.DeadLetter].Partitions),
		group: s, settings: s.settings, inputs: s.inputs, timeout: s.transactionTimeout, fetches: s.fetches,
		changes: changelog.Changelog{
			Client: s.client, Topic: changes.Name, TopicID: changes.ID, Partition: int32(n), Shard: local,
			Producer: producer, Owner: s.owner, Accept: s.accept, Log: log, TombstoneLife: tombstoneLife(changes),
			StableWithin: s.transactionTimeout + stableWithin, Restores: &s.restores, Now: time.Now, Progress: status.restores,
		},
	}
	d.entries.formats = s.formats
	d.turn.Memory = s.client.Memory
	d.turn.Waiting = func(others *atomic.Uint64) { status.pulse.waiting(others, stepEvaluate) }
	return d, nil
}

// confirm implements shardGroup.
func (s *shards) confirm(ctx context.Context, n int) (bool, error) {
	a, err := s.member.Confirm(ctx)
	if err == nil { // inputs.reads is asked as soon as the shard is taken
		err = s.inputs.lookUp(ctx)
	}
	return a.Has(s.app.WorkTopic(), int32(n)), err
}

// worked implements shardGroup.
func (s *shards) worked(ctx context.Context, n int) (bool, error) {
	was, err := s.member.Committed(ctx, s.app.WorkTopic(), []int32{int32(n)})
	return was[int32(n)].At > 0, err
}

// restores notes how far a restore is.
func (st *shardStatus) restores(next, claim int64) {
	if next <= claim || !st.failing.Load() { // the claim alone is read with every attempt
		st.pulse.beat()
	}
	st.meter.Load().Restoring(claim + 1 - next)
	st.restoring.Store(max(claim+1-next, 0))
	st.changelog.Store(next)
}

// status returns the status of shard n, and makes it if need be.
func (s *shards) status(n int) *shardStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.all[n]
	if st == nil {
		part := s.metrics.Part(partShard)
		st = &shardStatus{taking: newAttempts(part), reading: newAttempts(part)}
		st.work.Store(-1)
		st.shown = group.Offset{At: -1}
		s.all[n] = st
	}
	return st
}

// rememberFreshness reads the changelog positions of the copies on disk, so that the group
// can place shards where their state is freshest.
func (s *shards) rememberFreshness() error {
	numbers, err := s.store.Shards()
	if err != nil {
		return blame(s.store, err)
	}
	for _, n := range numbers {
		if n >= s.app.Shards {
			continue
		}
		h, err := s.store.Shard(n)
		if err != nil {
			return blame(s.store, err)
		}
		s.status(n).changelog.Store(h.Position().Changelog)
	}
	return nil
}

// logRestores logs how far the restores of this instance are.
func (s *shards) logRestores(r changelog.Restoration) {
	line := s.log.Info().Int64("records_read", r.Read).Int64("records_per_second", int64(r.Rate()))
	if r.Shards == 0 {
		line.Int64("took_ms", r.Took.Milliseconds()).Str("event", "restore_ended").Msg("the restore of state has ended")
		return
	}
	if d, ok := r.Remaining(); ok {
		line = line.Stringer("expected", d.Round(time.Second))
	}
	line.Int("shards_left", r.Shards).Int64("records_left", r.Left).Str("event", "restore").Msg("restoring state from the changelog")
}

// freshness tells the group, for each shard of which this instance has a copy,
// the next changelog offset that the copy needs.
func (s *shards) freshness() map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[int32]int64, len(s.all))
	for n, st := range s.all {
		if at := st.changelog.Load(); at > 0 {
			out[int32(n)] = at
		}
	}
	return out
}

// reached returns the positions to commit, so that tools can show the lag.
func (s *shards) reached() (all []movement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, st := range s.all {
		if st.ready.Load() {
			all = append(all, movement{inputKey{s.app.WorkTopic(), int32(n)}, group.Offset{At: st.work.Load(), LeaderEpoch: noEpoch}, &st.shown, nil})
		}
	}
	return all
}

// look is for the watch: it returns the shards that another instance should have, and adds to
// unread those with work that their detectors have not read.
func (s *shards) look(patience int, restoring bool, unread map[inputKey]*logEnd) (give []inputKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.detectors.keys() {
		st := s.all[n]
		if st == nil {
			continue
		}
		if restoring && step(st.pulse.step.Load()) == stepTake {
			st.pulse.beat() // the shard may wait for its turn to restore
		}
		seen := st.look()
		if st.ready.Load() {
			st.meter.Load().Lag.Set(float64(st.left()))
		}
		k := inputKey{s.app.WorkTopic(), int32(n)}
		if seen.unread > 0 {
			unread[k] = &st.end
		}
		if st.stuck(patience) && !answers(st.taking.trouble()) && !answers(st.reading.trouble()) {
			give = append(give, k)
		}
	}
	return give
}

// stalled returns the shards without progress.
func (s *shards) stalled() (all []stall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.detectors.keys() {
		if st := s.all[n]; st != nil {
			all = append(all, stall{partShard, fmt.Sprintf("shard %d", n), st.stillness(), true})
		}
	}
	return all
}

// problem returns the first shard that is not worked on, or makes no progress; nil: none.
func (s *shards) problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.detectors.keys() {
		if err := s.problemOf(s.all[n]); err != nil {
			return fmt.Errorf("shard %d is not ready: %w", n, err)
		}
	}
	return nil
}

func (s *shards) problemOf(st *shardStatus) error {
	err := st.trouble()
	if st == nil || err != nil && !errors.Is(err, errNotTaken) {
		return err
	}
	return cmp.Or(s.stall(st.stillness()), err)
}

// statuses returns the status of each shard assigned, in order.
func (s *shards) statuses() []ShardStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []ShardStatus{}
	for _, n := range slices.Sorted(slices.Values(s.detectors.keys())) {
		shard := ShardStatus{Shard: n, Next: -1, Problem: sentence(s.problemOf(s.all[n]))}
		if st := s.all[n]; st != nil {
			shard.Ready, shard.Next, shard.Lag = st.ready.Load(), st.work.Load(), st.left()
			shard.Changelog, shard.Restoring = st.changelog.Load(), st.restoring.Load()
		}
		out = append(out, shard)
	}
	return out
}

// tombstoneLife is the time for which a compacted topic keeps tombstones:
// delete.retention.ms, or Kafka's default of a day.
func tombstoneLife(info topic.Info) time.Duration {
	ms, err := strconv.ParseInt(info.Config["delete.retention.ms"], 10, 64)
	if err != nil {
		return 24 * time.Hour
	}
	return time.Duration(ms) * time.Millisecond
}
