package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// at is an event of an input partition at a minute.
func at(partition int32, n int) (state.Source, time.Time) {
	return state.Source{TopicID: [16]byte{1}, Partition: partition, Offset: int64(n)}, minute(n)
}

// The horizon is that of the slowest input partition with events left to read. A partition
// at its end does not hold the horizon back until it brings another event.
func TestHorizon(t *testing.T) {
	h := openShard(t)
	horizon := func(tx *state.Tx, want time.Time) {
		t.Helper()
		if got := tx.Horizon(); !got.Equal(want) {
			t.Errorf("Horizon() = %v; want %v", got, want)
		}
	}
	step := func(want time.Time, fn func(tx *state.Tx)) {
		t.Helper()
		tx := h.Begin()
		fn(tx)
		horizon(tx, want)
		apply(t, h, tx)
		tx = h.Begin()
		defer tx.Discard()
		horizon(tx, want)
	}
	observe := func(partition int32, n int) func(*state.Tx) {
		return func(tx *state.Tx) { src, when := at(partition, n); tx.Observe(src, when); tx.Advance(src) }
	}
	mark := func(partition int32, n, newest int, idle bool) func(*state.Tx) {
		return func(tx *state.Tx) { src, _ := at(partition, n); tx.Mark(src, minute(newest), idle) }
	}
	step(time.Time{}, func(tx *state.Tx) { tx.Mark(state.Source{TopicID: [16]byte{9}}, time.Time{}, false) }) // no time is known
	step(minute(500), observe(1, 500))
	step(minute(20), observe(2, 20)) // a slower one is met: back
	step(minute(20), observe(1, 600))
	step(minute(30), observe(2, 30))
	step(minute(30), observe(2, 25)) // late
	step(minute(600), mark(2, 31, 30, true))
	step(minute(600), mark(1, 601, 600, true)) // all are idle: the newest of all
	step(minute(40), observe(2, 40))           // revokes it
	step(minute(45), mark(2, 50, 45, false))
	step(minute(600), mark(2, 51, 45, true))

	tx := h.Begin()
	if tx.Retire(func([16]byte) bool { return true }) || !tx.Empty() {
		t.Error("Retire() of nothing = true; want false, and no change")
	}
	src, when := at(3, 7)
	tx.Observe(src, when)
	horizon(tx, minute(7))
	tx.Discard()
	tx = h.Begin()
	defer tx.Discard()
	if _, ok := tx.Source([16]byte{1}, 3); ok {
		t.Error("Source() after Discard = true; want false")
	}
	if got := tx.NewestOf(src); !got.IsZero() {
		t.Errorf("NewestOf() of an unknown partition = %v; want none", got)
	}
	src, _ = at(1, 0)
	if got := tx.NewestOf(src); !got.Equal(minute(600)) {
		t.Errorf("NewestOf() = %v; want minute 600", got)
	}
}

