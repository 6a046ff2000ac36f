package consumer

import (
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
)

// An opening that makes no progress is handed back. Three are not: one that waits for a
// turn that comes round, one that is done, and one that a broker refuses: another instance
// would get the same answer.
func TestOpeningStuck(t *testing.T) {
	var others atomic.Uint64
	refused := error(kafka.TopicAuthorizationFailed)
	for name, tt := range map[string]struct {
		last func(*opening) // before the last look
		want bool
	}{
		"no progress": {func(*opening) {}, true},
		"its turn":    {func(o *opening) { o.pulse.waiting(&others, stepOpen); others.Add(1) }, false},
		"no turn":     {func(o *opening) { o.pulse.at(stepWait) }, true},
		"opened":      {func(o *opening) { o.pulse.beat() }, false},
		"refused":     {func(o *opening) { o.tries.lasting.Store(&refused) }, false},
	} {
		o := &opening{tries: newAttempts(nil)}
		o.pulse.at(stepOpen)
		for range handBackLooks - 1 {
			if o.look(); o.stuck(handBackLooks) {
				t.Fatalf("%s: stuck() = true after too few looks", name)
			}
		}
		tt.last(o)
		if o.look(); o.stuck(handBackLooks) != tt.want {
			t.Errorf("%s: stuck() = %t, want %t", name, !tt.want, tt.want)
		}
	}
}
