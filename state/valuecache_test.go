package state_test

import (
	"strings"
	"testing"

	"trailhound/state"
)

// A shard's cache of the disk must follow every write: by its own transactions, by a
// restore, and when the copy is wiped.
func TestValueCacheFollowsTheDisk(t *testing.T) {
	h := openShard(t)
	count := func(want int64, after string) {
		t.Helper()
		tx := h.Begin()
		defer tx.Discard()
		if got := tx.Scope("rule", "key", ref(9)).GetCounter("n"); got != want {
			t.Errorf("GetCounter() = %d after %s; want %d", got, after, want)
		}
	}
	count(0, "nothing")
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	count(1, "an increment")
	one := dump(t, h)[0]
	in(t, h, 1, func(s *state.Scope) { s.IncrementCounter("n") })
	count(2, "another")
	in(t, h, 2, func(s *state.Scope) { s.ResetCounter("n") })
	count(0, "a reset")
	load := func(next int64, value []byte) {
		if err := h.Load(next, 0, func(yield func(key, value []byte) bool) error { yield(one.Key, value); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	load(20, one.Value)
	count(1, "a restore to an earlier value")
	load(21, nil)
	count(0, "a restored tombstone")
	load(22, one.Value)
	count(1, "a restored value")
	if err := h.Wipe(); err != nil {
		t.Fatal(err)
	}
	count(0, "Wipe")
}

// A value that is too large to be kept must not leave an older one in its place.
func TestValueCacheForgetsWhatBecameLarge(t *testing.T) {
	h := openShard(t)
	for n := range 30 {
		at := ref(n)
		at.ID = strings.Repeat("x", 200) + at.ID
		tx := h.Begin()
		s := tx.Scope("rule", "key", at)
		if got := s.IncrementCounter("n"); got != int64(n)+1 {
			t.Fatalf("IncrementCounter() = %d; want %d", got, n+1)
		}
		s.Commit()
		if err := tx.Apply(int64(n) + 1); err != nil {
			t.Fatal(err)
		}
	}
}

// A sweep looks at thousands of values that are not asked for otherwise. They must not
// drive the frequent ones out of the cache.
func TestSweepIsNotRemembered(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	key := dump(t, h)[0].Key
	if !state.Remembers(h, key) {
		t.Fatalf("%q is not remembered after it was written; want it to be", key)
	}
	if err := h.Load(2, 0, func(func(key, value []byte) bool) error { return nil }); err != nil { // forgets
		t.Fatal(err)
	}
	tx := h.Begin()
	tx.Observe(state.Source{}, minute(0).Add(2*(state.DefaultLifetime+state.DefaultMaxLateness)))
	if n := tx.Sweep(10); n != 1 {
		t.Fatalf("Sweep() = %d; want 1", n)
	}
	if err := tx.Apply(3); err != nil {
		t.Fatal(err)
	}
	if state.Remembers(h, key) {
		t.Errorf("%q is remembered after it was swept; want it not to be", key)
	}
}
