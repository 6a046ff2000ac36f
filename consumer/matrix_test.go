package consumer_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// matrixSteps are the requests of a run and the writes to its disk that the crash matrix
// must reach. Further steps that a run makes are crashed at as well.
var matrixSteps = []string{
	"AddPartitionsToTxn alerts+state", "AddPartitionsToTxn state", "DeleteRecords work", "DescribeConfigs", "EndTxn",
	"Fetch input", "Fetch state", "Fetch work", "FindCoordinator group", "FindCoordinator transaction", "Heartbeat",
	"InitProducerID", "JoinGroup", "ListOffsets input", "ListOffsets work", "Metadata", "OffsetCommit input", "OffsetCommit work",
	"OffsetFetch input", "OffsetFetch work", "Produce alerts", "Produce alerts+state", "Produce state", "Produce work", "SyncGroup",
	"create .sst", "sync .sst", "write .sst", "write MANIFEST",
}

// diskSteps are the disk operations that change the content that a crash leaves.
var diskSteps = map[errorfs.OpKind]string{
	errorfs.OpCreate: "create", errorfs.OpFileWrite: "write", errorfs.OpRename: "rename", errorfs.OpRemove: "remove",
	errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync", errorfs.OpFileSyncTo: "sync",
}

// diskStep names an operation by the kind of file: 000004.log is a .log, MANIFEST-000001 a MANIFEST.
func diskStep(op errorfs.Op) (step string, ok bool) {
	what, ok := diskSteps[op.Kind]
	base := filepath.Base(op.Path)
	kind := filepath.Ext(base)
	if kind == "" {
		kind = base
	}
	kind, _, _ = strings.Cut(kind, "-")
	return what + " " + kind, ok
}

// crashPoint is a step at which an instance crashes, and the share of its unsynced data left.
type crashPoint struct {
	step     string
	answered bool // crash after the broker's answer, which the instance does not see; else before the request
	nth      int  // count of the step in the run
	unsynced int  // percentage of unsynced data that the crash leaves
}

func (p crashPoint) String() string {
	when := "before"
	if p.answered {
		when = "after"
	}
	return fmt.Sprintf("%s %s #%d, %d%% of unsynced data left", when, p.step, p.nth, p.unsynced)
}

// onDisk says whether a step is an operation on the disk.
func onDisk(step string) bool {
	what, _, _ := strings.Cut(step, " ")
	return slices.Contains(slices.Collect(maps.Values(diskSteps)), what)
}

// counter counts how often an instance comes to each point.
type counter struct {
	mu    sync.Mutex
	times map[crashPoint]int
}

// at counts one visit and says whether it is the n-th of the point.
func (c *counter) at(step string, answered bool, p crashPoint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := crashPoint{step: step, answered: answered}
	c.times[k]++
	return step == p.step && answered == p.answered && c.times[k] == p.nth
}

// trapAt counts the instance's steps, and crashes it at a point.
func (c *counter) trapAt(p crashPoint) trap {
	return trap{
		look: func(in *inhabitant, x *exchange) verdict {
			if c.at(x.step, x.answer != nil, p) {
				in.crash(p.unsynced)
				return sever
			}
			return pass
		},
		disk: func(in *inhabitant, op errorfs.Op) {
			if step, ok := diskStep(op); ok && c.at(step, false, p) {
				in.crash(p.unsynced)
			}
		},
	}
}

// playMatrix lets one instance evaluate a part of the workload, a second one come to the
// crash point with the next part, and a third one finish on the second's disk. It returns
// how the alerts differ from those expected.
func playMatrix(t *testing.T, p crashPoint) (reached bool, difference string, visits map[crashPoint]int) {
	t.Helper()
	c := &counter{times: make(map[crashPoint]int)}
	inBubble(t, 2, 2, func(w *bubble) {
		pause := time.Second
		if onDisk(p.step) {
			pause = 12 * time.Second // the state is flushed each 10 s
		}
		const n = 20
		events := workload(7, 9*n, 6)
		first := w.start("one", disk(), trap{})
		w.send(events[:n])
		elapse(pause)
		w.send(events[n : 3*n])
		w.drain()
		left := first.crash(p.unsynced)
		if p.nth%2 == 1 && !onDisk(p.step) {
			left = disk() // an empty disk, so that there is something to restore
		}
		second := w.start("one", left, c.trapAt(p))
		for i := 3; i < 9; i++ {
			w.send(events[i*n : (i+1)*n])
			select {
			case <-second.crashed:
				reached = true
			case <-time.After(pause):
			}
		}
		name := "one"
		if p.unsynced == 50 {
			name = "another"
		}
		third := w.start(name, second.crash(p.unsynced), trap{})
		w.drain()
		difference = w.compare()
		if len(w.dead) > 0 {
			t.Errorf("crash %v: %d events in the dead-letter topic; want none", p, len(w.dead))
		}
		third.shutdown()
	})
	return reached, difference, c.times
}

// The instance crashes at each of its steps, before the broker gets a request and after it
// has answered, and at each write to its disk, with none, half or all of its unsynced data
// left. The next instance finishes the work without help: no alert is lost, none is doubled.
func TestCrashMatrix(t *testing.T) {
	times := []int{1, 3} // the others differ in timing only
	if full {
		times = []int{1, 2, 3, 6}
	}
	visits := make(map[crashPoint]int)
	for _, step := range []string{"", "write .sst"} {
		for _, unsynced := range []int{0, 100} {
			_, difference, met := playMatrix(t, crashPoint{step: step, unsynced: unsynced})
			if difference != "" {
				t.Fatalf("without a crash at a step: %s", difference)
			}
			for p, n := range met {
				visits[p] = max(visits[p], n)
			}
		}
	}
	steps := make(map[string]bool)
	for _, step := range matrixSteps {
		steps[step] = false
	}
	for p := range visits {
		steps[p.step] = false
	}
	var mu sync.Mutex
	hits, played := make(map[string]int), make(map[string]bool)
	t.Run("at", func(t *testing.T) {
		for step := range steps {
			t.Run(strings.ReplaceAll(step, " ", "-"), func(t *testing.T) {
				t.Parallel()
				mu.Lock()
				played[step] = true // -run may have chosen some
				mu.Unlock()
				for p, most := range visits {
					if p.step != step {
						continue
					}
					for _, p.nth = range times {
						shares := []int{0, 50, 100}
						if !full { // one of them, another at the next step, answer or visit
							one := (len(step) + p.nth) % len(shares)
							if p.answered {
								one = (one + 1) % len(shares)
							}
							shares = shares[one : one+1]
						}
						for _, p.unsynced = range shares {
							if p.nth > max(most, 1) {
								continue
							}
							reached, difference, _ := playMatrix(t, p)
							if difference != "" {
								t.Errorf("crash %v: %s", p, difference)
							}
							if reached {
								mu.Lock()
								hits[fmt.Sprintf("%s, answered %t", step, p.answered)]++
								steps[step] = true
								mu.Unlock()
							}
						}
					}
				}
			})
		}
	})
	for _, step := range slices.Sorted(maps.Keys(played)) {
		t.Logf("%-32s %3d crashes before, %3d after", step, hits[step+", answered false"], hits[step+", answered true"])
	}
	for _, step := range matrixSteps {
		if played[step] && !steps[step] {
			t.Errorf("no instance has crashed at %q: the matrix does not reach it any more", step)
		}
	}
}
