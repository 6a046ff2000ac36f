package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestValueCacheModel compares the cache with a map of all puts: it may know less than the map,
// never anything else, and no more than it has room for.
func TestValueCacheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r valueCache
		type held struct {
			value  string
			exists bool
		}
		model := map[string]held{}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		sizes := []int{1, 1, 40, cacheMost - 20, cacheMost + 1}[:rapid.IntRange(1, 5).Draw(t, "sizes")]
		for range rapid.SampledFrom([]int{10, 1000, 20_000}).Draw(t, "puts") {
			key := fmt.Sprintf("key %d", random.IntN(5000))
			value := fmt.Sprintf("%*d", sizes[random.IntN(len(sizes))], random.IntN(10))
			exists := random.IntN(2) == 0
			r.put([]byte(key), []byte(value), exists)
			model[key] = held{value, exists}
			got, ok, known := r.get([]byte(key))
			if fits := len(key)+len(value) <= cacheMost; known != fits {
				t.Fatalf("get(%q) right after a put of %d bytes: known %v; want %v", key, len(value), known, fits)
			} else if known && (held{string(got), ok} != model[key]) {
				t.Fatalf("get(%q) = %q, %v; want %v", key, got, ok, model[key])
			}
		}
		bytes := 0
		for _, set := range r.sets {
			for _, v := range set {
				bytes += cap(v.data)
			}
		}
		if bytes != r.size || bytes > cacheBytes {
			t.Errorf("it holds %d bytes and says %d; want the same, and at most %d", bytes, r.size, cacheBytes)
		}
		for key, want := range model {
			if got, ok, known := r.get([]byte(key)); known && (held{string(got), ok} != want) {
				t.Fatalf("get(%q) = %q, %v; want %v", key, got, ok, want)
			}
		}
	})
}

// A value that is asked for all the time must stay while many pass by that are asked for
// once: that is the purpose of this cache.
func TestValueCacheKeepsWhatIsBusy(t *testing.T) {
	var r valueCache
	busy, value := []byte("busy"), make([]byte, 100)
	lost := 0
	for n := range 50_000 {
		r.put(fmt.Appendf(nil, "key %d", n), value, true)
		if _, _, known := r.get(busy); !known {
			lost++
			r.put(busy, value, true)
		}
	}
	if lost > 50 {
		t.Errorf("a key that is asked for all the time was lost %d times in 50,000 others; want at most 50", lost)
	}
}
