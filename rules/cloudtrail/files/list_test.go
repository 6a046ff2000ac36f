package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestList(t *testing.T) {
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
	for _, tt := range []struct {
		args  []string
		want  []string
		bytes int64
	}{
		{nil, nil, 0},
		{[]string{"-"}, []string{"-"}, -1},
		{[]string{"plain"}, []string{"plain"}, 5},
		{[]string{"./plain", "plain"}, []string{"plain"}, 5},
		{[]string{"d"}, []string{"d/b/" + early, "d/a/" + late, "d/c.json", "d/link"}, 20},
		{[]string{"plain", "d/", "e"}, []string{"d/b/" + early, "d/a/" + late, "d/c.json", "d/link", "e/" + odd, "plain"}, 30},
		{[]string{"d/pipe"}, []string{"d/pipe"}, -1},
		{[]string{"d/.hidden"}, []string{"d/.hidden"}, 5},
	} {
		files, err := List(tt.args, func(link, name string) {})
		var got []string
		var bytes int64
		for _, f := range files {
			got, bytes = append(got, f.Name), bytes+f.Size
		}
		if err != nil || !slices.Equal(got, tt.want) || bytes != tt.bytes {
			t.Errorf("List(%q) = %q of %d bytes, %v; want %q of %d", tt.args, got, bytes, err, tt.want, tt.bytes)
		}
	}
	if err := os.Symlink("absent", "d/dangling"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]PathError{
		"absent": {"absent", true, fs.ErrNotExist}, "empty": {"empty", true, ErrNoFiles}, "d": {"d/dangling", false, ErrDanglingLink},
	} {
		_, err := List([]string{"plain", name}, func(link, name string) {})
		if got, ok := errors.AsType[*PathError](err); !ok || got.Path != want.Path || got.Given != want.Given || !errors.Is(err, want.Err) {
			t.Errorf("List(%s) = %v; want %v", name, err, &want)
		}
	}
}

// Links to directories are followed, each directory once, under its own name where it has
// one; links that are passed over are reported.
func TestLinkedDirectories(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"logs/z/a", "logs/z/sub/b", "other/c", "third/d"} {
		writeFile(t, name, []byte("12345"))
	}
	for link, to := range map[string]string{
		"logs/a": "z", "logs/z/up": "..", "logs/out": "../other", "logs/out2": "../other", "other/back": "../logs", "other/on": "../third", "entry": "logs",
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args, want, passed []string
	}{
		{
			[]string{"logs"}, []string{"logs/out/c", "logs/out/on/d", "logs/z/a", "logs/z/sub/b"},
			[]string{"logs/a logs/z", "logs/out2 logs/out", "logs/z/up logs", "logs/out/back logs"},
		},
		{
			[]string{"entry"}, []string{"entry/out/c", "entry/out/on/d", "entry/z/a", "entry/z/sub/b"},
			[]string{"entry/a entry/z", "entry/out2 entry/out", "entry/z/up entry", "entry/out/back entry"},
		},
		{[]string{"third", "third", "other/on"}, []string{"third/d"}, nil},
	} {
		var passed []string
		files, err := List(tt.args, func(link, name string) { passed = append(passed, link+" "+name) })
		var got []string
		for _, f := range files {
			got = append(got, f.Name)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("List(%q) = %q, %v; want %q", tt.args, got, err, tt.want)
		}
		if !slices.Equal(passed, tt.passed) {
			t.Errorf("List(%q) passes over %q; want %q", tt.args, passed, tt.passed)
		}
	}
}
