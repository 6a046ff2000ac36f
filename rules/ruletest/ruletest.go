// Package ruletest runs tests of rules that are written as YAML files: events, the verdicts
// and alerts expected of them, and the state expected of the rule then. README.md of
// package rules describes the format.
//
// Nothing is mocked. Each [Test] has the real engine and a real state of its
// own, in memory, and every event is a transaction of that state.
//
// There are only a few types. A [Suite] has the rules and limits that files are run with, a
// [File] holds the tests of one file, and a [Failure] says where a test went wrong, and
// shows the state at that point.
package ruletest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/gzip"
	"go.yaml.in/yaml/v3"

	"trailhound/rules"
	"trailhound/state"
)

// Bounds of a file's demands: it may come from anywhere.
const (
	maxFile      = 1 << 20  // bytes of a test file
	maxEventFile = 16 << 20 // bytes of a file of events, unpacked
	maxEvents    = 100_000  // events of one test
	maxAlerts    = 64 << 20 // bytes of the alerts of one step
	maxNodes     = 500_000  // values of one file, aliases followed, and again those that a step or a test has from above
	maxMembers   = 1000     // of one object
	maxDepth     = 100      // values inside each other
	bytesPerNode = 64       // so many bytes of text count as one more value
	maxProblems  = 50       // told of one file
)

// Suite has the rules, limits and functions that test files are run with.
type Suite struct {
	Rules  []rules.Spec  // the rules that a file may name
	Limits rules.Limits  // the engine's, where a file gives none
	State  state.Options // bounds of the state; Dir, FS and MaxLateness are the test's own

	// How YAML is read: as the program reads its configuration, with every
	// mistake told by line and column. Package config has the three.
	Parse   func(file string, data []byte) (*yaml.Node, error)
	Decode  func(file string, node *yaml.Node, targets ...any) error
	Nearest func(name string, known []string) string

	// Alert is told of each alert, if it is not nil.
	Alert func(*rules.Alert)

	// Update writes the files that alert_file names, instead of comparing them.
	Update bool
}

// File is one file of tests.
type File struct {
	Path  string
	Rule  string // its ID
	Tests []*Test
}

// Load reads the file at path and the files of events that it names. An error
// that is not an *fs.PathError of path itself lists everything that is wrong
// with the file, a line each with line and column.
func (s *Suite) Load(path string) (*File, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	return s.Read(path, data)
}

// Read is Load of a file with its text given; path is its name in errors, and the files
// that it names are relative to path's folder.
func (s *Suite) Read(path string, data []byte) (*File, error) {
	root, err := s.Parse(path, data)
	if err != nil {
		return nil, err
	}
	r := &reader{suite: s, path: path, nodesLeft: maxNodes, files: map[string][][]byte{}}
	f := &File{Path: path}
	if r.afford(root) {
		r.file(root, f)
	}
	if len(r.problems) > 0 {
		err := errors.Join(r.problems...)
		if !names(root, "rule") {
			err = &NoRuleError{err}
		}
		return nil, err
	}
	return f, nil
}

// NoRuleError is a file without the key rule: tests of another kind, such as promtool's,
// have names like those of tests of rules. Err says why it is no test of a rule.
type NoRuleError struct{ Err error }

// Error is that of Err.
func (e *NoRuleError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *NoRuleError) Unwrap() error { return e.Err }

// names reports whether a mapping has the key.
func names(mapping *yaml.Node, key string) bool {
	for i := 0; mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return true
		}
	}
	return false
}

// openFile opens a regular file: a pipe might never end, nor even open.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return os.Open(path)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(path, f, limit)
}

func readAll(path string, r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: larger than the %d bytes that such a file may have; make it smaller", path, limit)
	}
	return data, err
}

// readRecords reads the records of a file of events: JSON in any form that
// Decode takes, gzip of it too.
func readRecords(path string) ([][]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := bufio.NewReader(f)
	in := io.Reader(b)
	if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
		if in, err = gzip.NewReader(b); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	data, err := readAll(path, in, maxEventFile)
	if err != nil {
		return nil, err
	}
	return split(data)
}
