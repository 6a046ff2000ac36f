package consumer_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
)

// Compaction deleted events before they were read, and alerts after they were written, and
// the service called itself ready. PROTOCOL R10.
func TestServiceCompactedTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	set := func(name, policy string) {
		r.alter(name, "cleanup.policy", policy)
		r.await("the broker to know the policy", func() bool {
			infos, err := topic.Describe(r.Context(), r.client, name)
			return err == nil && infos[name].Config["cleanup.policy"] == policy
		})
	}
	for _, c := range []struct{ topic, policy string }{
		{r.app.Inputs[0], "compact"}, {r.app.Inputs[0], "compact,delete"}, {r.app.Alerts, "compact,delete"}, {r.app.DeadLetter, "compact"},
	} {
		before := r.traces()
		set(c.topic, c.policy)
		r.start("refused", disk(), nil).wantStop(c.topic, "cleanup.policy="+c.policy, "compaction deletes", "--accept-loss")
		if after := r.traces(); after["members"] != 0 || after[r.app.StateTopic()] != before[r.app.StateTopic()] {
			t.Errorf("a start refused for cleanup.policy=%s of %s leaves %v; want %v", c.policy, c.topic, after, before)
		}
		accepted := r.start("accepted", disk(), func(s *consumer.Service) { s.Accept.Loss = true; s.LeaveOnStop = true })
		r.await("the accepted instance to work", func() bool { return accepted.service.Ready() == nil })
		if got := accepted.service.Status().Topics; len(got) != 1 || !strings.Contains(got[0], c.topic) {
			t.Errorf("Status().Topics = %q with cleanup.policy=%s of %s; want a sentence", got, c.policy, c.topic)
		}
		accepted.shutdown()
		set(c.topic, "delete")
	}
}

// withoutIDs makes a cluster of one broker answer without topic ids: with zeros (Metadata
// v10 at an inter.broker.protocol.version below 2.8). The answer leaves out topics with
// more than one partition.
func withoutIDs(t *testing.T, cluster *kfake.Cluster) {
	t.Helper()
	host, port, err := net.SplitHostPort(cluster.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := req.(*kmsg.MetadataRequest)
		if asked.Version != 10 {
			return nil, nil, false // kafka-go's or franz-go's own
		}
		res := asked.ResponseKind().(*kmsg.MetadataResponse)
		broker := kmsg.NewMetadataResponseBroker()
		broker.Host, broker.Port = host, int32(number)
		res.Brokers = append(res.Brokers, broker)
		for _, about := range asked.Topics {
			topic, p := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopicPartition()
			topic.Topic = about.Topic
			p.Replicas, p.ISR = []int32{0}, []int32{0}
			topic.Partitions = append(topic.Partitions, p)
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
}

// A topic id of zero is unknown: two inputs without ids were one to the state, and all
// alerts of the second were missing. PROTOCOL R10.
func TestServiceWithoutTopicIDs(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Fake(t, 1)
	r := newRigOn(t, cluster.ListenAddrs(), 1, 1)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	withoutIDs(t, cluster)
	in := r.start("only", disk(), nil)
	select {
	case err := <-in.done:
		in.done <- nil
		if err == nil || !strings.Contains(err.Error(), "topic id of topic "+r.app.Inputs[0]) || !strings.Contains(err.Error(), "inter.broker.protocol.version") {
			t.Errorf("Run() without topic ids = %v; want a sentence that names the topic and the way out", err)
		}
	case <-time.After(patience):
		t.Fatal("Run() works without topic ids; want it to stop")
	}
	if lag, err := consumer.Lag(t.Context(), r.client, r.app); err != nil || lag != 1 {
		t.Errorf("Lag() = %d, %v after a refused start; want 1", lag, err)
	}
}

// A clean-up policy that is changed while the service runs is reported until it is mended.
func TestTopicsAreWatched(t *testing.T) {
	inBubble(t, 1, 1, func(w *bubble) {
		in := w.start("only", vfs.NewCrashableMem(), trap{})
		w.await("the instance to be ready", func() bool { return in.service.Ready() == nil })
		set := func(policy string) {
			r := rig{TB: w.TB, produce: w.produce}
			r.alter("input", "cleanup.policy", policy)
		}
		set("compact,delete")
		w.await("the instance to tell", func() bool { return len(in.service.Status().Topics) == 1 })
		if got := in.service.Status(); got.Ready || !strings.Contains(got.Missing, "topic input has cleanup.policy=compact,delete") || got.Topics[0] != got.Missing {
			t.Errorf("Status() = %+v; want it not to be ready for the policy, with its sentence", got)
		}
		set("delete")
		w.await("the instance to see that it was mended", func() bool { return len(in.service.Status().Topics) == 0 })
		if err := in.service.Ready(); err != nil {
			t.Errorf("Ready() = %v after the policy was mended; want nil", err)
		}
		in.shutdown()
	})
}

// A setting that makes the work or the state topic lose records is reported too, unless the
// run began with it.
func TestOwnTopicsAreWatched(t *testing.T) {
	inBubble(t, 1, 1, func(w *bubble) {
		in := w.start("only", vfs.NewCrashableMem(), trap{})
		w.await("the instance to be ready", func() bool { return in.service.Ready() == nil })
		r := rig{TB: w.TB, produce: w.produce}
		for _, c := range []struct{ topic, key, wrong, right string }{
			{in.service.App.WorkTopic(), "retention.ms", "3600000", "-1"},
			{in.service.App.WorkTopic(), "cleanup.policy", "compact", "delete"},
			{in.service.App.StateTopic(), "cleanup.policy", "delete", "compact"},
			{in.service.App.Alerts, "cleanup.policy", "compact", "delete"},
			{in.service.App.DeadLetter, "cleanup.policy", "delete,compact", "delete"},
		} {
			r.alter(c.topic, c.key, c.wrong)
			w.await("the instance to tell", func() bool { return in.service.Ready() != nil })
			if err := in.service.Ready(); !strings.Contains(err.Error(), "topic "+c.topic+" has "+c.key+"="+c.wrong) {
				t.Errorf("Ready() = %v with %s=%s of %s; want its sentence", err, c.key, c.wrong, c.topic)
			}
			r.alter(c.topic, c.key, c.right)
			w.await("the instance to see that it was mended", func() bool { return in.service.Ready() == nil })
		}
		in.shutdown()
	})
}
