package consumer

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"trailhound/config/duration"

	"github.com/rs/zerolog"
)

const (
	// alignSteps is the number of steps of event time in which a partition that is max_drift
	// behind comes up to the others; each step is committed for the other instances.
	alignSteps = 8

	// alignPatience is how long the slowest partition may stand still, without a leader or an
	// owner, before the others go on without it.
	alignPatience = 30 * time.Second

	// alignShow is how long a partition at work may keep its time before the other instances
	// are told that its router moves; their counter of such moves wraps at mostSteps.
	alignShow = alignPatience / 3
	mostSteps = 10

	// alignBlind bounds the gap between two looks at the partitions' progress. A longer gap is
	// time in which this instance was stopped, or had no answer.
	alignBlind = 5 * time.Second

	// backlogAfter is how long records must have been left behind each fetch before a
	// partition that was alive counts as one with a backlog.
	backlogAfter = 2 * time.Second

	// clockSamples is the number of records of which the median is a partition's event time: a
	// few records that are hours off do not move it.
	clockSamples = 9

	// clockLeast is the number of samples that move a known time. An unknown time becomes
	// that of the first record: all other partitions wait for it.
	clockLeast = 5
)

// alignment keeps the input partitions of an app together in event time while there is a
// backlog (PROTOCOL R9), as Flink's watermark alignment does: a partition more than drift
// ahead of the slowest one waits. The slowest partition never waits, so the backlog always
// moves; one that cannot move is left out.
type alignment struct {
	drift time.Duration
	limit atomic.Int64  // event time up to which records are handed on, Unix nanoseconds; math.MaxInt64: all are
	tight atomic.Bool   // a partition waits, on this instance or another one: steps are committed at once
	told  chan struct{} // holds a token when a commit has news for the group's other members

	mu     sync.Mutex
	change *sync.Cond // limit has changed
	inputs map[inputKey]*inputTime
	member bool // this instance is one of the group
	log    zerolog.Logger
}

// inputTime is one input partition, on this instance or another one.
type inputTime struct {
	local   bool
	clock   int64 // event time, Unix nanoseconds; noNewest: not known yet
	backlog bool
	waiting bool
	leftOut bool
	next    int64     // offset as last seen
	steps   uint8     // counter, below mostSteps, of moves that change neither clock nor next, for the other instances
	moved   time.Time // when clock, next or steps was last seen to change, the partition waited, or its router made progress
	shown   time.Time // when clock, next or steps last changed
}

func newAlignment(drift time.Duration) *alignment {
	a := &alignment{drift: drift, told: make(chan struct{}, 1), inputs: make(map[inputKey]*inputTime)}
	a.change = sync.NewCond(&a.mu)
	a.limit.Store(math.MaxInt64)
	return a
}

// update changes the state of a partition, and wakes the partitions that may go on by now.
func (a *alignment) update(k inputKey, now time.Time, change func(t *inputTime)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.inputs[k]
	if t == nil {
		t = &inputTime{clock: noNewest, next: -1, moved: now, shown: now}
		a.inputs[k] = t
	}
	was := *t
	change(t)
	if t.clock != was.clock || t.next != was.next || t.steps != was.steps {
		t.moved, t.shown = now, now
		if t.leftOut {
			t.leftOut = false
			a.log.Info().Str("topic", k.topic).Int32("partition", k.partition).Str("event", "input_moves").Msg("the input partition that was left out moves again")
		}
	}
	if was.waiting && !t.waiting {
		t.moved = now
	}
	a.settle(now)
}

// settle computes the limit anew. The caller holds the lock.
func (a *alignment) settle(now time.Time) {
	limit := int64(math.MaxInt64)
	waiting := false
	for _, t := range a.inputs {
		waiting = waiting || t.waiting
		if t.backlog && !t.leftOut {
			limit = min(limit, a.ahead(t.clock))
		}
	}
	a.tight.Store(waiting)
	was := a.limit.Swap(limit)
	if limit == was {
		return
	}
	for _, t := range a.inputs {
		if t.waiting || t.clock > was {
			t.moved = now // it could not move until now
		}
	}
	a.change.Broadcast()
}

