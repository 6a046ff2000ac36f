package state_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

const (
	testLifetime = 20 * time.Hour
	testLateness = 10 * time.Hour
	testWithin   = 3 * time.Hour
	testMaxSet   = 4
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// machine plays the same calls on a shard and on a model.
type machine struct {
	fs      *vfs.MemFS
	store   *state.Store
	shard   *state.Shard
	number  int
	tx      *state.Tx
	applied *model // the state of the shard
	pending *model // the state that the Tx sees
	log     []state.Change
	history map[int64]*model // by next changelog offset
	next    int64            // offset, as control records take some too
	ends    []int64          // next offset behind each record of log
	events  int64
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{fs: vfs.NewCrashableMem(), applied: newModel(testLifetime, testMaxSet), history: map[int64]*model{}}
		m.history[0] = m.applied.clone()
		m.open(t)
		defer func() {
			m.tx.Discard()
			if err := m.store.Close(); err != nil {
				t.Fatalf("Close() = %v; want nil", err)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"evaluate": m.evaluate, "many": m.many, "sweep": m.sweep, "positions": m.positions,
			"apply": m.apply, "discard": m.discard, "crash": m.crash, "reopen": m.reopen, "restore": m.restore,
			"": m.check,
		})
	})
}

func (m *machine) open(t *rapid.T) {
	store, err := state.Open(state.Options{Dir: "state", FS: m.fs, Lifetime: testLifetime, MaxLateness: testLateness, MaxSetMembers: testMaxSet})
	if err != nil {
		t.Fatalf("Open() = %v; want nil", err)
	}
	m.store = store
	state.SmallRuns(store, rapid.IntRange(1, 5).Draw(t, "events of a run"))
	m.use(t, m.number)
}

func (m *machine) use(t *rapid.T, number int) {
	h, err := m.store.Shard(number)
	if err != nil {
		t.Fatalf("Shard(%d) = %v; want nil", number, err)
	}
	m.shard, m.number = h, number
	m.begin()
}

func (m *machine) begin() {
	m.tx = m.shard.Begin()
	m.pending = m.applied.clone()
}

// event draws an event that is not too late.
func (m *machine) event(t *rapid.T) state.Ref {
	ahead := time.Duration(rapid.IntRange(-60, 40).Draw(t, "ahead")) * 10 * time.Minute
	if rapid.IntRange(0, 9).Draw(t, "leap") == 0 {
		ahead = 35 * time.Hour
	}
	now := m.pending.stream
	if now.IsZero() {
		now = epoch
	}
	m.events++
	return state.Ref{
		ID:     rapid.SampledFrom([]string{"", "e", eventID(m.events), eventID(rapid.Int64Range(1, m.events).Draw(t, "again"))}).Draw(t, "id"),
		Time:   now.Add(ahead).Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "nanos"))),
		Source: state.Source{Topic: rapid.SampledFrom([]string{"trail", "other"}).Draw(t, "topic"), Partition: 3, Offset: m.events, Index: int32(m.events % 7)},
	}
}

func eventID(n int64) string { return fmt.Sprintf("0b6e7c1e-0000-4000-8000-%012x", n) }

func (m *machine) observe(at time.Time) {
	m.tx.Observe(state.Source{}, at)
	m.pending.stream = later(m.pending.stream, at)
}

func (m *machine) evaluate(t *rapid.T) {
	at := m.event(t)
	m.observe(at.Time)
	rule := rapid.SampledFrom([]string{"r", "ra"}).Draw(t, "rule")
	key := rapid.SampledFrom([]string{"ab", "b"}).Draw(t, "key")
	if at.ID != "" {
		want := m.pending.see(rule, key, at.ID, at.Time, testWithin)
		if got := state.See(m.tx, rule, key, at.ID, at.Time, testWithin); got != want {
			t.Fatalf("Seen(%q) = %t; want %t", at.ID, got, want)
		}
	}
	s, want := m.tx.Scope(rule, key, at), m.pending.scope(rule, key, at)
	for range rapid.IntRange(1, 6).Draw(t, "calls") {
		if want.refused == "" {
			call(t, s, want)
		}
	}
	total, refs := want.evidence()
	if want.refused != "" {
		total, refs = 0, nil
		if e, ok := s.Err().(*state.LimitError); !ok || e.Reason != want.refused {
			t.Fatalf("Err() = %v; want reason %s", s.Err(), want.refused)
		}
	} else if s.Err() != nil {
		t.Fatalf("Err() = %v; want nil", s.Err())
	}
	if n, got := s.Evidence(); n != total || !sameRefs(got, refs) {
		t.Fatalf("Evidence() = %d, %v; want %d, %v", n, got, total, refs)
	}
	if rapid.IntRange(0, 4).Draw(t, "drop") > 0 {
		s.Commit()
		if want.refused == "" {
			want.m.seen = m.pending.seen
			m.pending = want.m
		}
	}
}

