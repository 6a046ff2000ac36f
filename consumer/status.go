package consumer

import (
	"cmp"
	"slices"
	"strings"
)

// Status is the state of an instance's partitions, for people and their tools. Its JSON
// only grows.
type Status struct {
	App      string        `json:"app_id"`
	Instance string        `json:"instance_id"`
	Member   bool          `json:"member"` // of the consumer group
	Ready    bool          `json:"ready"`
	Missing  string        `json:"missing,omitempty"` // why it is not ready
	Inputs   []InputStatus `json:"inputs"`
	Shards   []ShardStatus `json:"shards"`
	Outputs  []string      `json:"output_problems,omitempty"` // partitions that cannot be written to, and why
	State    string        `json:"state_problem,omitempty"`   // why the local state does not answer
	Topics   []string      `json:"topic_problems,omitempty"`  // topics that lose records by their clean-up policy, as of the last look
}

// InputStatus is one input partition assigned to the instance.
type InputStatus struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Next      int64  `json:"next_offset"`       // the offset to commit next; -1: not known yet
	Lag       int64  `json:"lag_records"`       // by the end of the log as last told
	Idle      bool   `json:"idle"`              // the end of the log was reached, and the shards have a mark of it
	Waiting   string `json:"waiting,omitempty"` // the slower partition that it waits for, and how far it is ahead
	Problem   string `json:"problem,omitempty"`
}

// ShardStatus is one shard assigned to the instance.
type ShardStatus struct {
	Shard     int    `json:"shard"`
	Ready     bool   `json:"ready"`
	Next      int64  `json:"next_work_offset"` // as committed; -1: not known yet
	Lag       int64  `json:"lag_records"`      // by the end of the log as last told
	Changelog int64  `json:"next_changelog_offset"`
	Restoring int64  `json:"restore_remaining_records,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

// Status returns the state of the instance's partitions. It is safe for concurrent use with
// Run.
func (s *Service) Status() Status {
	out := Status{App: s.App.ID, Instance: s.Instance, Inputs: []InputStatus{}, Shards: []ShardStatus{}}
	err := s.Ready()
	out.Ready, out.Missing = err == nil, sentence(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Topics = slices.Clone(s.lossy)
	if out.Member = s.assigned; !out.Member {
		return out
	}
	for _, k := range s.routers.keys() {
		in := InputStatus{Topic: k.topic, Partition: k.partition, Next: -1}
		if p := s.positions[k]; p != nil {
			in.Next, in.Lag, in.Problem = p.position(), p.lag(), sentence(cmp.Or(p.reading.trouble(), s.stall(p.stillness())))
			in.Idle = p.told()
			in.Waiting = s.alignment.waits(k)
		} else if o := s.openings[k]; o != nil {
			in.Problem = sentence(cmp.Or(s.stall(o.pulse.stillness()), o.tries.trouble()))
		}
		out.Inputs = append(out.Inputs, in)
	}
	slices.SortFunc(out.Inputs, func(a, b InputStatus) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	for _, n := range s.detectors.keys() {
		shard := ShardStatus{Shard: n, Next: -1, Problem: sentence(s.shardProblem(s.shards[n]))}
		if st := s.shards[n]; st != nil {
			shard.Ready, shard.Next, shard.Lag = st.ready.Load(), st.work.Load(), st.left()
			shard.Changelog, shard.Restoring = st.changelog.Load(), st.restoring.Load()
		}
		out.Shards = append(out.Shards, shard)
	}
	out.State = sentence(s.diskStall())
	slices.SortFunc(out.Shards, func(a, b ShardStatus) int { return a.Shard - b.Shard })
	for _, l := range slices.Concat(s.lanes, s.dead) {
		if err := cmp.Or(l.tries.trouble(), s.stall(l.pulse.stillness())); err != nil {
			out.Outputs = append(out.Outputs, l.cannotWrite(err).Error())
		}
	}
	return out
}

func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
