package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/wire"
)

func TestAuthentication(t *testing.T) {
	cluster := kafkatest.Fake(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "secret"), kfake.SeedTopics(1, "t"))
	good := wire.NewClient(cluster.ListenAddrs(), nil, nil, plain.Mechanism{Username: "user", Password: "secret"})
	defer good.Close()
	if err := produce(t, good, "t", 0, "v"); err != nil {
		t.Errorf("Produce with the right password = %v; want nil", err)
	}
	bad := wire.NewClient(cluster.ListenAddrs(), nil, nil, plain.Mechanism{Username: "user", Password: "guess"})
	defer bad.Close()
	// A real broker says SASL_AUTHENTICATION_FAILED; this one closes the connection.
	// Either way nothing has been sent, and that is what the error must tell.
	_, fetched := fetch(t, bad, "t", 0, 0)
	_, asked := bad.Topics(t.Context())
	for call, err := range map[string]error{"Produce": produce(t, bad, "t", 0, "v"), "Fetch": fetched, "Topics": asked} {
		var unanswered *wire.NoAnswerError
		if err == nil || errors.As(err, &unanswered) || !strings.Contains(err.Error(), "sent") {
			t.Errorf("%s with a wrong password = %v; want an error that says that nothing was sent", call, err)
		}
	}
}
