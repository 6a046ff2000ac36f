package topic

import (
	"context"
	"fmt"
	"strconv"

	"trailhound/consumer/kafka/wire"
)

// Problem is a fault of a topic that has to be mended before work can start.
type Problem struct {
	Topic   string
	What    string // a sentence: the setting, its value, the value that it must have, and the reason
	Remedy  string // a command or a change of the configuration
	Missing bool   // the topic does not exist
	Loss    bool   // the topic loses records, which may be accepted (--accept-loss)

	key, value string // setting that mends it; "": no setting does
}

// String returns the fault and the remedy.
func (p Problem) String() string {
	return p.What + ". To mend it: " + p.Remedy
}

// Check returns the faults of the application's topics, missing ones included. The error
// means that the cluster could not be asked, or that a contradicts itself.
func Check(ctx context.Context, c *wire.Client, a App) ([]Problem, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	infos, err := Describe(ctx, c, append(a.outputs(), a.Inputs...)...)
	if err != nil {
		return nil, err
	}
	return a.problems(infos, c.Addr.String()), nil
}

func (a App) problems(infos map[string]Info, brokers string) []Problem {
	var problems []Problem
	for _, s := range a.inputs() {
		if info, ok := infos[s.Name]; ok {
			problems = append(problems, unidentified(info)...)
			if p, wrong := s.problem(notCompacted(inputCompacted), info, brokers); wrong {
				problems = append(problems, p)
			}
		} else {
			problems = append(problems, Problem{Topic: s.Name, Missing: true,
				What:   fmt.Sprintf("input topic %s does not exist", s.Name),
				Remedy: "correct topics.input in the configuration, or create it: " + s.command(brokers)})
		}
	}
	for _, s := range a.Wanted(infos) {
		info, ok := infos[s.Name]
		if !ok {
			problems = append(problems, Problem{Topic: s.Name, Missing: true,
				What:   fmt.Sprintf("topic %s does not exist", s.Name),
				Remedy: "trailhound topics create, or " + s.command(brokers)})
			continue
		}
		problems = append(problems, s.problems(info, brokers)...)
	}
	return problems
}

// problem returns the fault of a setting; false if its value is right or not told.
func (s Spec) problem(n need, info Info, brokers string) (Problem, bool) {
	found, told := info.Config[n.key]
	if !told || n.ok(found) {
		return Problem{}, false
	}
	what := fmt.Sprintf("topic %s has %s=%s, but it must be %s: %s", s.Name, n.key, found, n.wanted, n.why)
	return Problem{Topic: s.Name, What: what, Remedy: s.alter(brokers, n.key, n.value), Loss: n.loss, key: n.key, value: n.value}, true
}

// problems returns the faults of a topic by the measure of its Spec.
func (s Spec) problems(info Info, brokers string) []Problem {
	var problems []Problem
	if s.vital {
		problems = unidentified(info)
	}
	add := func(what, remedy string) {
		problems = append(problems, Problem{Topic: s.Name, What: what, Remedy: remedy})
	}
	if n := len(info.Partitions); s.fixed && n != s.Partitions {
		add(fmt.Sprintf("topic %s has %s, but shards is %d, and the two must be equal for the life of the app_id, or keys would change their shard", s.Name, plural(n, "partition"), s.Partitions),
			fmt.Sprintf("set shards: %d in the configuration, or choose another app_id, or delete the topic if nothing was ever written to it; deploy/operations.md#changing-the-number-of-shards tells the way to another number", n))
	}
	for _, n := range s.needs {
		if p, wrong := s.problem(n, info, brokers); wrong {
			problems = append(problems, p)
		}
	}
	if s.vital && s.Replication > 0 && info.Replication < s.Replication {
		add(fmt.Sprintf("topic %s has replication factor %d, but %d is configured", s.Name, info.Replication, s.Replication),
			fmt.Sprintf("add replicas with kafka-reassign-partitions.sh, or set topics.replication: %d in the configuration", info.Replication))
	}
	if what, value := minISR(s, info); what != "" {
		problems = append(problems, Problem{Topic: s.Name, What: what, Remedy: s.alter(brokers, minInsyncReplicas, value), key: minInsyncReplicas, value: value})
	}
	return problems
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// minISR returns a sentence about a wrong min.insync.replicas, and the right value.
func minISR(s Spec, info Info) (what, value string) {
	n, err := strconv.Atoi(info.Config[minInsyncReplicas])
	switch {
	case err != nil || info.Replication == 0:
		return "", ""
	case n > info.Replication:
		return fmt.Sprintf("topic %s has min.insync.replicas=%d, but it must be at most %d, the number of its replicas: nothing could ever be written", s.Name, n, info.Replication),
			strconv.Itoa(max(1, info.Replication-1))
	case s.vital && info.Replication >= 3 && n < 2:
		return fmt.Sprintf("topic %s has min.insync.replicas=%d with %d replicas, but it must be at least 2: a record that one broker alone has would be gone with it", s.Name, n, info.Replication),
			"2"
	}
	return "", ""
}

// alter returns the commands that change a setting: our own, if the topic is the
// application's, and that of Kafka's own tool.
func (s Spec) alter(brokers, key, value string) string {
	own := ""
	if s.needs != nil {
		own = "trailhound topics create --alter, or "
	}
	return own + fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s=%s", brokers, s.Name, key, value)
}
