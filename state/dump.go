package state

import (
	"iter"
	"slices"
)

// Dump gives the records of the changelog that make up the shard's memory, sorted by key:
// counters and their evidence, sets, suppressions, and the events that were evaluated.
// Positions, sources and named records are left out: they say where the shard stands in its
// logs. The changes are the caller's. An error ends the sequence.
func (h *Shard) Dump() iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		err := h.scan(nil, nil, func(key, value []byte) (bool, error) {
			switch key[0] {
			case kindPosition, kindSource, kindMeta:
				return true, nil
			}
			if key[0] >= kindLocal {
				return false, nil
			}
			return yield(Change{Key: slices.Clone(key), Value: slices.Clone(value)}, nil), nil
		})
		if err != nil {
			yield(Change{}, err)
		}
	}
}
