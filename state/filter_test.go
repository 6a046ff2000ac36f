package state

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

func hashOf(n int) *[16]byte {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return (*[16]byte)(sum[:16])
}

// A "no" that is wrong would count an event twice; a "perhaps" that is wrong costs a
// look at the disk.
func TestSeenFilter(t *testing.T) {
	const events = 100_000
	f := newSeenFilter(events)
	for n := range events {
		f.add(hashOf(n))
	}
	r := reader{b: f.append(nil)}
	f = r.filter() // as it is read again
	if err := r.close(); err != nil {
		t.Fatal(err)
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
	if share := float64(wrong) / events; share > 0.002 {
		t.Errorf("%.4f of the events that were not added may have been; want 0.002 at most", share)
	}
}
