package consumer_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	citation = regexp.MustCompile(`(PROTOCOL|FAILURES) [RD]?\d+(?:(?:,\s|–)[RD]?\d+)*`)
	numbers  = regexp.MustCompile(`([RD]?)(\d+)(?:–[RD]?(\d+))?`)
	wrapped  = regexp.MustCompile(`\n\s*// `)
	staged   = regexp.MustCompile(`func TestFailure(\d\d)`)
	written  = map[string]*regexp.Regexp{
		"PROTOCOL": regexp.MustCompile(`(?m)^### ([RD]\d+) `),
		"FAILURES": regexp.MustCompile(`(?m)^\| (\d+) \|`),
	}
)

// The rules of the protocol and the failures of others are cited by number from the most
// delicate code. For a long time the pages themselves were not in the tree.
func TestCitations(t *testing.T) {
	cited := map[string]string{} // by "PROTOCOL D3": a file
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, c := range citation.FindAllStringSubmatch(wrapped.ReplaceAllString(string(source), " "), -1) {
			for _, number := range numbersOf(strings.TrimPrefix(c[0], c[1])) {
				cited[c[1]+" "+number] = path
			}
		}
		for _, c := range staged.FindAllStringSubmatch(string(source), -1) {
			cited["FAILURES "+strings.TrimPrefix(c[1], "0")] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for page, entry := range written {
		text, err := os.ReadFile(page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entry.FindAllStringSubmatch(string(text), -1) {
			if _, ok := cited[page+" "+e[1]]; !ok {
				t.Errorf("%s.md has %s, which nothing cites; want the code or the test where it holds", page, e[1])
			}
			delete(cited, page+" "+e[1])
		}
	}
	for rule, path := range cited {
		t.Errorf("%s cites %s; want it on that page", path, rule)
	}
}

// numbersOf gives D1, D2, D3, R5 for "D1–D3, R5".
func numbersOf(list string) (all []string) {
	for _, m := range numbers.FindAllStringSubmatch(list, -1) {
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			all = append(all, fmt.Sprint(m[1], n))
		}
	}
	return all
}