func sameRefs(a, b []state.Ref) bool {
	return slices.EqualFunc(a, b, func(a, b state.Ref) bool {
		return a.ID == b.ID && a.Time.Equal(b.Time) && a.Source == b.Source
	})
}

// call makes one random call on both sides and compares the answers.
func call(t *rapid.T, s *state.Scope, want *modelScope) {
	name := rapid.SampledFrom([]string{"n", "m"}).Draw(t, "name")
	members := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"}), 0, 3).Draw(t, "members")
	d := time.Duration(rapid.IntRange(-2, 30).Draw(t, "hours")) * time.Hour
	n := rapid.SampledFrom([]int64{0, 1, 1, 1, -3, 1 << 62, -1 << 62}).Draw(t, "n")
	same := func(got, want any) {
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v; want %v", got, want)
		}
	}
	calls := []func(){
		func() { same(s.GetCounter(name), want.count(name)) },
		func() { same(s.IncrementCounterBy(name, n), want.increment(name, n)) },
		func() { same(s.IncrementCounter(name), want.increment(name, 1)) },
		func() { s.ResetCounter(name); want.resetCounter(name) },
		func() { s.SetKeyTTL(name, d); want.ttl(name, d) },
		func() { s.SetKeyExpiration(name, epoch.Add(d)); want.expire(name, epoch.Add(d)) },
		func() { sameSet(t, s.GetStringSet(name), want.set(name)) },
		func() { s.PutStringSet(name, members...); want.put(name, members...) },
		func() {
			set, added := s.AddToStringSet(name, members...)
			same(added, want.add(name, members...))
			if want.refused == "" {
				sameSet(t, set, want.set(name))
			}
		},
		func() {
			set := s.RemoveFromStringSet(name, members...)
			want.remove(name, members...)
			sameSet(t, set, want.set(name))
		},
		func() { s.ResetStringSet(name); want.resetSet(name) },
		func() { s.RenewStringSet(name, 3*time.Hour, members...); want.renew(name, 3*time.Hour, members...) },
		func() {
			held, suppressed := s.Suppress(name, 5*time.Hour)
			wantHeld, wantSuppressed := want.suppress(name, 5*time.Hour)
			same(fmt.Sprint(held, suppressed), fmt.Sprint(wantHeld, wantSuppressed))
		},
		func() { sameTimes(t, s, want, name) },
	}
	i := rapid.IntRange(0, len(calls)-1).Draw(t, "call")
	calls[i]()
}

func sameTimes(t *rapid.T, s *state.Scope, want *modelScope, name string) {
	start, ok := s.Window(name)
	wantStart, wantSpan := want.window(name)
	if !start.Equal(wantStart) || ok != !wantStart.IsZero() {
		t.Fatalf("Window(%q) = %v, %t; want %v", name, start, ok, wantStart)
	}
	if span := s.Span(name); span != wantSpan {
		t.Fatalf("Span(%q) = %v; want %v", name, span, wantSpan)
	}
	expiry, ok := s.Expiry(name)
	if wantExpiry := want.expiry(name); !expiry.Equal(wantExpiry) || ok != !wantExpiry.IsZero() {
		t.Fatalf("Expiry(%q) = %v, %t; want %v", name, expiry, ok, wantExpiry)
	}
}

func sameSet(t *rapid.T, got state.Set, want []string) {
	if m := got.Members(); !slices.Equal(m, want) || got.Len() != len(want) {
		t.Fatalf("Members() = %q, Len() = %d; want %q", m, got.Len(), want)
	}
	if f := got.First(2); !slices.Equal(f, want[:min(2, len(want))]) {
		t.Fatalf("First(2) = %q; want the first of %q", f, want)
	}
	for _, member := range []string{"", "a", "c", "e", "ab"} {
		if h := got.Has(member); h != slices.Contains(want, member) {
			t.Fatalf("Has(%q) = %t; want %t of %q", member, h, !h, want)
		}
	}
}

// many counts one key often enough for the ring of evidence to turn.
func (m *machine) many(t *rapid.T) {
	at := m.event(t)
	for range rapid.IntRange(10, 130).Draw(t, "times") {
		m.events++
		at.Source.Offset = m.events
		m.observe(at.Time)
		s, want := m.tx.Scope("r", "ab", at), m.pending.scope("r", "ab", at)
		if got, n := s.IncrementCounter("n"), want.increment("n", 1); got != n {
			t.Fatalf("IncrementCounter() = %d; want %d", got, n)
		}
		total, refs := want.evidence()
		if n, got := s.Evidence(); n != total || !sameRefs(got, refs) {
			t.Fatalf("Evidence() = %d, %v; want %d, %v", n, got, total, refs)
		}
		s.Commit()
		m.pending = want.m
	}
}

