package state_test

import (
	"errors"
	"testing"

	"trailhound/state"
)

// What cannot be read to its end is not loaded at all: the position would move past
// records that were never seen.
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
