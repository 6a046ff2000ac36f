package consumer

import (
	"context"
	"time"
)

// gate is an input partition's place in the alignment. It is for the router's goroutine.
type gate struct {
	a   *alignment // nil: no partition waits for another
	key inputKey

	samples [clockSamples]int64
	taken   int
	clock   int64 // median of the samples, or an earlier one that was higher
	told    int64 // the clock that the alignment has
	near    int   // records with times near the clock, since the last sample
	behind  time.Time
	backlog bool
}

func newGate(a *alignment, k inputKey, clock int64, backlog bool, now time.Time) gate {
	g := gate{a: a, key: k, clock: clock, told: clock, backlog: backlog}
	if a != nil {
		a.update(k, now, func(t *inputTime) {
			*t = inputTime{local: true, clock: clock, backlog: backlog, next: t.next, steps: t.steps, moved: now, shown: now}
		})
	}
	return g
}

// record notes the newest event time of a record, and tells whether the partition's time
// has come a step further. Of the times near the known one, which most are, one in
// clockSamples becomes a sample: enough that rare times far away never are the median.
func (g *gate) record(newest int64) (step bool) {
	if newest == noNewest {
		return false
	}
	size := int64(g.a.drift) / alignSteps
	if g.clock != noNewest && newest < g.clock+size && newest > g.clock-size {
		if g.near++; g.near < clockSamples {
			return false
		}
	}
	g.near = 0
	g.samples[g.taken%clockSamples] = newest
	g.taken++
	if g.clock == noNewest || g.taken >= clockLeast {
		g.clock = max(g.clock, median(g.samples, min(g.taken, clockSamples)))
	}
	return g.told == noNewest || g.clock-g.told >= size
}

// median returns the lower median of the first n samples.
func median(samples [clockSamples]int64, n int) int64 {
	for i := 1; i < n; i++ {
		for j := i; j > 0 && samples[j] < samples[j-1]; j-- {
			samples[j], samples[j-1] = samples[j-1], samples[j]
		}
	}
	return samples[(n-1)/2]
}

// publish tells the alignment the partition's event time.
func (g *gate) publish(now time.Time) {
	first := g.told == noNewest
	g.told = g.clock
	g.a.update(g.key, now, func(t *inputTime) { t.clock = g.clock })
	if first || g.a.tight.Load() {
		g.a.tell()
	}
}

// closed tells whether the partition is too far ahead to go on.
func (g *gate) closed() bool { return g.clock > g.a.limit.Load() }

// wait waits until the partition may go on; false: ctx has ended.
func (g *gate) wait(ctx context.Context, now func() time.Time) bool {
	a := g.a
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.change.Broadcast()
	})
	defer stop()
	a.update(g.key, now(), func(t *inputTime) { t.clock, t.waiting = g.clock, true })
	a.tell()
	a.mu.Lock()
	for g.closed() && ctx.Err() == nil {
		a.change.Wait()
	}
	a.mu.Unlock()
	a.update(g.key, now(), func(t *inputTime) { t.waiting = false })
	return ctx.Err() == nil
}

// fetched notes how many records are left behind a fetch. A partition has a backlog from
// its opening, or once it has not come to its end for backlogAfter, until it comes there.
func (g *gate) fetched(next, left int64, now time.Time) {
	was := g.backlog
	switch {
	case left == 0:
		g.backlog, g.behind = false, time.Time{}
	case g.behind.IsZero():
		g.behind = now
	case now.Sub(g.behind) >= backlogAfter:
		g.backlog = true
	}
	if !g.backlog && !was {
		return
	}
	g.a.update(g.key, now, func(t *inputTime) { t.backlog, t.next = g.backlog, next })
	if was != g.backlog {
		g.a.tell()
	}
}
