package consumer_test

import (
	"strings"
	"testing"
	"time"
)

// A broker answers all requests of an instance but those to leaders. The instance cannot
// even open the partitions that it gets in exchange for those handed back: it used to keep
// them for ever, and to say only that they were not being read yet.
func TestUnopenedInputIsHandedBack(t *testing.T) {
	inBubble(t, 4, 4, func(w *bubble) {
		swallows, leaders := swallowing("Fetch", "Produce", "ListOffsets", "OffsetForLeaderEpoch")
		a := w.start("a", disk(), leaders)
		events := workload(3, 400, 20)
		w.send(events[:100])
		w.drain()
		b := w.start("b", disk(), trap{})
		w.await("both to share the work", func() bool {
			return a.service.Ready() == nil && b.service.Ready() == nil && len(a.service.Status().Shards) == 2 && len(a.service.Status().Inputs) == 2
		})
		swallows.Store(true)
		began := time.Now()
		w.send(events[100:])
		told := false
		w.taken("everything is evaluated by the other instance", began, func() bool {
			why := a.service.Ready()
			told = told || why != nil && strings.Contains(why.Error(), "is not being read yet: finding where to begin") && strings.Contains(why.Error(), "broker ")
			return w.drained()
		})
		if len(b.service.Status().Inputs) < 4 && !told {
			t.Errorf("a has kept inputs and not told of one that it cannot open; Status() = %+v", a.service.Status())
		}
		swallows.Store(false)
		w.await("a to be ready again", func() bool { return a.service.Ready() == nil })
		if difference := w.compare(); difference != "" {
			t.Error(difference)
		}
	})
}
