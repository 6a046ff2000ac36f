package consumer

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"
)

var alignEpoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// hour is an event time, in hours since alignEpoch.
func hour(n float64) int64 { return alignEpoch.Add(time.Duration(n * float64(time.Hour))).UnixNano() }

func inputKeys(n int) (keys []inputKey) {
	for p := range n {
		keys = append(keys, inputKey{"trail", int32(p)})
	}
	return keys
}

// Each partition of a backlog is read by a goroutine of its own, at its own speed. None is ever
// more than drift ahead of the slowest that is not at its end, and all come to their ends.
func TestAlignmentKeepsPartitionsTogether(t *testing.T) {
	const drift = time.Hour
	synctest.Test(t, func(t *testing.T) {
		a := newAlignment(drift)
		keys := inputKeys(5)
		for _, k := range keys {
			a.update(k, time.Now(), func(in *inputTime) { in.backlog = true })
		}
		var mu sync.Mutex
		at := make([]int64, len(keys)) // event time handed on; math.MaxInt64: at its end
		for i := range at {
			at[i] = hour(float64(i * 10)) // time ranges that follow one another
		}
		var all sync.WaitGroup
		for i, k := range keys {
			all.Go(func() {
				random := rand.New(rand.NewPCG(7, uint64(i)))
				g := newGate(a, k, noNewest, true, time.Now())
				for n := range 200 {
					now := hour(float64(i*10) + float64(n)/20)
					mu.Lock()
					slowest := int64(math.MaxInt64)
					for _, other := range at {
						slowest = min(slowest, other)
					}
					if at[i] = now; now-slowest > int64(drift+drift/alignSteps+6*time.Minute) && g.clock != noNewest {
						t.Errorf("partition %d is %s ahead of the slowest", i, time.Duration(now-slowest))
					}
					mu.Unlock()
					if g.record(now) || g.closed() {
						if g.publish(time.Now()); g.closed() && !g.wait(t.Context(), time.Now) {
							t.Error("wait() = false; want true")
						}
					}
					pause(t.Context(), time.Duration(random.IntN(1000))*time.Microsecond)
				}
				mu.Lock()
				at[i] = math.MaxInt64
				mu.Unlock()
				g.fetched(200, 0, time.Now())
			})
		}
		all.Wait()
	})
}

// The slowest partition, any of them, is left out after a while if it cannot move, and the
// others go on; the next slowest is not left out with it, for it has only waited.
func TestAlignmentLeavesOutWhatCannotMove(t *testing.T) {
	for stuck := range 3 {
		synctest.Test(t, func(t *testing.T) {
			a := newAlignment(time.Hour)
			a.joined(true, time.Now())
			var log strings.Builder
			a.log = zerolog.New(&log)
			keys := inputKeys(3)
			gates := make([]gate, len(keys))
			for i, k := range keys {
				gates[i] = newGate(a, k, hour(0), true, time.Now())
			}
			ctx, stop := context.WithCancel(t.Context())
			go func() {
				for pause(ctx, time.Second) {
					a.leaveOut(time.Now())
				}
			}()
			var moving sync.WaitGroup
			for i := range keys {
				if i == stuck {
					continue
				}
				moving.Go(func() {
					g := &gates[i]
					for n := range 100 {
						g.clock = hour(float64(n))
						g.publish(time.Now())
						if g.closed() && !g.wait(ctx, time.Now) {
							t.Error("wait() = false; want true")
						}
						pause(ctx, time.Second)
					}
					g.fetched(1, 0, time.Now())
				})
			}
			moving.Wait()
			stop()
			synctest.Wait()
			told := log.String()
			if want := fmt.Sprintf(`"topic":%q,"partition":%d,`, keys[stuck].topic, keys[stuck].partition); strings.Count(told, "input_left_out") != 1 || !strings.Contains(told, want) {
				t.Errorf("left out: %s; want %v alone", told, keys[stuck])
			}
			if !a.state(keys[stuck]).leftOut {
				t.Error("the partition that stands still counts again; want it left out until it moves")
			}
			gates[stuck].clock = hour(1)
			gates[stuck].publish(time.Now())
			if a.state(keys[stuck]).leftOut {
				t.Error("the partition that moves again is left out; want it to count")
			}
		})
	}
}

