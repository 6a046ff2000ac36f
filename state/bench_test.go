package state_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// batch is how many events the benchmarks put into one Tx.
const batch = 500

func benchShard(b *testing.B) *state.Shard {
	b.Helper()
	return benchShardWith(b, state.Options{})
}

func benchShardWith(b *testing.B, o state.Options) *state.Shard {
	b.Helper()
	o.Dir, o.FS = b.TempDir(), vfs.Default
	s, err := state.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	h, err := s.Shard(0)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

func benchRef(i int) state.Ref {
	return state.Ref{
		ID:     fmt.Sprintf("0b6e7c1e-0000-4000-8000-%012x", i),
		Time:   epoch.Add(time.Duration(i) * time.Second),
		Source: state.Source{Topic: "cloudtrail", Partition: int32(i % 8), Offset: int64(i)},
	}
}

func benchKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("arn:aws:iam::%012d:user/alice", i)
	}
	return keys
}

// inTxs runs step n times, in Txs of one batch each.
func inTxs(b *testing.B, h *state.Shard, step func(tx *state.Tx, i int)) {
	b.Helper()
	b.ReportAllocs()
	tx := h.Begin()
	i := 0
	for b.Loop() {
		step(tx, i)
		if i++; i%batch == 0 {
			if err := tx.Apply(int64(i)); err != nil {
				b.Fatal(err)
			}
			tx = h.Begin()
		}
	}
	if err := tx.Apply(int64(i)); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkIncrementCounter(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			h, keys, refs := benchShard(b), benchKeys(n), make([]state.Ref, 1<<16)
			for i := range refs {
				refs[i] = benchRef(i)
			}
			inTxs(b, h, func(tx *state.Tx, i int) {
				s := tx.Scope("access_denied", keys[i*7919%n], refs[i&0xffff])
				s.IncrementCounter("denied")
				s.Commit()
			})
		})
	}
}

// BenchmarkWindow is the state's part in a whole rule: each tenth event of a
// key ends its window.
func BenchmarkWindow(b *testing.B) {
	h, keys, refs := benchShard(b), benchKeys(1000), make([]state.Ref, 1<<16)
	for i := range refs {
		refs[i] = benchRef(i)
	}
	inTxs(b, h, func(tx *state.Tx, i int) {
		at := refs[i&0xffff]
		s := tx.Scope("access_denied", keys[i/10%1000], at)
		if n := s.IncrementCounter("denied"); n == 1 {
			s.SetKeyTTL("denied", time.Hour)
		} else if n >= 10 {
			s.ResetCounter("denied")
			s.Evidence()
		}
		s.Commit()
	})
}

func BenchmarkSeen(b *testing.B) {
	h, keys := benchShard(b), benchKeys(1000)
	inTxs(b, h, func(tx *state.Tx, i int) {
		at := epoch.Add(time.Duration(i) * time.Second)
		id := [8]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		tx.Observe(state.Source{}, at)
		state.See(tx, "access_denied", keys[i%1000], string(id[:]), at, 24*time.Hour)
		if i%batch == batch-1 {
			tx.Sweep(2 * batch)
		}
	})
}

func BenchmarkAddToStringSet(b *testing.B) {
	h, keys := benchShard(b), benchKeys(1000)
	members := benchKeys(1 << 14)
	inTxs(b, h, func(tx *state.Tx, i int) {
		s := tx.Scope("assume_role", keys[i%1000], state.Ref{Time: epoch})
		s.AddToStringSet("ips", members[i/1000%(1<<13)])
		s.Commit()
	})
}

func BenchmarkHas(b *testing.B) {
	h, members := benchShard(b), benchKeys(10_000)
	// In transactions of a realistic size: Pebble looks up the keys of one large batch in
	// another way.
	offset := int64(0)
	for some := range slices.Chunk(members, 1000) {
		tx := h.Begin()
		s := tx.Scope("assume_role", "key", state.Ref{Time: epoch})
		s.AddToStringSet("ips", some...)
		s.Commit()
		offset++
		if err := tx.Apply(offset); err != nil {
			b.Fatal(err)
		}
	}
	for _, found := range []bool{true, false} {
		b.Run(fmt.Sprintf("found=%t", found), func(b *testing.B) {
			b.ReportAllocs()
			tx := h.Begin()
			defer tx.Discard()
			set := tx.Scope("assume_role", "key", state.Ref{Time: epoch}).GetStringSet("ips")
			i := 0
			for b.Loop() {
				member := members[i*7919%len(members)]
				if i++; !found {
					member = member[1:]
				}
				if set.Has(member) != found {
					b.Fatalf("Has(%q) = %t", member, !found)
				}
			}
		})
	}
}

// BenchmarkApply measures a batch of counters on its way to disk.
func BenchmarkApply(b *testing.B) {
	h, keys := benchShard(b), benchKeys(batch)
	ref := benchRef(1)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		b.StopTimer()
		tx := h.Begin()
		for _, key := range keys {
			s := tx.Scope("access_denied", key, ref)
			s.IncrementCounter("denied")
			s.Commit()
		}
		b.StartTimer()
		for range tx.Changes() {
		}
		i++
		if err := tx.Apply(i); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i*batch), "ns/change")
}

// BenchmarkLoad restores counters from a changelog.
func BenchmarkLoad(b *testing.B) {
	h, keys := benchShard(b), benchKeys(10_000)
	tx := h.Begin()
	for i, key := range keys {
		s := tx.Scope("access_denied", key, benchRef(i))
		s.IncrementCounter("denied")
		s.Commit()
	}
	if err := tx.Apply(1); err != nil {
		b.Fatal(err)
	}
	log, err := state.Dump(h, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	loaded := 0
	for b.Loop() {
		if err := h.Load(int64(loaded), 0, records(log)); err != nil {
			b.Fatal(err)
		}
		loaded += len(log)
	}
	b.ReportMetric(float64(loaded)/b.Elapsed().Seconds(), "keys/s")
}
