package consumer_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
)

// An instance that loses its rights does not end and gives nothing up: it is not ready,
// says which right is missing, and goes on when the right is granted again. PROTOCOL D6.
func TestServiceLosesRights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault func(*rig) kfake.Fault
		words func(*rig) []string
	}{
		{"read the input", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed}
		}, says("cannot be read", "TOPIC_AUTHORIZATION_FAILED")},
		{"write work", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.app.WorkTopic(), Err: kerr.TopicAuthorizationFailed}
		}, says("work partition 0 cannot be written to", "TOPIC_AUTHORIZATION_FAILED")},
		{"write alerts", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Topic: r.app.Alerts, Err: kerr.TopicAuthorizationFailed}
		}, func(r *rig) []string {
			return []string{"shard 0 is not ready", r.app.Alerts, "TOPIC_AUTHORIZATION_FAILED"}
		}},
		{"write the changelog", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.app.StateTopic(), Err: kerr.TopicAuthorizationFailed}
		}, says("shard 0 is not ready", "TOPIC_AUTHORIZATION_FAILED")},
		{"be in the group", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup}, Err: kerr.GroupAuthorizationFailed}
		}, says("not a member of the consumer group", "GROUP_AUTHORIZATION_FAILED")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster := kafkatest.Fake(t, 1)
			r := newRigOn(t, cluster.ListenAddrs(), 1, 1)
			in := r.start("only", disk(), nil)
			r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
			r.drain()
			fault := c.fault(r)
			fault.Count = -1
			taken := cluster.Fault(fault)
			r.send(&kgo.Record{Value: []byte(assume("1", "arn:r", "192.0.2.1", noon))})
			r.await("the instance to say what it lacks", in.unready(c.words(r)...))
			taken.Remove()
			r.drain()
			r.wantAlerts([]string{"assume_role_unique_ip 1"})
			r.await("the instance to be ready again", func() bool { return in.service.Ready() == nil })
		})
	}
}

func says(words ...string) func(*rig) []string { return func(*rig) []string { return words } }

// unready returns a condition: the instance is not ready, with a reason that has all of
// these words.
func (in *instance) unready(words ...string) func() bool {
	return func() bool {
		err := in.service.Ready()
		return err != nil && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(err.Error(), w) })
	}
}

// A full group takes no other member: the sentence names the brokers' setting, and the
// instance joins when another leaves.
func TestServiceGroupFull(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Fake(t, 1)
	r := newRigOn(t, cluster.ListenAddrs(), 1, 1)
	full := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupMaxSizeReached, Count: -1})
	var log bytes.Buffer
	in := r.start("only", disk(), func(s *consumer.Service) { s.Log = zerolog.New(zerolog.SyncWriter(&log)) })
	r.await("the instance to say that it is no member", in.unready("not a member of the consumer group", "GROUP_MAX_SIZE_REACHED"))
	full.Remove()
	r.await("the instance to join", func() bool { return in.service.Ready() == nil })
	in.shutdown()
	if text := log.String(); !strings.Contains(text, "group.max.size") {
		t.Errorf("the log of an instance that a full group refuses is\n%s\nwant group.max.size in it", text)
	}
}

// The alerts topic is gone, and comes back with another number of partitions: the shard
// waits meanwhile, and sends its alerts then.
func TestServiceAlertsTopicGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
	r.drain()
	kafkatest.Delete(t, r.brokers, r.app.Alerts)
	r.send(&kgo.Record{Value: []byte(assume("1", "arn:r", "192.0.2.1", noon))})
	r.await("the shard to say that the topic is missing", in.unready("shard 0 is not ready", r.app.Alerts))
	r.app.AlertPartitions = 1
	kafkatest.CreateTopic(t, r.brokers, r.app.Alerts, 1, nil)
	r.await("the alert", func() bool { return len(r.alerts()) > 0 })
	r.wantAlerts([]string{"assume_role_unique_ip 1"})
}

// A shard with commits that fail for good is taken again and again, each time later: every
// take costs the coordinator a fence and the changelog a claim. PROTOCOL D5, D6.
func TestServiceBacksOff(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Fake(t, 1)
	r := newRigOn(t, cluster.ListenAddrs(), 1, 1)
	r.start("only", disk(), nil)
	r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
	r.drain()
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Topic: r.app.Alerts, Err: kerr.TopicAuthorizationFailed, Count: -1})
	takes := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Observe: true, Count: -1})
	r.send(&kgo.Record{Value: []byte(assume("1", "arn:r", "192.0.2.1", noon))})
	r.await("the shard to be taken again", func() bool { return takes.Hits() > 0 })
	began, first := time.Now(), takes.Hits()
	const more = 6
	r.await("the shard to be taken several times", func() bool { return takes.Hits() >= first+more })
	// Pauses of 50 ms, 100 ms, 200 ms …, each less up to a half by chance.
	want := time.Duration(0)
	for i := range more {
		want += 50 * time.Millisecond << i / 2
	}
	if got := time.Since(began); got < want {
		t.Errorf("%d more takes in %s; want them to last %s at least", more, got, want)
	}
}