// A partition that had waited for a slower one for a minute was left out as soon as it
// became the slowest itself, and those a day ahead went on. It may stand still from then on
// for as long as any other.
func TestAlignmentDoesNotLeaveOutWhatHasWaited(t *testing.T) {
	for name, tt := range map[string]struct{ local, dies bool }{
		"on this instance": {local: true}, "on another": {}, "on another, which dies with it": {dies: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, now, keys := newAlignment(time.Hour), alignEpoch, inputKeys(3)
			a.joined(true, now)
			slow, waits, ahead := keys[0], keys[1], newGate(a, keys[2], hour(24), true, now)
			set := func(k inputKey, change func(in *inputTime)) { a.update(k, now, change) }
			set(waits, func(in *inputTime) { in.local, in.backlog, in.clock, in.waiting = tt.local, true, hour(2), true })
			for i := range 60 {
				set(slow, func(in *inputTime) { in.backlog, in.clock, in.next = true, hour(0), int64(i) })
				now = now.Add(time.Second)
				a.leaveOut(now)
			}
			set(slow, func(in *inputTime) { in.backlog = false })
			if a.leaveOut(now); a.state(waits).leftOut || !ahead.closed() {
				t.Error("a partition that has only waited is left out as soon as it is the slowest; want it to have its time")
			}
			set(waits, func(in *inputTime) { in.waiting = tt.dies }) // as in its last commit
			now = now.Add(alignPatience - time.Second)
			if a.leaveOut(now); a.state(waits).leftOut {
				t.Errorf("left out %s after it might go on; want %s", alignPatience-time.Second, alignPatience)
			}
			now = now.Add(time.Second)
			if a.leaveOut(now); !a.state(waits).leftOut || ahead.closed() {
				t.Errorf("not left out %s after it might go on; want it to be", alignPatience)
			}
		})
	}
}

// Joining the group may take as long as a dead member's session. All partitions were left
// out meanwhile, before any of them was assigned.
func TestAlignmentWaitsForTheGroup(t *testing.T) {
	a, now, k := newAlignment(time.Hour), alignEpoch, inputKeys(1)[0]
	a.update(k, now, func(in *inputTime) { in.backlog = true })
	for range 2 { // the second time after the membership has lapsed
		now = now.Add(time.Minute)
		if a.leaveOut(now); a.state(k).leftOut {
			t.Fatal("left out before this instance is a member; want it to count")
		}
		a.joined(true, now)
		if a.leaveOut(now.Add(alignPatience - 1)); a.state(k).leftOut {
			t.Fatal("left out as soon as this instance is a member; want it to have its time")
		}
		a.joined(false, now)
	}
	a.joined(true, now)
	if a.leaveOut(now.Add(alignPatience)); !a.state(k).leftOut {
		t.Errorf("not left out %s after this instance has joined; want it to be", alignPatience)
	}
}

// A process that was stopped for a minute, or had no answer of its coordinator, has not
// seen the progress made meanwhile. It left the slowest partitions out, which were read all
// the time.
func TestAlignmentHasNotLooked(t *testing.T) {
	a, now, keys := newAlignment(time.Hour), alignEpoch, inputKeys(2)
	a.joined(true, now)
	for _, k := range keys {
		a.update(k, now, func(in *inputTime) { in.backlog, in.clock = true, hour(0) })
	}
	now = now.Add(time.Minute)
	a.unseen(time.Minute-time.Second, now)
	if a.leaveOut(now); a.state(keys[0]).leftOut {
		t.Error("left out after a minute without a look; want it to have its time")
	}
	// A router at work keeps its partition in, though its time stays.
	now = now.Add(alignPatience - time.Second)
	a.moves(keys[1], now)
	if a.leaveOut(now); !a.state(keys[0]).leftOut || a.state(keys[1]).leftOut {
		t.Errorf("left out: %t, %t; want the one that has stood still for %s", a.state(keys[0]).leftOut, a.state(keys[1]).leftOut, alignPatience)
	}
}

