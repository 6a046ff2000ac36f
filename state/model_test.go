package state_test

import (
	"maps"
	"slices"
	"time"

	"trailhound/state"
)

// model gives the answers that a shard must give, in plain maps: it keeps everything for
// ever and looks at the event's time only. It shares no code with the package.
type model struct {
	values   map[modelName]modelValue
	windows  map[modelName][]modelWindow
	alerts   map[modelName]modelAlert
	seen     map[modelName]time.Time // remembered until
	sources  map[modelOrigin]modelAt
	meta     map[string]string
	stream   time.Time
	work     int64
	print    string
	lifetime time.Duration
	maxSet   int
}

// modelName names a value: the set and the counter of a name are different.
type modelName struct{ kind, rule, key, name string }

type modelOrigin struct {
	topic     byte
	partition int32
}

type modelAt struct {
	epoch  int32
	offset int64
	index  int32
}

type modelValue struct {
	members []string               // sorted
	refs    map[string][]state.Ref // of each member: which brought it, and which met it
	written time.Time
	expiry  time.Time // zero: none
}

type modelAlert struct {
	sent []time.Time
	held int64
}

// end gives the end of the span of the newest alert that was sent.
func (a *modelAlert) end(span time.Duration) (end time.Time) {
	for _, at := range a.sent {
		end = later(end, at.Add(span))
	}
	return end
}

func newModel(lifetime time.Duration, maxSet int) *model {
	return &model{
		values: map[modelName]modelValue{}, windows: map[modelName][]modelWindow{}, alerts: map[modelName]modelAlert{}, seen: map[modelName]time.Time{},
		sources: map[modelOrigin]modelAt{}, meta: map[string]string{}, work: -1, lifetime: lifetime, maxSet: maxSet,
	}
}

func (m *model) clone() *model {
	c := *m
	c.windows = maps.Clone(m.windows)
	c.values, c.alerts, c.seen = maps.Clone(m.values), maps.Clone(m.alerts), maps.Clone(m.seen)
	c.sources, c.meta = maps.Clone(m.sources), maps.Clone(m.meta)
	return &c
}

// get gives a value as an event at this time sees it.
func (m *model) get(n modelName, now time.Time) (modelValue, bool) {
	v, ok := m.values[n]
	end := v.expiry
	if end.IsZero() {
		end = v.written.Add(m.lifetime)
	}
	if !ok || !now.Before(end) {
		return modelValue{}, false
	}
	return v, true
}

// modelScope is one evaluation; its model is a copy that replaces the
// original at the commit.
type modelScope struct {
	m       *model
	rule    string
	key     string
	at      state.Ref
	current map[string]*modelWindow // the event's window by name, nil if it has none
	looked  []*modelWindow          // windows that were read and reset
	sets    map[string]bool         // sets that were looked at
	gone    [][]state.Ref           // of members of sets that were read and replaced
	refused string
}

func (m *model) scope(rule, key string, at state.Ref) *modelScope {
	return &modelScope{m: m.clone(), rule: rule, key: key, at: at, current: map[string]*modelWindow{}, sets: map[string]bool{}}
}

func (s *modelScope) id(kind, name string) modelName { return modelName{kind, s.rule, s.key, name} }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (s *modelScope) expire(name string, at time.Time) {
	s.expireCounter(name, at)
	s.expireSet(name, at)
}

// ttl is SetKeyTTL: of an event that the window has counted, from then on.
func (s *modelScope) ttl(name string, d time.Duration) {
	at := s.at.Time
	if w := s.meets(name); w != nil {
		if r, repeated := s.repeats(w); repeated {
			at = r.Time
		}
	}
	s.expireCounter(name, at.Add(d))
	s.expireSet(name, s.at.Time.Add(d))
}

func (s *modelScope) expireCounter(name string, at time.Time) {
	w := s.meets(name)
	if w == nil {
		return
	}
	if _, repeated := s.repeats(w); repeated && !w.expiry.IsZero() {
		return
	}
	w.expiry = at
	s.store(name)
}

func (s *modelScope) expireSet(name string, at time.Time) {
	if v, ok := s.getSet(name); ok {
		v.expiry = at
		s.m.values[s.id("set", name)] = v
	}
}

func (s *modelScope) expiry(name string) time.Time {
	var own time.Time
	if w := s.meets(name); w != nil {
		own = w.expiry
	}
	m, _ := s.getSet(name)
	if own.IsZero() || !m.expiry.IsZero() && m.expiry.Before(own) {
		return m.expiry
	}
	return own
}

