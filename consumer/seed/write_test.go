package seed

import (
	"bytes"
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"trailhound/state"
)

// sorted gives a map as records.
func sorted(m map[string]string, failed error) iter.Seq2[state.Change, error] {
	return func(yield func(state.Change, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(state.Change{Key: []byte(key), Value: []byte(m[key])}, nil) {
				return
			}
		}
		if failed != nil {
			yield(state.Change{}, failed)
		}
	}
}

// The differences, written over the old records, give the new ones, and none is in vain.
func TestDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.MapOfN(rapid.StringMatching(`[a-f]{1,2}`), rapid.StringMatching(`[xy]`), 0, 12)
		was, is := records.Draw(t, "was"), records.Draw(t, "is")
		got := maps.Clone(was)
		var last []byte
		for c, err := range differences(sorted(was, nil), sorted(is, nil)) {
			if err != nil || last != nil && bytes.Compare(last, c.Key) >= 0 {
				t.Fatalf("differences gives %q after %q, %v; want the keys in order", c.Key, last, err)
			}
			last = c.Key
			old, had := was[string(c.Key)]
			if c.Value == nil && !had || had && c.Value != nil && old == string(c.Value) {
				t.Fatalf("differences gives %q = %q, which was so before", c.Key, c.Value)
			}
			if c.Value == nil {
				delete(got, string(c.Key))
			} else {
				got[string(c.Key)] = string(c.Value)
			}
		}
		if !maps.Equal(got, is) {
			t.Fatalf("differences makes %q of %q; want %q", got, was, is)
		}
	})
}

// A record that cannot be read must not be taken for the end: everything behind it would be removed.
func TestDifferencesOfDamage(t *testing.T) {
	damage := errors.New("damage")
	for _, tt := range []struct{ was, is error }{{damage, nil}, {nil, damage}} {
		var got error
		n := 0
		for c, err := range differences(sorted(map[string]string{"a": "1", "b": "2"}, tt.was), sorted(map[string]string{"a": "1", "c": "3"}, tt.is)) {
			if got = err; err == nil && string(c.Key) > "b" && tt.was != nil {
				n++
			}
		}
		if !errors.Is(got, damage) || n > 0 {
			t.Errorf("differences ends with %v, after %d records behind the damage; want the error and none", got, n)
		}
	}
}
