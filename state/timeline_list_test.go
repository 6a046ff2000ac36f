package state_test

import (
	"cmp"
	"slices"
	"time"

	"trailhound/state"
)

// modelTimeline is a timeline as a plain list. It shares no code with the package.
type modelTimeline struct {
	entries []modelEntry
	reach   time.Duration
}

// modelEntry is an entry that is there for sure until the horizon has passed it by more
// than any event that is admitted may lie behind it. From then on a horizon that moves
// back, to a partition that wakes, may find it or not: it goes with its block.
type modelEntry struct {
	state.Entry
	horizon time.Time // furthest since it came
	ahead   bool      // a Rewind has left it in the future
}

// modelEvaluation is one evaluation on a model.
type modelEvaluation struct {
	m       *timelineMachine
	l       *modelTimeline
	at      state.Ref
	span    time.Duration
	evicted int
}

func (e *modelEvaluation) observe(label string) {
	own := state.Entry{Label: label, Ref: e.at}
	own.Source.TopicID, own.Source.Epoch = [16]byte{}, 0
	twice := func(o state.Entry) bool {
		return o.ID == own.ID && o.Label == own.Label && (own.ID != "" || o.Source == own.Source)
	}
	if near, _ := e.around(e.l.reach); slices.ContainsFunc(near, twice) {
		return
	}
	if most := e.m.o.MaxSetMembers; most > 0 && len(e.l.entries) >= most {
		e.room(most)
	}
	e.l.entries = append(e.l.entries, modelEntry{Entry: own, horizon: e.m.horizon()})
}

// sure tells whether an entry is certain to be there, in a block of any age.
func (e *modelEvaluation) sure(o modelEntry) bool {
	return e.m.o.NoHorizon || !o.ahead && !o.Time.Before(o.horizon.Add(-cmp.Or(e.l.reach, e.m.o.Lifetime)-e.m.o.MaxLateness))
}

// room makes room for one more.
func (e *modelEvaluation) room(most int) {
	e.l.entries = slices.DeleteFunc(e.l.entries, func(o modelEntry) bool { return !e.sure(o) })
	over := len(e.l.entries) + 1 - most
	if over <= 0 {
		return
	}
	slices.SortFunc(e.l.entries, func(a, b modelEntry) int { return compareModelEntries(a.Entry, b.Entry) })
	busy, end := []time.Time{e.at.Time}, e.at.Time
	for _, p := range e.m.observed {
		if !p.newest.IsZero() {
			busy, end = append(busy, p.newest), later(end, p.newest)
		}
	}
	idle := func(o modelEntry) bool {
		return !slices.ContainsFunc(busy, func(b time.Time) bool { return o.Time.Sub(b).Abs() <= e.l.reach })
	}
	n := 0
	for _, beyond := range []bool{true, false} {
		e.l.entries = slices.DeleteFunc(e.l.entries, func(o modelEntry) bool {
			gone := n < max(over, most/8) && o.Time.After(end) == beyond && idle(o)
			if gone {
				n++
			}
			return gone
		})
	}
	for ; n < over; n++ {
		if last := len(e.l.entries) - 1; e.at.Time.Sub(e.l.entries[0].Time) >= e.l.entries[last].Time.Sub(e.at.Time) {
			e.l.entries = e.l.entries[1:]
		} else {
			e.l.entries = e.l.entries[:last]
		}
	}
	e.evicted += n
}

func (e *modelEvaluation) within() (near, sure []state.Entry) {
	e.l.reach = max(e.l.reach, e.span)
	return e.around(e.span)
}

// around gives the entries around the event, and those that are there for sure.
func (e *modelEvaluation) around(d time.Duration) (near, sure []state.Entry) {
	for _, o := range e.l.entries {
		if !o.Time.Before(e.at.Time.Add(-d)) && !o.Time.After(e.at.Time.Add(d)) {
			if near = append(near, o.Entry); e.sure(o) {
				sure = append(sure, o.Entry)
			}
		}
	}
	slices.SortFunc(near, compareModelEntries)
	slices.SortFunc(sure, compareModelEntries)
	return near, sure
}

func compareModelEntries(a, b state.Entry) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Source.Topic, b.Source.Topic), cmp.Compare(a.Source.Partition, b.Source.Partition),
		cmp.Compare(a.Source.Offset, b.Source.Offset), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Label, b.Label))
}

func (e *modelEvaluation) consume(gone []state.Entry) {
	e.l.entries = slices.DeleteFunc(e.l.entries, func(o modelEntry) bool {
		return slices.ContainsFunc(gone, func(g state.Entry) bool { return compareModelEntries(o.Entry, g) == 0 })
	})
	if len(e.l.entries) == 0 {
		*e.l = modelTimeline{}
	}
}
