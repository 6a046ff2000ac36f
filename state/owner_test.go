package state_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// owners is a changelog and the two shards that take turns in following it.
type owners struct {
	t   *testing.T
	log []state.Change
	ha  *state.Shard
	hb  *state.Shard
}

func newOwners(t *testing.T) *owners {
	s := openStore(t, state.Options{Dir: "state", FS: vfs.NewMem()})
	return &owners{t: t, ha: shardOf(t, s, 1), hb: shardOf(t, s, 2)}
}

// turn lets a shard catch up with the changelog, and then work.
func (o *owners) turn(h *state.Shard, fn func(tx *state.Tx)) {
	o.t.Helper()
	if err := h.Load(int64(len(o.log)), 0, records(o.log[h.Position().Changelog:])); err != nil {
		o.t.Fatalf("Load() = %v; want nil", err)
	}
	tx := h.Begin()
	fn(tx)
	for c := range tx.Changes() {
		change := state.Change{Key: append([]byte{}, c.Key...)}
		if c.Value != nil {
			change.Value = append([]byte{}, c.Value...)
		}
		o.log = append(o.log, change)
	}
	if err := tx.Apply(int64(len(o.log))); err != nil {
		o.t.Fatalf("Apply() = %v; want nil", err)
	}
	if err := state.Check(h); err != nil {
		o.t.Fatalf("Check() = %v; want nil", err)
	}
}

// indexed gives the number of index entries on a shard's disk.
func (o *owners) indexed(h *state.Shard) (values, seen int) {
	o.t.Helper()
	all, err := state.Dump(h, true)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, r := range all {
		switch r.Key[0] {
		case 0x81:
			values++
		case 0x82:
			seen++
		}
	}
	return values, seen
}

// An event that was forgotten, and remembered anew elsewhere, must not be swept by the
// index entry of its first time.
func TestSweepAfterLoadKeepsWhatWasRememberedAnew(t *testing.T) {
	o := newOwners(t)
	see := func(tx *state.Tx, at int, want bool) {
		t.Helper()
		if got := state.See(tx, "rule", "key", "id", minute(at), time.Hour); got != want {
			t.Errorf("Seen() at minute %d = %t; want %t", at, got, want)
		}
	}
	o.turn(o.ha, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(0)); see(tx, 0, false) })
	o.turn(o.hb, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(75)); tx.Sweep(10) })
	o.turn(o.hb, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(76)); see(tx, 76, false) })
	o.turn(o.ha, func(tx *state.Tx) {
		if n := tx.Sweep(10); n != 0 {
			t.Errorf("Sweep(10) = %d; want 0", n)
		}
		see(tx, 76, true)
	})
	o.turn(o.ha, func(tx *state.Tx) { see(tx, 76, true) })
	if _, seen := o.indexed(o.ha); seen != 1 {
		t.Errorf("%d index entries; want 1", seen)
	}
}

// A value that was removed and made again elsewhere leaves an index entry
// behind, which goes when its time has come.
func TestSweepAfterLoadDropsStaleEntries(t *testing.T) {
	o := newOwners(t)
	count := func(tx *state.Tx, at int, ttl time.Duration) {
		s := tx.Scope("rule", "key", ref(at))
		s.ResetCounter("n")
		s.IncrementCounter("n")
		s.SetKeyTTL("n", ttl)
		s.Commit()
		tx.Observe(state.Source{}, minute(at))
	}
	reset := func(tx *state.Tx) {
		s := tx.Scope("rule", "key", ref(2))
		s.ResetCounter("n")
		s.Commit()
	}
	o.turn(o.ha, func(tx *state.Tx) { count(tx, 0, time.Hour) })
	o.turn(o.hb, reset)
	o.turn(o.hb, func(tx *state.Tx) { count(tx, 3, 1000*time.Hour) })
	o.turn(o.ha, func(*state.Tx) {})
	if values, _ := o.indexed(o.ha); values != 2 {
		t.Fatalf("%d index entries before Sweep; want 2, one of them stale", values)
	}
	o.turn(o.ha, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(day(10))); tx.Sweep(10) })
	if values, _ := o.indexed(o.ha); values != 1 {
		t.Errorf("%d index entries after Sweep; want 1", values)
	}
}

func TestSweepFindsWhatLoadBrought(t *testing.T) {
	o := newOwners(t)
	o.turn(o.ha, func(tx *state.Tx) { tx.Observe(state.Source{}, minute(day(30))); tx.Sweep(10) })
	o.turn(o.hb, func(tx *state.Tx) {
		s := tx.Scope("rule", "key", ref(0))
		s.IncrementCounter("n")
		s.SetKeyTTL("n", time.Hour)
		s.PutStringSet("m", "a")
		s.Commit()
	})
	o.turn(o.hb, func(tx *state.Tx) {
		s := tx.Scope("rule", "key", ref(0))
		s.ResetStringSet("m")
		s.Commit()
	})
	o.turn(o.ha, func(tx *state.Tx) {
		if n := tx.Sweep(10); n != 2 {
			t.Errorf("Sweep(10) = %d; want 2, the counter and the member", n)
		}
	})
}
