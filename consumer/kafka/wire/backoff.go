package wire

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the pause between attempts: it doubles from Least to Most, less up to a half
// by chance, so that clients that wait for the same broker do not ask it together. Both
// fields are set before the first use.
type Backoff struct {
	Least, Most time.Duration
	last        time.Duration
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, b.Least), b.Most)
	return b.last/2 + rand.N(b.last/2+1)
}

// Sleep waits; its error is that of ctx.
func (b *Backoff) Sleep(ctx context.Context) error {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset makes the next pause the shortest again.
func (b *Backoff) Reset() { b.last = 0 }
