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

// modelPartition is an input partition as the shard knows it.
type modelPartition struct {
	newest time.Time // zero: none is known
	idle   bool
}

// timelineMachine plays the same calls on timelines of a shard and on models of them.
type timelineMachine struct {
	o          state.Options
	shard      *state.Shard
	copied     *state.Shard // as a restore has made it of the changes
	tx         *state.Tx
	applied    map[string]modelTimeline
	pending    map[string]modelTimeline
	partitions [3]modelPartition
	observed   [3]modelPartition // the same, in the Tx
	spans      map[string]time.Duration
	changelog  int64
	events     int64
	spread     int  // minutes
	eager      int  // percent of evaluations that consume
	wakes      bool // the third partition is not known at first, partitions become idle and wake, and a Rewind may come
	apart      bool // no two events are of one instant
}

// A timeline answers as a plain list does, for any order and number of events, over
// commits, dropped evaluations, discarded transactions, sweeps and restores. In one half of
// the runs a timeline gets full, and which entries give way is foreseen; in the other,
// partitions drift, become idle, wake and are new, and no event that its own partition
// admits may miss a neighbour.
func TestTimelineModel(t *testing.T) {
	for _, noHorizon := range []bool{false, true} {
		for _, wakes := range []bool{false, true} {
			rapid.Check(t, func(t *rapid.T) {
				m := &timelineMachine{
					o:       state.Options{Dir: "state", FS: vfs.NewMem(), Lifetime: 20 * time.Hour, MaxLateness: 10 * time.Hour, NoHorizon: noHorizon},
					applied: map[string]modelTimeline{}, wakes: wakes,
					spans:  map[string]time.Duration{"n": time.Duration(rapid.IntRange(0, 5).Draw(t, "span")) * time.Hour, "m": time.Minute},
					spread: rapid.SampledFrom([]int{2, 60, 600, 3000}).Draw(t, "spread"),
					eager:  rapid.SampledFrom([]int{1, 5, 50}).Draw(t, "eager"),
				}
				if !wakes {
					m.o.MaxSetMembers = rapid.SampledFrom([]int{3, 20, 150, 1000}).Draw(t, "max")
					m.apart = m.o.MaxSetMembers < 1000 || rapid.Bool().Draw(t, "apart")
				}
				m.open(t)
				calls := map[string]func(*rapid.T){
					"evaluate": m.evaluate, "burst": m.burst, "sweep": func(t *rapid.T) { m.tx.Sweep(rapid.IntRange(0, 30).Draw(t, "max")) },
					"apply": m.apply, "discard": func(*rapid.T) { m.begin() },
				}
				if wakes {
					calls["mark"], calls["rewind"] = m.mark, m.rewind
				}
				t.Repeat(calls)
			})
		}
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
	for p := range 2 { // a partition that nothing is known of does not hold the horizon back
		m.observe(state.Source{TopicID: [16]byte{1}, Partition: int32(p)}, epoch)
	}
	m.apply(t)
}

// observe notes an event's time on both sides.
func (m *timelineMachine) observe(src state.Source, at time.Time) {
	m.tx.Observe(src, at)
	p := &m.observed[src.Partition]
	*p = modelPartition{newest: later(p.newest, at)}
	m.moved()
}

// mark notes a time mark, which tells whether a partition is idle.
func (m *timelineMachine) mark(t *rapid.T) {
	m.events++
	src := state.Source{TopicID: [16]byte{1}, Partition: rapid.Int32Range(0, 2).Draw(t, "partition"), Epoch: 2, Offset: m.events}
	p := &m.observed[src.Partition]
	p.idle = rapid.Bool().Draw(t, "idle")
	m.tx.Mark(src, p.newest, p.idle)
	m.moved()
}

// rewind moves back times that are beyond an instant.
func (m *timelineMachine) rewind(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "rewound") > 0 {
		return
	}
	to := m.horizon().Add(time.Duration(rapid.IntRange(-600, 600).Draw(t, "to")) * time.Minute)
	m.tx.Rewind(to, time.Hour)
	for p := range m.observed {
		if m.observed[p].newest.After(to) {
			m.observed[p].newest = to
		}
	}
	for _, l := range m.pending {
		for i := range l.entries {
			l.entries[i].ahead = l.entries[i].ahead || l.entries[i].Time.After(to)
		}
	}
	m.moved()
}

