package state_test

import (
	"fmt"
	"testing"
	"time"

	"trailhound/state"
)

// remember lets a Tx see n events of one minute, for an hour, and wants each to be new.
func remember(t *testing.T, tx *state.Tx, at, n int) {
	t.Helper()
	tx.Observe(state.Source{}, minute(at))
	for i := range n {
		if state.See(tx, "rule", "key", fmt.Sprint("id-", i), minute(at), time.Hour) {
			t.Fatalf("Seen() of event %d at minute %d = true; want false", i, at)
		}
	}
}

// pages gives the number of pages on a shard's disk.
func pages(t *testing.T, h *state.Shard) (n int) {
	t.Helper()
	all, err := state.Dump(h, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Key[0] == 'r' {
			n++
		}
	}
	return n
}

// The events of a Tx cost a few entries of the index, however many they are.
func TestPagesAreFew(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 700)
	apply(t, h, tx)
	if n := pages(t, h); n != 3 {
		t.Errorf("700 events of one minute are in %d pages; want 3 of 256 at most", n)
	}
}

// Sweep takes as many pages as it is given steps for, and tells how many events were in
// them; a Tx that is discarded has swept none.
func TestSweepTakesPages(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 600)
	apply(t, h, tx)
	for _, want := range []struct {
		max, removed, left int
		discard            bool
	}{{0, 0, 3, false}, {2, 512, 1, true}, {1, 256, 2, false}, {1, 256, 1, false}, {5, 88, 0, false}, {5, 0, 0, false}} {
		tx := h.Begin()
		tx.Observe(state.Source{}, minute(71))
		if n := tx.Sweep(want.max); n != want.removed {
			t.Fatalf("Sweep(%d) = %d; want %d", want.max, n, want.removed)
		}
		if want.discard {
			tx.Discard()
			continue
		}
		apply(t, h, tx)
		if n := pages(t, h); n != want.left {
			t.Fatalf("after Sweep(%d) there are %d pages; want %d", want.max, n, want.left)
		}
	}
	tx = h.Begin()
	remember(t, tx, 72, 600)
	apply(t, h, tx)
}

// Several calls of one Tx go on where the last one stopped.
func TestSweepGoesOnInOneTx(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 600)
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(state.Source{}, minute(71))
	for i, want := range []int{256, 256, 88, 0} {
		if n := tx.Sweep(1); n != want {
			t.Errorf("call %d of Sweep(1) = %d; want %d", i, n, want)
		}
	}
	apply(t, h, tx)
	if n := pages(t, h); n != 0 {
		t.Errorf("%d pages are left; want none", n)
	}
}

// An event that is forgotten may come again before Sweep. The page of its first time must
// not take the event away then: the shard would count the next duplicate.
func TestSweepKeepsWhatWasRememberedAnew(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 3)
	apply(t, h, tx)
	tx = h.Begin()
	remember(t, tx, 76, 2) // the first two anew
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(state.Source{}, minute(77))
	if n := tx.Sweep(100); n != 3 {
		t.Errorf("Sweep(100) = %d; want 3, what the first page lists", n)
	}
	apply(t, h, tx)
	tx = h.Begin()
	for i, want := range []bool{true, true, false} {
		if got := state.See(tx, "rule", "key", fmt.Sprint("id-", i), minute(77), time.Hour); got != want {
			t.Errorf("Seen() of event %d = %t; want %t", i, got, want)
		}
	}
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(state.Source{}, minute(300))
	if n := tx.Sweep(100); n != 3 {
		t.Errorf("Sweep(100) when all is forgotten = %d; want 3, two that came again and the last", n)
	}
	apply(t, h, tx)
	if n := pages(t, h); n != 0 {
		t.Errorf("%d pages are left; want none", n)
	}
}

// Events that Load brings are swept although the shard knew that nothing was left to sweep.
func TestSweepFindsEventsThatLoadBrought(t *testing.T) {
	o := newOwners(t)
	o.turn(o.ha, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(1)); tx.Sweep(10) })
	o.turn(o.hb, func(tx *state.Tx) { remember(t, tx, 2, 5) })
	o.turn(o.ha, func(tx *state.Tx) {
		tx.Observe(state.Source{}, minute(75))
		if n := tx.Sweep(10); n != 5 {
			t.Errorf("Sweep(10) = %d; want 5", n)
		}
	})
}
