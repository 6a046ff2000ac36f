package topic

import (
	"errors"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
)

// refusing makes a cluster refuse topics that have a setting, or all of them, with a message.
func refusing(cluster *kfake.Cluster, key string, code *kerr.Error, message string) {
	cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := req.(*kmsg.CreateTopicsRequest)
		res := asked.ResponseKind().(*kmsg.CreateTopicsResponse)
		refused := false
		for _, t := range asked.Topics {
			answer := kmsg.NewCreateTopicsResponseTopic()
			answer.Topic = t.Topic
			for _, c := range t.Configs {
				if key == "" || c.Name == key {
					answer.ErrorCode, answer.ErrorMessage, refused = code.Code, &message, true
				}
			}
			res.Topics = append(res.Topics, answer)
		}
		return res, nil, refused
	})
}

// A service that manages Kafka may refuse each value of a setting. Where its default does
// as well, the setting is left to it; another refusal is a sentence that names the way out
// in the configuration.
func TestCreateUnderAPolicy(t *testing.T) {
	for _, key := range optional {
		cluster := kafkatest.Fake(t, 3)
		c, ctx := newClient(t, cluster.ListenAddrs()), kafkatest.Context(t)
		a := uniqueApp(t, c)
		a.CreateInput, a.Replication = true, 3
		refusing(cluster, key, kerr.PolicyViolation, "Config property '"+key+"' may not be set")
		if created, err := Create(ctx, c, a); err != nil || len(created) != 5 {
			t.Errorf("Create() where %s may not be set = %q, %v; want all topics", key, created, err)
		}
	}
	cluster := kafkatest.Fake(t, 3)
	c, ctx := newClient(t, cluster.ListenAddrs()), kafkatest.Context(t)
	a := uniqueApp(t, c)
	refusing(cluster, "", kerr.PolicyViolation, "Topic replication factor must be 3")
	created, err := Create(ctx, c, a)
	if len(created) > 0 || !errors.Is(err, kafka.PolicyViolation) {
		t.Fatalf("Create() against a policy = %q, %v; want POLICY_VIOLATION and nothing created", created, err)
	}
	for _, want := range []string{"POLICY_VIOLATION (44)", "Topic replication factor must be 3", "set topics.replication", "kafka-topics.sh --bootstrap-server "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Create() against a policy = %v; want %q", err, want)
		}
	}
}
