package state_test

import (
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// The estimates of a store are near to its true size, shard by shard.
func TestStats(t *testing.T) {
	s, err := state.Open(state.Options{Dir: t.TempDir(), FS: vfs.Default})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Stats(); err != nil || len(got.Shards) != 0 || got.MemTableBytes == 0 {
		t.Errorf("Stats() of an empty store = %+v, %v; want no shards, and a memtable", got, err)
	}
	counts := map[int]int{2: 3000, 3: 1000, 700: 1000}
	for n, keys := range counts {
		h := shardOf(t, s, n)
		tx := h.Begin()
		for i := range keys {
			sc := tx.Scope("rule", strconv.Itoa(i), ref(i))
			sc.IncrementCounter("n")
			sc.Commit()
		}
		apply(t, h, tx)
	}
	state.Flush(t, s)
	got, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if got.Flushes == 0 || got.DiskBytes == 0 || got.DiskFreeBytes == 0 || got.ReadAmplification == 0 {
		t.Errorf("Stats() = %+v; want flushes, bytes on disk and left, and tables to read", got)
	}
	if len(got.Shards) != len(counts) {
		t.Errorf("Stats().Shards has %d entries; want those of shards 2, 3 and 700", len(got.Shards))
	}
	for n, keys := range counts {
		// Each counter has an entry for its expiry, and each shard a few of its own.
		if k := got.Shards[n].Keys; k < int64(keys) || k > int64(3*keys) {
			t.Errorf("Stats().Shards[%d].Keys = %d with %d counters; want between one and three times as many", n, k, keys)
		}
	}
	if a, b := got.Shards[2].Bytes, got.Shards[3].Bytes; a < 2*b {
		t.Errorf("three times as many counters take %d bytes, and the others %d; want more than twice as many", a, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stats(); err == nil {
		t.Error("Stats() of a closed store = nil; want an error, not a panic")
	}
}
