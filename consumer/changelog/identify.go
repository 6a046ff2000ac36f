package changelog

import (
	"context"
	"fmt"
	"slices"

	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
)

// Identify looks up the app's inputs, its own topics and others that are needed, by
// name, and returns them with the identity that follows. It fails if one is missing, or
// the app's own topics have other shards than the app.
func Identify(ctx context.Context, c *wire.Client, app topic.App, others ...string) (map[string]topic.Info, Identity, error) {
	names := slices.Concat(app.Inputs, []string{app.WorkTopic(), app.StateTopic()}, others)
	topics, err := topic.Describe(ctx, c, names...)
	if err != nil {
		return nil, Identity{}, err
	}
	for _, name := range names {
		if _, ok := topics[name]; !ok {
			return nil, Identity{}, fmt.Errorf("topic %s does not exist; create it with: trailhound topics create", name)
		}
	}
	work, changes := topics[app.WorkTopic()], topics[app.StateTopic()]
	for _, t := range []topic.Info{work, changes} {
		if len(t.Partitions) != app.Shards {
			return nil, Identity{}, fmt.Errorf("topic %s has %d partitions, shards is %d: they must be equal, and are fixed for the life of an app_id", t.Name, len(t.Partitions), app.Shards)
		}
	}
	return topics, Identity{
		App: app.ID, Shards: app.Shards, Inputs: app.Inputs, Alerts: app.Alerts, DeadLetter: app.DeadLetter,
		Work:  Topic{Name: work.Name, ID: work.ID},
		State: Topic{Name: changes.Name, ID: changes.ID},
	}, nil
}
