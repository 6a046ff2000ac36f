package state

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func hashOf(n int) (h [16]byte) {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return [16]byte(sum[:16])
}

// A "no" that is wrong would count an event twice; a "perhaps" that is wrong costs a
// look at the disk.
func TestSeenFilter(t *testing.T) {
	const events = 100_000
	f := newSeenFilter(events / 2)
	for n := range events {
		f.add(hashOf(n))
	}
	if f.room != 0 {
		t.Errorf("after as many events as it was made for there is room for %d; want 0", f.room)
	}
	for n := range events {
		if !f.may(hashOf(n)) {
			t.Fatalf("may(event %d) = false; want true, as it was added", n)
		}
	}
	wrong := 0
	for n := range events {
		if f.may(hashOf(events + n)) {
			wrong++
		}
	}
	if share := float64(wrong) / events; share > 0.03 {
		t.Errorf("%.3f of the events that were not added may have been; want 0.03 at most", share)
	}
	if newSeenFilter(filterMost) != nil {
		t.Error("newSeenFilter for more events than are worth the memory is not nil")
	}
}

// Filters fill up and are made anew while events come in, after a Load, and when the
// database is opened again: no event that is remembered is ever taken for a new one.
func TestSeenThroughFilters(t *testing.T) {
	const events, batch = 48_000, 1000 // more than two of the smallest filters take
	fs := vfs.NewMem()
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	id := func(n int) string { h := hashOf(n); return string(h[:]) }
	s, err := Open(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(from, to int, want bool) {
		t.Helper()
		tx := h.Begin()
		for n := from; n < to; n++ {
			if got := tx.Seen("rule", "key", id(n), at, time.Hour); got != want {
				t.Fatalf("Seen(event %d) = %t; want %t", n, got, want)
			}
		}
		if err := tx.Apply(h.Position().Changelog + 1); err != nil {
			t.Fatal(err)
		}
	}
	for from := 0; from < events; from += batch {
		apply(from, from+batch, false)
		apply(from/2, from/2+10, true)
	}
	apply(0, events, true)
	if err := h.Load(h.Position().Changelog+1, func(func(k, v []byte) bool) error { return nil }); err != nil {
		t.Fatal(err)
	}
	apply(0, events, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(Options{Dir: "state", FS: fs}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if h, err = s.Shard(0); err != nil {
		t.Fatal(err)
	}
	apply(0, events, true)
	apply(events, events+batch, false)
}
