package kafkatest

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"trailhound/consumer/internal/race"
)

// bubbles counts those that run, as Bubble needs it.
var bubbles struct {
	sync.Mutex
	n          int
	processors int // GOMAXPROCS without them
}

// Bubble runs a test in a testing/synctest bubble.
//
// All timers of a bubble share one context of the race detector, and any goroutine
// of the bubble may run one of them: two at a time break the detector's tables, and
// it ends the process (golang/go#78156). Under the race detector there is therefore
// one processor for as long as there are bubbles. It finds the same races, since it
// goes by what happens before what and not by what happens at the same time.
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
