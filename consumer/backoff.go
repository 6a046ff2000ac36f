package consumer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
)

// backoffMost is the longest pause between attempts that must go on for ever.
const backoffMost = 5 * time.Second

// troubled is the number of failures in a row, a second or so, after which an instance is
// not ready; shorter trouble needs no operator.
const troubled = 5

// attempts paces the retries of an operation and logs its failures. All but trouble is for
// one goroutine.
type attempts struct {
	pause    wire.Backoff
	failures int                   // in a row
	part     *admin.Component      // counts the failures; nil: they are not counted
	lasting  atomic.Pointer[error] // the last failure, if there were troubled of them
}

func newAttempts(part *admin.Component) *attempts {
	return &attempts{pause: wire.Backoff{Least: 50 * time.Millisecond, Most: backoffMost}, part: part}
}

// failed notes a failure and begins the line that tells about it: the first one,
// the second, the fourth and so on, so that an outage of hours takes few lines. In
// between it returns nil, which logs nothing.
func (a *attempts) failed(log *zerolog.Logger, err error) *zerolog.Event {
	a.failures++
	if a.part != nil {
		a.part.Failures.Inc()
	}
	if a.failures >= troubled {
		a.lasting.Store(&err)
	}
	if a.failures&(a.failures-1) != 0 {
		if a.part != nil {
			a.part.Suppressed.Inc()
		}
		return nil
	}
	e := log.Warn().Err(err).Int("attempt", a.failures) //nolint:zerologlint // the caller says what failed, and sends it
	if r := remedy(err); r != "" {
		e = e.Str("remedy", r)
	}
	return e
}

// succeeded makes the next failure the first one again.
func (a *attempts) succeeded() {
	if a.failures == 0 {
		return
	}
	a.failures = 0
	a.lasting.Store(nil)
	a.pause.Reset()
}

// sleep waits before the next attempt; its error is that of ctx.
func (a *attempts) sleep(ctx context.Context) error { return a.pause.Sleep(ctx) }

// trouble returns the last error of attempts that have failed for a while; nil: the last
// one succeeded, or failures are few. It is safe for concurrent use.
func (a *attempts) trouble() error {
	if err := a.lasting.Load(); err != nil {
		return *err
	}
	return nil
}

// coordinatorTries is how often the coordinator of a group may be loading, moving or not
// there yet before that is news: some seconds, in which a new cluster makes
// __consumer_offsets.
const coordinatorTries = 9

func coordinatorComes(err error) bool {
	return errors.Is(err, kafka.GroupLoadInProgress) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) || errors.Is(err, kafka.NotCoordinatorForGroup)
}

// remedy returns the operator's action that ends an error which a broker gives until then;
// "" if waiting is enough.
func remedy(err error) string {
	if _, ok := errors.AsType[*wire.DeniedError](err); ok {
		return "grant the right that the error names; trailhound acls print has all that an account needs"
	}
	if _, ok := errors.AsType[*wire.CredentialError](err); ok {
		return "what kafka.sasl or kafka.tls names cannot be had: see the error"
	}
	if none, ok := errors.AsType[*wire.NoTransactionsError](err); ok {
		return none.Error()
	}
	switch {
	case errors.Is(err, kafka.GroupMaxSizeReached):
		return "the consumer group has as many members as the brokers allow (group.max.size): raise that, or run fewer instances; this one joins when another leaves"
	case errors.Is(err, kafka.InvalidTransactionTimeout):
		return "kafka.transaction_timeout is more than the brokers allow (transaction.max.timeout.ms): lower the one, or raise the other"
	case errors.Is(err, kafka.UnsupportedVersion), errors.Is(err, wire.ErrUnsupported):
		return "the brokers are too old or lack what is needed: Apache Kafka 2.8 or newer, with transactions"
	case errors.Is(err, kafka.PolicyViolation):
		return "a policy of the cluster stands against it: ask its administrator"
	case errors.Is(err, kafka.UnknownTopicOrPartition), errors.Is(err, kafka.UnknownTopicID):
		return "a topic is missing, or has fewer partitions than before: create it again with trailhound topics create; if it is there, this principal has lost its rights on it"
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return "check kafka.sasl: the brokers do not take what this client shows them any more: user name, password or token"
	case errors.Is(err, kafka.NotEnoughReplicas), errors.Is(err, kafka.NotEnoughReplicasAfterAppend):
		return "fewer replicas are in sync than min.insync.replicas asks for: bring the brokers back that are down"
	}
	return refusal(err)
}
