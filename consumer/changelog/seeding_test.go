package changelog

import "testing"

// A shard of an unfinished seed is refused, even with all that --accept-* allows.
func TestAgreeWhileSeeding(t *testing.T) {
	h, own := shard(t), sampleIdentity()
	for _, had := range []bool{false, true} {
		if had {
			put(t, h, own.Encode(), 7)
		}
		tx := h.Begin()
		MarkSeeding(tx, "somebody")
		if err := tx.Apply(2); err != nil {
			t.Fatal(err)
		}
		checkAgree(t, h, own, Accept{Change: true, Loss: true}, Agreement{}, []string{"app trail", "state seed"})
		tx = h.Begin()
		EndSeeding(tx)
		if err := tx.Apply(3); err != nil {
			t.Fatal(err)
		}
		checkAgree(t, h, own, Accept{}, Agreement{Write: !had}, nil)
	}
}
