package changelog

import (
	"trailhound/consumer/fatal"
	"trailhound/state"
)

// seedingName is the name under which a shard's state holds the mark of a seed.
const seedingName = "seeding"

// MarkSeeding marks the shard in the transaction: from here on its state is incomplete, and
// no instance may go on with it.
func MarkSeeding(tx *state.Tx, by string) { tx.PutMeta(seedingName, []byte(by)) }

// EndSeeding takes the mark away.
func EndSeeding(tx *state.Tx) { tx.PutMeta(seedingName, nil) }

// Seeding says whether the shard has the mark.
func Seeding(h *state.Shard) (bool, error) {
	mark, err := h.Meta(seedingName)
	return mark != nil, err
}

func stopSeeding(own *Identity) error {
	return fatal.Errorf("the state of app %s is being seeded, or trailhound state seed was interrupted: let it come to its end, or start it again", own.App)
}
