package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// State without expiry grows without bound, until disks are full and restores take hours
// (Faust issue 230). Here every value expires, and expired values are swept, also by an
// owner that has them from the changelog alone: two shards take turns for half a year, and
// neither disk nor changelog holds more than the last weeks' keys.
func TestFailure14StateGrowsWithoutBound(t *testing.T) {
	o := newOwners(t)
	const keys, most = 5, 5*(3*8+90*2+7*2+5) + 50 // by day; the records that live on in 97 days
	for d := range 160 {
		h := o.ha
		if d/10%2 == 1 {
			h = o.hb
		}
		o.turn(h, func(tx *state.Tx) {
			for i := range keys {
				at := ref(day(d) + i)
				tx.Observe(state.Source{}, at.Time)
				state.See(tx, "rule", at.ID, at.ID, at.Time, 24*time.Hour)
				s := tx.Scope("rule", at.ID, at)
				s.IncrementCounter("short")
				s.SetKeyTTL("short", time.Hour)
				s.AddToStringSet("long", "a")
				s.Suppress("d", time.Hour)
				s.Commit()
			}
			tx.Sweep(1000)
		})
		if d%20 != 19 {
			continue
		}
		local, err := state.Dump(h, true)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(local); n > 2*most { // values and their index
			t.Errorf("day %d: %d records on disk; want at most %d", d, n, 2*most)
		}
		if n := o.alive(); n > most {
			t.Errorf("day %d: %d keys in the changelog; want at most %d", d, n, most)
		}
	}
}

// alive returns the number of keys that compaction would leave.
func (o *owners) alive() int {
	alive := make(map[string]bool)
	for _, c := range o.log {
		if alive[string(c.Key)] = c.Value != nil; c.Value == nil {
			delete(alive, string(c.Key))
		}
	}
	return len(alive)
}

// panther_detection_helpers deletes expired items lazily: a counter incremented
// after its expiry, but before the store had come by, went on from its old value,
// and a new expiry on an expired key brought it back to life (1.0.1 and later).
// Here expiry is a matter of the event's own time: at that time the value is gone,
// whether it has been swept or not, was restored, or is written to anew.
func TestFailure18ExpiredKeysComeBack(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, h *state.Shard) *state.Shard{
		"nothing": func(_ *testing.T, h *state.Shard) *state.Shard { return h },
		"a sweep that comes too early": func(t *testing.T, h *state.Shard) *state.Shard {
			tx := h.Begin()
			tx.Sweep(100)
			apply(t, h, tx)
			return h
		},
		"a sweep long after": func(t *testing.T, h *state.Shard) *state.Shard {
			tx := h.Begin()
			tx.Observe(state.Source{}, minute(day(30)))
			tx.Sweep(100)
			apply(t, h, tx)
			return h
		},
		"a new owner": func(t *testing.T, h *state.Shard) *state.Shard {
			other := shardOf(t, openStore(t, state.Options{Dir: "other", FS: vfs.NewMem()}), 0)
			if err := other.Load(h.Position().Changelog, 0, records(dump(t, h))); err != nil {
				t.Fatalf("Load() = %v; want nil", err)
			}
			return other
		},
	} {
		for revival, revive := range map[string]func(s *state.Scope){
			"as it is":     func(*state.Scope) {},
			"a new TTL":    func(s *state.Scope) { s.SetKeyTTL("n", 1000*time.Hour) },
			"renewed":      func(s *state.Scope) { s.RenewStringSet("n", 1000*time.Hour) },
			"a late event": nil, // one of before the expiry comes in between, and has seen it alive
		} {
			t.Run(name+", "+revival, func(t *testing.T) {
				h := openShard(t)
				in(t, h, 0, func(s *state.Scope) {
					s.IncrementCounterBy("n", 9)
					s.AddToStringSet("n", "old")
					s.SetKeyTTL("n", time.Hour)
					s.Suppress("d", time.Hour)
				})
				h = between(t, h)
				if revive == nil {
					if name == "a sweep long after" {
						return // no event that late is evaluated
					}
					in(t, h, 59, func(s *state.Scope) {
						if n := s.GetCounter("n"); n != 9 {
							t.Errorf("GetCounter() a minute before the expiry = %d; want 9", n)
						}
					})
					revive = func(*state.Scope) {}
				}
				in(t, h, 60, revive)
				in(t, h, 60, func(s *state.Scope) {
					s.AddToStringSet("n", "new")
					got := fmt.Sprintf("%d %d %s", s.GetCounter("n"), s.IncrementCounter("n"), members(s.GetStringSet("n")))
					_, suppressed := s.Suppress("d", time.Hour)
					if want := `0 1 1["new"]`; got != want || suppressed {
						t.Errorf("after the expiry: %s, suppressed %t; want %s and false", got, suppressed, want)
					}
				})
			})
		}
	}
}
