package consumer_test

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// trap watches the requests and disk operations of an instance from its first moment on.
type trap struct {
	look func(*inhabitant, *exchange) verdict
	disk func(*inhabitant, errorfs.Op)
}

// swallowing is a trap that loses requests while it is on, and keeps their connections:
// requests with a step that begins with one of these kinds and, behind a blank, has the topic.
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
