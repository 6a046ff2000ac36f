package model

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// Step is one step of a model, in words.
type Step struct {
	words string // a format for args
	args  [3]uint8
}

func say(words string, args ...uint8) Step {
	s := Step{words: words}
	copy(s.args[:], args)
	return s
}

func (s Step) String() string {
	args := make([]any, strings.Count(s.words, "%d"))
	for i := range args {
		args[i] = s.args[i]
	}
	return fmt.Sprintf(s.words, args...)
}

// system is a model: a first state, the steps that lead from a state to others,
// and the properties that must hold. S holds no pointers: to copy a state is to
// assign it, and two states are the same if they are equal.
type system[S comparable] interface {
	initial() S
	// next yields every step that is possible in s, with the state it leads to.
	next(s *S, yield func(Step, S))
	// wrong names the property of all states that s violates; "": none.
	wrong(s *S) string
	// missing names the work that was not done in a state in which no more
	// step is possible; "": none.
	missing(s *S) string
}

// Result is the outcome of an exploration.
type Result struct {
	States, Steps, Depth, Ends int    // Ends: states in which nothing more is possible
	Violation                  string // of the property; "": it holds in every state
	Endless                    bool   // some steps can be repeated for ever
	Trace                      []Step // the shortest way to the violation
}

// Story tells the way to the violation, a step a line.
func (r *Result) Story() string {
	var b strings.Builder
	for i, s := range r.Trace {
		fmt.Fprintf(&b, "%4d. %v\n", i+1, s)
	}
	fmt.Fprintf(&b, "   => %s", r.Violation)
	return b.String()
}

// search is a breadth-first search of all states, so that the first violation it
// meets is one of those with the fewest steps. It knows a state that it has seen
// by a hash of 64 bits: with 10 million states, the chance that any two share one
// is 1 in 300,000.
type search[S comparable] struct {
	m     system[S]
	seed  maphash.Seed
	ids   map[uint64]uint32
	from  []uint32 // by state: the one it was first reached from
	nth   []uint16 // by state: which of that one's steps led to it
	first []uint32 // by state: where its successors begin in next
	next  []uint32
}

// explore visits every state of m, up to the first violation. When there is none,
// it finds out whether a run can go on for ever, which is to come back to a state
// that it has left. If not, every run ends in one of the ends, where nothing is
// missing: "eventually" means that here.
func explore[S comparable](m system[S], most int) Result {
	x := search[S]{m: m, seed: maphash.MakeSeed(), ids: make(map[uint64]uint32)}
	start := m.initial()
	x.visit(&start, 0, 0)
	level := []S{start}
	var r Result
	for id := uint32(0); len(level) > 0; r.Depth++ {
		var ahead []S
		for i := range level {
			s := &level[i]
			if r.Violation = m.wrong(s); r.Violation == "" {
				found := x.expand(s, id, &ahead)
				r.Steps += found
				if found == 0 {
					r.Ends++
					r.Violation = m.missing(s)
				}
			}
			if r.Violation == "" && len(x.from) > most {
				r.Violation = fmt.Sprintf("(more than %d states: the bounds are too wide)", most)
			}
			if r.Violation != "" {
				r.States, r.Trace = len(x.from), x.trace(id)
				return r
			}
			id++
		}
		level = ahead
	}
	r.States = len(x.from)
	r.Endless = !x.acyclic()
	return r
}

// visit numbers a state that has not been seen; new: this is the first time.
func (x *search[S]) visit(s *S, from uint32, nth int) (id uint32, isNew bool) {
	h := maphash.Comparable(x.seed, *s)
	if id, ok := x.ids[h]; ok {
		return id, false
	}
	id = uint32(len(x.from))
	x.ids[h] = id
	x.from, x.nth = append(x.from, from), append(x.nth, uint16(nth))
	return id, true
}

// expand adds the successors of a state that are new to ahead, and counts all.
// States are expanded in the order of their numbers.
func (x *search[S]) expand(s *S, id uint32, ahead *[]S) (found int) {
	x.first = append(x.first, uint32(len(x.next)))
	x.m.next(s, func(_ Step, t S) {
		to, isNew := x.visit(&t, id, found)
		if isNew {
			*ahead = append(*ahead, t)
		}
		x.next = append(x.next, to)
		found++
	})
	return found
}

// trace finds the steps to a state again, by taking them.
func (x *search[S]) trace(id uint32) []Step {
	var path []uint32
	for ; id != 0; id = x.from[id] {
		path = append(path, id)
	}
	s, steps := x.m.initial(), make([]Step, 0, len(path))
	for i := len(path) - 1; i >= 0; i-- {
		want, n := int(x.nth[path[i]]), 0
		var to S
		x.m.next(&s, func(step Step, t S) {
			if n == want {
				steps, to = append(steps, step), t
			}
			n++
		})
		s = to
	}
	return steps
}

// acyclic removes states that no step leads to until none is left (Kahn); a state on a
// cycle is never removed.
func (x *search[S]) acyclic() bool {
	degree := make([]uint32, len(x.from))
	for _, to := range x.next {
		degree[to]++
	}
	ready := []uint32{0}
	removed := 0
	for ; len(ready) > 0; removed++ {
		id := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		end := len(x.next)
		if int(id)+1 < len(x.first) {
			end = int(x.first[id+1])
		}
		for _, to := range x.next[x.first[id]:end] {
			if degree[to]--; degree[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	return removed == len(x.from) && degree[0] == 0
}
