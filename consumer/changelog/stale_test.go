package changelog

import (
	"testing"
	"time"
)

// A clock that was years ahead for a minute left a mark that half of
// delete.retention.ms could never reach: the copy was used although tombstones since it
// had been compacted away, and values that had been reset came back. PROTOCOL D13.
func TestMarkInTheFutureIsExpired(t *testing.T) {
	const life = 7 * 24 * time.Hour
	now := time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		mark time.Time
		want bool
	}{
		"now":           {now, false},
		"an hour ago":   {now.Add(-time.Hour), false},
		"half the life": {now.Add(-life / 2), true},
		"ten years on":  {now.AddDate(10, 0, 0), true},
		"a second on":   {now.Add(time.Second), true},
	} {
		for _, restoring := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				h := shard(t)
				put(t, h, sampleIdentity().Encode(), 7)
				var err error
				if restoring {
					err = h.BeginRestore(c.mark)
				} else {
					err = h.MarkCaughtUp(c.mark)
				}
				if err != nil {
					t.Fatal(err)
				}
				log := Changelog{Shard: h, TopicID: sampleIdentity().State.ID, TombstoneLife: life, Now: func() time.Time { return now }}
				if why, err := log.stale(t.Context(), 1000); err != nil || (why != "") != c.want {
					t.Errorf("stale() with a mark of %s (restoring: %t) at %s = %q, %v; want a reason: %t", c.mark, restoring, now, why, err, c.want)
				}
			})
		}
	}
}
