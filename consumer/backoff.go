package consumer

import (
	"time"

	"trailhound/consumer/wire"
)

// backoffMost is the longest pause between attempts of what must go on for ever.
const backoffMost = 5 * time.Second

func newBackoff() *wire.Backoff {
	return &wire.Backoff{Least: 50 * time.Millisecond, Most: backoffMost}
}
