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
	tx.Observe(minute(at))
	for i := range n {
		if tx.Seen("rule", "key", fmt.Sprint("id-", i), minute(at), time.Hour) {
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
		if r.Key[0] == 0x82 {
			n++
		}
	}
	return n
}

// What a Tx remembers costs a few entries of the index, however much it is.
func TestPagesAreFew(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 700)
	apply(t, h, tx)
	if n := pages(t, h); n != 3 {
		t.Errorf("700 events of one minute are in %d pages; want 3 of 256 at most", n)
	}
}

// A page is swept in as many parts as Sweep is given steps for, in one Tx and in several,
// and what is left of it in between is what has not been swept.
func TestSweepTakesPagesInParts(t *testing.T) {
	for _, most := range []int{1, 7, 255, 256, 257, 1000} {
		for _, calls := range []int{1, 3} {
			h := openShard(t)
			tx := h.Begin()
			remember(t, tx, 0, 600)
			apply(t, h, tx)
			removed := 0
			for removed < 600 {
				tx = h.Begin()
				tx.Observe(minute(71))
				for range calls {
					n := tx.Sweep(most)
					if want := min(most, 600-removed); n != want {
						t.Fatalf("Sweep(%d) after %d of 600 events = %d; want %d", most, removed, n, want)
					}
					removed += n
				}
				apply(t, h, tx)
			}
			if n := pages(t, h); removed != 600 || n != 0 {
				t.Errorf("Sweep(%d), %d times a Tx, removed %d events and left %d pages; want 600 and 0", most, calls, removed, n)
			}
			tx = h.Begin()
			remember(t, tx, 72, 600)
			apply(t, h, tx)
		}
	}
}

// A discarded Tx has swept nothing: the page is whole for the next one.
func TestDiscardLeavesAPageWhole(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 10)
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(minute(71))
	if n := tx.Sweep(4); n != 4 {
		t.Fatalf("Sweep(4) = %d; want 4", n)
	}
	tx.Discard()
	tx = h.Begin()
	tx.Observe(minute(71))
	if n := tx.Sweep(100); n != 10 {
		t.Errorf("Sweep(100) after a Tx that was discarded = %d; want 10", n)
	}
	apply(t, h, tx)
}

// An event that is forgotten may come again before Sweep has come by. The page that lists
// it under its first time must not take it away then: the shard would count the next
// duplicate.
func TestSweepKeepsWhatWasRememberedAnew(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	remember(t, tx, 0, 3)
	apply(t, h, tx)
	tx = h.Begin()
	remember(t, tx, 76, 2) // the first two anew
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(minute(77))
	if n := tx.Sweep(100); n != 1 {
		t.Errorf("Sweep(100) = %d; want 1, the event that did not come again", n)
	}
	apply(t, h, tx)
	tx = h.Begin()
	for i, want := range []bool{true, true, false} {
		if got := tx.Seen("rule", "key", fmt.Sprint("id-", i), minute(77), time.Hour); got != want {
			t.Errorf("Seen() of event %d = %t; want %t", i, got, want)
		}
	}
	apply(t, h, tx)
	tx = h.Begin()
	tx.Observe(minute(300))
	if n := tx.Sweep(100); n != 3 {
		t.Errorf("Sweep(100) when all is forgotten = %d; want 3", n)
	}
	apply(t, h, tx)
	if n := pages(t, h); n != 0 {
		t.Errorf("%d pages are left; want none", n)
	}
}

// What Load brings is swept although the shard knew that nothing was left to sweep.
func TestSweepFindsEventsThatLoadBrought(t *testing.T) {
	o := newOwners(t)
	o.turn(o.ha, func(tx *state.Tx) { tx.Observe(minute(1)); tx.Sweep(10) })
	o.turn(o.hb, func(tx *state.Tx) { remember(t, tx, 2, 5) })
	o.turn(o.ha, func(tx *state.Tx) {
		tx.Observe(minute(75))
		if n := tx.Sweep(10); n != 5 {
			t.Errorf("Sweep(10) = %d; want 5", n)
		}
	})
}