func (s *modelScope) resetSet(name string) {
	s.forget(name)
	delete(s.m.values, s.id("set", name))
}

// getSet looks at a set.
func (s *modelScope) getSet(name string) (modelValue, bool) {
	v, ok := s.m.get(s.id("set", name), s.at.Time)
	s.sets[name] = s.sets[name] || ok
	return v, ok
}

// forget keeps the evidence of a set that was looked at and goes.
func (s *modelScope) forget(name string) {
	if s.sets[name] {
		s.gone = append(s.gone, s.setRefs(name)...)
	}
	s.sets[name] = false
}

// setRefs gives the evidence of the members of a set that was looked at, even if the
// evaluation has let it expire.
func (s *modelScope) setRefs(name string) (refs [][]state.Ref) {
	v := s.m.values[s.id("set", name)]
	for _, member := range v.members {
		refs = append(refs, v.refs[member])
	}
	return refs
}

// bring notes the event with a member that comes.
func (s *modelScope) bring(v *modelValue, member string) {
	v.refs = maps.Clone(v.refs)
	if v.refs == nil {
		v.refs = map[string][]state.Ref{}
	}
	v.refs[member] = []state.Ref{s.at}
}

func (s *modelScope) set(name string) []string {
	v, _ := s.getSet(name)
	return v.members
}

func (s *modelScope) add(name string, members ...string) (added []string) {
	if len(members) == 0 {
		return nil
	}
	v, ok := s.getSet(name)
	if !ok {
		s.forget(name)
	}
	s.sets[name] = true
	v.members = slices.Clone(v.members)
	for _, member := range members {
		if slices.Contains(v.members, member) {
			continue
		}
		if len(v.members) == s.m.maxSet {
			s.refused = "set_full"
			return nil
		}
		added = append(added, member)
		v.members = append(v.members, member)
		s.bring(&v, member)
	}
	if added == nil {
		return nil
	}
	slices.Sort(v.members)
	v.written = later(v.written, s.at.Time)
	s.m.values[s.id("set", name)] = v
	return added
}

func (s *modelScope) put(name string, members ...string) {
	v, _ := s.m.get(s.id("set", name), s.at.Time)
	members = slices.Compact(slices.Sorted(slices.Values(members)))
	if len(members) > s.m.maxSet {
		s.refused = "set_full"
		return
	}
	s.forget(name)
	s.sets[name] = true
	v.refs = nil
	for _, member := range members {
		s.bring(&v, member)
	}
	v.members = members
	v.written = later(v.written, s.at.Time)
	s.m.values[s.id("set", name)] = v
}

func (s *modelScope) remove(name string, members ...string) {
	v, ok := s.getSet(name)
	if !ok {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(v.members), func(m string) bool { return slices.Contains(members, m) })
	if len(rest) == len(v.members) {
		return
	}
	v.members = rest
	v.written = later(v.written, s.at.Time)
	s.m.values[s.id("set", name)] = v
}

func (s *modelScope) renew(name string, atMost time.Duration, members ...string) {
	v, ok := s.getSet(name)
	if !ok {
		return
	}
	renewed := v.expiry.IsZero() && s.at.Time.Sub(v.written) >= atMost
	v.refs = maps.Clone(v.refs)
	for _, member := range members {
		if r := v.refs[member]; slices.Contains(v.members, member) && s.at.Time.Sub(r[len(r)-1].Time) >= atMost {
			v.refs[member] = []state.Ref{r[0], s.at}
			renewed = true
		}
	}
	if renewed {
		v.written = later(v.written, s.at.Time)
		s.m.values[s.id("set", name)] = v
	}
}

func (s *modelScope) suppress(dedup string, span time.Duration) (int64, bool) {
	id := s.id("alert", dedup)
	a := s.m.alerts[id]
	for _, at := range a.sent {
		if s.at.Time.Sub(at).Abs() < span {
			a.held++
			s.m.alerts[id] = a
			return a.held, true
		}
	}
	if !s.at.Time.Before(a.end(span).Add(s.m.lifetime)) {
		a.held = 0
	}
	s.m.alerts[id] = modelAlert{sent: append(slices.Clip(a.sent), s.at.Time)}
	return a.held, false
}

func (m *model) see(rule, key, id string, at time.Time, within time.Duration) bool {
	n := modelName{"seen", rule, key, id}
	until, ok := m.seen[n]
	if ok && !m.stream.After(until) {
		return true
	}
	m.seen[n] = later(at, m.stream).Add(within)
	return false
}
