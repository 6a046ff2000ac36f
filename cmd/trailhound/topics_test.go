package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/topic"
)

// Create makes the missing topics, once; check reports each missing or wrong topic in a
// line.
func TestTopics(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 0)
		all := slices.Sorted(slices.Values(append(s.app.Inputs, s.app.Alerts, s.app.DeadLetter, s.app.WorkTopic(), s.app.StateTopic())))
		r := s.command("", "topics", "check")
		if r.code != exitFailed || r.stdout != "" || len(lines(r.stderr)) != len(all) {
			t.Errorf("topics check of nothing = %d, %q, %q; want 1 and a line for each of %q", r.code, r.stdout, r.stderr, all)
		}
		for _, line := range lines(r.stderr) {
			if !strings.HasPrefix(line, "trailhound: ") || !strings.Contains(line, " does not exist. To mend it: ") {
				t.Errorf("topics check says %q; want what is missing and how to mend it", line)
			}
		}
		r = s.must("", "topics", "create")
		if got, want := lines(r.stdout), slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == s.app.Inputs[0] }); !slices.Equal(got, want) {
			t.Errorf("topics create creates %q; want all but the input, %q", got, want)
		}
		if r := s.command("", "topics", "check"); r.code != exitFailed || len(lines(r.stderr)) != 1 || !strings.Contains(r.stderr, "input topic "+s.app.Inputs[0]+" does not exist") {
			t.Errorf("topics check without input = %d, %q; want 1 and the input missing", r.code, r.stderr)
		}
		if r := s.must("", "topics", "create", "--input-partitions", "3"); r.stdout != s.app.Inputs[0]+"\n" {
			t.Errorf("topics create --input-partitions 3 creates %q; want the input", r.stdout)
		}
		for range 2 {
			if r := s.must("", "topics", "create", "--input-partitions", "5"); r.stdout+r.stderr != "" {
				t.Errorf("topics create with everything there = %q, %q; want nothing", r.stdout, r.stderr)
			}
		}
		if r := s.must("", "topics", "check"); r.stdout != "the topics are as the service needs them\n" || r.stderr != "" {
			t.Errorf("topics check = %q, %q; want that all is well", r.stdout, r.stderr)
		}
		infos, err := topic.Describe(t.Context(), s.client, s.app.Inputs[0])
		if n := len(infos[s.app.Inputs[0]].Partitions); err != nil || n != 3 {
			t.Errorf("the input has %d partitions, %v; want 3", n, err)
		}
		r = s.command("", "topics", "check", "--set", "shards=4")
		if r.code != exitFailed || len(lines(r.stderr)) != 2 || strings.Count(r.stderr, " has 8 partitions, but shards is 4") != 2 {
			t.Errorf("topics check --set shards=4 = %d, %q; want 1 and a line for the work and the state topic", r.code, r.stderr)
		}
		r = s.command("", "topics", "create", "--set", "shards=4")
		if r.code != exitFailed || r.stdout != "" || strings.Count(r.stderr, " has 8 partitions, but shards is 4") != 2 || !strings.Contains(r.stderr, "operations.md#changing-the-number-of-shards") {
			t.Errorf("topics create --set shards=4 = %d, %q, %q; want 1, the sentences of topics check and the way to another number", r.code, r.stdout, r.stderr)
		}
		if r := s.command("", "topics", "create", "--input-partitions", "-1"); r.code != exitUsage || len(lines(r.stderr)) != 1 {
			t.Errorf("topics create --input-partitions -1 = %d, %q; want 2 and one line", r.code, r.stderr)
		}
	})
}

// run creates no topic as long as another thing is wrong, and never with
// topics.create=false.
func TestRunSettlesTopics(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
	existing := func() []string {
		var names []string
		for _, name := range append(s.app.Inputs, s.app.Alerts, s.app.DeadLetter, s.app.WorkTopic(), s.app.StateTopic()) {
			if infos, err := topic.Describe(t.Context(), s.client, name); err != nil || len(infos) > 0 {
				names = append(names, fmt.Sprint(name, err))
			}
		}
		return names
	}
	r := s.command("", "run")
	if got := existing(); r.code != exitFailed || len(lines(r.stderr)) != 1 || !strings.Contains(r.stderr, "input topic "+s.app.Inputs[0]+" does not exist") || len(got) > 0 {
		t.Errorf("run without input = %d, %q, and there is %q; want 1, one line and no topics", r.code, r.stderr, got)
	}
	newTopic(t, s.brokers, s.app.Inputs[0], 1)
	if r := s.command("", "run", "--set", "topics.create=false"); r.code != exitFailed || len(lines(r.stderr)) != 4 || len(existing()) != 1 {
		t.Errorf("run --set topics.create=false = %d, %q; want 1 and a line for each of four topics", r.code, r.stderr)
	}
	p := s.call("run")
	s.await("the service to start", func() bool { return p.stderr.has(`"message":"started"`) })
	if code := p.end(); code != exitDone || len(existing()) != 5 {
		t.Errorf("run = %d, and there is %q; want 0 and all topics", code, existing())
	}
	if r := s.command("", "run", "--set", "shards=4"); r.code != exitFailed || len(lines(r.stderr)) != 2 || !strings.Contains(r.stderr, "set shards: 8 in the configuration") {
		t.Errorf("run --set shards=4 = %d, %q; want 1 and a line for the work and the state topic", r.code, r.stderr)
	}
}

