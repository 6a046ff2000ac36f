package consumer

import "cmp"

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
	err := s.Ready()
	out := Status{App: s.App.ID, Instance: s.Instance, Ready: err == nil, Missing: sentence(err), Topics: s.settings.problems(), Inputs: []InputStatus{}, Shards: []ShardStatus{}}
	if out.Member = s.membership.missing() == nil; !out.Member {
		return out
	}
	out.Inputs, out.Shards = s.inputs.statuses(), s.shards.statuses()
	out.State = sentence(s.instance.diskStall())
	for _, err := range s.outputProblems() {
		out.Outputs = append(out.Outputs, err.Error())
	}
	return out
}

// Ready returns nil once each input partition and shard assigned to this instance is being
// worked on; otherwise the first problem.
func (s *Service) Ready() error {
	if err := s.membership.missing(); err != nil {
		return err
	}
	if err := cmp.Or(s.settings.changed(), s.inputs.problem(), s.shards.problem()); err != nil {
		return err
	}
	if outputs := s.outputProblems(); len(outputs) > 0 && len(s.inputs.routers.keys()) > 0 {
		return outputs[0]
	}
	return s.instance.diskStall()
}

// outputProblems returns the errors of the outputs that cannot be written to.
func (s *Service) outputProblems() (all []error) {
	for _, l := range s.outputs {
		if err := cmp.Or(l.tries.trouble(), s.instance.stall(l.pulse.stillness())); err != nil {
			all = append(all, l.cannotWrite(err))
		}
	}
	return all
}

func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
