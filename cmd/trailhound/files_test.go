package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestInputFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	const early, late = "1_CloudTrail_eu-west-1_20260301T0900Z_zz.json.gz", "1_CloudTrail_eu-west-1_20260301T1000Z_aa.json.gz"
	const odd = "1_CloudTrail_eu-west-1_20261399T9999Z_aa.json.gz" // no time of day
	for _, name := range []string{"d/a/" + late, "d/b/" + early, "d/c.json", "d/.hidden", "d/.git/x", "e/" + odd, "plain"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"d/link": "../plain", "d/loop": "."} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo("d/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	a := &app{stderr: io.Discard}
	for _, tt := range []struct {
		args  []string
		want  []string
		total int64
	}{
		{nil, []string{"-"}, -1},
		{[]string{"-"}, []string{"-"}, -1},
		{[]string{"plain"}, []string{"plain"}, 5},
		{[]string{"./plain", "plain"}, []string{"plain"}, 5},
		{[]string{"d"}, []string{"d/b/" + early, "d/a/" + late, "d/c.json", "d/link"}, 20},
		{[]string{"plain", "d/", "e"}, []string{"d/b/" + early, "d/a/" + late, "d/c.json", "d/link", "e/" + odd, "plain"}, 30},
		{[]string{"d/pipe"}, []string{"d/pipe"}, -1},
		{[]string{"d/.hidden"}, []string{"d/.hidden"}, 5},
	} {
		files, err := a.inputFiles(tt.args)
		var got []string
		for _, f := range files {
			got = append(got, f.name)
		}
		if err != nil || !slices.Equal(got, tt.want) || totalSize(files) != tt.total {
			t.Errorf("inputFiles(%q) = %q of %d bytes, %v; want %q of %d", tt.args, got, totalSize(files), err, tt.want, tt.total)
		}
	}
	if _, err := a.inputFiles([]string{"plain", "absent"}); !isUsage(err) {
		t.Errorf("inputFiles(absent) = %v; want a usageError", err)
	}
	if err := os.Symlink("absent", "d/dangling"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.inputFiles([]string{"d"}); err == nil || !strings.Contains(err.Error(), "d/dangling is a link to what does not exist") {
		t.Errorf("inputFiles(a link to nothing) = %v; want an error that names it", err)
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
