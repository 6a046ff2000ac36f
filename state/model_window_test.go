package state_test

import (
	"math"
	"slices"
	"strings"
	"time"

	"trailhound/state"
)

// modelWindow is one window of a counter. A counter has them in the order of
// their starts, in a slice that is never changed.
type modelWindow struct {
	first, newest time.Time
	expiry        time.Time // zero: none
	count         int64
	events        []state.Ref
	counted       bool // by the evaluation that has it
	looked        bool
	was           time.Time // its start among the stored windows; zero: not there
}

func (m *model) end(w *modelWindow) time.Time {
	if w.expiry.IsZero() {
		return w.newest.Add(m.lifetime)
	}
	return w.expiry
}

func (m *model) holds(w *modelWindow, now time.Time) bool {
	return !now.Before(w.first) && now.Before(m.end(w))
}

func (m *model) takes(w *modelWindow, now time.Time) bool {
	return now.Before(w.first) && (w.expiry.IsZero() || w.newest.Sub(now) < w.expiry.Sub(w.first))
}

// meets gives the event's window, nil if it has none.
func (s *modelScope) meets(name string) *modelWindow {
	w, found := s.current[name]
	if !found {
		w = s.find(name)
		s.current[name] = w
	}
	if w == nil || !s.m.holds(w, s.at.Time) && !s.m.takes(w, s.at.Time) {
		return nil
	}
	w.looked = true
	return w
}

func (s *modelScope) find(name string) *modelWindow {
	all := s.m.windows[s.id("counter", name)]
	for i := len(all) - 1; i >= 0; i-- {
		if s.m.holds(&all[i], s.at.Time) {
			return taken(all[i])
		}
	}
	for i := range all {
		if s.at.Time.Before(all[i].first) {
			if s.m.takes(&all[i], s.at.Time) {
				return taken(all[i])
			}
			return nil
		}
	}
	return nil
}

func taken(w modelWindow) *modelWindow {
	w.was = w.first
	return &w
}

// store puts the event's window in its place among the others, unless it holds no instant.
func (s *modelScope) store(name string) {
	id := s.id("counter", name)
	w := s.current[name]
	all := slices.DeleteFunc(slices.Clone(s.m.windows[id]), func(o modelWindow) bool { return o.first.Equal(w.was) })
	w.was = time.Time{}
	if s.m.end(w).After(w.first) {
		kept := *w
		kept.counted, kept.looked = false, false
		all, w.was = append(all, kept), w.first
	}
	slices.SortFunc(all, func(a, b modelWindow) int { return a.first.Compare(b.first) })
	s.m.windows[id] = all
}

func (s *modelScope) increment(name string, n int64) int64 {
	w := s.meets(name)
	if w == nil {
		var was time.Time
		if s.current[name] != nil {
			was = s.current[name].was
		}
		w = &modelWindow{first: s.at.Time, newest: s.at.Time, was: was, looked: true}
		s.current[name] = w
	}
	if _, repeated := s.repeats(w); repeated {
		return w.count
	}
	if s.at.Time.Before(w.first) {
		if !w.expiry.IsZero() {
			w.expiry = w.expiry.Add(s.at.Time.Sub(w.first))
		}
		w.first = s.at.Time
	}
	switch sum := w.count + n; {
	case n > 0 && sum < w.count:
		w.count = math.MaxInt64
	case n < 0 && sum > w.count:
		w.count = math.MinInt64
	default:
		w.count = sum
	}
	if !w.counted {
		w.events = append(slices.Clip(w.events), s.at)
		w.counted = true
	}
	w.newest = later(w.newest, s.at.Time)
	s.store(name)
	return w.count
}

// repeats gives the event as the window has counted it in an earlier evaluation.
func (s *modelScope) repeats(w *modelWindow) (state.Ref, bool) {
	for _, r := range w.events[max(0, len(w.events)-100):] {
		if !w.counted && s.at.ID != "" && r.ID == s.at.ID {
			return r, true
		}
	}
	return state.Ref{}, false
}

func (s *modelScope) count(name string) int64 {
	if w := s.meets(name); w != nil {
		return w.count
	}
	return 0
}

func (s *modelScope) resetCounter(name string) {
	if _, found := s.current[name]; !found {
		s.current[name] = s.find(name)
	}
	w := s.current[name]
	if w == nil {
		return
	}
	if w.looked {
		s.looked = append(s.looked, w)
	}
	id := s.id("counter", name)
	s.m.windows[id] = slices.DeleteFunc(slices.Clone(s.m.windows[id]), func(o modelWindow) bool { return o.first.Equal(w.was) })
	s.current[name] = nil
}

func (s *modelScope) window(name string) (start time.Time, span time.Duration) {
	if w := s.meets(name); w != nil {
		return w.first, w.newest.Sub(w.first)
	}
	return start, 0
}

// evidence gives the events of the windows that were looked at.
func (s *modelScope) evidence() (int64, []state.Ref) {
	looked := slices.Clone(s.looked)
	for _, w := range s.current {
		if w != nil && w.looked {
			looked = append(looked, w)
		}
	}
	total := 0
	var refs []state.Ref
	for _, w := range looked {
		total += len(w.events)
		for _, r := range w.events[max(0, len(w.events)-100):] {
			if len(looked) > 1 && slices.ContainsFunc(refs, func(o state.Ref) bool { return o.ID == r.ID && o.Source == r.Source }) {
				total--
				continue
			}
			refs = append(refs, r)
		}
	}
	lists := slices.Clone(s.gone)
	for name, looked := range s.sets {
		if looked {
			lists = append(lists, s.setRefs(name)...)
		}
	}
	for _, r := range slices.Concat(lists...) {
		if !slices.ContainsFunc(refs, func(o state.Ref) bool { return o.ID == r.ID && o.Source == r.Source }) {
			refs = append(refs, r)
			total++
		}
	}
	slices.SortStableFunc(refs, func(a, b state.Ref) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if c := strings.Compare(a.Source.Topic, b.Source.Topic); c != 0 {
			return c
		}
		return int(a.Source.Offset - b.Source.Offset) // one partition; no two events share an offset
	})
	return int64(total), refs[max(0, len(refs)-100):]
}
