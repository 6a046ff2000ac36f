package state_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trailhound/state"
)

// Events evaluated while an absurd time held the shard were remembered until decades later:
// pages and the filters of runs stayed for ever, although the operator had set
// the time back.
func TestRewindBoundsWhatIsRemembered(t *testing.T) {
	absurd := epoch.AddDate(10, 0, 0)
	src := func(n int) state.Source { return state.Source{TopicID: [16]byte{1}, Offset: int64(n)} }
	// The instruction comes in a Tx of its own, or in the one of the last events.
	for name, together := range map[string]bool{"by itself": false, "among events": true} {
		t.Run(name, func(t *testing.T) {
			owner := openCopy(t, 4)
			restored := openCopy(t, 4) // follows from the beginning
			last := openCopy(t, 4)     // from the whole of the changelog
			step := func(fn func(tx *state.Tx)) { t.Helper(); restored.load(t, owner.apply(t, fn)...) }
			see := func(tx *state.Tx, n int, at time.Time, want bool) {
				t.Helper()
				if got := state.See(tx, "rule", "key", fmt.Sprint(n), at, knownWithin); got != want {
					t.Errorf("Seen(%d) = %t; want %t", n, got, want)
				}
			}
			rewind := func(tx *state.Tx) {
				if !tx.Rewind(minute(60), knownWithin) {
					t.Error("Rewind() = false; want true")
				}
			}
			step(func(tx *state.Tx) { tx.Observe(src(0), minute(0)); see(tx, 0, minute(0), false) })
			for n := 1; n < 40; n++ {
				step(func(tx *state.Tx) {
					if n == 1 {
						tx.Observe(src(n), absurd)
					}
					see(tx, n, minute(n), false)
					if n == 39 && together {
						rewind(tx)
						see(tx, n, minute(n), true)
						see(tx, 1, minute(n), true)
					}
				})
			}
			if !together {
				step(rewind)
			}
			last.load(t, dump(t, owner.shard)...)
			all := map[string]*copied{"owner": owner, "copy": restored, "late copy": last}
			for name, c := range all {
				for range 2 {
					tx := c.shard.Begin()
					for n := range 40 { // 0 was forgotten at the absurd time, and not swept yet
						if !tx.Seen(tx.EventKey("rule", "key", fmt.Sprint(n))) {
							t.Errorf("%s: Seen(%d) after Rewind = false; want true", name, n)
						}
					}
					tx.Discard()
					c.reopen(t)
				}
			}
			step(func(tx *state.Tx) { tx.Observe(src(50), minute(day(1)+60)); see(tx, 7, minute(0), true) })
			step(func(tx *state.Tx) { tx.Observe(src(51), minute(day(1)+61)); see(tx, 7, minute(0), false) })
			step(func(tx *state.Tx) { tx.Observe(src(52), minute(day(1)+71)) }) // the end of the span of a page
			for _, n := range []int{30, 9, 1} {                                 // nothing is left at the end, and no answer changes meanwhile
				step(func(tx *state.Tx) {
					if got := tx.Sweep(n); got != n {
						t.Errorf("Sweep(%d) = %d; want as many events, each in a page", n, got)
					}
					see(tx, 7, minute(0), true)
				})
			}
			step(func(tx *state.Tx) {
				if got := tx.Sweep(10); got != 0 {
					t.Errorf("Sweep() = %d; want 0: the last page is of after Rewind", got)
				}
			})
			for name, c := range map[string]*copied{"owner": owner, "copy": restored} {
				if n := len(dump(t, c.shard)); n != 3 { // position, source, page
					t.Errorf("%s: %d records are left; want 3", name, n)
				}
			}
			if n := state.Runs(owner.shard); n != 0 {
				t.Errorf("%d runs are left; want none", n)
			}
		})
	}
}