// joined notes whether this instance is a member of the group. An instance that is not has
// no partition that could go on without a slower one; the patience of each partition begins
// when it joins.
func (a *alignment) joined(member bool, now time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if member && !a.member {
		for _, t := range a.inputs {
			t.moved = now
		}
	}
	a.member = member
}

// ahead returns the event time that is drift after clock. A partition of unknown event time
// holds all others: it may be the slowest.
func (a *alignment) ahead(clock int64) int64 {
	if clock == noNewest {
		return math.MinInt64 + 1
	}
	if clock > math.MaxInt64-int64(a.drift) {
		return math.MaxInt64
	}
	return clock + int64(a.drift)
}

// leaveOut takes the slowest partitions out that have stood still for too long. The
// patience of the others begins anew: they have stood still because of these.
func (a *alignment) leaveOut(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.member {
		return
	}
	limit, out := a.limit.Load(), false
	for k, t := range a.inputs {
		if t.backlog && !t.leftOut && a.ahead(t.clock) == limit && now.Sub(t.moved) >= alignPatience {
			t.leftOut, out = true, true
			a.log.Warn().Str("topic", k.topic).Int32("partition", k.partition).Stringer("after", alignPatience).Str("event", "input_left_out").
				Msg("the slowest input partition does not move; the others go on without it, and its events may come later than max_drift behind theirs: see to its leader, and to the instance that reads it")
		}
	}
	if !out {
		return
	}
	for _, t := range a.inputs {
		t.moved = now
	}
	a.settle(now)
}

// moves notes progress on a partition of this instance with an event time that may stay the
// same: its router works on a large record, or waits for memory or a place that comes
// round. The other instances are told before their patience ends.
func (a *alignment) moves(k inputKey, now time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	t := a.inputs[k]
	if t != nil {
		t.moved = now
	}
	show := t != nil && t.local && t.backlog && now.Sub(t.shown) >= alignShow
	a.mu.Unlock()
	if show {
		a.update(k, now, func(t *inputTime) { t.steps = (t.steps + 1) % mostSteps })
	}
}

// unseen extends the patience of each partition by a time in which this instance could not
// see progress.
func (a *alignment) unseen(d time.Duration, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.inputs {
		if t.moved = t.moved.Add(d); t.moved.After(now) {
			t.moved = now
		}
	}
}

// forget drops a partition that another instance reads from now on, until the metadata of
// that instance comes with the group's offsets.
func (a *alignment) forget(k inputKey, now time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.inputs[k]; t != nil {
		t.local, t.waiting = false, false
		a.settle(now)
	}
}

// tell wakes the committer, for the other members of the group.
func (a *alignment) tell() {
	select {
	case a.told <- struct{}{}:
	default:
	}
}

// slowest names the partition that holds the others back; not ok: none does.
func (a *alignment) slowest() (k inputKey, clock int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, t := range a.inputs {
		if t.backlog && !t.leftOut && (!ok || t.clock < clock) {
			k, clock, ok = key, t.clock, true
		}
	}
	return k, clock, ok
}

// state returns a copy of a partition's entry; that of an unknown partition has no event time.
func (a *alignment) state(k inputKey) inputTime {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.inputs[k]; t != nil {
		return *t
	}
	return inputTime{clock: noNewest}
}

// waits names the slower partition that a partition waits for; "" if it does not wait.
func (a *alignment) waits(k inputKey) string {
	if a == nil {
		return ""
	}
	t := a.state(k)
	slowest, clock, ok := a.slowest()
	if !t.waiting || !ok {
		return ""
	}
	if clock == noNewest {
		return fmt.Sprintf("it waits for %s partition %d, of which no event time is known yet (events.max_drift is %s)", slowest.topic, slowest.partition, duration.Format(a.drift))
	}
	return fmt.Sprintf("it waits: its events are %s ahead of those of %s partition %d, the slowest input (events.max_drift is %s)",
		duration.Format(time.Duration(t.clock-clock).Round(time.Second)), slowest.topic, slowest.partition, duration.Format(a.drift))
}
