package topic

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// Offsets that expire before the records that they stand for are a loss in waiting: an
// outage of eight days lost a day in silence. PROTOCOL R7.
func TestRetention(t *testing.T) {
	cluster := kafkatest.Fake(t, 3, kfake.BrokerConfigs(map[string]string{"offsets.retention.minutes": "1440"}))
	brokers := cluster.ListenAddrs()
	c := newClient(t, brokers)
	ask := func(t *testing.T, retention string) ([]string, error) {
		name := kafkatest.Topic(t, brokers, 2, map[string]string{"retention.ms": retention})
		infos, err := Describe(t.Context(), c, name)
		if err != nil {
			t.Fatal(err)
		}
		return App{Inputs: []string{name}}.Retention(t.Context(), c, infos)
	}
	for name, k := range map[string]struct {
		retention, want string // "": no warning
	}{
		"as long":  {"86400000", ""},
		"shorter":  {"60000", ""},
		"longer":   {"86400001", "for 24h0m0.001s"},
		"hours":    {"604800000", "for 168h, but the brokers keep the offsets of a group that is away only for 24h ("},
		"for ever": {"-1", "for ever"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask(t, k.retention)
			if err != nil || (len(got) == 0) != (k.want == "") {
				t.Fatalf("Retention with retention.ms=%s = %q, %v; want a warning: %t", k.retention, got, err, k.want != "")
			}
			for _, w := range got {
				if !strings.Contains(w, k.want) || !strings.Contains(w, "offsets.retention.minutes=1440") {
					t.Errorf("Retention with retention.ms=%s = %q; want %q and the brokers' setting", k.retention, w, k.want)
				}
			}
		})
	}
	t.Run("denied", func(t *testing.T) {
		for _, broker := range []string{"0", "1", "2"} {
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: broker, Err: kerr.ClusterAuthorizationFailed, Count: -1})
		}
		_, err := ask(t, "-1")
		if denied, ok := errors.AsType[*wire.DeniedError](err); !ok || denied.Operation != "DescribeConfigs" || denied.Resource != "cluster" {
			t.Errorf("Retention without the right to ask = %v; want what right it lacks", err)
		}
	})
}
