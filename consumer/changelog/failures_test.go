package changelog_test

import (
	"runtime"
	"testing"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/internal/race"
	"trailhound/state"
)

// A restore of 1.3 million rows took 5 GB, for it went to memory first (goka issue
// 212). Here a shard has one fetch in memory at a time, and a few memtables of 16 MiB
// that Pebble has still to flush. The rest is on disk or with the broker.
func TestFailure10RestoreInBoundedMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("under the race detector memory says nothing")
	}
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, bigMessages)
		a := b.ownerIn("a", t.TempDir())
		a.take()
		const size, bound = 192, 128
		for i := range size { // under other names than fill's few
			tx := a.shard.Begin()
			tx.PutMeta(string(rune('A'+i)), noiseOf(i))
			apply, err := a.commit(tx)
			if err != nil {
				t.Fatal(err)
			}
			apply()
		}
		a.write("n")
		cold := b.ownerIn("cold", t.TempDir())
		before, most, loads := heap(), uint64(0), 0
		cold.log.Progress = func(int64, int64) {
			loads++
			most = max(most, heap())
		}
		cold.take()
		cold.want("n", 1)
		if loads < size/8 {
			t.Errorf("%d loads of %d MiB; want them in small parts", loads, size)
		}
		t.Logf("%d loads, at most %d MiB more than before", loads, (int64(most)-int64(before))>>20)
		if most > before+bound<<20 {
			t.Errorf("a restore of %d MiB has %d MiB more in memory than was there before; want at most %d", size, (most-before)>>20, bound)
		}
	})
}

// ownerIn returns an owner with its local copy on disk and not in memory.
func (b *bench) ownerIn(name, dir string) *owner {
	b.Helper()
	o := b.owner(name)
	store, err := state.Open(state.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Errorf("Close() = %v; want nil", err)
		}
	})
	if o.shard, err = store.Shard(0); err != nil {
		b.Fatal(err)
	}
	o.store, o.log.Shard = store, o.shard
	return o
}

// noiseOf returns a MiB that does not compress, another one for each i.
func noiseOf(i int) []byte {
	b := make([]byte, 1<<20)
	if _, err := newNoise().Read(b); err != nil {
		panic(err)
	}
	for j := range b {
		b[j] ^= byte(i * (j + 1))
	}
	return b
}

// heap returns the bytes that are in use, garbage aside.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
