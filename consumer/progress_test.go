package consumer

import (
	"testing"
	"time"
)

// A status that called an input idle while its marks were in flight made a test delete work
// that was not evaluated, and would let an operator do the same.
func TestIdleOnceTold(t *testing.T) {
	t.Parallel()
	p := newProgress(0)
	mark := &parcel{owners: make(map[*progress]struct{})}
	mark.note(origin{router: p, offset: 7, epoch: noEpoch}, time.Now())
	p.idle.Store(true)
	if p.told() {
		t.Error("told() = true with a mark on its way; want false until it is acknowledged")
	}
	mark.acknowledge()
	if !p.told() {
		t.Error("told() = false with every mark acknowledged; want true")
	}
	p.idle.Store(false)
	if p.told() {
		t.Error("told() = true for a router that reads; want false")
	}
}
