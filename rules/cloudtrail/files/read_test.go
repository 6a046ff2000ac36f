package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/cloudtrail/filestest"
)

// result is the outcome of reading files.
type result struct {
	records []string // FILE RECORD VALUE
	refused []string // FILE:RECORD:REASON: DETAIL
	ended   int
	err     error
}

func read(ctx context.Context, stdin io.Reader, files ...File) (res result) {
	r := Reader{
		Stdin: stdin, Advance: func(int) {}, Ended: func() { res.ended++ },
		Refused: func(file string, record int64, reason cloudtrail.Reason, detail string) {
			res.refused = append(res.refused, fmt.Sprintf("%s:%d:%s: %s", file, record, reason, detail))
		},
	}
	res.err = r.Read(ctx, files, func(b *Batch) error {
		for i, record := range b.Records {
			res.records = append(res.records, fmt.Sprintf("%s %d %s", b.File, b.First+int64(i), record))
		}
		b.Done()
		return nil
	})
	return res
}

// The records of files are those that a Splitter finds in them, in the order of the files.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var files []File
		var want, bad []string
		for n := range rapid.IntRange(0, 6).Draw(rt, "files") {
			name := filepath.Join(dir, fmt.Sprint(n))
			data := filestest.Any(rt, n)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				rt.Fatal(err)
			}
			files = append(files, File{Name: name})
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
		var got result
		filestest.WithProcessors(rapid.IntRange(1, 4).Draw(rt, "processors"), func() { got = read(t.Context(), nil, files...) })
		if got.err != nil || !slices.Equal(got.records, want) {
			rt.Fatalf("Read() = %v with %d records; want %d, the same", got.err, len(got.records), len(want))
		}
		if !slices.Equal(got.refused, bad) || got.ended != len(files) {
			rt.Fatalf("Read() reports %q, and the end of %d files; want %q, %d", got.refused, got.ended, bad, len(files))
		}
	})
}

// A file that cannot be read ends the reading, but only after all files before it.
func TestMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "c"} {
		if err := os.WriteFile(name, []byte(filestest.Denial(1, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t.Context(), nil, File{Name: "a"}, File{Name: "b"}, File{Name: "c"})
	if _, ok := errors.AsType[*PathError](got.err); !ok || !errors.Is(got.err, fs.ErrNotExist) || len(got.records) != 1 || !strings.HasPrefix(got.records[0], "a 0 ") {
		t.Errorf("Read(a, b, c) without b = %v after %q; want fs.ErrNotExist after a", got.err, got.records)
	}
}

// The reader of a later file stops at the limit of the window, and frees its bytes for a
// record that is larger when its turn comes.
func TestWindow(t *testing.T) {
	t.Chdir(t.TempDir())
	const large = windowBytes + 1<<20
	big := `{"eventVersion":"` + strings.Repeat("x", large) + `"}`
	for name, data := range map[string]string{"a": filestest.Denial(1, "a"), "b": big, "c": big} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	filestest.WithProcessors(3, func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := Reader{Advance: func(int) {}, Ended: func() {}}
		var sizes []int
		for f := range r.begin(ctx, []File{{Name: "a"}, {Name: "b"}, {Name: "c"}}) {
			w := f.share.window
			await(t, "the files ahead to fill the window", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.later > windowBytes/2 {
					t.Fatalf("%d bytes are held of files to come; want at most %d", w.later, windowBytes/2)
				}
				return f.Name != "a" || w.later > windowBytes/2-readSize
			})
			f.share.enter()
			err := f.each(ctx, func(b *Batch) error {
				for _, record := range b.Records {
					sizes = append(sizes, len(record))
				}
				b.Done()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if f.share.held != 0 || f.share.given != 0 {
				t.Errorf("file %s holds %d bytes and %d batches at its end; want none", f.Name, f.share.held, f.share.given)
			}
		}
		if want := []int{len(filestest.Denial(1, "a")) - 1, len(big), len(big)}; !slices.Equal(sizes, want) {
			t.Errorf("records of %d bytes; want %d", sizes, want)
		}
	})
}

func await(t *testing.T, wanted string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting after a minute: %s", wanted)
		}
	}
}
