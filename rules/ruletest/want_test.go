package ruletest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

var reasonConstant = regexp.MustCompile(`\bReason\w+\s+(?:Reason\s*=\s*|=\s*Reason\()"(\w+)"`)

// A step can name every reason that rules has, and no other.
func TestReasonNames(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reasonConstant.FindAllStringSubmatch(string(text), -1) {
			want = append(want, m[1])
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(reasonNames)); !slices.Equal(got, want) {
		t.Errorf("reasonNames = %q; want the Reason constants of rules, %q", got, want)
	}
}
