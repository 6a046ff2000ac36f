package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/play"
	"trailhound/state"
)

// withProcessors runs fn as on a machine with n processors.
func withProcessors(n int, fn func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	fn()
}

// anyFile draws the content of a file: events, documents of events and records without
// events, with or without a large record, plain or gzip, whole or cut off.
func anyFile(t *rapid.T, n int) []byte {
	var b bytes.Buffer
	for i := range rapid.IntRange(0, 30).Draw(t, "records") {
		e := denial(100*n+i, fmt.Sprint("user-", rapid.IntRange(0, 3).Draw(t, "user")))
		b.WriteString(rapid.SampledFrom([]string{
			e, e, e, `{"Records":[` + e + "," + e + "]}", "junk\n", e[:len(e)/2] + "\n", "{}", " \n\n", `{"eventVersion":"1"}`, "\xff\n",
		}).Draw(t, "record"))
	}
	if rapid.IntRange(0, 4).Draw(t, "large") == 0 {
		b.WriteString(`{"Records":[` + strings.Repeat(denial(n, "large")+",", 700) + denial(n+1, "large") + "]}" + denial(n+2, "large"))
	}
	data := b.Bytes()
	if rapid.Bool().Draw(t, "gzip") {
		data = gzipOf(data)
	}
	if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "left")]
	}
	return data
}

func gzipOf(data []byte) []byte {
	var t testing.T
	return zip(&t, data)
}

// The output of detect does not depend on how many files are read, and how many records are
// decoded, at once.
func TestDetectProcessors(t *testing.T) {
	for seed := range 6 {
		dir := t.TempDir()
		for n := range 4 {
			data := rapid.Custom(func(rt *rapid.T) []byte { return anyFile(rt, n) }).Example(10*seed + n)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", n)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sameOnAnyMachine(t, dir, "--set", "rules.access_denied.threshold=3")
	}
}

// The same for all files of real events.
func TestDetectProcessorsRealData(t *testing.T) {
	sameOnAnyMachine(t, realData, "--set", "rules.access_denied.denied_family=true")
}

func sameOnAnyMachine(t *testing.T, args ...string) {
	t.Helper()
	var one, many result
	withProcessors(1, func() { one = command(t.Context(), "", nil, append([]string{"detect"}, args...)...) })
	withProcessors(4, func() { many = command(t.Context(), "", nil, append([]string{"detect"}, args...)...) })
	tell := func(r result) string {
		report, _, _ := strings.Cut(r.stderr, "took ")
		return fmt.Sprint(r.code, "\n", r.stdout, report)
	}
	if tell(one) != tell(many) {
		t.Fatalf("detect %q on four processors: %s\nwant, as on one: %s", args, tell(many), tell(one))
	}
}

// The records of files are those that a Splitter finds in them, in the order of the files.
func TestEachRecord(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var files []inputFile
		var want, bad []string
		for n := range rapid.IntRange(0, 6).Draw(rt, "files") {
			name := filepath.Join(dir, fmt.Sprint(n))
			data := anyFile(rt, n)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				rt.Fatal(err)
			}
			files = append(files, inputFile{name: name})
			u := &unpacked{}
			u.reset(rawReader{r: iotest.HalfReader(bytes.NewReader(data)), advance: func(int) {}})
			s, offset := cloudtrail.Splitter{Reader: u}, 0
			record, err := s.Next()
			for ; err == nil; record, err = s.Next() {
				want = append(want, fmt.Sprintf("%s %d %s", name, offset, record))
				offset++
			}
			if err != io.EOF {
				bad = append(bad, fmt.Sprintf("%s:%d:bad_gzip: %s", name, offset, err))
			}
		}
		var got []string
		var stderr bytes.Buffer
		r := fileReader{console: &console{w: &stderr}, tally: newTally()}
		var err error
		withProcessors(rapid.IntRange(1, 4).Draw(rt, "processors"), func() {
			err = r.each(t.Context(), files, func(at state.Source, record []byte) error {
				got = append(got, fmt.Sprintf("%s %d %s", at.Topic, at.Offset, record))
				return nil
			})
		})
		if err != nil || !slices.Equal(got, want) {
			rt.Fatalf("each() = %v with %d records; want %d, the same", err, len(got), len(want))
		}
		if got := lines(stderr.String()); !slices.Equal(got, bad) {
			rt.Fatalf("each() reports %q; want %q", got, bad)
		}
		if r.tally.files != int64(len(files)) || r.tally.records != int64(len(want)) {
			rt.Fatalf("each() counts %d files, %d records; want %d, %d", r.tally.files, r.tally.records, len(files), len(want))
		}
	})
}

// A file that cannot be read ends the reading, but only after all files before it.
func TestEachMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "c"} {
		if err := os.WriteFile(name, []byte(denial(1, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	r := fileReader{console: &console{w: io.Discard}, tally: newTally()}
	err := r.each(t.Context(), []inputFile{{name: "a"}, {name: "b"}, {name: "c"}}, func(at state.Source, _ []byte) error {
		got = append(got, at.Topic)
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) || !slices.Equal(got, []string{"a"}) {
		t.Errorf("each(a, b, c) without b = %v after %q; want fs.ErrNotExist after a", err, got)
	}
}

// The reader of a later file stops at the limit of the window, and frees its bytes for a
// record that is larger when its turn comes.
func TestWindow(t *testing.T) {
	t.Chdir(t.TempDir())
	const large = windowBytes + 1<<20
	big := `{"eventVersion":"` + strings.Repeat("x", large) + `"}`
	for name, data := range map[string]string{"a": denial(1, "a"), "b": big, "c": big} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	withProcessors(3, func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := fileReader{console: &console{w: io.Discard}, tally: newTally()}
		var sizes []int
		for f := range r.begin(ctx, []inputFile{{name: "a"}, {name: "b"}, {name: "c"}}) {
			w := f.share.window
			await(t, "the files ahead to fill the window", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.later > windowBytes/2 {
					t.Fatalf("%d bytes are held of files to come; want at most %d", w.later, windowBytes/2)
				}
				return f.name != "a" || w.later > windowBytes/2-readSize
			})
			f.share.enter()
			err := f.each(ctx, func(b *play.Batch) error {
				for _, rec := range b.Records {
					sizes = append(sizes, len(rec.Value))
				}
				b.Done()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if f.share.held != 0 || f.share.given != 0 {
				t.Errorf("file %s holds %d bytes and %d batches at its end; want none", f.name, f.share.held, f.share.given)
			}
		}
		if want := []int{len(denial(1, "a")) - 1, len(big), len(big)}; !slices.Equal(sizes, want) {
			t.Errorf("records of %d bytes; want %d", sizes, want)
		}
	})
}
