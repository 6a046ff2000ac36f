package topic

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
)

// backoff spaces repetitions: doubling from 50 ms to 1 s, with jitter. The zero
// value is ready.
type backoff struct{ last time.Duration }

// sleep waits; the error is that of ctx.
func (b *backoff) sleep(ctx context.Context) error {
	b.last = min(max(2*b.last, 50*time.Millisecond), time.Second)
	t := time.NewTimer(b.last/2 + rand.N(b.last/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing reports whether an error may be gone in a moment: a leader that moves, a
// topic so new that not all brokers know it, a connection that was closed.
func passing(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return true
	}
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.BrokerNotAvailable,
		kafka.ReplicaNotAvailable, kafka.RequestTimedOut, kafka.NetworkException, kafka.KafkaStorageError,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.OffsetNotAvailable, kafka.NotController:
		return true
	}
	return false
}
