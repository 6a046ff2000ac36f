package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// suppressing asks Suppress at instants, each in a Tx of its own.
type suppressing struct {
	*testing.T
	shard *state.Shard
	span  time.Duration
}

func (s *suppressing) at(when time.Time) (suppressed bool, bytes int) {
	s.Helper()
	tx := s.shard.Begin()
	tx.Observe(state.Source{}, when)
	at := ref(0)
	at.Time = when
	sc := tx.Scope("rule", "key", at)
	_, suppressed = sc.Suppress("d", s.span)
	sc.Commit()
	for _, c := range applyUnchecked(s.T, s.shard, tx) {
		bytes = max(bytes, len(c.Value))
	}
	return suppressed, bytes
}

func newSuppressing(t *testing.T, noHorizon bool) *suppressing {
	t.Helper()
	store := openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), NoHorizon: noHorizon, MaxLateness: 30 * 24 * time.Hour})
	return &suppressing{T: t, shard: shardOf(t, store, 0), span: 5 * time.Minute}
}

// A suppression of a busy key remembered the newest thousand alerts: a finding before them
// was forgotten as it was noted, so that each late one was sent, even near to another. Each
// suppressed finding wrote all thousand again.
func TestLateFindingsOfABusyKeyAreSuppressed(t *testing.T) {
	for _, noHorizon := range []bool{false, true} {
		for _, apart := range []int{6, 11} { // minutes: less and more than twice the span
			t.Run(fmt.Sprintf("no horizon %t, %d minutes apart", noHorizon, apart), func(t *testing.T) {
				s := newSuppressing(t, noHorizon)
				const alerts = 1000
				newest := 600 + (alerts-1)*apart
				for i := range alerts {
					if suppressed, _ := s.at(minute(600 + i*apart)); suppressed {
						t.Fatalf("the alert at minute %d is suppressed; want it sent", 600+i*apart)
					}
				}
				late := func(n int, want bool) {
					t.Helper()
					if suppressed, _ := s.at(minute(n)); suppressed != want {
						t.Errorf("Suppress() of a finding at minute %d = %t; want %t", n, suppressed, want)
					}
				}
				late(0, false)
				for n := 1; n < 5; n++ {
					late(n, true)
				}
				late(5, false)
				late(8, true)
				late(604, true)
				suppressed, size := s.at(minute(newest + 1))
				if apart == 6 && (!suppressed || size > 100) {
					t.Errorf("Suppress() at the newest alert = %t, %d bytes; want true, and a short record", suppressed, size)
				}
				// With more than a thousand that lie apart, the farthest gives way, and is
				// sent once more; then it is remembered again.
				late(newest+2, true)
			})
		}
	}
}

// As long as not too many are apart, exactly the findings are held back that are nearer
// than the span to one that was sent, for any order of events.
func TestSuppressionIsThatOfAllThatWasSent(t *testing.T) {
	for seed := range uint64(4) {
		s := newSuppressing(t, seed%2 == 0)
		r := rand.New(rand.NewPCG(seed, 1))
		var sent []time.Time
		for range 1500 {
			when := minute(0).Add(time.Duration(r.IntN(24*3600)) * time.Second / 2)
			want := false
			for _, at := range sent {
				want = want || when.Sub(at).Abs() < s.span
			}
			if suppressed, _ := s.at(when); suppressed != want {
				t.Fatalf("seed %d: Suppress() at %s = %t; want %t", seed, when, suppressed, want)
			}
			if !want {
				sent = append(sent, when)
			}
		}
		if len(sent) < 50 {
			t.Fatalf("%d alerts were sent; want many, or this test shows nothing", len(sent))
		}
	}
}

// An event that is far behind the horizon, as those of an input that is not read any more
// may be, is forgotten by the next Sweep, and not by its own evaluation.
func TestFindingBehindTheHorizonMutesItsOwnNeighbourhood(t *testing.T) {
	s := newSuppressing(t, false)
	s.at(minute(day(100)))
	for n, want := range []bool{false, true, true} {
		if suppressed, _ := s.at(minute(n)); suppressed != want {
			t.Errorf("Suppress() of a finding at minute %d = %t; want %t", n, suppressed, want)
		}
	}
	if suppressed, _ := s.at(minute(day(100) + 1)); !suppressed {
		t.Error("Suppress() beside the newest alert = false; want true")
	}
}
