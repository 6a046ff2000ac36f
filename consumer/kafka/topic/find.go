package topic

import (
	"context"
	"fmt"
	"slices"

	"trailhound/consumer/kafka/wire"
)

// Find looks up the app's inputs, its own topics and others that are needed, by name.
// It fails if one is missing, if the brokers do not tell the id of an input or of the
// app's own topics, or if these have other shards than the app.
func (a App) Find(ctx context.Context, c *wire.Client, others ...string) (map[string]Info, error) {
	names := slices.Concat(a.Inputs, []string{a.WorkTopic(), a.StateTopic()}, others)
	topics, err := Describe(ctx, c, names...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := topics[name]; !ok {
			return nil, fmt.Errorf("topic %s does not exist; create it with: trailhound topics create", name)
		}
	}
	for _, name := range slices.Concat(a.Inputs, []string{a.WorkTopic(), a.StateTopic()}) {
		if err := Identified(name, topics[name].ID); err != nil {
			return nil, err
		}
	}
	for _, own := range []string{a.WorkTopic(), a.StateTopic()} {
		if n := len(topics[own].Partitions); n != a.Shards {
			return nil, fmt.Errorf("topic %s has %d partitions, shards is %d: they must be equal, and are fixed for the life of an app_id", own, n, a.Shards)
		}
	}
	return topics, nil
}
