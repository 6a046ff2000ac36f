package state

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// FORMAT.md has a section for each kind of key.
func TestFormatPage(t *testing.T) {
	page, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("keys.go")
	if err != nil {
		t.Fatal(err)
	}
	headings := strings.Join(regexp.MustCompile(`(?m)^### .*$`).FindAllString(string(page), -1), "\n")
	kinds := regexp.MustCompile(`(?m)^\tkind\w+ += (?:'(.)'|(0x8[1-9a-f]))`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 20 {
		t.Fatalf("keys.go has %d kinds of keys; want all of them", len(kinds))
	}
	for _, k := range kinds {
		if name := "`" + k[1] + k[2] + "`"; !strings.Contains(headings, name) {
			t.Errorf("FORMAT.md has no section %s", name)
		}
	}
}
