package state_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

// modelTimeline is a timeline as a plain list that nothing but Consume, and room for one
// more, takes entries from. It shares no code with the package.
type modelTimeline struct {
	entries []state.Entry
	newest  time.Time
	reach   time.Duration
}

// timelineMachine plays the same calls on timelines of a shard and on models of them.
type timelineMachine struct {
	o         state.Options
	shard     *state.Shard
	copied    *state.Shard // what a restore has made of its changes
	tx        *state.Tx
	applied   map[string]modelTimeline
	pending   map[string]modelTimeline
	newest    [2]time.Time // of two input partitions
	observed  [2]time.Time // the same, in the Tx
	spans     map[string]time.Duration
	changelog int64
	events    int64
	spread    int // minutes
	eager     int // percent of evaluations that consume
}

// A timeline answers as a plain list does, in whatever order its events come and however
// many they are, over commits, dropped evaluations, discarded transactions, sweeps and
// restores.
func TestTimelineModel(t *testing.T) {
	for _, noHorizon := range []bool{false, true} {
		rapid.Check(t, func(t *rapid.T) {
			m := &timelineMachine{
				o: state.Options{Dir: "state", FS: vfs.NewMem(), Lifetime: 20 * time.Hour, MaxLateness: 10 * time.Hour,
					MaxSetMembers: rapid.SampledFrom([]int{3, 150, 1000}).Draw(t, "max"), NoHorizon: noHorizon},
				applied: map[string]modelTimeline{}, newest: [2]time.Time{epoch, epoch},
				spans:  map[string]time.Duration{"n": time.Duration(rapid.IntRange(0, 5).Draw(t, "span")) * time.Hour, "m": time.Minute},
				spread: rapid.SampledFrom([]int{2, 60, 600, 3000}).Draw(t, "spread"),
				eager:  rapid.SampledFrom([]int{1, 5, 50}).Draw(t, "eager"),
			}
			m.open(t)
			t.Repeat(map[string]func(*rapid.T){
				"evaluate": m.evaluate, "burst": m.burst, "sweep": func(t *rapid.T) { m.tx.Sweep(rapid.IntRange(0, 30).Draw(t, "max")) },
				"apply": m.apply, "discard": func(*rapid.T) { m.begin() },
			})
		})
	}
}

