package wire

import (
	"context"
	"time"
)

// mostThrottled bounds how long a throttled request waits before it is sent again. The
// broker names the rest of its quota window, which is some seconds unless configured
// otherwise (quota.window.num × quota.window.size.seconds).
const mostThrottled = time.Minute

// throttle reads throttle_time_ms. A broker whose quota this client has used up answers
// at once, a fetch with no partitions at all, and reads nothing more from the connection
// for that time (KIP-219).
func (r *reader) throttle() time.Duration {
	return min(max(time.Duration(r.int32())*time.Millisecond, 0), mostThrottled)
}

// waitOut waits for as long as the broker throttles this client; its error is that of ctx.
func waitOut(ctx context.Context, throttled time.Duration) error {
	t := time.NewTimer(throttled)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
