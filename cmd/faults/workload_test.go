package main

import (
	"testing"
	"time"
)

// TestUntidyInput: a change of one partition's input meets all of its events, and no other's.
func TestUntidyInput(t *testing.T) {
	repeats := func(w *workload, n int) (copies [testPartitions]int) {
		seen := map[string]bool{}
		for range n {
			rec := w.next()
			for _, p := range unwrap(rec.Value) {
				if p.event == nil {
					continue
				}
				if p.event.ID != "" && seen[p.event.ID] {
					copies[rec.Partition]++
				}
				seen[p.event.ID] = true
			}
		}
		return copies
	}
	w := newWorkload(5, testPartitions)
	w.cells[1].doubled = true
	if copies := repeats(w, 2000); copies[1] < 3*copies[0] {
		t.Errorf("%v events came before; want most of them in partition 1", copies)
	}
	old := w.backfill(2, 100, 48*time.Hour)
	young := 0
	for _, rec := range old {
		for _, p := range unwrap(rec.Value) {
			if p.event != nil {
				if at, ok := p.event.happened(); ok && w.now.Sub(at) < 48*time.Hour && at.Year() < 2099 {
					young++
				}
			}
		}
		if rec.Partition != 2 {
			t.Errorf("a record of the backfill is in partition %d", rec.Partition)
		}
	}
	if len(old) != 100 || young > 25 || w.cells[2].behind != 0 { // some of them were sent before
		t.Errorf("the backfill has %d records, and %d events that are too young", len(old), young)
	}
}
