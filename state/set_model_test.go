package state_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

// bigSet plays calls on one set of many members on a shard and on plain maps. TestModel has
// few members, and so does not reach the code for many: evidence that is cut, names that
// are read in parts, eviction in portions.
type bigSet struct {
	fs    vfs.FS
	store *state.Store
	shard *state.Shard
	tx    *state.Tx
	limit int
	refs  map[string][]state.Ref // of each member
	event int

	applied map[string][]state.Ref
}

func TestBigSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &bigSet{fs: vfs.NewMem(), refs: map[string][]state.Ref{}, limit: 1000}
		b.open(t)
		defer func() {
			b.tx.Discard()
			if err := b.store.Close(); err != nil {
				t.Fatalf("Close() = %v; want nil", err)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"evict": b.evict, "evict many": b.evictMany, "add": b.add, "remove": b.remove, "renew": b.renew, "several": b.several,
			"apply": b.apply, "discard": b.discard, "another limit": b.reopen,
		})
	})
}

func (b *bigSet) open(t *rapid.T) {
	store, err := state.Open(state.Options{Dir: "state", FS: b.fs, MaxSetMembers: b.limit})
	if err != nil {
		t.Fatalf("Open() = %v; want nil", err)
	}
	if b.shard, err = store.Shard(0); err != nil {
		t.Fatalf("Shard(0) = %v; want nil", err)
	}
	b.store, b.tx = store, b.shard.Begin()
}

func (b *bigSet) apply(t *rapid.T) {
	if err := b.tx.Apply(b.shard.Position().Changelog + 1); err != nil {
		t.Fatalf("Apply() = %v; want nil", err)
	}
	if err := state.Check(b.shard); err != nil {
		t.Fatalf("Check() = %v; want nil", err)
	}
	b.applied, b.tx = b.refs, b.shard.Begin()
	b.change()
}

func (b *bigSet) discard(*rapid.T) {
	b.tx.Discard()
	b.refs, b.tx = b.applied, b.shard.Begin()
	b.change()
}

func (b *bigSet) reopen(t *rapid.T) {
	b.apply(t)
	b.tx.Discard()
	if err := b.store.Close(); err != nil {
		t.Fatalf("Close() = %v; want nil", err)
	}
	b.limit = rapid.SampledFrom([]int{1, 7, 120, 1000}).Draw(t, "limit")
	b.open(t)
}

// scope begins the evaluation of another event.
func (b *bigSet) scope(t *rapid.T) (*state.Scope, state.Ref) {
	b.event++
	at := ref(b.event*60 + rapid.IntRange(-600, 0).Draw(t, "late"))
	at.Source = state.Source{Topic: rapid.SampledFrom([]string{"trail", "other"}).Draw(t, "topic"), Offset: int64(b.event)}
	at.ID = fmt.Sprint("id-", b.event)
	return b.tx.Scope("r", "k", at), at
}

func drawMembers(t *rapid.T, most int) []string {
	from, n := rapid.IntRange(0, 1500).Draw(t, "from"), rapid.IntRange(1, most).Draw(t, "members")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("m%04d", from+i)
	}
	return names
}

// end compares the evaluation's view with the maps, and commits the evaluation, or drops it
// and sets the maps back to before.
func (b *bigSet) end(t *rapid.T, s *state.Scope, before map[string][]state.Ref) {
	var names []string
	events := map[state.Ref]bool{}
	for name, refs := range b.refs {
		names = append(names, name)
		for _, r := range refs {
			events[r] = true
		}
	}
	slices.Sort(names)
	n := rapid.SampledFrom([]int{1, 100, 5000}).Draw(t, "first")
	if got, want := s.GetStringSet("a").First(n), names[:min(n, len(names))]; !slices.Equal(got, want) {
		t.Fatalf("First(%d) = %d %q; want %d %q", n, len(got), got, len(want), want)
	}
	var newest []state.Ref
	for r := range events {
		newest = append(newest, r)
	}
	slices.SortFunc(newest, func(a, b state.Ref) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Source.Topic, b.Source.Topic), cmp.Compare(a.Source.Offset, b.Source.Offset))
	})
	newest = newest[max(0, len(newest)-100):]
	if total, got := s.Evidence(); total != int64(len(events)) || !sameRefs(got, newest) {
		t.Fatalf("Evidence() = %d, %d events from %v; want %d, %d from %v", total, len(got), got[:min(1, len(got))], len(events), len(newest), newest[:min(1, len(newest))])
	}
	if s.Err() != nil || b.tx.Err() != nil {
		t.Fatalf("Err() = %v; want nil", cmp.Or(s.Err(), b.tx.Err()))
	}
	if rapid.IntRange(0, 4).Draw(t, "drop") == 0 {
		b.refs = before
		return
	}
	s.Commit()
}

