package state_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// Records that cannot be read to their end are not loaded at all: the position would move
// past records that were never seen.
func TestLoadIsWhole(t *testing.T) {
	from := openShard(t)
	tx := from.Begin()
	s := tx.Scope("rule", "k", ref(1))
	s.IncrementCounter("n")
	s.Commit()
	changes := apply(t, from, tx)
	to := openShard(t)
	unreadable := errors.New("unreadable")
	err := to.Load(7, 0, func(yield func(k, v []byte) bool) error {
		return errors.Join(records(changes)(yield), unreadable)
	})
	if !errors.Is(err, unreadable) {
		t.Errorf("Load of what cannot be read = %v; want %v", err, unreadable)
	}
	if at := to.Position().Changelog; at != 0 {
		t.Errorf("after a Load that failed the changelog position is %d; want 0", at)
	}
	inScope(t, to, "k", ref(1), func(s *state.Scope) {
		if n := s.GetCounter("n"); n != 0 {
			t.Errorf("after a Load that failed the counter is %d; want 0", n)
		}
	})
	if err := to.Load(7, 0, records(changes)); err != nil {
		t.Fatal(err)
	}
	inScope(t, to, "k", ref(1), func(s *state.Scope) {
		if n := s.GetCounter("n"); n != 1 {
			t.Errorf("after Load the counter is %d; want 1", n)
		}
	})
}

// The leader epoch that was read back is that of a position, and not of the records that
// Apply adds behind it: a copy that took it for the epoch of its own position looked cut
// back after each move of the leader.
func TestEpochIsOfAPlace(t *testing.T) {
	fs := vfs.NewMem()
	open := func() (*state.Store, *state.Shard) {
		t.Helper()
		store, err := state.Open(state.Options{Dir: "state", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		h, err := store.Shard(0)
		if err != nil {
			t.Fatal(err)
		}
		return store, h
	}
	store, h := open()
	want := func(changelog int64, epoch int32, to int64) {
		t.Helper()
		if at := h.Position(); at.Changelog != changelog || at.Epoch != epoch || at.EpochTo != to {
			t.Errorf("Position() = %+v; want changelog %d, epoch %d up to %d", at, changelog, epoch, to)
		}
	}
	put := func(next int64) {
		t.Helper()
		tx := h.Begin()
		tx.PutMeta("m", []byte{byte(next)})
		if err := tx.Apply(next); err != nil {
			t.Fatal(err)
		}
	}
	want(0, -1, 0)
	if err := h.Load(7, 3, records(nil)); err != nil {
		t.Fatal(err)
	}
	want(7, 3, 7)
	put(9)
	want(9, 3, 7)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store, h = open()
	defer func() { store.Close() }()
	want(9, 3, 7)
	for range 2 {
		if err := h.MarkEpoch(3); err != nil { // the same epoch, further on
			t.Fatal(err)
		}
		want(9, 3, 9)
	}
	put(11)
	if err := h.MarkEpoch(4); err != nil {
		t.Fatal(err)
	}
	want(11, 4, 11)
	if err := h.Wipe(); err != nil {
		t.Fatal(err)
	}
	want(0, -1, 0)
}
