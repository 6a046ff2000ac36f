package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/consumer"
	"trailhound/rules"
)

// docRoot is the root of the repository.
const docRoot = ".."

// docPage is one Markdown file of the repository.
type docPage struct {
	name    string // from the root
	text    string
	blocks  []docBlock
	anchors map[string]bool
	links   []docLink
}

// docBlock is the text between two fences.
type docBlock struct {
	line     int
	language string // the first word behind the fence
	text     string
}

type docLink struct {
	line   int
	target string
}

// docPages reads every Markdown file. It looks at every other file on the way, so that go
// test knows that a result is of this tree and no other: the sources of the binary are not
// imported here.
func docPages(t *testing.T) []docPage {
	t.Helper()
	var pages []docPage
	err := filepath.WalkDir(docRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "data", "node_modules"}, d.Name()) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(docRoot, path)
		if err != nil {
			return err
		}
		pages = append(pages, docParse(filepath.ToSlash(name), string(text)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

var (
	docFence   = regexp.MustCompile("^ *(```+|~~~+) *([^ `]*)")
	docHeading = regexp.MustCompile(`^#{1,6} +(.*?) *#*$`)
	docCode    = regexp.MustCompile("``[^`]*(?:`[^`]+)*``|`[^`]*`")
	docTarget  = regexp.MustCompile(`\]\(([^()\s]+)(?: "[^"]*")?\)`)
	docText    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	docID      = regexp.MustCompile(`<a (?:name|id)="([^"]+)"`)
)

// docParse reads the parts of a page that are checked.
func docParse(name, text string) docPage {
	p := docPage{name: name, text: text, anchors: map[string]bool{}}
	seen := map[string]int{}
	fence, indent := "", 0
	for n, line := range strings.Split(text, "\n") {
		if m := docFence.FindStringSubmatch(line); fence == "" && m != nil {
			fence, indent = m[1], len(line)-len(strings.TrimLeft(line, " "))
			p.blocks = append(p.blocks, docBlock{line: n + 1, language: m[2]})
			continue
		}
		if fence != "" {
			if strings.TrimSpace(line) == fence {
				fence = ""
				continue
			}
			block := &p.blocks[len(p.blocks)-1]
			block.text += strings.TrimPrefix(line, strings.Repeat(" ", min(indent, len(line)-len(strings.TrimLeft(line, " "))))) + "\n"
			continue
		}
		if m := docHeading.FindStringSubmatch(line); m != nil {
			anchor := docAnchor(m[1])
			if n := seen[anchor]; n > 0 {
				p.anchors[anchor+"-"+string(rune('0'+n))] = true
			} else {
				p.anchors[anchor] = true
			}
			seen[anchor]++
		}
		for _, m := range docID.FindAllStringSubmatch(line, -1) {
			p.anchors[m[1]] = true
		}
		for _, m := range docTarget.FindAllStringSubmatch(docCode.ReplaceAllString(line, ""), -1) {
			p.links = append(p.links, docLink{n + 1, m[1]})
		}
	}
	return p
}

// docAnchor is the anchor that GitHub makes of a heading.
func docAnchor(heading string) string {
	heading = docText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// Every relative link leads to a file that is there, and every anchor to a heading.
func TestDocLinks(t *testing.T) {
	t.Parallel()
	pages := docPages(t)
	anchors := map[string]map[string]bool{}
	links := 0
	for _, p := range pages {
		anchors[p.name] = p.anchors
	}
	for _, p := range pages {
		for _, l := range p.links {
			if strings.Contains(l.target, "://") || strings.HasPrefix(l.target, "mailto:") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(l.target, "#")
			name := p.name
			if path != "" {
				name = filepath.ToSlash(filepath.Join(filepath.Dir(p.name), path))
				if _, err := os.Stat(filepath.Join(docRoot, name)); err != nil {
					t.Errorf("%s:%d: link %s: %v", p.name, l.line, l.target, err)
					continue
				}
			}
			if anchor != "" && anchors[name] != nil && !anchors[name][anchor] {
				t.Errorf("%s:%d: link %s: %s has no heading of that name", p.name, l.line, l.target, name)
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links were found in %d pages; want all of them", links, len(pages))
	}
}

// docTyped tells whether the commands on a page are checked.
func docTyped(name string) bool {
	return name == "README.md" || name == "cmd/trailhound/README.md" || filepath.Dir(name) == "deploy"
}

// Every command in the pages for users is one that there is, with flags that there are; configuration is right; JSON is
// JSON.
func TestDocBlocks(t *testing.T) {
	t.Parallel()
	binary := docBuild(t, docProgram)
	keys := docKeys(t, binary)
	commands, configurations := 0, 0
	for _, p := range docPages(t) {
		if !docTyped(p.name) {
			continue
		}
		for _, b := range p.blocks {
			switch b.language {
			case "sh", "bash", "console", "":
				for _, words := range docCommands(t, p.name, b) {
					commands += docCheckCommand(t, binary, p.name, b, words)
				}
			case "json", "jsonl":
				for d := json.NewDecoder(strings.NewReader(b.text)); ; {
					err := d.Decode(new(any))
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Errorf("%s:%d: JSON: %v", p.name, b.line, err)
						break
					}
				}
			case "yaml", "yml":
				configurations += docCheckYAML(t, binary, keys, p.name, b)
			}
		}
	}
	if commands < 20 || configurations < 2 {
		t.Errorf("%d commands and %d configurations were found; want all of them", commands, configurations)
	}
}

// TestDocReasons: every reason for a dead letter, and every one to skip, is on the page for
// operators.
func TestDocReasons(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range slices.Concat(consumer.DeadLetterReasons(), rules.SkipReasons()) {
		if !strings.Contains(string(page), "`"+string(reason)+"`") {
			t.Errorf("operations.md does not tell what to do about %s", reason)
		}
	}
}

// docKeys returns the first words of the configuration's keys.
func docKeys(t *testing.T, binary string) map[string]bool {
	t.Helper()
	stdout, _, err := docRun(t, binary, nil, "config", "print")
	if err != nil {
		t.Fatalf("trailhound config print: %v", err)
	}
	var all map[string]any
	if err := yaml.Unmarshal([]byte(stdout), &all); err != nil || len(all) < 5 {
		t.Fatalf("trailhound config print wrote %q; want YAML: %v", stdout, err)
	}
	keys := map[string]bool{}
	for name := range all {
		keys[name] = true
	}
	return keys
}

// docCheckYAML checks a block, as a configuration if it begins with a key of one, and returns how many configurations
// it was.
func docCheckYAML(t *testing.T, binary string, keys map[string]bool, page string, b docBlock) int {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(b.text)); ; {
		var node yaml.Node
		err := d.Decode(&node)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Errorf("%s:%d: YAML: %v", page, b.line, err)
			return 0
		}
		if len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode || !keys[node.Content[0].Content[0].Value] {
			return 0
		}
	}
	file := filepath.Join(t.TempDir(), "trailhound.yaml")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := docRun(t, binary, nil, "--config", file, "config", "check", "--no-files"); err != nil {
		t.Errorf("%s:%d: trailhound config check: %v: %s", page, b.line, err, stderr)
	}
	return 1
}

// docDir has the programs that the tests build, until the last test has ended.
var docDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if docDir, err = os.MkdirTemp("", "trailhound-docs-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(docDir)
		return m.Run()
	}())
}

// The programs of the tests, each compiled once: linking one takes seconds.
var docProgram, docExample = docCompiled("./cmd/trailhound"), docCompiled("./deploy/examples/go")

func docCompiled(pkg string) func() (binary string, err error) {
	return sync.OnceValues(func() (string, error) {
		binary := filepath.Join(docDir, filepath.Base(pkg))
		cmd := exec.Command("go", "build", "-o", binary, pkg)
		cmd.Dir = docRoot
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w: %s", pkg, err, out)
		}
		return binary, nil
	})
}

// docBuild returns a program, compiled.
func docBuild(t *testing.T, compiled func() (string, error)) string {
	t.Helper()
	binary, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// docPatience bounds every wait.
const docPatience = 2 * time.Minute

// docRun runs a program to its end, in the environment of the tests without a configuration
// of trailhound.
func docRun(t *testing.T, binary string, environment []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), docPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(docEnvironment(), environment...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return out.String(), errs.String(), err
}

func docEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "TRAILHOUND_") })
}
