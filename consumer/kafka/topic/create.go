package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"

	"trailhound/consumer/kafka/wire"
)

// Create creates those of the application's topics that are missing, inputs only with
// CreateInput, and waits until each of their partitions has a leader. It returns the names
// of the topics created, sorted. A topic that another client creates meanwhile is no error.
// Nothing is created unless the broker would accept all.
func Create(ctx context.Context, c *wire.Client, a App) ([]string, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	missing, err := a.missing(ctx, c)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	if err := settle(ctx, c, missing); err != nil {
		return nil, err
	}
	created, err := create(ctx, c, missing)
	if err != nil {
		return created, err
	}
	return created, awaitLeaders(ctx, c, missing)
}

// missing returns the topics that are to be created.
func (a App) missing(ctx context.Context, c *wire.Client) ([]Spec, error) {
	infos, err := Describe(ctx, c, append(a.outputs(), a.Inputs...)...)
	if err != nil {
		return nil, err
	}
	specs := a.Wanted(infos)
	if a.CreateInput {
		specs = append(specs, a.inputs()...)
	}
	return slices.DeleteFunc(specs, func(s Spec) bool {
		_, ok := infos[s.Name]
		return ok
	}), nil
}

// optional are settings that a cluster may not let clients set. The cluster's default does
// as well then; its value is checked once the topic is there.
var optional = []string{"unclean.leader.election.enable", minInsyncReplicas, "retention.bytes"}

// settle repeats dryRun without the optional settings that a refusal names: services that
// manage Kafka allow no value for some.
func settle(ctx context.Context, c *wire.Client, specs []Spec) error {
	for {
		err := dryRun(ctx, c, specs)
		if !errors.Is(err, kafka.PolicyViolation) && !errors.Is(err, kafka.InvalidConfiguration) {
			return err
		}
		left := false
		for _, key := range optional {
			if !strings.Contains(err.Error(), key+" ") && !strings.Contains(err.Error(), key+"'") && !strings.Contains(err.Error(), key+"=") {
				continue
			}
			for i := range specs {
				if s := &specs[i]; s.Config[key] != "" {
					delete(s.Config, key)
					s.omitted = append(s.omitted, key)
					left = true
				}
			}
		}
		if !left {
			return err
		}
	}
}

// dryRun asks the broker to check the topics without creating them, and learns the
// replication that its default comes to, which min.insync.replicas depends on.
func dryRun(ctx context.Context, c *wire.Client, specs []Spec) error {
	req := dryRunRequest{createtopics.Request{TimeoutMs: 30_000, ValidateOnly: true}}
	for _, s := range specs {
		t := createtopics.RequestTopic{Name: s.Name, NumPartitions: int32(s.Partitions), ReplicationFactor: int16(s.Replication)}
		for _, key := range slices.Sorted(maps.Keys(s.Config)) {
			t.Configs = append(t.Configs, createtopics.RequestConfig{Name: key, Value: s.Config[key]})
		}
		req.Topics = append(req.Topics, t)
	}
	r, err := c.Transport.RoundTrip(ctx, c.Addr, &req)
	if err != nil {
		return fmt.Errorf("ask the broker whether topics can be created: %w", err)
	}
	res, ok := r.(*dryRunResponse)
	if !ok {
		return fmt.Errorf("ask the broker whether topics can be created: it answered %T", r)
	}
	byName := make(map[string]createtopics.ResponseTopic, len(specs))
	for _, t := range res.Topics {
		byName[t.Name] = t
	}
	for i := range specs {
		s := &specs[i]
		t := byName[s.Name]
		if t.ErrorCode != 0 && kafka.Error(t.ErrorCode) != kafka.TopicAlreadyExists {
			return s.refused(ctx, c, kafka.Error(t.ErrorCode), t.ErrorMessage)
		}
		if s.Replication < 0 && s.needs != nil && t.ReplicationFactor > 0 && !slices.Contains(s.omitted, minInsyncReplicas) {
			s.setMinISR(int(t.ReplicationFactor))
		}
	}
	return nil
}

// dryRunRequest is a CreateTopics request with a response that kafka-go's Transport does
// not recognise: after a *createtopics.Response it waits for the topics to appear, which
// after a dry run they never do.
type dryRunRequest struct{ createtopics.Request }

type dryRunResponse struct{ *createtopics.Response }

// Split sends the request as it is.
func (r *dryRunRequest) Split(protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	return []protocol.Message{&r.Request}, r, nil
}

// Merge wraps the response.
func (r *dryRunRequest) Merge(_ []protocol.Message, results []interface{}) (protocol.Message, error) {
	m, err := protocol.Result(results[0])
	if err != nil {
		return nil, err
	}
	res, ok := m.(*createtopics.Response)
	if !ok {
		return nil, fmt.Errorf("the broker answered %T to CreateTopics", m)
	}
	return &dryRunResponse{res}, nil
}

