package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"trailhound/state"
)

// BenchmarkTimeline is the state's part in a sliding window: keys that keep few entries, and
// keys that keep as many as come in a week while they stay below a threshold.
func BenchmarkTimeline(b *testing.B) {
	for _, kept := range []int{8, 60, 1500} {
		b.Run(fmt.Sprintf("kept=%d", kept), func(b *testing.B) {
			const keys = 20
			h, names := benchShard(b), benchKeys(keys)
			every := 7 * time.Minute
			offset := int64(0)
			observe := func(tx *state.Tx, key string, n int) {
				at := benchRef(int(offset))
				at.Time = epoch.Add(time.Duration(n) * every)
				offset++
				tx.Observe(state.Source{}, at.Time)
				s := tx.Scope("access_denied", key, at)
				s.Observe("denials", "")
				if near := s.Within("denials", time.Hour); kept == 8 && len(near) >= 8 {
					s.Consume("denials", near)
				}
				s.Commit()
			}
			tx := h.Begin()
			for n := range kept {
				for _, key := range names {
					observe(tx, key, n)
				}
			}
			if err := tx.Apply(1); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			inTxs(b, h, func(tx *state.Tx, i int) { observe(tx, names[i%keys], kept+i/keys) })
		})
	}
}

// BenchmarkTimelineLate is the state's part in a sliding window with events in any order,
// or in that of their times, as one key keeps more and more of them.
func BenchmarkTimelineLate(b *testing.B) {
	for _, order := range []string{"time", "shuffled"} {
		for _, kept := range []int{1000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("order=%s/kept=%d", order, kept), func(b *testing.B) {
				h := benchShardWith(b, state.Options{MaxSetMembers: 1 << 30, NoHorizon: true})
				random := rand.New(rand.NewPCG(1, 2))
				const every = 7 * time.Minute
				offset := int64(0)
				observe := func(tx *state.Tx, at time.Duration) {
					ref := benchRef(int(offset))
					ref.Time = epoch.Add(at)
					offset++
					tx.Observe(state.Source{}, ref.Time)
					s := tx.Scope("access_denied", "key", ref)
					s.Observe("denials", "")
					s.Within("denials", time.Hour)
					s.Commit()
				}
				tx := h.Begin()
				for n := range kept {
					observe(tx, time.Duration(n)*every)
				}
				if err := tx.Apply(1); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				inTxs(b, h, func(tx *state.Tx, i int) {
					at := time.Duration(kept+i) * every
					if order == "shuffled" {
						at = time.Duration(random.Int64N(int64(kept) * int64(every)))
					}
					observe(tx, at)
				})
			})
		}
	}
}
