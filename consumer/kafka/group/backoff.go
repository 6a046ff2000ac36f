package group

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

const (
	firstWait = 100 * time.Millisecond
	mostWait  = 2 * time.Second

	leastTimeout = time.Second / 10 // of a heartbeat at the end of the session
)

func newBackoff() *wire.Backoff { return &wire.Backoff{Least: firstWait, Most: mostWait} }

// jitter returns d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// transient reports whether an error says nothing about the membership: the
// coordinator is moving, is out of reach, or did not answer.
func transient(err error) bool {
	return wire.ClassOf(err) != wire.Membership && !errors.Is(err, kafka.UnsupportedVersion)
}
