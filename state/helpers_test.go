package state_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// openShard opens a store in memory, closes it with the test, and gives shard 0.
func openShard(t *testing.T) *state.Shard {
	t.Helper()
	return shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem()}), 0)
}

func openStore(t *testing.T, o state.Options) *state.Store {
	t.Helper()
	s, err := state.Open(o)
	if err != nil {
		t.Fatalf("Open(%q) = %v; want nil", o.Dir, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	})
	return s
}

func shardOf(t *testing.T, s *state.Store, n int) *state.Shard {
	t.Helper()
	h, err := s.Shard(n)
	if err != nil {
		t.Fatalf("Shard(%d) = %v; want nil", n, err)
	}
	return h
}

// minute names an instant by the minutes since the epoch of the tests.
func minute(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }

// ref is an event at a minute.
func ref(n int) state.Ref {
	return state.Ref{ID: fmt.Sprint("event-", n), Time: minute(n), Source: state.Source{Topic: "trail", Offset: int64(n)}}
}

// in runs fn in a Scope of one rule and key, at a minute, and applies it.
func in(t *testing.T, h *state.Shard, at int, fn func(s *state.Scope)) {
	t.Helper()
	inScope(t, h, "key", ref(at), fn)
}

func inScope(t *testing.T, h *state.Shard, key string, at state.Ref, fn func(s *state.Scope)) {
	t.Helper()
	tx := h.Begin()
	tx.Observe(state.Source{}, at.Time)
	s := tx.Scope("rule", key, at)
	fn(s)
	s.Commit()
	apply(t, h, tx)
}

// apply applies a Tx and checks that the records on disk fit together.
func apply(t *testing.T, h *state.Shard, tx *state.Tx) []state.Change {
	t.Helper()
	changes := applyUnchecked(t, h, tx)
	if err := state.Check(h); err != nil {
		t.Fatalf("Check() = %v; want nil", err)
	}
	return changes
}

func applyUnchecked(t *testing.T, h *state.Shard, tx *state.Tx) []state.Change {
	t.Helper()
	changes := slices.Collect(tx.Changes())
	for i, c := range changes {
		changes[i].Key = slices.Clone(c.Key)
		if c.Value != nil {
			changes[i].Value = slices.Clone(c.Value)
		}
	}
	if err := tx.Apply(h.Position().Changelog + int64(len(changes)) + 1); err != nil {
		t.Fatalf("Apply() = %v; want nil", err)
	}
	return changes
}

func members(s state.Set) string { return fmt.Sprintf("%d%q", s.Len(), s.Members()) }
