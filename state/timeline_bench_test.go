package state_test

import (
	"fmt"
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
