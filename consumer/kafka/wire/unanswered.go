package wire

import (
	"fmt"
	"sync"
	"time"
)

// underWay holds the requests that wait for an answer.
type underWay struct {
	mu    sync.Mutex
	calls map[*call]time.Time // when the answer is due at once, or at the end of the wait asked for
}

func (u *underWay) begin(k *call, wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == nil {
		u.calls = make(map[*call]time.Time)
	}
	u.calls[k] = time.Now().Add(wait)
}

func (u *underWay) end(k *call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.calls, k)
}

// Unanswered names the request that has waited longest for its answer, beyond the wait that
// it asked the broker for, and the broker; "": none has waited for least.
func (c *Client) Unanswered(least time.Duration) string {
	c.under.mu.Lock()
	defer c.under.mu.Unlock()
	now := time.Now()
	var oldest *call
	for k, due := range c.under.calls {
		if now.Sub(due) >= least && (oldest == nil || due.Before(c.under.calls[oldest])) {
			oldest = k
		}
	}
	if oldest == nil {
		return ""
	}
	took := now.Sub(c.under.calls[oldest]).Truncate(time.Second)
	if broker := oldest.broker.Load(); broker > 0 {
		return fmt.Sprintf("broker %d has not answered for %s: %s", broker-1, took, oldest.request)
	}
	return fmt.Sprintf("no broker has answered for %s: %s", took, oldest.request)
}
