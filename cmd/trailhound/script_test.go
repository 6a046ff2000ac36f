package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// result is the output of one command line, and its exit code.
type result struct {
	stdout, stderr string
	code           int
}

// command runs one command line with pipes for streams.
func command(ctx context.Context, stdin string, environment []string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := execute(ctx, args, strings.NewReader(stdin), &stdout, &stderr, environment)
	return result{stdout.String(), stderr.String(), code}
}

// A script is a description, files ("-- NAME --"), and at last "-- commands --": lines "$
// [NAME=VALUE…] trailhound ARGS… [< FILE]", each with its output. Results have the prefix
// "| ", stderr "! ", and "= CODE" is an exit code other than 0.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range scripts {
		name, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			head, want, ok := strings.Cut(string(text), "-- commands --\n")
			if !ok {
				t.Fatalf("%s has no commands", name)
			}
			t.Chdir(t.TempDir())
			writeFiles(t, head)
			got := runScript(t, want)
			if *update {
				if err := os.WriteFile(name, []byte(head+"-- commands --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("%s printed\n%s\nwant\n%s", name, got, want)
			}
		})
	}
}

var fileHeader = regexp.MustCompile(`(?m)^-- (\S+) --\n`)

func writeFiles(t *testing.T, text string) {
	t.Helper()
	headers := fileHeader.FindAllStringSubmatchIndex(text, -1)
	for i, h := range headers {
		name, end := text[h[2]:h[3]], len(text)
		if i+1 < len(headers) {
			end = headers[i+1][0]
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text[h[1]:end]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// changing matches text that differs from run to run; testTime does so in the results of
// rules test.
var (
	changing = regexp.MustCompile(`took \S+, \d+ events/s`)
	testTime = regexp.MustCompile(`(?m)\t\d+\.\d{3}s$`)
)

func runScript(t *testing.T, commands string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(commands) {
		rest, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if line == "\n" {
				b.WriteString(line)
			}
			continue
		}
		b.WriteString(line)
		r := runLine(t, strings.TrimSpace(rest))
		prefixed(&b, "| ", testTime.ReplaceAllString(r.stdout, "\tTIME"))
		prefixed(&b, "! ", changing.ReplaceAllString(r.stderr, "took TIME"))
		if r.code != 0 {
			fmt.Fprintf(&b, "= %d\n", r.code)
		}
	}
	return b.String()
}

func prefixed(b *strings.Builder, prefix, text string) {
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(prefix+strings.TrimSuffix(line, "\n"), " ") + "\n")
	}
}

func runLine(t *testing.T, line string) result {
	t.Helper()
	line, file, redirected := strings.Cut(line, " < ")
	stdin := ""
	if redirected {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		stdin = string(data)
	}
	words := splitWords(line)
	var environment []string
	for len(words) > 0 && words[0] != "trailhound" {
		environment, words = append(environment, words[0]), words[1:]
	}
	if len(words) == 0 {
		t.Fatalf("%q does not run trailhound", line)
	}
	return command(t.Context(), stdin, environment, words[1:]...)
}

// splitWords splits at blanks outside of single quotes.
func splitWords(line string) []string {
	quoted := false
	return strings.FieldsFunc(strings.Map(func(r rune) rune {
		switch {
		case r == '\'':
			quoted = !quoted
			return -1
		case r == ' ' && !quoted:
			return '\n'
		}
		return r
	}, line), func(r rune) bool { return r == '\n' })
}
