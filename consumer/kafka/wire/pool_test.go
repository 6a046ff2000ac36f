package wire

import "testing"

// An object that is put back is got next, newest first, and no more are kept than may be at
// work at the same time: buffers of an hour with much to do are not kept for good.
func TestPool(t *testing.T) {
	var p pool[int]
	if got := p.get(); got == nil || *got != 0 {
		t.Fatalf("get() of an empty pool = %v; want a zero one", got)
	}
	all := make([]*int, 2*mostIdle)
	for i := range all {
		all[i] = new(int)
		p.put(all[i])
	}
	for i := mostIdle - 1; i >= 0; i-- {
		if got := p.get(); got != all[i] {
			t.Errorf("get() does not give element %d; want that of those that were put last and kept", i)
		}
	}
	if got := p.get(); *got != 0 || got == all[mostIdle] {
		t.Error("get() gives an element beyond those that are kept")
	}
}
