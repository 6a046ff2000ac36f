package topic

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

func newBackoff() *wire.Backoff {
	return &wire.Backoff{Least: 50 * time.Millisecond, Most: time.Second}
}

// A look-up is harmless and has time: other brokers name a dead one for as long as
// broker.session.timeout.ms, 9 s unless configured otherwise, and a broker may not know yet
// of a topic that another has just created.
const (
	patience     = 15 * time.Second
	missingFor   = 3 * time.Second // after which a topic that no broker knows counts as missing
	lookUpWithin = 5 * time.Second // of one attempt
)

// patiently repeats a look-up until it succeeds, or fails for good, or patience is at its
// end. It refreshes the list of brokers before each repetition.
func patiently(ctx context.Context, c *wire.Client, lookUp func(context.Context) error) error {
	wait := newBackoff()
	for began := time.Now(); ; {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
			defer cancel()
			return lookUp(ctx)
		}()
		limit := patience
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			limit = missingFor
		}
		if err == nil || !wire.Retriable(err) || time.Since(began) > limit || wait.Sleep(ctx) != nil {
			return err
		}
		c.Refresh(ctx)
	}
}
