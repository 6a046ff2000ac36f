package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

// deny evaluates as access_denied does with ten denials in an hour.
func deny(tx *state.Tx, at state.Ref) (alert []state.Ref) {
	s := tx.Scope("rule", "key", at)
	defer s.Commit()
	n := s.IncrementCounter("denied")
	if n == 1 {
		s.SetKeyTTL("denied", time.Hour)
	}
	if n < 10 {
		return nil
	}
	s.ResetCounter("denied")
	_, alert = s.Evidence()
	return alert
}

// A denial of another day counted in the window of nine others, and the tenth
// was lost to a window that had opened before it came.
func TestLateEventsHaveTheirWindow(t *testing.T) {
	var minutes []int
	nine := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
	for name, tt := range map[string]struct{ arrive, alert []int }{
		"the tenth comes behind the next window": {append(slices.Clone(nine), 61, 59), append(slices.Clone(nine), 59)},
		"one is hours newer than nine":           {append([]int{120}, nine...), minutes},
		"one is six days older":                  {append(slices.Clone(nine), -6*24*60), minutes},
		"a late one moves the window back":       {append(slices.Clone(nine), -51), append([]int{-51}, nine...)},
		"and not further":                        {append(slices.Clone(nine), -52), minutes},
		"the tenth between two windows":          {append([]int{150}, 80, 81, 82, 83, 84, 85, 86, 87, 88, 60), []int{60, 80, 81, 82, 83, 84, 85, 86, 87, 88}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, each := range []bool{false, true} { // in one transaction, and in one for each event
				h := openShard(t)
				tx := h.Begin()
				var got []int
				for i, m := range tt.arrive {
					for _, r := range deny(tx, ref(m)) {
						got = append(got, int(r.Time.Sub(epoch)/time.Minute))
					}
					if each {
						if err := tx.Apply(int64(i + 1)); err != nil {
							t.Fatal(err)
						}
						tx = h.Begin()
					}
				}
				if !slices.Equal(got, tt.alert) || tx.Err() != nil {
					t.Errorf("events at minutes %d: alert on %d, error %v; want %d", tt.arrive, got, tx.Err(), tt.alert)
				}
				tx.Discard()
			}
		})
	}
}

// However events are shuffled, the evidence of each alert is distinct and lies
// within the window.
func TestEvidenceLiesWithinTheWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alerts := 0
	for round := range 40 {
		h := openShard(t)
		tx := h.Begin()
		minutes := make([]int, 200)
		for i := range minutes {
			minutes[i] = rng.IntN(600)
		}
		minutes = append(minutes, minutes[:50]...) // delivered twice
		rng.Shuffle(len(minutes), func(i, j int) { minutes[i], minutes[j] = minutes[j], minutes[i] })
		for i, m := range minutes {
			got := deny(tx, ref(m))
			if len(got) > 0 {
				alerts++
			}
			seen := map[string]bool{}
			for _, r := range got {
				seen[r.ID] = true
			}
			if n := len(got); n > 0 && (n != 10 || len(seen) != n || got[n-1].Time.Sub(got[0].Time) >= time.Hour || !slices.IsSortedFunc(got, func(a, b state.Ref) int { return a.Time.Compare(b.Time) })) {
				t.Fatalf("round %d: evidence %v; want ten events of one hour", round, got)
			}
			if i%17 == 0 {
				if err := tx.Apply(int64(i + 1)); err != nil {
					t.Fatal(err)
				}
				if err := state.Check(h); err != nil {
					t.Fatal(err)
				}
				tx = h.Begin()
			}
		}
		tx.Discard()
	}
	if alerts < 40 {
		t.Errorf("%d alerts; want some in each round", alerts)
	}
}