func (m *timelineMachine) open(t *rapid.T) {
	store, err := state.Open(m.o)
	if err != nil {
		t.Fatalf("Open() = %v; want nil", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	})
	if m.shard, err = store.Shard(0); err == nil {
		m.copied, err = store.Shard(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.begin()
	for p := range m.observed { // a partition that nothing is known of would not hold the horizon back
		m.tx.Observe(state.Source{TopicID: [16]byte{1}, Partition: int32(p)}, m.observed[p])
	}
	m.apply(t)
}

func (m *timelineMachine) begin() {
	m.tx = m.shard.Begin()
	m.pending, m.observed = map[string]modelTimeline{}, m.newest
	for name, l := range m.applied {
		l.entries = slices.Clone(l.entries)
		m.pending[name] = l
	}
}

// apply commits the Tx, and restores the copy from its changes.
func (m *timelineMachine) apply(t *rapid.T) {
	var changes []state.Change
	for c := range m.tx.Changes() {
		changes = append(changes, state.Change{Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value)})
	}
	m.changelog++
	if err := m.tx.Apply(m.changelog); err != nil {
		t.Fatalf("Apply() = %v; want nil", err)
	}
	err := m.copied.Load(m.changelog, 0, func(yield func(key, value []byte) bool) error {
		for _, c := range changes {
			yield(c.Key, c.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Load() = %v; want nil", err)
	}
	for _, h := range []*state.Shard{m.shard, m.copied} {
		if err := state.Check(h); err != nil {
			t.Fatalf("Check() = %v; want nil", err)
		}
	}
	if rapid.Bool().Draw(t, "restored") {
		m.shard, m.copied = m.copied, m.shard
	}
	m.applied, m.newest = m.pending, m.observed
	m.begin()
}

// burst evaluates events one after the other.
func (m *timelineMachine) burst(t *rapid.T) {
	for range rapid.IntRange(20, 200).Draw(t, "events") {
		m.evaluate(t)
	}
}

// event draws an event that is not too late for its partition, which may be far behind the
// other.
func (m *timelineMachine) event(t *rapid.T) state.Ref {
	p := rapid.IntRange(0, 1).Draw(t, "partition")
	ahead := rapid.IntRange(-m.spread, m.spread/10+1).Draw(t, "ahead")
	if rapid.IntRange(0, 99).Draw(t, "leap") == 0 {
		ahead = 45 * 60
	}
	if !m.o.NoHorizon {
		ahead = max(ahead, -600)
	}
	m.events++
	at := state.Ref{
		ID:     rapid.SampledFrom([]string{"", eventID(m.events), eventID(m.events), "e" + fmt.Sprint(m.events), eventID(rapid.Int64Range(max(1, m.events-40), m.events).Draw(t, "again"))}).Draw(t, "id"),
		Time:   m.observed[p].Add(time.Duration(ahead) * time.Minute),
		Source: state.Source{Topic: rapid.SampledFrom([]string{"trail", "other"}).Draw(t, "topic"), TopicID: [16]byte{1}, Partition: int32(p), Epoch: 2, Offset: m.events},
	}
	m.observed[p] = later(m.observed[p], at.Time)
	m.tx.Observe(at.Source, at.Time)
	return at
}

// evaluate makes some calls on both sides and compares the answers.
func (m *timelineMachine) evaluate(t *rapid.T) {
	at := m.event(t)
	name := rapid.SampledFrom([]string{"n", "n", "n", "m"}).Draw(t, "name")
	l := m.pending[name]
	l.entries = slices.Clone(l.entries)
	s, e := m.tx.Scope("rule", "key", at), modelEvaluation{m: m, l: &l, at: at, span: m.spans[name]}
	for range rapid.IntRange(1, 2).Draw(t, "observed") {
		label := rapid.SampledFrom([]string{"", "", "", "step"}).Draw(t, "label")
		s.Observe(name, label)
		e.observe(label)
	}
	near := e.within()
	if got := s.Within(name, e.span); !sameEntries(got, near) {
		t.Fatalf("Within(%s) at %s =\n%s; want\n%s", e.span, at.Time, entryLines(got), entryLines(near))
	}
	var gone []state.Entry
	if rapid.IntRange(0, 99).Draw(t, "consumed") < m.eager {
		gone = rapid.SampledFrom([][]state.Entry{near, near[:len(near)/2], near[len(near)/3 : (len(near)+1)/2]}).Draw(t, "gone")
	}
	s.Consume(name, append(slices.Clone(gone), state.Entry{Ref: ref(7)}))
	if e.consume(gone); len(gone) == 0 {
		gone = near
	}
	total, refs := modelEvidence(gone)
	if n, got := s.Evidence(); n != total || !sameRefs(got, refs) {
		t.Fatalf("Evidence() = %d, %v; want %d, %v", n, got, total, refs)
	}
	if s.Err() != nil || m.tx.Err() != nil || s.StoodAlone() != min(1, len(e.alone)+e.aloneGone) || s.Evicted() != e.evicted {
		t.Fatalf("Err() = %v, StoodAlone() = %d, Evicted() = %d; want nil, %d alone, %d", cmp.Or(s.Err(), m.tx.Err()), s.StoodAlone(), s.Evicted(), len(e.alone), e.evicted)
	}
	if rapid.IntRange(0, 9).Draw(t, "drop") > 0 {
		s.Commit()
		m.pending[name] = l
	}
}

// modelEvaluation is one evaluation on a model.
type modelEvaluation struct {
	m         *timelineMachine
	l         *modelTimeline
	at        state.Ref
	span      time.Duration
	alone     []state.Entry
	aloneGone int
	evicted   int
}

// floor is the instant before which events stand alone.
func (e *modelEvaluation) floor() time.Time {
	if len(e.l.entries) == 0 || e.l.reach == 0 || e.m.o.NoHorizon {
		return time.Time{}
	}
	return e.l.newest.Add(-e.l.reach - e.m.o.MaxLateness)
}

func (e *modelEvaluation) observe(label string) {
	own := state.Entry{Label: label, Ref: e.at}
	own.Source.TopicID, own.Source.Epoch = [16]byte{}, 0
	twice := func(o state.Entry) bool {
		return o.ID == own.ID && o.Label == own.Label && (own.ID != "" || o.Source == own.Source)
	}
	if e.at.Time.Before(e.floor()) {
		if !slices.ContainsFunc(e.alone, twice) {
			e.alone = append(e.alone, own)
		}
		return
	}
	if slices.ContainsFunc(e.around(e.l.reach), twice) {
		return
	}
	e.room()
	e.l.newest = later(e.l.newest, e.at.Time)
	e.l.entries = append(e.l.entries, own)
}

// room makes room for one more.
func (e *modelEvaluation) room() {
	most := e.m.o.MaxSetMembers
	if len(e.l.entries) < most {
		return
	}
	e.prune()
	if !e.m.o.NoHorizon {
		old := earlier(e.m.observed[0], e.m.observed[1]).Add(-cmp.Or(e.l.reach, e.m.o.Lifetime) - e.m.o.MaxLateness)
		e.l.entries = slices.DeleteFunc(e.l.entries, func(o state.Entry) bool { return o.Time.Before(old) })
	}
	if over := len(e.l.entries) - most; over >= 0 {
		n := max(over+1, most/8)
		slices.SortFunc(e.l.entries, compareModelEntries)
		e.l.entries = e.l.entries[n:]
		e.evicted += n
	}
}

// prune drops what no event can meet that does not stand alone: that is how a timeline
// becomes empty.
func (e *modelEvaluation) prune() {
	old := e.floor().Add(-e.l.reach)
	e.l.entries = slices.DeleteFunc(e.l.entries, func(o state.Entry) bool { return o.Time.Before(old) })
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (e *modelEvaluation) within() []state.Entry {
	e.l.reach = max(e.l.reach, e.span)
	if len(e.alone) > 0 {
		return slices.Clone(e.alone)
	}
	return e.around(e.span)
}

func (e *modelEvaluation) around(d time.Duration) (near []state.Entry) {
	for _, o := range e.l.entries {
		if !o.Time.Before(e.at.Time.Add(-d)) && !o.Time.After(e.at.Time.Add(d)) {
			near = append(near, o)
		}
	}
	slices.SortFunc(near, compareModelEntries)
	return near
}

func compareModelEntries(a, b state.Entry) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Source.Topic, b.Source.Topic), cmp.Compare(a.Source.Partition, b.Source.Partition),
		cmp.Compare(a.Source.Offset, b.Source.Offset), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Label, b.Label))
}

func (e *modelEvaluation) consume(gone []state.Entry) {
	went := func(o state.Entry) bool {
		return slices.ContainsFunc(gone, func(g state.Entry) bool { return compareModelEntries(o, g) == 0 })
	}
	before := len(e.alone)
	e.alone = slices.DeleteFunc(e.alone, went)
	if e.aloneGone = before - len(e.alone); before > 0 {
		return
	}
	e.l.entries = slices.DeleteFunc(e.l.entries, went)
	if e.prune(); len(e.l.entries) == 0 {
		*e.l = modelTimeline{}
	}
}

func modelEvidence(entries []state.Entry) (total int64, refs []state.Ref) {
	for _, e := range entries {
		if n := len(refs); n == 0 || refs[n-1].Source != e.Source {
			refs = append(refs, e.Ref)
		}
	}
	return int64(len(refs)), refs[max(0, len(refs)-100):]
}

func sameEntries(a, b []state.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b state.Entry) bool { return a.ID == b.ID && compareModelEntries(a, b) == 0 })
}

func entryLines(entries []state.Entry) string {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %q %q %s/%d\n", e.Time.Format(time.RFC3339), e.ID, e.Label, e.Source.Topic, e.Source.Offset)
	}
	return b.String()
}