// horizon is the minimum over the partitions that are not idle; of idle ones alone, the
// maximum.
func (m *timelineMachine) horizon() (slowest time.Time) {
	var newest time.Time
	for _, p := range m.observed {
		newest = later(newest, p.newest)
		if !p.idle && !p.newest.IsZero() && (slowest.IsZero() || p.newest.Before(slowest)) {
			slowest = p.newest
		}
	}
	if slowest.IsZero() {
		return newest
	}
	return slowest
}

// moved tells the entries how far the horizon has come.
func (m *timelineMachine) moved() {
	h := m.horizon()
	for _, l := range m.pending {
		for i := range l.entries {
			l.entries[i].horizon = later(l.entries[i].horizon, h)
		}
	}
}

func (m *timelineMachine) begin() {
	m.tx = m.shard.Begin()
	m.pending, m.observed = map[string]modelTimeline{}, m.partitions
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
	m.applied, m.partitions = m.pending, m.observed
	m.begin()
}

// burst evaluates events one after the other.
func (m *timelineMachine) burst(t *rapid.T) {
	for range rapid.IntRange(20, 200).Draw(t, "events") {
		m.evaluate(t)
	}
}

// event draws an event that is not too late for its partition, which may be far behind the
// others.
func (m *timelineMachine) event(t *rapid.T) state.Ref {
	p := rapid.IntRange(0, len(m.observed)-1).Draw(t, "partition")
	if p == 2 && !m.wakes {
		p = 0
	}
	newest := m.observed[p].newest
	if newest.IsZero() {
		newest = epoch.AddDate(0, 0, rapid.IntRange(-10, 10).Draw(t, "day"))
	}
	ahead := rapid.IntRange(-m.spread, m.spread/10+1).Draw(t, "ahead")
	if rapid.IntRange(0, 99).Draw(t, "leap") == 0 {
		ahead = 45 * 60
	}
	if !m.o.NoHorizon {
		ahead = max(ahead, -600)
	}
	m.events++
	at := state.Ref{
		ID:     rapid.SampledFrom([]string{"", eventID(m.events), eventID(m.events), "e" + fmt.Sprint(m.events)}).Draw(t, "id"),
		Time:   newest.Add(time.Duration(ahead) * time.Minute),
		Source: state.Source{Topic: rapid.SampledFrom([]string{"trail", "other"}).Draw(t, "topic"), TopicID: [16]byte{1}, Partition: int32(p), Epoch: 2, Offset: m.events},
	}
	if !m.wakes && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
		at.ID = eventID(rapid.Int64Range(max(1, m.events-40), m.events).Draw(t, "of"))
	}
	if m.apart {
		if at.Time = at.Time.Add(time.Duration(m.events)); !m.o.NoHorizon && m.observed[p].newest.Sub(at.Time) > m.o.MaxLateness {
			at.Time = m.observed[p].newest.Add(-m.o.MaxLateness)
		}
	}
	m.observe(at.Source, at.Time)
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
	near, sure := e.within()
	got := s.Within(name, e.span)
	if !sameEntries(got, near) && !(m.wakes && isSubset(sure, got) && isSubset(got, near)) {
		t.Fatalf("Within(%s) at %s =\n%s; want\n%s, of these for sure\n%s", e.span, at.Time, entryLines(got), entryLines(near), entryLines(sure))
	}
	near = got
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
	if s.Err() != nil || m.tx.Err() != nil || s.Evicted() != e.evicted {
		t.Fatalf("Err() = %v, Evicted() = %d; want nil, %d", cmp.Or(s.Err(), m.tx.Err()), s.Evicted(), e.evicted)
	}
	if rapid.IntRange(0, 9).Draw(t, "drop") > 0 {
		s.Commit()
		m.pending[name] = l
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

func isSubset(a, b []state.Entry) bool {
	for _, e := range a {
		if _, found := slices.BinarySearchFunc(b, e, compareModelEntries); !found {
			return false
		}
	}
	return true
}

func entryLines(entries []state.Entry) string {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %q %q %s/%d\n", e.Time.Format(time.RFC3339), e.ID, e.Label, e.Source.Topic, e.Source.Offset)
	}
	return b.String()
}
