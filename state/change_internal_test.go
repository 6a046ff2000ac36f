package state

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The change set of a transaction takes as much memory as all else of it: any number of
// shards of a store share a few, and a shard that has nothing to commit holds none.
func TestShardsShareChangeSets(t *testing.T) {
	s, err := Open(Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	const shards, rounds = 16, 20
	var all sync.WaitGroup
	for n := range shards {
		h, err := s.Shard(n)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for round := range rounds {
				tx := h.Begin()
				for i := range n + 1 {
					c := tx.Scope("rule", fmt.Sprintf("%d-%d", n, i), Ref{Time: time.Unix(1, 0)})
					c.IncrementCounter("n")
					c.Commit()
				}
				tx.SetWorkOffset(int64(round), 0)
				var keys []string
				for c := range tx.Changes() {
					keys = append(keys, string(c.Key))
				}
				if !slices.IsSorted(keys) || len(keys) < n+2 { // the counters, some with their evidence; the position
					t.Errorf("shard %d: %d changes; want %d or more, in order", n, len(keys), n+2)
				}
				if err := tx.Apply(int64(round + 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(s.sets); n < 1 || n > keptSets {
		t.Errorf("%d change sets are kept for %d shards; want 1 to %d", n, shards, keptSets)
	}
	h, err := s.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	had := len(s.sets)
	tx := h.Begin()
	tx.SetWorkOffset(rounds, 0)
	if !tx.Empty() || len(s.sets) != had || tx.changeSet != nil {
		t.Errorf("a transaction without changes: Empty() = %t, and it holds a change set: %t; want true, false", tx.Empty(), tx.changeSet != nil)
	}
	tx.Discard()
}
