package topic

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// App names the topics of one application.
type App struct {
	ID         string // [a-z0-9_-]+: prefix of the internal topics, of the group and of transactional ids
	Shards     int    // partitions of the work and the state topic, for the life of ID
	Inputs     []string
	Alerts     string
	DeadLetter string

	AlertPartitions      int // for creation; 0: the broker's default
	DeadLetterPartitions int // for creation; 0: the broker's default
	Replication          int // of the topics to create; 0 or -1: the broker's default
	MaxAlertBytes        int // size of the largest alert; 0: as an input record

	CreateInput     bool // Create also creates missing inputs
	InputPartitions int  // of an input to create; 0: the broker's default
}

// WorkTopic returns the name of the topic that carries matching events to shards.
func (a App) WorkTopic() string { return a.ID + ".work" }

// StateTopic returns the name of the changelog of the shards' state.
func (a App) StateTopic() string { return a.ID + ".state" }

// outputs returns the topics that the application writes.
func (a App) outputs() []string {
	return []string{a.WorkTopic(), a.StateTopic(), a.Alerts, a.DeadLetter}
}

var (
	appID     = regexp.MustCompile(`^[a-z0-9_-]+$`)
	topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
)

// Validate returns a sentence about a contradiction within a, which no state of the cluster
// could resolve.
func (a App) Validate() error {
	if !appID.MatchString(a.ID) {
		// A dot ends the id in names, so that an ACL for the prefix "a." covers a alone.
		return fmt.Errorf("app id %q: use lower-case letters, digits, - and _, and at least one of them", a.ID)
	}
	if a.Shards < 1 {
		return fmt.Errorf("shards is %d: at least 1 is needed", a.Shards)
	}
	if len(a.Inputs) == 0 {
		return fmt.Errorf("no input topic is configured")
	}
	seen := make(map[string]bool)
	for _, name := range append(a.outputs(), a.Inputs...) {
		if !topicName.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("topic name %q: Kafka takes up to 249 letters, digits, '.', '_' and '-'", name)
		}
		if seen[name] {
			return fmt.Errorf("topic %s is configured for two purposes: inputs, alerts, dead letters, %s and %s must all be different", name, a.WorkTopic(), a.StateTopic())
		}
		seen[name] = true
	}
	return nil
}

// Spec is a topic as it should be.
type Spec struct {
	Name        string
	Partitions  int // -1: the broker's default
	Replication int // -1: the broker's default
	Config      map[string]string

	fixed bool // Partitions is a must also for a topic that is there
	vital bool // a topic of the protocol itself: its replication is checked

	omitted []string // settings that the cluster lets no client choose
	needs   []need
}

// need is a setting that a topic must have, lest something is lost.
type need struct {
	key    string
	value  string // to set
	wanted string // for people, when it is not value alone
	why    string
	loss   bool // the loss may be accepted
	ok     func(found string) bool
}

const (
	// Headroom is the margin of the output topics' message limits over those of the inputs:
	// headers, alert fields, the frame of a work record.
	Headroom = 64 << 10
	// InternalMessageBytes is the least max.message.bytes of the work and the state topic.
	InternalMessageBytes = 8 << 20
	// TombstoneLife is the least delete.retention.ms of the state topic. A local copy
	// of the state that is older than half of it is thrown away (PROTOCOL D9).
	TombstoneLife = 7 * 24 * time.Hour
)

// Wanted returns the topics that the application writes, as they should be. The
// message limits depend on those of the inputs, as far as inputs has them.
func (a App) Wanted(inputs map[string]Info) []Spec {
	largest := a.largest(inputs)
	work := a.spec(a.WorkTopic(), a.Shards, largest, InternalMessageBytes,
		exactly("cleanup.policy", "delete", "compaction would drop work that is not done yet"),
		exactly("message.timestamp.type", "LogAppendTime", "by their own time old events would expire at once"),
		exactly("retention.ms", "-1", "work is deleted when it is done, never by age"),
		exactly("retention.bytes", "-1", "work is deleted when it is done, never by size"),
		noUnclean)
	state := a.spec(a.StateTopic(), a.Shards, 0, InternalMessageBytes,
		exactly("cleanup.policy", "compact", "with any other policy state is lost"),
		atLeast("delete.retention.ms", TombstoneLife.Milliseconds(), "an instance that was away for less would bring deleted keys back"),
		noUnclean)
	work.fixed, work.vital, state.fixed, state.vital = true, true, true, true
	return []Spec{
		work, state,
		a.output(a.Alerts, a.AlertPartitions, max(largest, a.MaxAlertBytes)),
		a.output(a.DeadLetter, a.DeadLetterPartitions, largest),
	}
}

var noUnclean = exactly("unclean.leader.election.enable", "false", "a replica that lags behind would become leader and committed records would be gone")

// spec returns the Spec of a topic that takes records of the given size, and batches
// of at least the given size.
func (a App) spec(name string, partitions, record, batch int, needs ...need) Spec {
	if record > 0 {
		batch = max(batch, record+Headroom)
	}
	s := Spec{Name: name, Partitions: cmp.Or(partitions, -1), Replication: cmp.Or(a.Replication, -1), Config: make(map[string]string)}
	s.needs = append(needs, atLeast(maxMessageBytes, int64(min(batch, math.MaxInt32)), "a record made from the largest one that the inputs take would be refused"))
	for _, n := range s.needs {
		s.Config[n.key] = n.value
	}
	if s.Replication > 0 {
		s.setMinISR(s.Replication)
	}
	return s
}

// inputs returns the inputs as Create makes them when it is asked to.
func (a App) inputs() []Spec {
	var specs []Spec
	for _, name := range a.Inputs {
		specs = append(specs, Spec{Name: name, Partitions: cmp.Or(a.InputPartitions, -1), Replication: cmp.Or(a.Replication, -1), Config: make(map[string]string)})
	}
	return specs
}

const minInsyncReplicas = "min.insync.replicas"

// setMinISR chooses the number of replicas that must have a record before it counts as
// written: two where one may fail without stopping writes.
func (s *Spec) setMinISR(replication int) {
	n := 1
	if replication >= 3 {
		n = 2
	}
	s.Config[minInsyncReplicas] = strconv.Itoa(n)
}

// command returns the command line that creates the topic with Kafka's own tool.
func (s Spec) command(brokers string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-topics.sh --bootstrap-server %s --create --topic %s", brokers, s.Name)
	if s.Partitions > 0 {
		fmt.Fprintf(&b, " --partitions %d", s.Partitions)
	}
	if s.Replication > 0 {
		fmt.Fprintf(&b, " --replication-factor %d", s.Replication)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Config)) {
		fmt.Fprintf(&b, " --config %s=%s", key, s.Config[key])
	}
	return b.String()
}

func exactly(key, value, why string) need {
	return need{key: key, value: value, wanted: value, why: why, ok: func(found string) bool { return found == value }}
}

func atLeast(key string, value int64, why string) need {
	return need{
		key: key, value: strconv.FormatInt(value, 10), wanted: fmt.Sprintf("at least %d", value), why: why,
		ok: func(found string) bool {
			n, err := strconv.ParseInt(found, 10, 64)
			return err == nil && n >= value
		},
	}
}
