package state_test

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

func (m *machine) reopen(t *rapid.T) {
	m.tx.Discard()
	if err := m.store.Close(); err != nil {
		t.Fatalf("Close() = %v; want nil", err)
	}
	m.open(t)
}

// crash loses the writes that were not synced, or some of them. The rest must be the state
// after some Apply, or be marked as incomplete; the changelog brings the missing changes.
func (m *machine) crash(t *rapid.T) {
	percent := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept")
	seed := rapid.Uint64().Draw(t, "seed")
	clone := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
	m.tx.Discard()
	if err := m.store.Close(); err != nil {
		t.Fatalf("Close() = %v; want nil", err)
	}
	m.fs = clone
	m.open(t)
	at, now := m.shard.Position().Changelog, m.applied
	if _, restoring := m.shard.Restoring(); !restoring {
		m.consistent(t)
		was, ok := m.history[at]
		if !ok {
			t.Fatalf("Position().Changelog = %d after a crash; want an offset that was applied", at)
		}
		m.applied = was
		m.begin()
		m.check(t)
	}
	m.load(t, at)
	m.applied = now
	m.begin()
}

// load brings the shard from an offset to the end of the changelog.
func (m *machine) load(t *rapid.T, from int64) {
	if err := m.shard.BeginRestore(epoch); err != nil {
		t.Fatalf("BeginRestore() = %v; want nil", err)
	}
	i, _ := slices.BinarySearch(m.ends, from+1)
	for _, part := range slices.Collect(slices.Chunk(m.log[i:], rapid.IntRange(1, 50).Draw(t, "chunk"))) {
		i += len(part)
		if err := m.shard.Load(m.ends[i-1], 0, records(part)); err != nil {
			t.Fatalf("Load(%d) = %v; want nil", m.ends[i-1], err)
		}
	}
	if err := m.shard.Load(m.next, 0, records(nil)); err != nil {
		t.Fatalf("Load(%d) = %v; want nil", m.next, err)
	}
	if err := m.shard.EndRestore(); err != nil {
		t.Fatalf("EndRestore() = %v; want nil", err)
	}
	m.consistent(t)
}

func records(changes []state.Change) func(yield func(k, v []byte) bool) error {
	return func(yield func(k, v []byte) bool) error {
		for _, c := range changes {
			if !yield(c.Key, c.Value) {
				break
			}
		}
		return nil
	}
}

// restore goes on with a shard that was made from the changelog alone.
func (m *machine) restore(t *rapid.T) {
	m.tx.Discard()
	old := m.shard
	before := dump(t, old)
	m.use(t, 3-m.number)
	if err := m.shard.Wipe(); err != nil {
		t.Fatalf("Wipe() = %v; want nil", err)
	}
	m.load(t, 0)
	if after := dump(t, m.shard); !slices.EqualFunc(before, after, sameChange) {
		t.Fatalf("dump after Load of all changes = %q; want %q", after, before)
	}
	if err := old.Wipe(); err != nil {
		t.Fatalf("Wipe() = %v; want nil", err)
	}
	m.begin()
}

func sameChange(a, b state.Change) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func dump(t interface{ Fatalf(string, ...any) }, h *state.Shard) []state.Change {
	records, err := state.Dump(h, false)
	if err != nil {
		t.Fatalf("Dump() = %v; want nil", err)
	}
	return records
}
