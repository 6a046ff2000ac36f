package topic

import (
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/wire"
)

func newBackoff() *wire.Backoff {
	return &wire.Backoff{Least: 50 * time.Millisecond, Most: time.Second}
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