// change gives the maps as they are before a change of them.
func (b *bigSet) change() map[string][]state.Ref {
	before := b.refs
	b.refs = make(map[string][]state.Ref, len(before))
	for name, refs := range before {
		b.refs[name] = refs
	}
	return before
}

// evicting is AddToStringSetEvicting on both sides.
func (b *bigSet) evicting(t *rapid.T, s *state.Scope, at state.Ref, member string) {
	var want []string
	if _, known := b.refs[member]; !known {
		if len(b.refs) >= b.limit {
			for name := range b.refs {
				want = append(want, name)
			}
			slices.SortFunc(want, func(x, y string) int {
				rx, ry := b.refs[x], b.refs[y]
				return cmp.Or(rx[len(rx)-1].Time.Compare(ry[len(ry)-1].Time), strings.Compare(x, y))
			})
			want = want[:len(want)-b.limit+max(1, b.limit/8)]
			for _, name := range want {
				delete(b.refs, name)
			}
		}
		b.refs[member] = []state.Ref{at}
	}
	if got := s.AddToStringSetEvicting("a", member); !slices.Equal(got, want) {
		t.Fatalf("AddToStringSetEvicting(%q) = %d %q, %v; want %d %q", member, len(got), got, s.Err(), len(want), want)
	}
}

func (b *bigSet) evict(t *rapid.T) {
	s, at := b.scope(t)
	before := b.change()
	b.evicting(t, s, at, drawMembers(t, 1)[0])
	b.end(t, s, before)
}

func (b *bigSet) evictMany(t *rapid.T) {
	b.change()
	for _, member := range drawMembers(t, 300) {
		s, at := b.scope(t)
		b.evicting(t, s, at, member)
		s.Commit()
	}
	s, _ := b.scope(t)
	b.end(t, s, b.refs)
}

func (b *bigSet) add(t *rapid.T) {
	members := drawMembers(t, 300)
	free := b.limit - len(b.refs)
	members = slices.DeleteFunc(members, func(m string) bool { _, known := b.refs[m]; return !known && free <= 0 })
	s, at := b.scope(t)
	before := b.change()
	for i, m := range members {
		if _, known := b.refs[m]; known {
			continue
		}
		if free == 0 {
			members = members[:i]
			break
		}
		b.refs[m], free = []state.Ref{at}, free-1
	}
	s.AddToStringSet("a", members...)
	b.end(t, s, before)
}

func (b *bigSet) remove(t *rapid.T) {
	members := drawMembers(t, 500)
	s, _ := b.scope(t)
	before := b.change()
	for _, m := range members {
		delete(b.refs, m)
	}
	s.RemoveFromStringSet("a", members...)
	b.end(t, s, before)
}

func (b *bigSet) renew(t *rapid.T) {
	members := drawMembers(t, 200)
	s, at := b.scope(t)
	before := b.change()
	for _, m := range members {
		if r := b.refs[m]; len(r) > 0 && at.Time.Sub(r[len(r)-1].Time) >= 24*time.Hour {
			b.refs[m] = []state.Ref{r[0], at}
		}
	}
	s.RenewStringSet("a", 24*time.Hour, members...)
	b.end(t, s, before)
}

// several changes in one evaluation.
func (b *bigSet) several(t *rapid.T) {
	s, at := b.scope(t)
	before := b.change()
	for range rapid.IntRange(1, 20).Draw(t, "calls") {
		if member := drawMembers(t, 1)[0]; rapid.Bool().Draw(t, "in") {
			b.evicting(t, s, at, member)
		} else {
			delete(b.refs, member)
			s.RemoveFromStringSet("a", member)
		}
	}
	b.end(t, s, before)
}