// An event in order of time reads one key and looks for no older window, and
// when a window follows another, the blocks of evidence stay where they are.
func TestOlderWindowKeepsItsBlocks(t *testing.T) {
	h := openShard(t)
	count := func(from, to int, want int64) {
		t.Helper()
		tx := h.Begin()
		var got int64
		for m := from; m < to; m++ {
			s := tx.Scope("rule", "key", ref(m))
			if got = s.IncrementCounter("n"); got == 1 {
				s.SetKeyTTL("n", time.Hour)
			}
			s.Commit()
		}
		if got != want {
			t.Errorf("IncrementCounter() at minute %d = %d; want %d", to-1, got, want)
		}
		for c := range tx.Changes() {
			if c.Key[0] == 'e' && from > 0 {
				t.Errorf("a block of evidence %q is written when the next window opens", c.Key)
			}
		}
		if err := tx.Apply(int64(to)); err != nil {
			t.Fatal(err)
		}
		if err := state.Check(h); err != nil {
			t.Error(err)
		}
	}
	count(0, 40, 40)
	count(60, 61, 1)
	tx := h.Begin()
	defer tx.Discard()
	s := tx.Scope("rule", "key", ref(41))
	if got := s.IncrementCounter("n"); got != 41 {
		t.Errorf("a late event counts %d; want 41", got)
	}
	if total, refs := s.Evidence(); total != 41 || len(refs) != 41 || refs[0].ID != ref(0).ID {
		t.Errorf("Evidence() = %d, %d events; want 41", total, len(refs))
	}
}

// An id that the newest 100 events hold is not counted again; the increments of
// one evaluation all count, and the 101st newest is forgotten.
func TestRepeatedEventIsNotCounted(t *testing.T) {
	h := openShard(t)
	increment := func(at state.Ref, times int) (n int64) {
		tx := h.Begin()
		s := tx.Scope("rule", "key", at)
		for range times {
			n = s.IncrementCounter("n")
		}
		s.Commit()
		if err := tx.Apply(n + 1); err != nil {
			t.Fatal(err)
		}
		return n
	}
	id := func(i int) state.Ref {
		at := ref(0)
		if at.ID = fmt.Sprint("id-", i); i%2 == 0 {
			at.ID = eventID(int64(i))
		}
		return at
	}
	if n := increment(id(0), 3); n != 3 {
		t.Errorf("three increments of one event = %d; want 3", n)
	}
	for i := 1; i < 101; i++ {
		increment(id(i), 1)
		for _, old := range []int{max(0, i-99), i / 2, i} {
			if i/2 < i-99 {
				continue
			}
			if n := increment(id(old), 2); n != int64(3+i) {
				t.Fatalf("event %d again after %d = %d; want %d", old, i, n, 3+i)
			}
		}
	}
	if n := increment(id(0), 1); n != 104 {
		t.Errorf("an event older than the newest 100 = %d; want 104", n)
	}
}

// A full set takes a new member in place of the one that was used longest ago,
// as far as that is noted.
func TestOldestMemberGivesWay(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 3}), 0)
	evicting := func(at int, member, want string) {
		t.Helper()
		in(t, h, at, func(s *state.Scope) {
			if got := s.AddToStringSetEvicting("a", member); strings.Join(got, " ") != want || s.Err() != nil {
				t.Errorf("AddToStringSetEvicting(%q) = %q, %v; want %q", member, got, s.Err(), want)
			}
			if n := s.GetStringSet("a").Len(); n > 3 {
				t.Errorf("%d members; want at most 3", n)
			}
		})
		if err := state.Check(h); err != nil {
			t.Error(err)
		}
	}
	evicting(5, "b", "")
	evicting(4, "a", "")
	evicting(6, "c", "")
	evicting(6, "c", "")
	in(t, h, day(1), func(s *state.Scope) {
		s.RenewStringSet("a", time.Hour, "a", "absent")
		if total, refs := s.Evidence(); total != 4 || refs[3].ID != ref(day(1)).ID {
			t.Errorf("Evidence() = %d, %v; want three events, and the one that met a", total, refs)
		}
	})
	evicting(day(1)+1, "d", "b")
	evicting(day(1)+2, "e", "c")
	evicting(day(1)+3, "f", "a")
	evicting(day(1)-3, "late", "d")
	evicting(day(1)+4, "g", "late")
}

