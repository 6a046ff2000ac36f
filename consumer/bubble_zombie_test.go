package consumer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// freezer freezes an instance at one of its requests, which is therefore late, and notes
// the requests of the instance after the thaw.
type freezer struct {
	step string // at which request to freeze
	nth  int

	mu     sync.Mutex
	met    int
	late   *exchange // the request that was held back
	thawed bool
	code   int16 // of the answer to the late request
	heard  bool  // the late request was answered
	asked  bool  // the group has confirmed the assignment since the thaw
	taken  bool  // a shard was taken since the thaw
	unsure bool  // a shard was taken before the group was asked
}

func (f *freezer) look(in *inhabitant, x *exchange) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case x == f.late:
		f.code, f.heard = x.code(), true
	case !f.thawed:
		if x.answer == nil && f.late == nil && strings.HasPrefix(x.step, f.step) {
			if f.met++; f.met == f.nth {
				f.late = x
				in.link.freeze()
			}
		}
	case strings.HasPrefix(x.step, "Heartbeat"):
		f.asked = f.asked || x.answer != nil && x.code() == 0
	case strings.HasPrefix(x.step, "InitProducerID") && x.answer == nil:
		f.taken = true
		f.unsure = f.unsure || !f.asked
	}
	return pass
}

func (f *freezer) frozen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.late != nil
}

// An instance freezes in the middle of a transaction and thaws when its session is long
// over and another instance has its shards: its last request arrives only then. The broker
// refuses the request, nothing is lost or doubled, and the instance asks the group before
// it takes a shard (PROTOCOL D5).
func TestZombie(t *testing.T) {
	for _, step := range []string{"InitProducerID", "AddPartitionsToTxn", "Produce state", "Produce alerts", "EndTxn", "Produce work", "OffsetCommit input"} {
		for _, nth := range []int{1, 4} {
			for _, frozen := range []time.Duration{8 * time.Second, 40 * time.Second} {
				if step == "InitProducerID" && nth > 2 {
					continue // one for each shard
				}
				t.Run(fmt.Sprintf("%s,nth=%d,frozen=%v", strings.ReplaceAll(step, " ", "-"), nth, frozen), func(t *testing.T) {
					t.Parallel()
					inBubble(t, 2, 2, func(w *bubble) { zombie(t, w, &freezer{step: step, nth: nth}, frozen) })
				})
			}
		}
	}
}

func zombie(t *testing.T, w *bubble, f *freezer, frozen time.Duration) {
	events := workload(9, 200, 6)
	a := w.start("a", disk(), trap{look: f.look})
	for i := 0; !f.frozen(); i += 20 {
		w.send(events[:20])
		events = events[20:]
		elapse(time.Second)
	}
	w.start("b", disk(), trap{})
	w.send(events[:30])
	elapse(frozen)
	w.drain() // b has all partitions and shards, and has finished the work

	f.mu.Lock()
	f.thawed = true
	f.mu.Unlock()
	a.link.thaw()
	w.send(events[30:])
	w.await("a to have work again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.taken && f.heard
	})
	w.drain()
	if difference := w.compare(); difference != "" {
		t.Error(difference)
	}
	if f.unsure {
		t.Error("a shard was taken after the thaw before the group was asked")
	}
	switch f.step {
	case "EndTxn", "AddPartitionsToTxn":
		if f.code != kerr.InvalidProducerEpoch.Code && f.code != kerr.ProducerFenced.Code {
			t.Errorf("the broker answered the late %s with code %d; want that it is fenced", f.step, f.code)
		}
	case "Produce state", "Produce alerts": // the in-process broker says INVALID_TXN_STATE, a real one that the epoch is old
		if f.code == 0 {
			t.Errorf("the broker took the late %s; want that it is refused", f.step)
		}
	}
}
