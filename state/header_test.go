package state_test

import (
	"testing"
	"time"

	"trailhound/state"
)

// SetKeyTTL finds a value that has come since it met an absent header, by a transaction or
// by a restore, and none after the copy was wiped.
func TestExpirationFindsWhatCame(t *testing.T) {
	for name, write := range map[string]func(*state.Scope){
		"counter": func(s *state.Scope) { s.IncrementCounter("n") },
		"set":     func(s *state.Scope) { s.AddToStringSet("n", "member") },
	} {
		t.Run(name, func(t *testing.T) {
			found := func(h *state.Shard, want bool, after string) {
				t.Helper()
				tx := h.Begin()
				defer tx.Discard()
				s := tx.Scope("rule", "key", ref(9))
				s.SetKeyTTL("n", time.Hour)
				if _, ok := s.Expiry("n"); ok != want {
					t.Errorf("Expiry() after %s and SetKeyTTL: ok = %v; want %v", after, ok, want)
				}
			}
			h := openShard(t)
			found(h, false, "nothing")
			in(t, h, 0, write)
			found(h, true, "a write")
			all := dump(t, h)
			if err := h.Wipe(); err != nil {
				t.Fatal(err)
			}
			found(h, false, "Wipe")

			h = openShard(t)
			found(h, false, "nothing")
			if err := h.Load(20, 0, func(yield func(key, value []byte) bool) error {
				for _, c := range all {
					yield(c.Key, c.Value)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			found(h, true, "a restore")
		})
	}
}
