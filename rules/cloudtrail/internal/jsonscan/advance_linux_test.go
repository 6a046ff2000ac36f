package jsonscan

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdvanceBounds scans documents that end where the memory ends: a load beyond
// the last byte would be a fault.
func TestAdvanceBounds(t *testing.T) {
	page := unix.Getpagesize()
	m, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mprotect(m[2*page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	scanners := predicting()
	docs := events(t)[:3]
	for _, last := range []string{"1234567890123456789012345678901234567890123456789", "true", "null", "false", `"x"`, "{}", "[]"} {
		docs = append(docs, []byte(`{"string":"of some length, so that it is followed","a name of twenty-six bytes":1,"last":`+last+`}`))
	}
	for _, event := range docs {
		agree(t, scanners, event, 0, true)
		for _, doc := range [][]byte{event, bytes.TrimSuffix(event, []byte("}"))} {
			for n := 1; n <= len(doc); n++ { // whole, and cut off everywhere
				b := m[2*page-n : 2*page]
				copy(b, doc)
				agree(t, scanners, b, 0, true)
			}
		}
	}
}