// A router at work on a large record shows in neither the offset nor the time of its
// partition. The other instances left the partition out, while its own instance waited for it.
func TestAlignmentShowsMoves(t *testing.T) {
	now, k := alignEpoch, inputKeys(1)[0]
	own, other := newAlignment(time.Hour), newAlignment(time.Hour)
	for _, a := range []*alignment{own, other} {
		a.joined(true, now)
		a.update(k, now, func(in *inputTime) { in.backlog, in.clock = true, hour(0) })
	}
	newGate(own, k, hour(0), true, now)
	i, changes, last := &inputs{alignment: own}, 0, ""
	for range 120 {
		now = now.Add(time.Second)
		own.moves(k, now)
		committed := i.inputOffset(k, &position{ackTracker: newAckTracker(7)}).Metadata
		if committed != last {
			last = committed
			changes++
		}
		m, ok := decodeInputMetadata(committed)
		if !ok {
			t.Fatalf("the metadata %q is not read", committed)
		}
		other.update(k, now, func(in *inputTime) { in.backlog, in.clock, in.next, in.steps = true, hour(0), 7, m.steps })
		own.leaveOut(now)
		if other.leaveOut(now); own.state(k).leftOut || other.state(k).leftOut {
			t.Fatal("a partition whose router is at work is left out; want it to count")
		}
	}
	if changes > 13 {
		t.Errorf("%d commits in two minutes for a partition that has not come further; want one in %s", changes, alignShow)
	}
	now = now.Add(alignPatience)
	if other.leaveOut(now); !other.state(k).leftOut {
		t.Error("a partition that has stopped is not left out")
	}
}

// A partition that is not opened yet may be the slowest: all wait for it. One at its end
// holds nothing back.
func TestAlignmentWaitsForTheUnknown(t *testing.T) {
	a := newAlignment(time.Hour)
	now, keys := alignEpoch, inputKeys(2)
	a.update(keys[1], now, func(in *inputTime) { in.backlog = true })
	g := newGate(a, keys[0], noNewest, true, now)
	if g.closed() {
		t.Error("closed() before any event = true; want false: its time is to be known")
	}
	g.record(hour(5))
	if g.publish(now); !g.closed() {
		t.Error("closed() = false; want true while partition 1 is not known")
	}
	a.update(keys[0], now, func(in *inputTime) { in.waiting = true })
	if got := a.waits(keys[0]); !strings.Contains(got, "trail partition 1") || !strings.Contains(got, "no event time") {
		t.Errorf("waits() = %q; want the partition and that its time is not known", got)
	}
	a.update(keys[1], now, func(in *inputTime) { in.clock = hour(1.5) })
	if got := a.waits(keys[0]); !strings.Contains(got, "3h30m ahead of those of trail partition 1") {
		t.Errorf("waits() = %q; want how far it is ahead, and of which partition", got)
	}
	a.update(keys[1], now, func(in *inputTime) { in.clock = hour(4) })
	if g.closed() {
		t.Error("closed() an hour ahead of the slowest = true; want false")
	}
	a.update(keys[1], now, func(in *inputTime) { in.clock, in.backlog = hour(1), false })
	if g.closed() {
		t.Error("closed() when the slower one is at its end = true; want false")
	}
}

// A few records of an absurd time do not move the known time of a partition: each hour
// further would be an hour of waiting.
func TestClockOfAPartitionIsAMedian(t *testing.T) {
	g := newGate(newAlignment(time.Hour), inputKeys(1)[0], noNewest, true, alignEpoch)
	for n := range 10_000 {
		now := hour(float64(n) / 1000)
		if g.record(now); n%97 == 0 {
			g.record(hour(5000))
		}
		if d := time.Duration(g.clock - now); d > 0 || d < -time.Hour/4 {
			t.Fatalf("after record %d the clock is %s off; want it within a quarter of an hour behind", n, d)
		}
	}
}

// Each opening begins with new samples. The first of them moved the time known from the
// group, for good, and the partition waited until all others had come there.
func TestClockOfAPartitionThatIsOpenedAgain(t *testing.T) {
	for rare := range (clockLeast - 1) / 2 {
		g := newGate(newAlignment(time.Hour), inputKeys(1)[0], hour(0), true, alignEpoch)
		for i := range rare + 1 {
			if g.record(hour(60)); g.clock != hour(0) {
				t.Fatalf("after %d records 60 hours ahead the clock has moved by %s; want it to stay", i+1, time.Duration(g.clock-hour(0)))
			}
		}
		for n := range 1000 {
			g.record(hour(float64(n) / 100))
		}
		if d := time.Duration(hour(9.99) - g.clock); d < 0 || d > time.Hour/2 {
			t.Errorf("%d records ahead, then a thousand up to hour 10: the clock is %s behind; want it to follow", rare+1, d)
		}
	}
}

