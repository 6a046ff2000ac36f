package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/wire"
)

// groupStatus is the group's assignment as Kafka knows it: no instance is asked. Its JSON
// only grows.
type groupStatus struct {
	App       string          `json:"app_id"`
	State     string          `json:"group_state"` // Kafka's name
	Instances []groupInstance `json:"instances"`
	Shards    []ownedShard    `json:"shards"`
	Inputs    []ownedInput    `json:"inputs"`
}

// groupInstance is a member of the group.
type groupInstance struct {
	Instance string             `json:"instance_id"`
	Member   string             `json:"member_id"`
	Host     string             `json:"host"`
	Shards   []int32            `json:"shards"`
	Inputs   map[string][]int32 `json:"inputs"` // partitions, by topic
}

// owned is the progress of one partition, and its owner.
type owned struct {
	Owner string `json:"owner,omitempty"` // instance_id; "": none
	Next  int64  `json:"next_offset"`     // committed; -1: none
	Lag   int64  `json:"lag_records"`
}

type ownedShard struct {
	Shard int32 `json:"shard"`
	owned
}

type ownedInput struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	owned
}

func showGroup(ctx context.Context, a *app, s *setup, client *wire.Client, asJSON bool) error {
	g, err := s.group(ctx, client)
	if err != nil {
		return err
	}
	if asJSON {
		return a.jsonLine(g)
	}
	return printGroup(a, g)
}

// group asks Kafka for the members of the group and its committed offsets.
func (s *setup) group(ctx context.Context, client *wire.Client) (*groupStatus, error) {
	app := s.topology()
	member := group.Member{Client: client, Group: app.ID}
	d, err := member.Describe(ctx)
	if err != nil {
		return nil, err
	}
	g := &groupStatus{App: app.ID, State: d.State, Instances: []groupInstance{}, Shards: []ownedShard{}, Inputs: []ownedInput{}}
	work := app.WorkTopic()
	owners := map[string]map[int32]string{} // by topic and partition
	for i := range d.Members {
		m := &d.Members[i]
		in := groupInstance{Instance: cmp.Or(m.Instance, m.ID), Member: m.ID, Host: strings.TrimPrefix(m.Host, "/"), Shards: []int32{}, Inputs: map[string][]int32{}}
		for topic, partitions := range m.Partitions {
			if owners[topic] == nil {
				owners[topic] = map[int32]string{}
			}
			for _, n := range partitions {
				owners[topic][n] = in.Instance
			}
			if topic == work {
				in.Shards = partitions
			} else {
				in.Inputs[topic] = partitions
			}
		}
		g.Instances = append(g.Instances, in)
	}
	// The inputs first: the records committed of them are in the work topic.
	for _, topic := range app.Inputs {
		lags, err := topicLags(ctx, client, s, "topics.input", topic)
		if err != nil {
			return nil, err
		}
		for _, p := range lags {
			g.Inputs = append(g.Inputs, ownedInput{topic, p.Partition, owned{owners[topic][p.Partition], p.Next, p.Lag}})
		}
	}
	lags, err := topicLags(ctx, client, s, "app_id", work)
	if err != nil {
		return nil, err
	}
	for _, p := range lags {
		g.Shards = append(g.Shards, ownedShard{p.Partition, owned{owners[work][p.Partition], p.Next, p.Lag}})
	}
	return g, nil
}

func topicLags(ctx context.Context, client *wire.Client, s *setup, key, topic string) ([]consumer.PartitionLag, error) {
	lags, err := consumer.Lags(ctx, client, s.topology(), topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) && key == "topics.input" {
		return nil, fmt.Errorf("%s: topic %s does not exist; correct the name, or create it with trailhound topics create --input-partitions N", key, topic)
	}
	return lags, noTopic(err, key, topic)
}

// orphans names the shards and partitions without an owner; "" if each has one.
func (g *groupStatus) orphans() string {
	var shards []int32
	inputs := map[string][]int32{}
	for _, h := range g.Shards {
		if h.Owner == "" {
			shards = append(shards, h.Shard)
		}
	}
	for _, in := range g.Inputs {
		if in.Owner == "" {
			inputs[in.Topic] = append(inputs[in.Topic], in.Partition)
		}
	}
	var all []string
	if len(shards) > 0 {
		all = append(all, "shards "+numbers(shards))
	}
	if len(inputs) > 0 {
		all = append(all, partitionNames(inputs))
	}
	return strings.Join(all, "; ")
}

func printGroup(a *app, g *groupStatus) error {
	w := a.columns(a.stdout)
	fmt.Fprintf(w, "app %s: %s, group %s\n", printable(g.App), counted(len(g.Instances), "instance"), g.State)
	if orphans := g.orphans(); orphans != "" {
		fmt.Fprintf(w, "no instance works on: %s\n", orphans)
	}
	if g.State == "PreparingRebalance" || g.State == "CompletingRebalance" {
		fmt.Fprintln(w, "the group shares out what there is; ask again in some seconds")
	}
	if len(g.Instances) > 0 {
		fmt.Fprint(w, "\nINSTANCE\tHOST\tSHARDS\tINPUTS\n")
	}
	for _, in := range g.Instances {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", brief(in.Instance), brief(in.Host), cmp.Or(numbers(in.Shards), "none"), cmp.Or(partitionNames(in.Inputs), "none"))
	}
	fmt.Fprint(w, "\nINPUT\tPARTITION\tNEXT\tLAG\tINSTANCE\n")
	for _, in := range g.Inputs {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", in.Topic, in.Partition, in.Next, in.Lag, brief(cmp.Or(in.Owner, "none")))
	}
	fmt.Fprint(w, "\nSHARD\tNEXT\tLAG\tINSTANCE\n")
	for _, h := range g.Shards {
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\n", h.Shard, h.Next, h.Lag, brief(cmp.Or(h.Owner, "none")))
	}
	return w.Flush()
}

// partitionNames names partitions of topics: cloudtrail 0-3,7.
func partitionNames(byTopic map[string][]int32) string {
	var all []string
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		all = append(all, brief(topic)+" "+numbers(byTopic[topic]))
	}
	return strings.Join(all, ", ")
}

// numbers writes sorted numbers, with ranges: 0-3,7.
func numbers(sorted []int32) string {
	var b strings.Builder
	for i := 0; i < len(sorted); {
		last := i
		for last+1 < len(sorted) && sorted[last+1] == sorted[last]+1 {
			last++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, sorted[i])
		if last > i {
			fmt.Fprintf(&b, "-%d", sorted[last])
		}
		i = last + 1
	}
	return b.String()
}