// A copy of an event that is evaluated again (duplicates_within: 0) must not make the
// window longer than its first event allows: the count is still 1, and a rule that sets
// the expiry at the first event sets it again. A window of an hour had an event at 0:00
// and one at 1:40.
func TestRepeatMovesNoExpiry(t *testing.T) {
	count := func(s *state.Scope) int64 {
		n := s.IncrementCounter("n")
		if n == 1 {
			s.SetKeyTTL("n", time.Hour)
		}
		return n
	}
	for name, expire := range map[string]func(s *state.Scope){
		"as a rule does":       func(*state.Scope) {},
		"SetKeyTTL":            func(s *state.Scope) { s.SetKeyTTL("n", 2*time.Hour) },
		"SetKeyExpiration":     func(s *state.Scope) { s.SetKeyExpiration("n", s.Now().Add(time.Hour)) },
		"SetKeyExpiration, to": func(s *state.Scope) { s.SetKeyExpiration("n", minute(0)) },
	} {
		for _, at := range []int{50, -20} { // the copy may be older, too
			t.Run(fmt.Sprint(name, " at ", at), func(t *testing.T) {
				h := openShard(t)
				in(t, h, 0, func(s *state.Scope) { count(s) })
				again := ref(0)
				again.Time, again.Source.Offset = minute(at), 1000
				inScope(t, h, "key", again, func(s *state.Scope) {
					count(s)
					expire(s)
				})
				in(t, h, 59, func(s *state.Scope) {
					if at, _ := s.Expiry("n"); s.GetCounter("n") != 1 || !at.Equal(minute(60)) {
						t.Errorf("GetCounter() a minute before the hour = %d, Expiry() = %v; want 1, and the hour", s.GetCounter("n"), at)
					}
				})
				in(t, h, 100, func(s *state.Scope) {
					if n := count(s); n != 1 {
						t.Errorf("IncrementCounter() 100 minutes after the first event = %d; want another window", n)
					}
				})
			})
		}
	}
	// A window without an expiry takes one, from the time at which the event was counted.
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	again := ref(0)
	again.Time = minute(50)
	inScope(t, h, "key", again, func(s *state.Scope) {
		s.SetKeyTTL("n", time.Hour)
		if at, _ := s.Expiry("n"); !at.Equal(minute(60)) {
			t.Errorf("Expiry() = %v; want an hour after the first event", at)
		}
	})
}

// A window that was opened where the same evaluation had closed an older one stood among the
// older ones, also behind the start of the newest.
func TestWindowOpenedBehindTheNewest(t *testing.T) {
	h := openShard(t)
	in(t, h, 21, func(s *state.Scope) { s.IncrementCounter("n"); s.SetKeyTTL("n", 10*time.Minute) })
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	in(t, h, 60, func(s *state.Scope) { s.ResetCounter("n"); s.IncrementCounter("n") })
	if err := state.Check(h); err != nil {
		t.Error(err)
	}
}

// Of the windows of one counter the newest by its start stands in the header, which leads to
// all others.
func TestHeaderHasTheNewestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem(), Lifetime: testLifetime, MaxLateness: testLateness})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		h, err := store.Shard(0)
		if err != nil {
			t.Fatal(err)
		}
		var calls []string
		for step := range rapid.IntRange(1, 12).Draw(t, "events") {
			at := ref(rapid.SampledFrom([]int{0, 1, 2, 3, 5, 8, 13, 21, 34, 60, 90, 200, 300}).Draw(t, "minute"))
			calls = append(calls, "\n"+at.Time.Format(time.TimeOnly))
			tx := h.Begin()
			tx.Observe(state.Source{}, at.Time)
			s := tx.Scope("rule", "key", at)
			for range rapid.IntRange(1, 4).Draw(t, "calls") {
				switch ttl := rapid.SampledFrom([]int{-2, -1, 0, 10, 60, 1200}).Draw(t, "call"); ttl {
				case -2:
					calls = append(calls, fmt.Sprintf("increment=%d", s.IncrementCounter("n")))
				case -1:
					s.ResetCounter("n")
					calls = append(calls, "reset")
				default:
					s.SetKeyTTL("n", time.Duration(ttl)*time.Minute)
					calls = append(calls, fmt.Sprintf("ttl=%dm", ttl))
				}
			}
			s.Commit()
			if err := tx.Apply(int64(step + 1)); err != nil {
				t.Fatal(err)
			}
			if err := state.Check(h); err != nil {
				t.Fatal(err, calls)
			}
		}
	})
}