func (m *machine) sweep(t *rapid.T) {
	limit := rapid.IntRange(0, 20).Draw(t, "max")
	if n := m.tx.Sweep(limit); n > limit*256 { // events of a page
		t.Fatalf("Sweep(%d) = %d", limit, n)
	}
}

func (m *machine) positions(t *rapid.T) {
	src := state.Source{TopicID: [16]byte{byte(rapid.IntRange(1, 2).Draw(t, "topic"))}, Partition: 1,
		Epoch: int32(rapid.IntRange(0, 1).Draw(t, "epoch")), Offset: int64(rapid.IntRange(0, 3).Draw(t, "offset")), Index: int32(rapid.IntRange(0, 1).Draw(t, "index"))}
	o := modelOrigin{src.TopicID[0], src.Partition}
	last, ok := m.pending.sources[o]
	at := modelAt{src.Epoch, src.Offset, src.Index}
	want := !ok || slices.Compare([]int64{int64(at.epoch), at.offset, int64(at.index)}, []int64{int64(last.epoch), last.offset, int64(last.index)}) > 0
	if got := m.tx.Newer(src); got != want {
		t.Fatalf("Newer(%v) = %t; want %t after %v", src, got, want, last)
	}
	if want {
		m.tx.Advance(src)
		m.pending.sources[o] = at
	}
	m.pending.work++
	m.tx.SetWorkOffset(m.pending.work, int32(m.pending.work/7))
	m.pending.print = fmt.Sprint(m.pending.work / 5)
	m.tx.SetFingerprint([]byte(m.pending.print))
	m.pending.meta["identity"] = m.pending.print
	m.tx.PutMeta("identity", []byte(m.pending.print))
}

// apply commits the Tx as a transaction of the changelog would.
func (m *machine) apply(t *rapid.T) {
	var last []byte
	for c := range m.tx.Changes() {
		if bytes.Compare(last, c.Key) >= 0 {
			t.Fatalf("Changes(): %q after %q; want them sorted", c.Key, last)
		}
		last = bytes.Clone(c.Key)
		var value []byte
		if c.Value != nil {
			value = bytes.Clone(c.Value)
		}
		m.next++
		m.log, m.ends = append(m.log, state.Change{Key: last, Value: value}), append(m.ends, m.next)
	}
	m.next++ // the control record
	if err := m.tx.Apply(m.next); err != nil {
		t.Fatalf("Apply(%d) = %v; want nil", m.next, err)
	}
	m.applied = m.pending
	m.history[m.next] = m.applied.clone()
	m.consistent(t)
	m.begin()
}

func (m *machine) discard(*rapid.T) {
	m.tx.Discard()
	m.begin()
}

func (m *machine) consistent(t *rapid.T) {
	if err := state.Check(m.shard); err != nil {
		t.Fatalf("Check() = %v; want nil", err)
	}
}

// check compares everything that can be asked.
func (m *machine) check(t *rapid.T) {
	if got := m.tx.StreamTime(); !got.Equal(m.pending.stream) {
		t.Fatalf("StreamTime() = %v; want %v", got, m.pending.stream)
	}
	if got := m.tx.WorkOffset(); got != m.pending.work {
		t.Fatalf("WorkOffset() = %d; want %d", got, m.pending.work)
	}
	if got := m.shard.Position(); got.Work != m.applied.work || string(got.Fingerprint) != m.applied.print || !got.StreamTime.Equal(m.applied.stream) {
		t.Fatalf("Position() = %v; want %v", got, m.applied)
	}
	if got, err := m.shard.Meta("identity"); string(got) != m.applied.meta["identity"] || err != nil {
		t.Fatalf("Meta() = %q, %v; want %q", got, err, m.applied.meta["identity"])
	}
	for o, last := range m.pending.sources {
		got, ok := m.tx.Source([16]byte{o.topic}, o.partition)
		if !ok || got.Epoch != last.epoch || got.Offset != last.offset || got.Index != last.index {
			t.Fatalf("Source(%v) = %v, %t; want %v", o, got, ok, last)
		}
	}
	at := state.Ref{Time: later(epoch, m.pending.stream)}
	for _, id := range [][2]string{{"r", "ab"}, {"r", "b"}, {"ra", "ab"}, {"ra", "b"}} {
		for _, name := range []string{"n", "m"} {
			s, want := m.tx.Scope(id[0], id[1], at), m.pending.scope(id[0], id[1], at)
			if got := s.GetCounter(name); got != want.count(name) {
				t.Fatalf("%v: GetCounter(%q) = %d; want %d", id, name, got, want.count(name))
			}
			sameSet(t, s.GetStringSet(name), want.set(name))
			sameTimes(t, s, want, name)
		}
	}
	m.inspect(t, at.Time)
}
