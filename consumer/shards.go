package consumer

import (
	"context"
	"slices"
	"strconv"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/topic"
	"trailhound/consumer/txn"
)

// stableWithin is how long a restore waits for somebody's open transaction
// beyond the time after which the broker itself must have ended it.
const stableWithin = 30 * time.Second

// detect keeps a detector on one shard until ctx ends.
func (s *Service) detect(ctx context.Context, n int) error {
	d, err := s.detector(n)
	if err != nil {
		return err
	}
	return d.run(ctx)
}

func (s *Service) detector(n int) (*detector, error) {
	local, err := s.Store.Shard(n)
	if err != nil {
		return nil, err
	}
	status := s.status(n)
	work, changes := s.topics[s.App.WorkTopic()], s.topics[s.App.StateTopic()]
	meter := s.Metrics.Shard(n)
	log := s.Log.With().Str("stage", stageDetector).Int("shard", n).Logger()
	producer := &txn.Producer{
		Client: s.Client, ID: s.App.ID + ".shard." + strconv.Itoa(n), Timeout: s.TransactionTimeout,
		RequestTimeout: s.RequestTimeout, Codec: s.Codec, MaxBatch: make(map[string]int),
	}
	for _, name := range []string{s.App.StateTopic(), s.App.Alerts, s.App.DeadLetter} {
		producer.MaxBatch[name] = s.topics[name].MaxMessageBytes()
	}
	return &detector{
		shard: n, app: s.App, client: s.Client, local: local, identity: &s.identity, accept: s.Accept,
		producer: producer, engine: s.Engine.Clone(), status: status, meter: meter, log: log, noisy: rateLimited(log), now: time.Now,
		alerts: len(s.topics[s.App.Alerts].Partitions), dead: len(s.topics[s.App.DeadLetter].Partitions),
		mostDead: mostBytes(s.topics[s.App.DeadLetter]), timeout: s.TransactionTimeout,
		changes: changelog.Changelog{
			Client: s.Client, Topic: changes.Name, TopicID: changes.ID, Partition: int32(n), Shard: local,
			Producer: producer, Owner: s.owner(), TombstoneLife: tombstoneLife(changes),
			StableWithin: s.TransactionTimeout + stableWithin, Now: time.Now,
			Progress: func(next, claim int64) {
				meter.Restoring(claim + 1 - next)
				status.changelog.Store(next)
			},
		},
		worked: func(ctx context.Context) (bool, error) {
			was, err := s.member.Committed(ctx, work.Name, []int32{int32(n)})
			return was[int32(n)].At > 0, err
		},
		confirm: func(ctx context.Context) (bool, error) {
			a, err := s.member.Confirm(ctx)
			return slices.Contains(a.Partitions[work.Name], int32(n)), err
		},
	}, nil
}

// owner is how this instance signs its claims.
func (s *Service) owner() string {
	if s.Instance != "" {
		return s.Instance
	}
	return "dynamic member"
}

// status returns what others may know of shard n.
func (s *Service) status(n int) *shardStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.shards[n]
	if st == nil {
		st = &shardStatus{taking: newAttempts(), reading: newAttempts()}
		st.work.Store(-1)
		st.shown = -1
		s.shards[n] = st
	}
	return st
}

// rememberFreshness reads what copies of shards the disk holds, so that the
// group can place shards where their state is freshest.
func (s *Service) rememberFreshness() error {
	numbers, err := s.Store.Shards()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n >= s.App.Shards {
			continue
		}
		h, err := s.Store.Shard(n)
		if err != nil {
			return err
		}
		s.status(n).changelog.Store(h.Position().Changelog)
	}
	return nil
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
