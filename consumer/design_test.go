package consumer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest   = regexp.MustCompile("`(Test\\w+)`")
	wordRow     = regexp.MustCompile("(?m)^\\| [^|]+ \\| [^|]+ \\| (`[^|]+`) \\| ([\\w./]+) \\|$")
	quotedName  = regexp.MustCompile("`(?:\\w+\\.)?(\\w+)`")
	declaration = regexp.MustCompile(`(?m)^(?:type|func(?: \([^)]*\))?) (\w+)|^\t(\w+) +func\(`)
)

// DESIGN.md names the test that holds each order and lifetime, and the file of each type in its
// glossary: a name that has changed leads nowhere.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, name := range declared(t, path) {
			tests[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
		if !tests[m[1]] {
			t.Errorf("DESIGN.md names %s, which is no test", m[1])
		}
	}
	rows := wordRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 20 || len(rows) > 30 {
		t.Errorf("the glossary of DESIGN.md has %d rows; want 20 to 30", len(rows))
	}
	for _, row := range rows {
		names := strings.Join(declared(t, row[2]), " ") + " "
		for _, m := range quotedName.FindAllStringSubmatch(row[1], -1) {
			if !strings.Contains(" "+names, " "+m[1]+" ") {
				t.Errorf("DESIGN.md has %s in %s, which does not declare it", m[1], row[2])
			}
		}
	}
}

// declared returns the names of the types, functions and func-typed fields in a file.
func declared(t *testing.T, path string) (names []string) {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	for _, m := range declaration.FindAllStringSubmatch(string(source), -1) {
		names = append(names, m[1]+m[2])
	}
	return names
}
