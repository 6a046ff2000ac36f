package main

import (
	archivezip "archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"trailhound/rules/explain"

	"pgregory.net/rapid"
)

// Nothing named is standard input; a name that cannot be opened is an error of the command
// line.
func TestInputFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "plain", []byte("12345"))
	writeFile(t, "d/c.json", []byte("12345"))
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	a := &app{stderr: io.Discard}
	for _, tt := range []struct {
		args  []string
		want  []string
		total int64
	}{
		{nil, []string{"-"}, -1},
		{[]string{"plain", "-"}, []string{"-", "plain"}, -1},
		{[]string{"plain", "d"}, []string{"d/c.json", "plain"}, 10},
	} {
		list, err := a.inputFiles(tt.args)
		var got []string
		for _, f := range list {
			got = append(got, f.Name)
		}
		if err != nil || !slices.Equal(got, tt.want) || totalSize(list) != tt.total {
			t.Errorf("inputFiles(%q) = %q of %d bytes, %v; want %q of %d", tt.args, got, totalSize(list), err, tt.want, tt.total)
		}
	}
	for name, want := range map[string]string{"absent\n": `absent\n: no such file or directory`, "empty": "no files below empty", "plain/x": "plain/x: not a directory"} {
		if _, err := a.inputFiles([]string{"plain", name}); !isUsage(err) || err.Error() != want {
			t.Errorf("inputFiles(%q) = %v; want a usageError, %s", name, err, want)
		}
	}
	a.stdinTerminal = true
	if _, err := a.inputFiles(nil); !isUsage(err) {
		t.Errorf("inputFiles() on a terminal = %v; want a usageError", err)
	}
}

// A link that is passed over is reported.
func TestLinkPassedOver(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "logs/z/a", []byte("12345"))
	if err := os.Symlink("z", "logs/a\n"); err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	a := &app{stderr: &notes}
	if _, err := a.inputFiles([]string{"logs"}); err != nil || notes.String() != `logs/a\n leads to logs/z, which is read already; it is not followed`+"\n" {
		t.Errorf("inputFiles(logs) = %v and says %q; want the link that is passed over", err, notes.String())
	}
}

// A dangling link is reported as such: to say that its own name does not exist would be
// wrong.
func TestDanglingLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "gone.json")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil {
		t.Fatal(err)
	}
	if r := command(t.Context(), "", nil, "detect", dir); r.code != exitFailed || r.stderr != "trailhound: "+link+" is a link to what does not exist; mend or remove it, or name the files to be read\n" {
		t.Errorf("detect of a directory with a link to nothing = %d, %q; want 1 and the link", r.code, r.stderr)
	}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The files in an archive are read as those below a directory: by name, in the order of the
// times in their names. An alert names such a file so that explain finds it again.
func TestArchiveMembers(t *testing.T) {
	t.Chdir(t.TempDir())
	const early, late = "x/1_CloudTrail_eu-west-1_20260301T0900Z_zz.json.gz", "x/1_CloudTrail_eu-west-1_20260301T1000Z_aa.json.gz"
	writeFile(t, "logs", archiveOf(t,
		member{name: "b.json", data: []byte(denial(1, "alice") + denial(1, "bob"))},
		member{name: late, data: zip(t, []byte(denial(1, "late")))},
		member{name: "../evil\x1b", data: []byte("junk")},
		member{name: early, data: []byte(denial(1, "early"))},
		member{name: "x/.hidden", data: []byte("junk")},
	))
	r := command(t.Context(), "", nil, "detect", "--set", eachDenial, "logs")
	var got []string
	for _, line := range lines(r.stdout) {
		al, err := explain.ReadAlert([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(al.Source.Topic, " ", al.Source.Offset))
		explained := command(t.Context(), line, nil, "explain", "--set", eachDenial)
		if explained.code != exitDone || !strings.Contains(explained.stdout, "The play comes to the same alert.") {
			t.Errorf("explain of %s = %d with %q %q; want the same alert", line, explained.code, explained.stdout, explained.stderr)
		}
	}
	if want := []string{"logs/" + early + " 0", "logs/" + late + " 0", "logs/b.json 0", "logs/b.json 1"}; !slices.Equal(got, want) {
		t.Errorf("detect finds alerts in %q; want %q", got, want)
	}
	if want := `logs/../evil\x1b:0:not_json: `; !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "files 4, records 5, events 4,") {
		t.Errorf("detect says %q; want %q and four files", r.stderr, want)
	}
}

// member is a file in an archive.
type member struct {
	name string
	data []byte
}

func archiveOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := archivezip.NewWriter(&b)
	for _, m := range members {
		w, err := z.Create(m.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

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
		data = zip(&testing.T{}, data)
	}
	if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "left")]
	}
	return data
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
