package consumer

import (
	"context"
	"slices"
	"time"

	"trailhound/consumer/topic"
)

// topicsEvery is how often the clean-up policies are looked at while the service runs.
const topicsEvery = 5 * time.Minute

// watchTopics looks at what Run has looked at in the beginning, until ctx ends: a clean-up
// policy that has been changed meanwhile loses records without a word of the broker. The
// work goes on; Status has the problems, and the log when they change.
func (s *Service) watchTopics(ctx context.Context) {
	s.warnOfRetention(ctx)
	tick := time.NewTicker(topicsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.lookAtTopics(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) lookAtTopics(ctx context.Context) {
	infos, err := topic.Describe(ctx, s.Client, append(slices.Clone(s.App.Inputs), s.App.Alerts, s.App.DeadLetter)...)
	if err != nil {
		s.Log.Debug().Err(err).Str("event", "topics_not_checked").Msg("the settings of the topics cannot be looked at; the next round tries again")
		return
	}
	s.noteInputs(infos)
	lines := sentences(s.App.Losses(infos, s.Client.Addr.String()))
	s.mu.Lock()
	same := slices.Equal(lines, s.lossy)
	s.lossy = lines
	s.mu.Unlock()
	if same {
		return
	}
	for _, line := range lines {
		s.Log.Error().Str("problem", line).Str("event", "topic_loses_records").Msg("a topic loses records by its clean-up policy; /status has it until it is mended")
	}
}

// warnOfRetention logs where the group's offsets expire before the inputs' records do
// (PROTOCOL R7).
func (s *Service) warnOfRetention(ctx context.Context) {
	warnings, err := s.App.Retention(ctx, s.Client, s.topics)
	for _, w := range warnings {
		s.Log.Warn().Str("problem", w).Str("event", "offsets_expire_early").Msg("the group's offsets expire before the records of an input")
	}
	if err != nil && ctx.Err() == nil { // this account may not ask the brokers, and need not
		s.Log.Debug().Err(err).Str("event", "offsets_retention_unknown").Msg("offsets.retention.minutes could not be compared with the retention of the inputs")
	}
}
