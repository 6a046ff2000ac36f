package state_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// reopened gives shard 0 of the state in fs with another bound of sets.
func reopened(t *testing.T, fs vfs.FS, maxSetMembers int, fn func(h *state.Shard)) {
	t.Helper()
	s, err := state.Open(state.Options{Dir: "state", FS: fs, MaxSetMembers: maxSetMembers})
	if err != nil {
		t.Fatalf("Open() = %v; want nil", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	}()
	fn(shardOf(t, s, 0))
}

// A set may have more members than its bound, as the bound can be lowered. One of
// them gave way then, the set was still full, and each event of a new address was
// refused: its finding was lost.
func TestEvictionAfterTheBoundWasLowered(t *testing.T) {
	fs := vfs.NewMem()
	reopened(t, fs, 10, func(h *state.Shard) {
		for i := range 10 {
			in(t, h, i, func(s *state.Scope) { s.AddToStringSetEvicting("a", fmt.Sprint("old-", i)) })
		}
	})
	for _, bound := range []int{5, 1} {
		reopened(t, fs, bound, func(h *state.Shard) {
			for i := range 3 {
				in(t, h, 100*(6-bound)+i, func(s *state.Scope) {
					before := s.GetStringSet("a").Len()
					evicted := s.AddToStringSetEvicting("a", fmt.Sprint("new-", bound, i))
					if n := s.GetStringSet("a").Len(); s.Err() != nil || n > bound || n != before-len(evicted)+1 || s.Evicted() != len(evicted) {
						t.Errorf("AddToStringSetEvicting() at a bound of %d = %q, %v: %d members of %d, Evicted() = %d; want room for it, and each counted",
							bound, evicted, s.Err(), n, before, s.Evicted())
					}
					if !s.GetStringSet("a").Has(fmt.Sprint("new-", bound, i)) {
						t.Error("the new member is not there")
					}
				})
			}
		})
	}
}

// An eighth of a full set gives way at once: to find the oldest means to read all members,
// which each event of a caller with ever new addresses would have cost.
func TestEvictionInPortions(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 80}), 0)
	reads := 0
	for i := range 400 {
		in(t, h, i, func(s *state.Scope) {
			evicted := s.AddToStringSetEvicting("a", fmt.Sprint(i))
			if len(evicted) == 0 {
				return
			}
			reads++
			if len(evicted) != 10 || !slices.IsSortedFunc(evicted, func(a, b string) int { return len(a) - len(b) }) || s.GetStringSet("a").Has(evicted[9]) {
				t.Errorf("AddToStringSetEvicting() of member %d = %q; want the ten oldest", i, evicted)
			}
		})
	}
	if reads != 32 {
		t.Errorf("%d of 400 events read the whole set; want one of ten once it is full", reads)
	}
}

// Each member has its own newest event. Once that was noted only once a day for the whole
// set, so that an address in use could be the oldest in a full set, and alerted when it
// came next.
func TestRenewNotesTheNewestOfEachMember(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 2}), 0)
	use := func(member string) func(*state.Scope) {
		return func(s *state.Scope) { s.RenewStringSet("a", 24*time.Hour, member) }
	}
	in(t, h, 0, func(s *state.Scope) { s.AddToStringSet("a", "A") })
	in(t, h, day(1), func(s *state.Scope) { s.AddToStringSet("a", "B") })
	in(t, h, day(2), use("B"))
	writes := 0
	for i := range 100 {
		tx := h.Begin()
		at := ref(day(2) + 1 + i)
		s := tx.Scope("rule", "key", at)
		use("A")(s)
		s.Commit()
		if !tx.Empty() {
			writes++
		}
		apply(t, h, tx)
	}
	if writes != 1 {
		t.Errorf("a member used 100 times in two hours was written %d times; want once a day", writes)
	}
	in(t, h, day(2)+200, func(s *state.Scope) {
		if evicted := s.AddToStringSetEvicting("a", "C"); !slices.Equal(evicted, []string{"B"}) {
			t.Errorf("evicted %q; want B: A was used after it", evicted)
		}
	})
}

// A set with an expiry of its own keeps it, and notes all the same the events that met its
// members.
func TestRenewOfASetWithAnExpiry(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.AddToStringSet("a", "A"); s.SetKeyTTL("a", 48*time.Hour) })
	in(t, h, day(1), func(s *state.Scope) {
		s.RenewStringSet("a", 24*time.Hour, "A")
		at, ok := s.Expiry("a")
		if total, _ := s.Evidence(); total != 2 || !ok || !at.Equal(minute(day(2))) {
			t.Errorf("Evidence() = %d, Expiry() = %v, %t; want two events, and the expiry as it was", total, at, ok)
		}
	})
}

