package state_test

import (
	"fmt"
	"testing"
	"time"

	"trailhound/state"
)

func dumped(t *testing.T, h *state.Shard) (records []state.Change, text string) {
	t.Helper()
	for c, err := range h.Dump() {
		if err != nil {
			t.Fatalf("Dump() = %v; want nil", err)
		}
		records = append(records, c)
		text += fmt.Sprintf("%q = %q\n", c.Key, c.Value)
	}
	return records, text
}

// The records of Dump bring the memory of a shard to another one, and no position.
func TestDump(t *testing.T) {
	h := openShard(t)
	for n := range 40 { // more evidence than one block holds
		in(t, h, n, func(s *state.Scope) { s.IncrementCounter("count") })
	}
	in(t, h, 41, func(s *state.Scope) {
		s.AddToStringSet("set", "one")
		s.Suppress("dedup", time.Hour)
	})
	tx := h.Begin()
	state.See(tx, "rule", "key", "event", minute(42), time.Hour)
	tx.PutMeta("name", []byte("value"))
	tx.SetWorkOffset(7, 1)
	tx.Advance(state.Source{Offset: 3})
	apply(t, h, tx)

	records, want := dumped(t, h)
	other := openShard(t)
	err := other.Load(1, 0, func(yield func(key, value []byte) bool) error {
		for _, c := range records {
			if !yield(c.Key, c.Value) {
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Load() of a dump = %v; want nil", err)
	}
	if err := state.Check(other); err != nil {
		t.Errorf("Check() = %v; want nil", err)
	}
	if _, got := dumped(t, other); got != want {
		t.Errorf("Dump() of what was loaded is\n%swant\n%s", got, want)
	}
	if name, err := other.Meta("name"); other.Position().Work != -1 || name != nil || err != nil {
		t.Errorf("Position() = %+v, Meta() = %q, %v; want no position and no record", other.Position(), name, err)
	}
	in(t, other, 43, func(s *state.Scope) {
		if n := s.IncrementCounter("count"); n != 41 {
			t.Errorf("IncrementCounter() = %d; want 41", n)
		}
		if total, newest := s.Evidence(); total != 41 || len(newest) != 41 || newest[0].ID != "event-0" {
			t.Errorf("Evidence() = %d, %v; want all 41 events", total, newest)
		}
		if !s.GetStringSet("set").Has("one") {
			t.Error(`Has("one") = false; want true`)
		}
	})
	for _, err := range other.Dump() { // a reader may stop early
		if err != nil {
			t.Errorf("Dump() = %v; want a record", err)
		}
		break
	}
}
