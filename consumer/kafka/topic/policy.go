package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/config/duration"
	"trailhound/consumer/kafka/wire"
)

// Identified returns a sentence if the cluster does not tell the id of a topic. A zero id
// is unknown, never an identity (PROTOCOL R10): all topics would share it, and a topic
// that was made again under its name could not be told from the old one.
func Identified(name string, id [16]byte) error {
	for _, p := range unidentified(Info{Name: name, ID: id}) {
		return errors.New(p.String())
	}
	return nil
}

func unidentified(info Info) []Problem {
	if info.ID != [16]byte{} {
		return nil
	}
	return []Problem{{
		Topic:  info.Name,
		What:   fmt.Sprintf("the brokers do not tell a topic id of topic %s, by which it is known from one that is made again under its name", info.Name),
		Remedy: "raise inter.broker.protocol.version of the brokers to 2.8 or later, which gives each topic an id (KIP-516), or use brokers that tell topic ids",
	}}
}

// compacted tells whether the clean-up policy makes records disappear before they expire.
func compacted(policy string) bool {
	return slices.ContainsFunc(strings.Split(policy, ","), func(p string) bool { return strings.TrimSpace(p) == "compact" })
}

// notCompacted is the need of a topic that must keep every record until it expires.
func notCompacted(why string) need {
	return need{
		key: "cleanup.policy", value: "delete", wanted: "delete", why: why, loss: true,
		ok: func(found string) bool { return !compacted(found) },
	}
}

const (
	inputCompacted  = "compaction deletes events that have the key of a newer one, before they are read"
	outputCompacted = "compaction deletes records that have the key of a newer one, and refuses those without a key"
)

// Losses returns the settings with which an input, the alerts or the dead-letter topic
// loses records by clean-up, among topics that Describe has found. An operator may accept
// them.
func (a App) Losses(infos map[string]Info, brokers string) []Problem {
	return slices.DeleteFunc(a.problems(infos, brokers), func(p Problem) bool { return !p.Loss })
}

// Retention compares the brokers' retention of the offsets of an absent group
// (offsets.retention.minutes) with the inputs' retention of records, and returns a sentence
// for each input that keeps its records longer: after an outage of the time between, the
// group's offsets are gone while records that it has not read are still there. The error
// means that the cluster does not tell; it is a *wire.DeniedError where this user may not
// ask.
func (a App) Retention(ctx context.Context, c *wire.Client, inputs map[string]Info) ([]string, error) {
	kept, err := offsetsRetention(ctx, c, inputs)
	if err != nil {
		return nil, err
	}
	var warnings []string
	for _, name := range a.Inputs {
		ms, err := strconv.ParseInt(inputs[name].Config["retention.ms"], 10, 64)
		if err != nil || ms >= 0 && time.Duration(ms)*time.Millisecond <= kept {
			continue
		}
		lives := "for ever"
		if ms >= 0 {
			lives = "for " + duration.Format(time.Duration(ms)*time.Millisecond)
		}
		warnings = append(warnings, fmt.Sprintf("input %s keeps records %s, but the brokers keep the offsets of a group that is away only for %s (offsets.retention.minutes=%d): after a longer outage the place comes from the state alone; raise offsets.retention.minutes above the input's retention.ms",
			name, lives, duration.Format(kept), int64(kept/time.Minute)))
	}
	return warnings, nil
}

// offsetsRetention asks one of the brokers for offsets.retention.minutes, which should be
// the same on all of them.
func offsetsRetention(ctx context.Context, c *wire.Client, inputs map[string]Info) (time.Duration, error) {
	found, err := BrokerSettings(ctx, c, inputs, offsetsRetentionKey)
	if err != nil {
		return 0, err
	}
	minutes, err := strconv.ParseInt(found[offsetsRetentionKey], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the broker does not tell its %s", offsetsRetentionKey)
	}
	return time.Duration(minutes) * time.Minute, nil
}

const offsetsRetentionKey = "offsets.retention.minutes"

// BrokerSettings asks one of the brokers that lead partitions of the topics for settings,
// which should be the same on all of them. A setting that the broker does not tell is not
// in the result. The error means that the cluster tells nothing; it is a *wire.DeniedError
// where this user may not ask.
func BrokerSettings(ctx context.Context, c *wire.Client, topics map[string]Info, keys ...string) (found map[string]string, err error) {
	broker := int32(-1)
	for _, info := range topics {
		for _, p := range info.Partitions {
			broker = max(broker, p.Leader)
		}
	}
	if broker < 0 {
		return nil, fmt.Errorf("no broker is known that could be asked for %s", strings.Join(keys, ", "))
	}
	err = patiently(ctx, c, func(ctx context.Context) error {
		found, err = brokerSettings(ctx, c, strconv.Itoa(int(broker)), keys)
		return err
	})
	return found, err
}

func brokerSettings(ctx context.Context, c *wire.Client, broker string, keys []string) (map[string]string, error) {
	res, err := c.Kafka().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeBroker, ResourceName: broker, ConfigNames: keys},
	}})
	if err != nil {
		return nil, fmt.Errorf("describe the settings of broker %s: %w", broker, err)
	}
	found := make(map[string]string)
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("describe the settings of broker %s: %w", broker, wire.Denied(r.Error, wire.Right{Operation: "DescribeConfigs", Resource: "cluster", Name: "kafka-cluster"}))
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigValue != "" && slices.Contains(keys, e.ConfigName) {
				found[e.ConfigName] = e.ConfigValue
			}
		}
	}
	return found, nil
}
