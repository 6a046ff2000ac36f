package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// play makes a long run of random evaluations and writes down every answer.
// The choice of calls depends on the seed alone.
func play(t *testing.T, seed uint64, sweep int) (answers []string, records int) {
	t.Helper()
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), Lifetime: 30 * time.Hour, MaxLateness: 5 * time.Hour}), 0)
	r := rand.New(rand.NewPCG(seed, 1))
	stream := epoch
	tx := h.Begin()
	for i := range 4000 {
		at := ref(0)
		at.Time = stream.Add(time.Duration(r.IntN(320)-300) * time.Minute)
		at.ID = fmt.Sprint(r.IntN(50))
		stream = later(stream, at.Time)
		tx.Observe(state.Source{}, at.Time)
		key, m := fmt.Sprint(r.IntN(5)), fmt.Sprint(r.IntN(9))
		seen := state.See(tx, "rule", key, at.ID, at.Time, 4*time.Hour)
		s := tx.Scope("rule", key, at)
		var got any
		switch r.IntN(8) {
		case 0:
			s.SetKeyTTL("n", time.Duration(r.IntN(600))*time.Minute)
		case 1:
			s.PutStringSet("n", m, m+m)
		case 2, 3:
			_, got = s.AddToStringSet("n", m)
		case 4:
			got, _ = s.Suppress(m, time.Hour)
		default:
			got = s.IncrementCounter("n")
		}
		total, refs := s.Evidence()
		answers = append(answers, fmt.Sprint(i, seen, got, s.GetCounter("n"), s.GetStringSet("n").Members(), total, refs))
		if s.Commit(); i%20 == 19 {
			tx.Sweep(sweep)
			applyUnchecked(t, h, tx)
			tx = h.Begin()
		}
	}
	apply(t, h, tx)
	return answers, len(dump(t, h))
}

func TestSweepChangesNoAnswer(t *testing.T) {
	for seed := range uint64(3) {
		want, grown := play(t, seed, 0)
		for _, limit := range []int{1, 7, 1000} {
			got, records := play(t, seed, limit)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("seed %d, Sweep(%d): answer %s; without: %s", seed, limit, got[i], want[i])
				}
			}
			if records >= grown {
				t.Errorf("seed %d, Sweep(%d): %d records left; want fewer than the %d without", seed, limit, records, grown)
			}
		}
	}
}

// Keys come and go for a year; the records on disk, indexes included, must be those that
// the last days need.
func TestStateDoesNotGrowForEver(t *testing.T) {
	h := openShard(t)
	var most int
	for d := range 365 {
		tx := h.Begin()
		for i := range 20 {
			at := ref(day(d) + i)
			tx.Observe(state.Source{}, at.Time)
			state.See(tx, "rule", at.ID, at.ID, at.Time, 24*time.Hour)
			s := tx.Scope("rule", at.ID, at) // a key of its own
			for range 20 {
				s.IncrementCounter("short")
			}
			s.SetKeyTTL("short", time.Hour)
			s.PutStringSet("long", "a", "b", "c")
			s.Suppress("d", time.Hour)
			s.Commit()
			s = tx.Scope("rule", "hot", at) // starts a new window again and again
			if s.IncrementCounter("n") >= 10 {
				s.ResetCounter("n")
			}
			s.AddToStringSet("n", at.ID)
			if i == 10 {
				s.PutStringSet("n", at.ID)
			}
			s.Commit()
		}
		tx.Sweep(1000)
		if applyUnchecked(t, h, tx); d%20 != 19 {
			continue
		}
		if err := state.Check(h); err != nil {
			t.Fatalf("day %d: Check() = %v; want nil", d, err)
		}
		all, err := state.Dump(h, true)
		if err != nil {
			t.Fatal(err)
		}
		if most = max(most, len(all)); d > 120 && len(all) > 20*(3*8+90*6+7*2+5)+50 {
			t.Fatalf("day %d: %d records on disk; want what 20 keys a day leave in 97 days", d, len(all))
		}
	}
	// Far later nothing but positions and the last event's own value is left.
	at := ref(day(1000))
	tx := h.Begin()
	tx.Observe(state.Source{}, at.Time)
	state.See(tx, "rule", "key", at.ID, at.Time, time.Hour)
	for tx.Sweep(1000) > 0 {
		applyUnchecked(t, h, tx)
		tx = h.Begin()
	}
	apply(t, h, tx)
	all, err := state.Dump(h, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 5 { // position, source, changelog offset, the event and its index entry
		t.Errorf("%d records are left of %d; want 5: %q", len(all), most, all)
	}
}

func TestReplacingALargeSetIsOneChange(t *testing.T) {
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("member-%05d", i)
	}
	for name, c := range map[string]struct {
		call func(s *state.Scope)
		at   int
		most int // changes: the set, its dead number, perhaps a member, the source and the position
		left string
	}{
		"reset":   {func(s *state.Scope) { s.ResetStringSet("n") }, 1, 4, "0[]"},
		"replace": {func(s *state.Scope) { s.PutStringSet("n", "a") }, 1, 5, `1["a"]`},
		"expiry":  {func(s *state.Scope) { s.AddToStringSet("n", "a") }, 60, 5, `1["a"]`},
	} {
		t.Run(name, func(t *testing.T) {
			h := openShard(t)
			in(t, h, 0, func(s *state.Scope) { s.PutStringSet("n", many...); s.SetKeyTTL("n", time.Hour) })
			tx := h.Begin()
			tx.Observe(state.Source{}, minute(c.at))
			s := tx.Scope("rule", "key", ref(c.at))
			if n := s.GetStringSet("n").Len(); c.at < 60 && n != len(many) {
				t.Fatalf("Len() = %d; want %d", n, len(many))
			}
			c.call(s)
			s.Commit()
			if changes := apply(t, h, tx); len(changes) > c.most {
				t.Errorf("%d changes; want at most %d", len(changes), c.most)
			}
			sweepAway(t, h, len(many))
			in(t, h, c.at, func(s *state.Scope) {
				if got := members(s.GetStringSet("n")); got != c.left {
					t.Errorf("GetStringSet() after Sweep = %s; want %s", got, c.left)
				}
			})
		})
	}
}

