package consumer

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/state"
)

// stableWithin is how long a restore waits for an open transaction beyond the time after
// which the broker itself must have ended it.
const stableWithin = 30 * time.Second

// detect keeps a detector on one shard until ctx ends. A local state that has
// failed ends the run: its damage would be met again with every take of the shard,
// and on a full disk writers wait for ever.
func (s *Service) detect(ctx context.Context, n int) error {
	d, err := s.detector(n)
	if err != nil {
		return s.blame(err)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-s.Store.Failed():
			s.fail(s.blame(nil)) // not after d.run, which may be blocked on the failed disk
		case <-watching.Done():
		}
	}()
	return s.blame(d.run(ctx))
}

// blame returns the error that makes the local state unusable, or err if there is none.
func (s *Service) blame(err error) error {
	if failed := s.Store.Err(); failed != nil {
		return &fatal.Error{Newer: errors.Is(failed, state.ErrFormat), Sentence: "state_dir: " + failed.Error()}
	}
	return err
}

func (s *Service) detector(n int) (*detector, error) {
	local, err := s.Store.Shard(n)
	if err != nil {
		return nil, err
	}
	status := s.status(n)
	work, changes := s.topics[s.App.WorkTopic()], s.topics[s.App.StateTopic()]
	meter := s.Metrics.Shard(n)
	status.meter.Store(meter)
	log := s.Log.With().Str("stage", stageDetector).Int("shard", n).Logger()
	producer := &txn.Producer{
		Client: s.Client, ID: s.App.ID + ".shard." + strconv.Itoa(n), Timeout: s.TransactionTimeout,
		RequestTimeout: s.RequestTimeout, Codec: s.Codec,
	}
	d := &detector{
		shard: n, app: s.App, version: s.Version, changed: &s.rulesChanged, client: s.Client, local: local, identity: &s.identity, accept: s.Accept,
		producer: producer, engine: s.Engine.Clone(), status: status, meter: meter, log: log, noisy: rateLimited(log, s.Metrics.Suppressed()), now: time.Now,
		alerts: len(s.topics[s.App.Alerts].Partitions), dead: len(s.topics[s.App.DeadLetter].Partitions),
		takes: s.takes, look: s.lookAtTopics, timeout: s.TransactionTimeout, feeds: s.workFeeds,
		changes: changelog.Changelog{
			Client: s.Client, Topic: changes.Name, TopicID: changes.ID, Partition: int32(n), Shard: local,
			Producer: producer, Owner: s.owner(), Accept: s.Accept, Log: log, TombstoneLife: tombstoneLife(changes),
			StableWithin: s.TransactionTimeout + stableWithin, Restores: &s.restores, Now: time.Now,
			Progress: func(next, claim int64) {
				if next <= claim || !status.failing.Load() { // the claim alone is read with every attempt
					status.pulse.beat()
				}
				meter.Restoring(claim + 1 - next)
				status.restoring.Store(max(claim+1-next, 0))
				status.changelog.Store(next)
			},
		},
		reads: s.reads,
		worked: func(ctx context.Context) (bool, error) {
			was, err := s.member.Committed(ctx, work.Name, []int32{int32(n)})
			return was[int32(n)].At > 0, err
		},
		confirm: func(ctx context.Context) (bool, error) {
			a, err := s.member.Confirm(ctx)
			if err == nil { // reads is asked as soon as the shard is taken
				err = s.lookUpInputs(ctx)
			}
			return slices.Contains(a.Partitions[work.Name], int32(n)), err
		},
	}
	d.entries.formats = s.formats
	d.turn.Memory = s.Client.Memory
	d.turn.Waiting = func(others *atomic.Uint64) { status.pulse.waiting(others, stepEvaluate) }
	return d, nil
}

// reads tells whether a topic is one of the app's inputs, as last looked up. A topic that
// had an input's name before the input was made again is none.
func (s *Service) reads(topicID [16]byte) bool {
	return slices.ContainsFunc(s.App.Inputs, func(name string) bool { return s.inputID(name) == topicID })
}

// owner returns the name of this instance in its claims.
func (s *Service) owner() string {
	if s.Instance != "" {
		return s.Instance
	}
	return "dynamic member"
}

// status returns the status of shard n, and makes it if need be.
func (s *Service) status(n int) *shardStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.shards[n]
	if st == nil {
		part := s.Metrics.Part(partShard)
		st = &shardStatus{taking: newAttempts(part), reading: newAttempts(part)}
		st.work.Store(-1)
		st.shown = group.Offset{At: -1}
		s.shards[n] = st
	}
	return st
}

// rememberFreshness reads the changelog positions of the copies on disk, so that the group
// can place shards where their state is freshest.
func (s *Service) rememberFreshness() error {
	numbers, err := s.Store.Shards()
	if err != nil {
		return s.blame(err)
	}
	for _, n := range numbers {
		if n >= s.App.Shards {
			continue
		}
		h, err := s.Store.Shard(n)
		if err != nil {
			return s.blame(err)
		}
		s.status(n).changelog.Store(h.Position().Changelog)
	}
	return nil
}

// reportRestores sets the receiver of the restores' progress: Restoring, or the log.
func (s *Service) reportRestores() {
	s.restores.Report = s.logRestores
	if s.Restoring != nil {
		s.restores.Report, s.restores.Every = s.Restoring, watchEvery
	}
}

// watchEvery is the interval at which Restoring is called.
const watchEvery = 500 * time.Millisecond

// logRestores logs how far the restores of this instance are.
func (s *Service) logRestores(r changelog.Restoration) {
	line := s.Log.Info().Int64("records_read", r.Read).Int64("records_per_second", int64(r.Rate()))
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
func (s *Service) freshness() map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[int32]int64, len(s.shards))
	for n, st := range s.shards {
		if at := st.changelog.Load(); at > 0 {
			out[int32(n)] = at
		}
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
