package consumer

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/topic"
)

// Verify compares this instance with the identity in the app's state, as far as that can be
// read without taking a shard: it joins, creates, claims and commits nothing, so that a refused
// start has touched nothing (PROTOCOL R6). Topics may be missing still. Run begins with it; a
// caller that creates topics before Run calls it first. A refusal is a *fatal.Error.
func (s *Service) Verify(ctx context.Context) error {
	if s.verified {
		return nil
	}
	infos, err := topic.Describe(ctx, s.Client, s.App.WorkTopic(), s.App.StateTopic())
	if err != nil {
		return err
	}
	if changes, ok := infos[s.App.StateTopic()]; ok {
		if err := topic.Identified(changes.Name, changes.ID); err != nil {
			return err
		}
		own := changelog.Identify(&s.App, infos)
		if err := s.compare(ctx, changes, &own); err != nil {
			return err
		}
	}
	s.verified = true
	return nil
}

// glance is a changelog partition that may hold the app's identity.
type glance struct {
	peek     changelog.Peek
	found    changelog.Found
	from, to int64
}

// compare asks one shard: the one with the least to read, thanks to its local copy or its
// size. The first transaction of each shard writes the identity, so that the next one is
// asked only if there is none.
func (s *Service) compare(ctx context.Context, changes topic.Info, own *changelog.Identity) error {
	glances, err := s.glances(ctx, changes)
	if err != nil {
		return err
	}
	slices.SortStableFunc(glances, func(a, b glance) int { return cmp.Compare(a.to-a.from, b.to-b.from) })
	for _, g := range glances {
		if err := g.found.Read(ctx, g.peek, g.from, g.to); err != nil {
			return err
		}
		if !g.found.Empty() {
			return g.found.Agree(own, s.Accept)
		}
	}
	return nil
}

// glances returns the partitions that are not empty, each up to its stable end.
func (s *Service) glances(ctx context.Context, changes topic.Info) ([]glance, error) {
	held, err := s.Store.Shards()
	if err != nil {
		return nil, blame(s.Store, err)
	}
	var glances []glance
	for n := range changes.Partitions {
		first, end, err := topic.Readable(ctx, s.Client, changes.Name, int32(n))
		if err != nil {
			return nil, err
		}
		g := glance{peek: changelog.Peek{Client: s.Client, Topic: changes.Name, TopicID: changes.ID, Partition: int32(n)}, from: first, to: end}
		if slices.Contains(held, n) {
			h, err := s.Store.Shard(n)
			if err != nil {
				return nil, blame(s.Store, err)
			}
			if found, next, ok := changelog.Local(h, changes.ID); ok && first <= next && next <= end {
				g.found, g.from = found, next
			}
		}
		if end > first {
			glances = append(glances, g)
		}
	}
	return glances, nil
}

// refuseLosses refuses topics that lose records by their clean-up policy, unless that is
// accepted (PROTOCOL R10).
func (s *Service) refuseLosses(topics map[string]topic.Info) error {
	problems := s.App.Losses(topics, s.Client.Addr.String())
	if len(problems) == 0 {
		return nil
	}
	lines := sentences(problems)
	if s.Accept.Loss {
		s.settings.mu.Lock() // probes may ask already
		s.settings.lossy = lines
		s.settings.mu.Unlock()
		s.Log.Error().Strs("problems", lines).Str("event", "topic_loses_records").Msg("topics lose records; going on, as accepted")
		return nil
	}
	return fatal.Errorf("%s; or start with --accept-loss to go on without what is lost", strings.Join(lines, "\n"))
}

func sentences(problems []topic.Problem) []string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return lines
}