// sweepAway removes a dead set in small steps, each a Tx of its own.
func sweepAway(t *testing.T, h *state.Shard, size int) {
	t.Helper()
	total, steps := 0, 0
	for {
		tx := h.Begin()
		n := tx.Sweep(900)
		if apply(t, h, tx); n == 0 {
			break
		}
		total += n
		steps++
	}
	if total != size || steps != (size+899)/900 {
		t.Errorf("Sweep(900) removed %d in %d steps; want %d in %d", total, steps, size, (size+899)/900)
	}
}

func TestSweepFilesAgainWhatLivesLonger(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n"); s.SetKeyTTL("n", time.Hour) })
	in(t, h, 1, func(s *state.Scope) { s.SetKeyTTL("n", 1000*time.Hour) })
	for i, c := range []struct{ at, removed int }{{day(10), 0}, {day(20), 0}, {day(42 + 7), 1}, {day(60), 0}} {
		tx := h.Begin()
		tx.Observe(state.Source{}, minute(c.at))
		if n := tx.Sweep(10); n != c.removed {
			t.Errorf("%d: Sweep(10) at minute %d = %d; want %d", i, c.at, n, c.removed)
		}
		apply(t, h, tx)
	}
}

func TestDiscardUndoesASweep(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n"); s.SetKeyTTL("n", time.Hour); s.PutStringSet("n", "a") })
	in(t, h, 0, func(s *state.Scope) { s.ResetStringSet("n") })
	before := dump(t, h)
	for range 3 {
		tx := h.Begin()
		tx.Observe(state.Source{}, minute(day(30)))
		if n := tx.Sweep(10); n != 2 {
			t.Fatalf("Sweep(10) = %d; want 2", n)
		}
		tx.Discard()
	}
	if after := dump(t, h); !slices.EqualFunc(before, after, sameChange) {
		t.Errorf("dump after Discard = %q; want %q", after, before)
	}
}

func TestLoadRefusesWhatItDoesNotKnow(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	before, at := dump(t, h), h.Position()
	good := before[0]
	for name, c := range map[string]struct {
		change state.Change
		format bool
	}{
		"newer value":     {state.Change{Key: good.Key, Value: append([]byte{2}, good.Value[1:]...)}, true},
		"unknown kind":    {state.Change{Key: []byte("zrule"), Value: []byte{1}}, true},
		"unknown removed": {state.Change{Key: []byte("zrule")}, true},
		"local kind":      {state.Change{Key: []byte{0x83}, Value: []byte{1, 2}}, true},
		"no value":        {state.Change{Key: good.Key, Value: []byte{}}, false},
		"cut off":         {state.Change{Key: good.Key, Value: good.Value[:len(good.Value)-1]}, false},
		"too long":        {state.Change{Key: good.Key, Value: append(slices.Clone(good.Value), 0)}, false},
		"no key":          {state.Change{Value: []byte{1}}, false},
		"cut off key":     {state.Change{Key: good.Key[:len(good.Key)-1], Value: good.Value}, false},
	} {
		err := h.Load(100, 0, records([]state.Change{{Key: []byte("iname"), Value: []byte{1}}, c.change}))
		if err == nil || strings.Contains(err.Error(), "build that wrote it") != c.format {
			t.Errorf("%s: Load() = %v; want an error, ErrFormat: %t", name, err, c.format)
		}
	}
	if after := dump(t, h); !slices.EqualFunc(before, after, sameChange) || h.Position().Changelog != at.Changelog {
		t.Errorf("after refused Loads: %q at %v; want nothing changed", after, h.Position())
	}
	if err := h.Load(101, 0, records([]state.Change{{Key: state.ClaimKey, Value: []byte{9}}, {Key: state.ClaimKey}})); err != nil {
		t.Errorf("Load of claims = %v; want nil", err)
	}
	if after := dump(t, h); !slices.EqualFunc(before, after, sameChange) || h.Position().Changelog != 101 {
		t.Errorf("after claims: %q at %v; want the same records at 101", after, h.Position())
	}
}
