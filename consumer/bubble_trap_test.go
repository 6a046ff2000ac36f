package consumer_test

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// trap is what a test wants to see of an instance from its first moment on.
type trap struct {
	look func(*inhabitant, *exchange) verdict
	disk func(*inhabitant, errorfs.Op)
}

// swallowing is a trap that lets requests get lost while it is on, and their connections stay:
// those whose step begins with a kind of request, and, behind a blank, has a topic.
func swallowing(steps ...string) (on *atomic.Bool, t trap) {
	on = new(atomic.Bool)
	return on, trap{look: func(_ *inhabitant, x *exchange) verdict {
		lost := slices.ContainsFunc(steps, func(step string) bool {
			kind, topic, _ := strings.Cut(step, " ")
			return strings.HasPrefix(x.step, kind) && strings.Contains(x.step, topic)
		})
		if lost && x.answer == nil && on.Load() {
			return swallow
		}
		return pass
	}}
}
