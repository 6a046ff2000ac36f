// Package formattest holds a build to the formats that it and others have written. Each
// format has a file of samples, testdata/format/NAME-VERSION.txt: the bytes, and the
// meaning that a reader gives them. [Written] fails when an encoder's bytes are not those
// of its version any more, [Read] when a decoder does not understand some version as
// before.
//
// A file is written once, with -update, when its version is new. After that samples may
// be added, and nothing that stands in it changes: topics hold such bytes.
package formattest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Dir is where the files of a package are.
const Dir = "testdata/format"

// Sample is one record.
type Sample struct {
	Name  string
	Key   []byte // "" for a format without
	Bytes []byte
	Means string // the meaning that a reader gives the bytes, for people
}

// Written fails unless the samples, made by this build's encoder, are those in the file of
// this version. The meaning of a new sample comes from read.
func Written(t *testing.T, format string, version int, samples []Sample, read func(Sample) (string, error)) {
	t.Helper()
	file := path(format, version)
	kept, err := load(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	byName := make(map[string]Sample)
	for _, s := range kept {
		byName[s.Name] = s
	}
	var fresh []Sample
	for _, s := range samples {
		old, ok := byName[s.Name]
		if ok && string(old.Key) == string(s.Key) && string(old.Bytes) == string(s.Bytes) {
			continue
		}
		if ok {
			t.Errorf("%s, format %d, %q is written as\n\t%q = %q; in %s it is\n\t%q = %q\n%s", format, version, s.Name, s.Key, s.Bytes, file, old.Key, old.Bytes, advice(version))
			continue
		}
		if s.Means, err = read(s); err != nil {
			t.Fatalf("read the sample %q of %s: %v", s.Name, format, err)
		}
		fresh = append(fresh, s)
	}
	switch {
	case len(fresh) == 0 || t.Failed():
	case !updating():
		t.Errorf("%s does not have %d of the samples of %s, format %d, the first being %q: if this is a new version, or a sample more, write them with -update", file, len(fresh), format, version, fresh[0].Name)
	default:
		if err := save(file, append(kept, fresh...)); err != nil {
			t.Fatal(err)
		}
	}
}

func advice(version int) string {
	return fmt.Sprintf("Topics and disks hold what older builds wrote, and while a release is rolled out they read what this one writes. Readers first: leave format %d as it is, "+
		"give the new bytes format %d, let one release read both and write %d, and the next one write %d (deploy/upgrades.md)", version, version+1, version, version+1)
}

// Read fails unless read understands the samples of each version from 1 to newest as
// they were understood when they were written.
func Read(t *testing.T, format string, newest int, read func(Sample) (string, error)) {
	t.Helper()
	for version := 1; version <= newest; version++ {
		samples, err := load(path(format, version))
		if err != nil {
			t.Fatalf("%v; a new version is written with -update", err)
		}
		for _, s := range samples {
			if got, err := read(s); err != nil || got != s.Means {
				t.Errorf("%s, format %d, %q: %q = %q is read as\n\t%s, %v; want\n\t%s\nwhat was written once is read for ever (deploy/upgrades.md)", format, version, s.Name, s.Key, s.Bytes, got, err, s.Means)
			}
		}
	}
}

// updating says whether the test was started with its package's flag -update.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func path(format string, version int) string {
	return filepath.Join(Dir, fmt.Sprintf("%s-%d.txt", format, version))
}

// The file has a paragraph for each sample, of lines "field quoted-string".
func save(file string, samples []Sample) error {
	var b strings.Builder
	for _, s := range samples {
		for _, f := range s.fields() {
			fmt.Fprintf(&b, "%s %q\n", f.name, *f.value)
		}
		b.WriteByte('\n')
	}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func load(file string) ([]Sample, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var samples []Sample
	for _, paragraph := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		var s record
		for _, line := range strings.Split(paragraph, "\n") {
			name, quoted, _ := strings.Cut(line, " ")
			value, err := strconv.Unquote(quoted)
			if err == nil {
				err = s.set(name, value)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: line %q: %w", file, line, err)
			}
		}
		samples = append(samples, Sample{Name: s.name, Key: []byte(s.key), Bytes: []byte(s.bytes), Means: s.means})
	}
	return samples, nil
}

// record is a Sample as the file has it.
type record struct{ name, key, bytes, means string }

type field struct {
	name  string
	value *string
}

func (r *record) fields() []field {
	return []field{{"name", &r.name}, {"key", &r.key}, {"bytes", &r.bytes}, {"means", &r.means}}
}

func (r *record) set(name, value string) error {
	for _, f := range r.fields() {
		if f.name == name {
			*f.value = value
			return nil
		}
	}
	return errors.New("no such field")
}

func (s Sample) fields() []field {
	return (&record{s.Name, string(s.Key), string(s.Bytes), s.Means}).fields()
}