// The work topic may still hold events and marks of an input that is not read any more,
// also of partitions that the shard has not met. Each of them ended the idleness set by
// Retire, and as no router would set it again, the horizon stood still for good: nothing
// was forgotten or swept any more.
func TestRetiredInputHoldsNothingBack(t *testing.T) {
	const gone, kept = 1, 2
	read := func(all bool) func([16]byte) bool {
		return func(id [16]byte) bool { return all || id[0] != gone }
	}
	src := func(topic byte, partition int32, n int) state.Source {
		return state.Source{TopicID: [16]byte{topic}, Partition: partition, Offset: int64(n)}
	}
	for name, leftover := range map[string]func(tx *state.Tx){
		"an event":                    func(tx *state.Tx) { tx.Observe(src(gone, 0, 1), minute(1)) },
		"a mark":                      func(tx *state.Tx) { tx.Mark(src(gone, 0, 1), minute(1), false) },
		"an event of a new partition": func(tx *state.Tx) { tx.Observe(src(gone, 5, 1), minute(1)) },
		"a mark of a new partition":   func(tx *state.Tx) { tx.Mark(src(gone, 5, 1), minute(1), false) },
		"an event after an idle mark": func(tx *state.Tx) { tx.Mark(src(gone, 0, 1), minute(0), true); tx.Observe(src(gone, 0, 2), minute(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			owner := openCopy(t, 4)
			owner.apply(t, func(tx *state.Tx) { tx.Observe(src(gone, 0, 0), minute(0)) })
			log := dump(t, owner.shard)
			log = append(log, owner.apply(t, func(tx *state.Tx) {
				if !tx.Retire(read(false)) {
					t.Error("Retire() of an input that is not read any more = false; want true")
				}
			})...)
			log = append(log, owner.apply(t, leftover)...)
			for d := range 400 {
				log = append(log, owner.apply(t, func(tx *state.Tx) {
					tx.Observe(src(kept, 0, d), minute(day(d)))
					state.See(tx, "rule", "key", fmt.Sprint(d), minute(day(d)), time.Hour)
					s := tx.Scope("rule", fmt.Sprint(d), ref(day(d)))
					s.IncrementCounter("n")
					s.SetKeyTTL("n", time.Hour)
					s.Commit()
					tx.Sweep(10)
				})...)
			}
			if n := len(dump(t, owner.shard)); n > 20 {
				t.Errorf("%d records are left; want the position, the sources, and what the last days need", n)
			}
			restored := openCopy(t, 4)
			restored.load(t, log...)
			for name, c := range map[string]*copied{"owner": owner, "copy": restored} {
				tx := c.shard.Begin()
				if got := tx.Horizon(); !got.Equal(minute(day(399))) {
					t.Errorf("%s: Horizon() = %v; want day 399", name, got)
				}
				if changed := tx.Retire(read(false)); changed {
					t.Errorf("%s: Retire() once more = true; want false: nothing has changed", name)
				}
				if changed := tx.Retire(read(true)); !changed {
					t.Errorf("%s: Retire() with each input read again = false; want true", name)
				}
				if got := tx.Horizon(); got.After(minute(1)) {
					t.Errorf("%s: Horizon() = %v; want minute 1 at most, of an input that is read again", name, got)
				}
				tx.Discard()
			}
		})
	}
}

// A copy of an event may come hours later in a partition that is hours behind: it is
// known as long as the slowest partition has not passed it.
func TestDuplicatesAreKnownUntilTheHorizonHasPassed(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	defer tx.Discard()
	observe := func(partition int32, n int) { src, when := at(partition, n); tx.Observe(src, when) }
	see := func(n int, want bool) {
		t.Helper()
		if got := state.See(tx, "rule", "key", "id", minute(n), time.Hour); got != want {
			t.Errorf("Seen() = %t; want %t", got, want)
		}
	}
	observe(1, 6000)
	observe(2, 10)
	see(10, false) // remembered until minute 6060: stream time counts
	observe(1, 9000)
	see(10, true)
	observe(2, 6060)
	see(10, true)
	observe(2, 6061)
	see(10, false)
}

// An absurd time is taken back, so that later events are not late for decades.
func TestRewind(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	observe := func(partition int32, n int) { src, when := at(partition, n); tx.Observe(src, when); tx.Advance(src) }
	observe(1, 10)
	observe(2, day(40_000))
	apply(t, h, tx)
	tx = h.Begin()
	if !tx.Rewind(minute(20), time.Hour) {
		t.Error("Rewind() = false; want true")
	}
	apply(t, h, tx)
	tx = h.Begin()
	defer tx.Discard()
	src, _ := at(2, 0)
	if got := tx.NewestOf(src); !got.Equal(minute(20)) {
		t.Errorf("NewestOf() = %v; want minute 20", got)
	}
	if got := tx.StreamTime(); !got.Equal(minute(20)) {
		t.Errorf("StreamTime() = %v; want minute 20", got)
	}
	if got := tx.Horizon(); !got.Equal(minute(10)) {
		t.Errorf("Horizon() = %v; want minute 10, of the slower partition", got)
	}
	if tx.Rewind(minute(20), time.Hour) || !tx.Empty() {
		t.Error("Rewind() of nothing = true; want false, and no change")
	}
}

// Without a horizon nothing is forgotten, for any order of events.
func TestNoHorizon(t *testing.T) {
	s := openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), NoHorizon: true})
	h := shardOf(t, s, 0)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n"); s.SetKeyTTL("n", time.Hour) })
	tx := h.Begin()
	state.See(tx, "rule", "key", "id", minute(0), time.Hour)
	tx.Observe(state.Source{}, minute(day(1000)))
	if n := tx.Sweep(100); n != 0 {
		t.Errorf("Sweep() = %d; want 0", n)
	}
	apply(t, h, tx)
	tx = h.Begin()
	if !state.See(tx, "rule", "key", "id", minute(0), time.Hour) {
		t.Error("Seen() = false; want true")
	}
	tx.Discard()
	in(t, h, 1, func(s *state.Scope) {
		if n := s.IncrementCounter("n"); n != 2 {
			t.Errorf("IncrementCounter() = %d; want 2", n)
		}
	})
}