// create creates topics and returns the names of those that were not there.
func create(ctx context.Context, c *wire.Client, specs []Spec) (created []string, err error) {
	req := new(kafka.CreateTopicsRequest)
	for _, s := range specs {
		t := kafka.TopicConfig{Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: s.Replication}
		for _, key := range slices.Sorted(maps.Keys(s.Config)) {
			t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: s.Config[key]})
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := c.Kafka().CreateTopics(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	for _, s := range specs {
		var code kafka.Error
		switch e := res.Errors[s.Name]; {
		case e == nil:
			created = append(created, s.Name)
		case errors.Is(e, kafka.TopicAlreadyExists):
		case errors.As(e, &code):
			err = errors.Join(err, s.refused(ctx, c, code, ""))
		default:
			err = errors.Join(err, fmt.Errorf("create topic %s: %w", s.Name, wire.Named(e)))
		}
	}
	slices.Sort(created)
	return created, err
}

// refused returns the sentence about a topic that the broker does not create.
func (s Spec) refused(ctx context.Context, c *wire.Client, code kafka.Error, message string) error {
	err := fmt.Errorf("create topic %s: %w", s.Name, wire.Named(code))
	if message != "" {
		err = fmt.Errorf("%w: %s", err, message)
	}
	switch code {
	case kafka.InvalidReplicationFactor:
		return fmt.Errorf("create topic %s: %s; set topics.replication to at most that in the configuration, or start more brokers: %w", s.Name, s.tooFewBrokers(ctx, c), wire.Named(code))
	case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		denied := &wire.DeniedError{Operation: "Create", Resource: "topic", Name: s.Name, Err: err}
		return fmt.Errorf("%w; or let somebody create it: %s", denied, s.command(c.Addr.String()))
	case kafka.PolicyViolation, kafka.InvalidConfiguration:
		return fmt.Errorf("%w; the cluster does not allow a topic like this: if it asks for another number of replicas, set topics.replication to that in the configuration; otherwise have the topic created by its administrator: %s", err, s.command(c.Addr.String()))
	case kafka.InvalidTopic:
		return fmt.Errorf("%w; a name that differs only in '.' and '_' may be taken: choose another", err)
	}
	return err
}

func (s Spec) tooFewBrokers(ctx context.Context, c *wire.Client) string {
	want := "the broker's default replication factor"
	if s.Replication > 0 {
		want = fmt.Sprintf("replication factor %d", s.Replication)
	}
	m, err := c.Kafka().Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
	if err != nil {
		return want + " is more than the cluster has brokers"
	}
	return fmt.Sprintf("%s is wanted, but the cluster has %s", want, plural(len(m.Brokers), "broker"))
}

// awaitLeaders waits until every partition of the topics has a leader.
func awaitLeaders(ctx context.Context, c *wire.Client, specs []Spec) error {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	wait := newBackoff()
	for {
		why := leaderless(ctx, c, names)
		if why == nil {
			return nil
		}
		if err := wait.Sleep(ctx); err != nil {
			return fmt.Errorf("wait for the leaders of new topics: %w (%w)", why, err)
		}
	}
}

// leaderless returns an error that names the first partition without a leader.
func leaderless(ctx context.Context, c *wire.Client, names []string) error {
	found, err := c.Topics(ctx, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := found[name]
		if t.Err != nil {
			return fmt.Errorf("topic %s: %w", name, t.Err)
		}
		if len(t.Partitions) == 0 {
			return fmt.Errorf("topic %s: %w", name, wire.Named(kafka.UnknownTopicOrPartition))
		}
		for _, p := range t.Partitions {
			if p.Leader < 0 || p.Err != nil {
				return fmt.Errorf("topic %s partition %d: %w", name, p.Index, wire.Named(kafka.LeaderNotAvailable))
			}
		}
		if err := answering(ctx, c, name, len(t.Partitions)); err != nil {
			return err
		}
	}
	return nil
}

// answering asks the leaders themselves: metadata names a broker as a leader shortly before
// the broker knows, and a transaction that meets such a partition can hang for as long as
// its time-out.
func answering(ctx context.Context, c *wire.Client, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	req := kafka.ListOffsetsRequest{Topics: make(map[string][]kafka.OffsetRequest)}
	for p := range partitions {
		req.Topics[topic] = append(req.Topics[topic], kafka.LastOffsetOf(p))
	}
	res, err := c.Kafka().ListOffsets(ctx, &req)
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, wire.Named(p.Error))
		}
	}
	return nil
}
