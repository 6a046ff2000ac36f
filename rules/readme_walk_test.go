package rules_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// README.md to the letter leaves the tests green: a build with the page's rule passes those
// that know which rules a build has, but for config/schema.json, for which the page names
// -update. Golden files that knew the rules too, and that the page did not name, made a
// newcomer's first rule fail.
func TestReadmeToTheLetter(t *testing.T) {
	if os.Getenv("TRAILHOUND_TEST_FULL") == "" {
		t.Skip("it builds the program's tests with another rule, which takes a minute; TRAILHOUND_TEST_FULL=1 runs it")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	builtin, err := os.ReadFile("builtin.go")
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(builtin, []byte("\t}\n}"))
	blocks := readmeBlock.FindAllSubmatch(readme, 2)
	if end < 0 || len(blocks) < 2 {
		t.Fatalf("README.md has %d blocks, and builtin.go is\n%s\nwant a rule, its line, and a list at the end for it", len(blocks), builtin)
	}
	unindented := func(block [][]byte) []byte { return regexp.MustCompile("(?m)^   ").ReplaceAll(block[2], nil) }
	dir, here := t.TempDir(), abs(t, ".")
	files := map[string][]byte{
		"console_logins.go": unindented(blocks[0]),
		"builtin.go":        bytes.Join([][]byte{builtin[:end], unindented(blocks[1]), builtin[end:]}, nil),
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		overlay.Replace[filepath.Join(here, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-vet=off", "../cmd/trailhound",
		"-run", "^Test(Scripts|Completion|Config|Rules|EveryCommand|Narrow|ProgressBar|Version|Help)", "-skip", "^TestConfigSchemaFile$")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", c, err, out)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}