// The number of events is the true one, and those that are listed are the newest of
// all. Both were those of the first hundred members by their bytes.
func TestEvidenceOfALargeSet(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	for i := range 500 { // the newest come first by their bytes, and are in the middle of time
		s := tx.Scope("rule", "key", ref(i*7%500))
		s.AddToStringSet("a", fmt.Sprintf("%03d", 499-i))
		s.Commit()
	}
	apply(t, h, tx)
	newest := func(n int) (want []state.Ref) {
		for i := range 100 {
			want = append(want, ref(n-100+i))
		}
		return want
	}
	in(t, h, 1000, func(s *state.Scope) {
		s.GetStringSet("a").Has("none")
		if total, refs := s.Evidence(); total != 500 || !sameRefs(refs, newest(500)) {
			t.Errorf("Evidence() = %d, %d events from %v; want 500, the newest 100", total, len(refs), refs[0].ID)
		}
	})
	// One event counts once, however many members it brought.
	in(t, h, 1001, func(s *state.Scope) {
		var members []string
		for i := range 450 {
			members = append(members, fmt.Sprint("also-", i))
		}
		s.AddToStringSet("a", members...)
		if total, refs := s.Evidence(); total != 501 || !sameRefs(refs, append(newest(500)[1:], ref(1001))) {
			t.Errorf("Evidence() = %d, %d events up to %v; want 501, the newest 100", total, len(refs), refs[len(refs)-1].ID)
		}
	})
}

// A set that the evaluation lets expire after reading it led to the finding, as a counter
// does.
func TestEvidenceOfASetThatEnds(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.AddToStringSet("a", "A") })
	in(t, h, 1, func(s *state.Scope) {
		s.GetStringSet("a").Has("A")
		s.SetKeyTTL("a", 0)
		if total, refs := s.Evidence(); total != 1 || !sameRefs(refs, []state.Ref{ref(0)}) {
			t.Errorf("Evidence() = %d, %v; want the event that brought A", total, refs)
		}
	})
}

// An event that a counter remembers left the evidence together with the member of a set
// that it had brought, and was counted without being listed.
func TestEvidenceOfACounterOutlivesTheMember(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) {
		s.IncrementCounter("n")
		s.PutStringSet("set", "a", "b")
	})
	in(t, h, 1, func(s *state.Scope) {
		s.GetCounter("n")
		s.RemoveFromStringSet("set", "a", "b")
		if total, refs := s.Evidence(); total != 1 || len(refs) != 1 || refs[0].ID != ref(0).ID {
			t.Errorf("Evidence() = %d, %v; want the one event that was counted", total, refs)
		}
	})
}

// The newest events of a set do not run short when their members go, and a Tx that was
// discarded leaves nothing in the evidence that the shard keeps for the next one.
func TestEvidenceFollowsALargeSet(t *testing.T) {
	h := openShard(t)
	member := func(i int) string { return fmt.Sprintf("%04d", i) }
	evidence := func(tx *state.Tx, want int) {
		t.Helper()
		s := tx.Scope("rule", "key", ref(2000))
		n := s.GetStringSet("a").Len()
		total, refs := s.Evidence()
		if n != want || total != int64(want) || len(refs) != 100 || refs[0].ID != ref(want-100).ID || refs[99].ID != ref(want-1).ID {
			t.Errorf("Evidence() of %d members = %d, %d events; want %d, the newest 100", n, total, len(refs), want)
		}
	}
	remove := func(tx *state.Tx, from, to int) {
		for ; from > to; from -= 50 {
			s := tx.Scope("rule", "key", ref(2000))
			for i := range 50 {
				s.RemoveFromStringSet("a", member(from-50+i))
			}
			s.Commit()
		}
	}
	tx := h.Begin()
	for i := range 1000 {
		s := tx.Scope("rule", "key", ref(i))
		s.AddToStringSet("a", member(i))
		s.Commit()
	}
	evidence(tx, 1000)
	apply(t, h, tx)

	tx = h.Begin()
	evidence(tx, 1000)
	remove(tx, 1000, 650)
	evidence(tx, 650)
	tx.Discard()

	tx = h.Begin()
	evidence(tx, 1000)
	apply(t, h, tx)

	tx = h.Begin()
	remove(tx, 1000, 950) // before the shard's kept events are asked for
	evidence(tx, 950)
	remove(tx, 950, 600)
	evidence(tx, 600)
	apply(t, h, tx)
	tx = h.Begin()
	remove(tx, 600, 550) // and not asked for at all
	apply(t, h, tx)
	tx = h.Begin()
	evidence(tx, 550)
	tx.Discard()
}