// Records left behind a single fetch, as between two records of a live partition, are no
// backlog.
func TestBacklogBeginsAfterAWhile(t *testing.T) {
	a := newAlignment(time.Hour)
	k, now := inputKeys(1)[0], alignEpoch
	g := newGate(a, k, noNewest, false, now)
	for i, c := range []struct {
		after time.Duration
		left  int64
		want  bool
	}{
		{0, 3, false}, {time.Second, 0, false}, {time.Second, 9, false}, {time.Second, 9, false}, {time.Second, 9, true}, {time.Hour, 1, true}, {0, 0, false}, {0, 1, false},
	} {
		now = now.Add(c.after)
		if g.fetched(int64(i), c.left, now); a.state(k).backlog != c.want {
			t.Errorf("fetch %d: backlog = %t; want %t", i, !c.want, c.want)
		}
	}
}

// All instances ask one coordinator. While partitions wait, it gets a hundred requests of
// each kind a second from any number of instances; sixteen instances sent it a thousand.
func TestRequestsOfAlignmentDoNotGrowWithInstances(t *testing.T) {
	for _, instances := range []int{1, 2, 3, 16, 64} {
		own, all := 4, 4*instances
		if got := float64(instances) / requestPause(own, all).Seconds(); got > 101 {
			t.Errorf("%d instances make %.0f requests a second; want 100", instances, got)
		}
	}
	if got := requestPause(0, 64); got != alignEvery {
		t.Errorf("requestPause() of an instance that reads nothing = %s; want %s", got, alignEvery)
	}
	if got := requestPause(1, 10_000); got != alignEvery {
		t.Errorf("requestPause() of one in ten thousand = %s; want %s at most", got, alignEvery)
	}
}

// Only partition producers with records of the slowest partition are flushed, or of one that the others take
// for it because its last step is not acknowledged: each step of a backlog flushed all partition producers.
func TestFlushOfTheSlowest(t *testing.T) {
	all := &inputs{alignment: newAlignment(time.Hour), positions: make(map[inputKey]*position)}
	keys := inputKeys(3)
	for i, at := range []float64{0, 0.5, 9} {
		l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
		l.init()
		p := newAckTracker(0)
		p.clock = hour(at)
		if err := l.addWork(t.Context(), sourceOffset{p, 0, noEpoch, -1}, []byte("head"), nil); err != nil {
			t.Fatal(err)
		}
		all.producers, all.positions[keys[i]] = append(all.producers, l), &position{ackTracker: p}
	}
	now := alignEpoch
	all.alignment.update(keys[0], now, func(in *inputTime) { in.local, in.backlog, in.clock = true, true, hour(1) })
	all.alignment.update(keys[1], now, func(in *inputTime) { in.local, in.backlog, in.clock = true, true, hour(0.5) })
	all.alignment.update(keys[2], now, func(in *inputTime) { in.local, in.backlog, in.clock = true, true, hour(9) })
	all.flushSlowest()
	for i, want := range []bool{true, true, false} {
		if got := all.producers[i].wanted; got != want {
			t.Errorf("producer with records of partition %d: sent early = %t; want %t", i, got, want)
		}
	}
}

func TestInputMetadata(t *testing.T) {
	id := [16]byte{0xab, 15: 1}
	for _, m := range []inputMetadata{
		{topicID: id, clock: noNewest}, {topicID: id, clock: hour(3)}, {topicID: id, clock: noNewest, backlog: true},
		{topicID: id, clock: hour(-3e4), waiting: true}, {topicID: id, clock: hour(1), backlog: true, waiting: true},
		{topicID: id, clock: noNewest, steps: 9}, {topicID: id, clock: hour(1), backlog: true, waiting: true, steps: 1},
	} {
		if got, ok := decodeInputMetadata(m.encode()); !ok || got != m {
			t.Errorf("decodeInputMetadata(%q) = %+v, %t; want %+v", m.encode(), got, ok, m)
		}
	}
	for _, s := range []string{"", "ab", "consumer-1-of-another-tool", ";5;b", strings.Repeat("z", 32)} {
		if _, ok := decodeInputMetadata(s); ok {
			t.Errorf("decodeInputMetadata(%q) is ok; want it refused", s)
		}
	}
}