// A copy may meet a Rewind together with later changes, when the time of the shard is
// beyond the one that the copy knew: its runs hold no longer all the same.
func TestCopyMeetsARewindLate(t *testing.T) {
	src := func(partition int32, n int) state.Source {
		return state.Source{TopicID: [16]byte{1}, Partition: partition, Offset: int64(n)}
	}
	for name, swept := range map[string]bool{"at once": false, "after Sweep": true} {
		t.Run(name, func(t *testing.T) {
			owner, restored := openCopy(t, 4), openCopy(t, 4)
			for n := range 12 {
				restored.load(t, owner.apply(t, func(tx *state.Tx) {
					tx.Observe(src(0, n), minute(day(5)))
					state.See(tx, "rule", "key", fmt.Sprint(n), minute(day(5)), knownWithin)
				})...)
			}
			if state.Runs(restored.shard) < 2 { // made by the check
				t.Fatalf("the copy has %d runs; want some, or this test shows nothing", state.Runs(restored.shard))
			}
			// Compaction leaves of these changes but the last, as all keys are the same.
			owner.apply(t, func(tx *state.Tx) { tx.Rewind(minute(day(1)), knownWithin) })
			missed := owner.apply(t, func(tx *state.Tx) {
				tx.Mark(src(1, 0), minute(day(7)), true)
				tx.Observe(src(0, 20), minute(day(3)))
			})
			if swept {
				missed = owner.apply(t, func(tx *state.Tx) { tx.Sweep(100); tx.Observe(src(0, 21), minute(day(3)+1)) })
			}
			restored.load(t, missed...)
			for name, c := range map[string]*copied{"owner": owner, "copy": restored} {
				tx := c.shard.Begin()
				for n := range 12 {
					if tx.Seen(tx.EventKey("rule", "key", fmt.Sprint(n))) {
						t.Errorf("%s: Seen(%d) = true; want false", name, n)
					}
				}
				tx.Discard()
			}
		})
	}
}

// A copy that follows its owner knows and forgets the same, and so does one that begins
// later, over rewinds by operators, inputs that come and go, sweeps and restarts.
func TestCopiesRememberTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner, follower := openCopy(t, rapid.IntRange(1, 5).Draw(t, "events of a run")), openCopy(t, 3)
		clock := epoch
		for n := range rapid.IntRange(20, 60).Draw(t, "transactions") {
			reads := rapid.Int32Range(1, 3).Draw(t, "partitions that are read")
			changes := owner.apply(t, func(tx *state.Tx) {
				switch rapid.IntRange(0, 9).Draw(t, "instruction") {
				case 0:
					tx.Rewind(clock.Add(-rapid.SampledFrom([]time.Duration{0, 20 * time.Hour, 90 * time.Hour}).Draw(t, "back")), knownWithin)
				case 1:
					tx.Retire(func(id [16]byte) bool { return int32(id[0]) < reads })
				}
				for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
					e := drawHeard(t, 10*n+i, &clock)
					e.src.TopicID = [16]byte{byte(e.src.Partition)}
					if e.id != "" && rapid.IntRange(0, 9).Draw(t, "absurd") == 0 {
						e.at = clock.AddDate(0, 2, 0)
					}
					e.play(tx, clock.AddDate(1, 0, 0)) // no counter: those have tests of their own
				}
				if rapid.Bool().Draw(t, "sweep") {
					tx.Sweep(rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "steps"))
				}
			})
			follower.load(t, changes...)
			for _, c := range []*copied{owner, follower} {
				if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
					c.reopen(t)
				}
			}
			var want string
			late := openCopy(t, 2)
			log, err := state.Dump(owner.shard, false)
			if err != nil {
				t.Fatal(err)
			}
			late.load(t, log...)
			for i, c := range []*copied{owner, follower, late} {
				tx := c.shard.Begin()
				got := fmt.Sprint(tx.Horizon(), tx.StreamTime())
				for id := range 6 {
					got += fmt.Sprint(" ", tx.Seen(tx.EventKey("rule", "key", fmt.Sprint("e", id))))
				}
				if tx.Discard(); i == 0 {
					want = got
				} else if got != want {
					t.Fatalf("copy %d says %s; the owner %s", i, got, want)
				}
			}
		}
	})
}

// Events that follow a Rewind in its transaction are told the same as those of the next one.
func TestRewindHoldsWithinItsTransaction(t *testing.T) {
	src := func(n int) state.Source { return state.Source{TopicID: [16]byte{1}, Offset: int64(n)} }
	for name, together := range map[string]bool{"the same": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			c := openCopy(t, 4)
			c.apply(t, func(tx *state.Tx) {
				tx.Observe(src(0), minute(day(3000)))
				state.See(tx, "rule", "key", "id", minute(0), knownWithin)
			})
			rewind := func(tx *state.Tx) { tx.Rewind(minute(0), knownWithin) }
			if !together {
				c.apply(t, rewind)
			}
			c.apply(t, func(tx *state.Tx) {
				if together {
					rewind(tx)
				}
				for _, n := range []int{day(1), day(1) + 1} {
					tx.Observe(src(1), minute(n))
					if got, want := tx.Seen(tx.EventKey("rule", "key", "id")), n == day(1); got != want {
						t.Errorf("Seen() at minute %d after Rewind to 0 = %t; want %t", n, got, want)
					}
				}
			})
		})
	}
}
