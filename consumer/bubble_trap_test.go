package consumer_test

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// trap lets a test see the requests and disk operations of an instance from its start.
type trap struct {
	look func(*inhabitant, *exchange) verdict
	disk func(*inhabitant, errorfs.Op)
}

// swallowing is a trap that loses requests while it is on; their connections stay. A step is
// a kind of request, or a kind, a blank and a part of a topic's name.
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
