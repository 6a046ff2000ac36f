package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// Setting is a setting of a topic with a value that has to change.
type Setting struct {
	Topic, Key string
	Was, Value string // the value in force, the value needed
}

// String returns the change for people.
func (s Setting) String() string {
	return fmt.Sprintf("%s %s: %s -> %s", s.Topic, s.Key, s.Was, s.Value)
}

// Differing returns the settings of the application's own topics that Alter would change,
// by topic and key. An input is never changed, for it belongs to others, and so are the
// numbers of partitions and replicas: keys would change their partition, and replicas are
// moved by Kafka's own tool.
func (a App) Differing(infos map[string]Info) []Setting {
	var settings []Setting
	for _, s := range a.Wanted(infos) {
		info, ok := infos[s.Name]
		if !ok {
			continue
		}
		wanted := make(map[string]string)
		for _, p := range s.problems(info, "") {
			if p.key != "" {
				wanted[p.key] = p.value
			}
		}
		if info.Config[maxMessageBytes] != "" && info.MaxMessageBytes() < a.whole(s.Name, infos) {
			wanted[maxMessageBytes] = s.Config[maxMessageBytes] // not required, but with it nothing is left out of a record
		}
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			settings = append(settings, Setting{Topic: s.Name, Key: key, Was: info.Config[key], Value: wanted[key]})
		}
	}
	return settings
}

// Alter sets the settings of Differing, a topic at a time, and returns those that it has
// set. A refusal is a sentence with the command for an administrator.
func Alter(ctx context.Context, c *wire.Client, a App) ([]Setting, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	infos, err := Describe(ctx, c, a.outputs()...)
	if err != nil {
		return nil, err
	}
	inputs, err := Describe(ctx, c, a.Inputs...)
	if err != nil {
		return nil, err
	}
	maps.Copy(infos, inputs)
	var (
		done   []Setting
		failed []error
	)
	for differing := a.Differing(infos); len(differing) > 0; {
		n := 1
		for n < len(differing) && differing[n].Topic == differing[0].Topic {
			n++
		}
		if err := alter(ctx, c, differing[:n]); err != nil {
			failed = append(failed, err)
		} else {
			done = append(done, differing[:n]...)
		}
		differing = differing[n:]
	}
	return done, errors.Join(failed...)
}

// alter sets settings of one topic, all or none of them.
func alter(ctx context.Context, c *wire.Client, settings []Setting) error {
	name := settings[0].Topic
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: name}
	command := fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s", c.Addr, name)
	separator := " --add-config "
	for _, s := range settings {
		resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{Name: s.Key, Value: s.Value, ConfigOperation: kafka.ConfigOperationSet})
		command += separator + s.Key + "=" + s.Value
		separator = ","
	}
	res, err := c.Kafka().IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
	if err == nil {
		for _, r := range res.Resources {
			err = errors.Join(err, r.Error)
		}
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("change the settings of topic %s: %w", name, wire.Denied(wire.Named(err), wire.Right{Operation: "AlterConfigs", Resource: "topic", Name: name}))
	code, _ := errors.AsType[kafka.Error](err)
	switch code {
	case kafka.PolicyViolation, kafka.InvalidConfiguration:
		return fmt.Errorf("%w; a policy of the cluster stands against it: ask its administrator for %s", err, command)
	case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return fmt.Errorf("%w; or let somebody change it who may: %s", err, command)
	}
	return fmt.Errorf("%w; with Kafka's own tool: %s", err, command)
}
