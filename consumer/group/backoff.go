package group

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	firstWait = 100 * time.Millisecond
	mostWait  = 2 * time.Second

	leastTimeout = time.Second / 10 // of a heartbeat at the end of the session
)

// backoff spaces repetitions: doubling, with jitter, so that members that lost
// their coordinator together do not come back together. The zero value is ready.
type backoff struct{ last time.Duration }

func (b *backoff) reset() { b.last = 0 }

// next returns how long to wait now.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, firstWait), mostWait)
	return b.last/2 + rand.N(b.last/2)
}

// sleep waits; the error is that of ctx.
func (b *backoff) sleep(ctx context.Context) error {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter returns d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// transient reports whether an error says nothing about the membership: the
// coordinator is moving, is out of reach, or did not answer.
func transient(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return true
	}
	switch code {
	case kafka.RebalanceInProgress, kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.FencedInstanceID,
		kafka.InconsistentGroupProtocol, kafka.InvalidGroupId, kafka.UnsupportedVersion, kafka.GroupIdNotFound:
		return false
	}
	return true
}
