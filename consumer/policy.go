package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"trailhound/consumer/kafka/topic"
)

// topicsEvery is how often the settings of the topics are looked at while the service runs.
const (
	topicsEvery  = time.Minute
	flippedEvery = 10 * time.Second // while a setting loses records
)

// settings are those of the app's topics, as last looked at.
type settings struct {
	*instance

	inputs *inputs
	begun  []string // problems of the topics at the start, a sentence each

	mu      sync.Mutex
	lossy   []string       // topics that lose records, a sentence each
	flipped error          // the first of lossy that was neither there at the start nor accepted
	limits  map[string]int // max.message.bytes of the topics
}

// watch repeats Run's checks of the topics until ctx ends: a clean-up policy or a
// retention that has been changed meanwhile loses records without a word of the broker. The
// work goes on, but the instance is not ready; Status has the problems, and the log when
// they change.
func (s *settings) watch(ctx context.Context) {
	s.warnOfRetention(ctx)
	for {
		every := topicsEvery
		if s.changed() != nil {
			every = flippedEvery
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
			s.look(ctx)
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// changed returns the problem of a topic that has arisen since the start; nil: there is none.
func (s *settings) changed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flipped
}

func (s *settings) look(ctx context.Context) {
	infos, err := topic.Describe(ctx, s.client, s.app.Topics()...)
	if err != nil {
		s.log.Debug().Err(err).Str("event", "topics_not_checked").Msg("the settings of the topics cannot be looked at; the next round tries again")
		return
	}
	s.inputs.note(infos)
	s.noteLimits(infos)
	var all []string
	var flipped error
	for _, p := range s.app.Problems(infos, s.client.Addr.String()) {
		line := p.String()
		if !p.Loss && slices.Contains(s.begun, line) {
			continue // the run began with it: no setting has been changed
		}
		all = append(all, line)
		if flipped == nil && !(p.Loss && s.accept.Loss) {
			flipped = errors.New(line)
		}
	}
	s.mu.Lock()
	same := slices.Equal(all, s.lossy)
	s.lossy, s.flipped = all, flipped
	s.mu.Unlock()
	if same {
		return
	}
	for _, line := range all {
		s.log.Error().Str("problem", line).Str("event", "topic_loses_records").Msg("the settings of a topic lose records; /status has it until it is mended")
	}
}

// problems returns the topics that lose records, a sentence each.
func (s *settings) problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lossy)
}

// noteLimits remembers the max.message.bytes of the topics.
func (s *settings) noteLimits(infos map[string]topic.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits == nil {
		s.limits = make(map[string]int)
	}
	for name, info := range infos {
		s.limits[name] = info.MaxMessageBytes()
	}
}

// takes returns the max.message.bytes of a topic, as last looked up.
func (s *settings) takes(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits[name]
}

// warnOfRetention logs inputs with records that outlast the group's offsets (PROTOCOL R7).
func (s *settings) warnOfRetention(ctx context.Context) {
	warnings, err := s.app.Retention(ctx, s.client, s.topics)
	for _, w := range warnings {
		s.log.Warn().Str("problem", w).Str("event", "offsets_expire_early").Msg("the group's offsets expire before the records of an input")
	}
	if err != nil && ctx.Err() == nil { // an account without the right to ask the brokers is no problem
		s.log.Debug().Err(err).Str("event", "offsets_retention_unknown").Msg("offsets.retention.minutes could not be compared with the retention of the inputs")
	}
}
