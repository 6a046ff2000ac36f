package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A run that is recorded is a dated section behind those before it.
func TestAppendSection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	if err := os.WriteFile(file, []byte("# Results\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := newBench(options{section: file}, nil, nil)
	b.begun, b.root = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), t.TempDir() // no checkout
	for _, printed := range []string{"2 cores\n\nThroughput\n", "Start\n"} {
		if err := b.appendSection(t.Context(), []string{"throughput", "--runs", "3"}, printed); err != nil {
			t.Fatal(err)
		}
	}
	const head = "\n## 2026-03-01, revision unknown\n\n`go run ./cmd/bench throughput --runs 3`\n\n```text\n"
	want := "# Results\n" + head + "2 cores\n\nThroughput\n```\n" + head + "Start\n```\n"
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("appendSection() made %q, %v; want %q", got, err, want)
	}
}

func TestWithout(t *testing.T) {
	for args, want := range map[string]string{
		"":                                    "",
		"start --runs 2":                      "start --runs 2",
		"start --record a.md --runs 2":        "start --runs 2",
		"--record=a.md --set record=1":        "--set record=1",
		"throughput -record a.md":             "throughput",
		"throughput --records 1 --record a b": "throughput --records 1 b",
	} {
		if got := without(strings.Fields(args), "record"); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("without(%q, record) = %q; want %q", args, got, want)
		}
	}
}

// A file that cannot be written ends the run before anything is measured.
func TestRecordNeedsAFile(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"detect", "--record", filepath.Join(t.TempDir(), "missing", "RESULTS.md")}
	if code := run(t.Context(), args, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "no such file") {
		t.Errorf("bench %q: exit code %d, stderr %q; want %d and why", args, code, &stderr, exitFailed)
	}
}
