package kafkatest

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"trailhound/consumer/internal/race"
)

// bubbles counts the running bubbles of this process, for Bubble.
var bubbles struct {
	sync.Mutex
	n          int
	processors int // GOMAXPROCS without them
}

// Bubble runs a test in a testing/synctest bubble.
//
// All timers of a bubble share one context of the race detector, and any goroutine
// of the bubble may run one of them: two at a time break the detector's tables, and
// the detector ends the process (golang/go#78156). Under the race detector there is
// therefore one processor for as long as there are bubbles. The detector finds the same
// races: it goes by the happens-before order, not by events at the same time.
func Bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if race.Enabled {
		bubbles.Lock()
		if bubbles.n++; bubbles.n == 1 {
			bubbles.processors = runtime.GOMAXPROCS(1)
		}
		bubbles.Unlock()
		defer func() {
			bubbles.Lock()
			if bubbles.n--; bubbles.n == 0 {
				runtime.GOMAXPROCS(bubbles.processors)
			}
			bubbles.Unlock()
		}()
	}
	synctest.Test(t, test)
}