// Topics with Kafka's defaults, as platform teams hand them out, are accepted for alerts
// and dead letters, with a note; those of the protocol are refused, and --alter mends all.
func TestTopicsAlter(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 0)
		newTopic(t, s.brokers, s.app.Inputs[0], 1)
		newTopic(t, s.brokers, s.app.Alerts, 1)
		newTopic(t, s.brokers, s.app.DeadLetter, 1)
		s.must("", "topics", "create")
		r := s.must("", "topics", "check")
		if notes := lines(r.stderr); r.stdout != "the topics are as the service needs them\n" || len(notes) != 2 ||
			!strings.HasPrefix(notes[0], "note: topic "+s.app.Alerts+" has max.message.bytes=1048588: an alert that does not fit") ||
			!strings.HasPrefix(notes[1], "note: topic "+s.app.DeadLetter+" has max.message.bytes=1048588: a dead letter that does not fit") {
			t.Errorf("topics check with default topics = %q, %q; want them taken, and a note for each", r.stdout, r.stderr)
		}
		p := s.call("run")
		s.await("the service to start", func() bool { return p.stderr.has(`"message":"started"`) })
		if !p.stderr.has(`"event":"topic_takes_less"`) {
			t.Error("run with default topics does not say that they take less")
		}
		if code := p.end(); code != exitDone {
			t.Errorf("run with default topics = %d; want 0", code)
		}
		r = s.must("", "topics", "create", "--alter")
		want := s.app.Alerts + " max.message.bytes: 1048588 -> 1114124\n" + s.app.DeadLetter + " max.message.bytes: 1048588 -> 1114124\n"
		if r.stdout != want {
			t.Errorf("topics create --alter prints %q, %q; want %q", r.stdout, r.stderr, want)
		}
		s.await("the change to be known", func() bool { return s.command("", "topics", "check").stderr == "" })
		if r := s.must("", "topics", "create", "--alter"); r.stdout+r.stderr != "" {
			t.Errorf("topics create --alter again = %q, %q; want nothing to do", r.stdout, r.stderr)
		}
	})
}

// Default topics under the names of the work and the state topic are refused. The error
// names the command that mends them, and that command mends all but the number of
// partitions.
func TestTopicsAlterOwn(t *testing.T) {
	t.Parallel()
	cluster := fakeCluster(t)
	s := newSite(t, cluster.ListenAddrs(), 0)
	newTopic(t, s.brokers, s.app.Inputs[0], 1)
	newTopic(t, s.brokers, s.app.WorkTopic(), 8)
	newTopic(t, s.brokers, s.app.StateTopic(), 8)
	r := s.command("", "topics", "create")
	if r.code != exitFailed || !strings.Contains(r.stderr, "topic "+s.app.StateTopic()+" has cleanup.policy=delete") || !strings.Contains(r.stderr, "trailhound topics create --alter") {
		t.Errorf("topics create beside wrong topics = %d, %q; want 1, what is wrong, and --alter", r.code, r.stderr)
	}
	denied := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Err: kerr.TopicAuthorizationFailed, Count: 2})
	r = s.command("", "topics", "create", "--alter")
	if r.code != exitFailed || denied.Hits() != 2 || !strings.Contains(r.stderr, "not authorized: AlterConfigs on topic "+s.app.WorkTopic()) ||
		!strings.Contains(r.stderr, "kafka-configs.sh --bootstrap-server "+s.brokers[0]) || !strings.Contains(r.stderr, "retention.ms=-1") {
		t.Errorf("topics create --alter without the right = %d, %q; want 1, the right and the command", r.code, r.stderr)
	}
	r = s.must("", "topics", "create", "--alter")
	for _, want := range []string{s.app.StateTopic() + " cleanup.policy: delete -> compact", s.app.WorkTopic() + " message.timestamp.type: CreateTime -> LogAppendTime", s.app.WorkTopic() + " retention.ms: 604800000 -> -1"} {
		if !slices.Contains(lines(r.stdout), want) {
			t.Errorf("topics create --alter prints %q; want %q among it", r.stdout, want)
		}
	}
	if r := s.must("", "topics", "check"); r.stderr != "" {
		t.Errorf("topics check after --alter says %q; want nothing", r.stderr)
	}
	r = s.command("", "topics", "create", "--alter", "--set", "shards=4")
	if r.code != exitFailed || r.stdout != "" || strings.Count(r.stderr, " has 8 partitions, but shards is 4") != 2 {
		t.Errorf("topics create --alter --set shards=4 = %d, %q, %q; want 1 and the partitions untouched", r.code, r.stdout, r.stderr)
	}
}
