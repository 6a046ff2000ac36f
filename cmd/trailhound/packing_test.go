package main

import (
	archivezip "archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func zstdOf(t *testing.T, data []byte, options ...zstd.EOption) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(data, nil)
}

// bzip2Denial is denial(1, "alice") packed by bzip2 1.0.8: the standard library only unpacks.
const bzip2Denial = "QlpoOTFBWSZTWRgWVSAAAI9fgAAQEAd78Cyj3xA+t/+6MADZtYiTQNAAAAA0ABoETBJtITQGgNGgABkNBppJPU2oepiAZqBoaAGgepHxbh612PGRO1vMBRUrPtwCdCQIqpKmVtCeSKCm" +
	"enFN8cIU3Z1km0GpWSKpg+HIq0EhzJTqc0IGgis2azZAw0rWYPF4sO8ShNwaVNY18Z3+h8xvgi2YNURG1nWw1KYQEZiByHlBb27hsgCfxHHWwZkyZl5BwnANw4GBCL28mF0n2ixgiMsw" +
	"YsxsroFleZfoKrwC9JSBkTiGhTuScERB3eMwMcrR/F3JFOFCQGBZVIA="

func bzip2Of(t *testing.T) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(bzip2Denial)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// member is a file in an archive.
type member struct {
	name   string
	data   []byte
	header func(*archivezip.FileHeader) // nil: deflated
}

func archiveOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := archivezip.NewWriter(&b)
	for _, m := range members {
		h := &archivezip.FileHeader{Name: m.name, Method: archivezip.Deflate}
		if m.header != nil {
			m.header(h)
		}
		w, err := z.CreateHeader(h)
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

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The packing of a file is told by its content, under any name, as a file and through a
// pipe.
func TestPackings(t *testing.T) {
	t.Chdir(t.TempDir())
	event := []byte(denial(1, "alice"))
	skippable := []byte("\x5b\x2a\x4d\x18\x03\x00\x00\x00abc")
	for name, data := range map[string][]byte{
		"plain": event, "gzip": gzipOf(event), "zstd": zstdOf(t, event), "bzip2": bzip2Of(t),
		"bzip2-twice": slices.Concat(bzip2Of(t), bzip2Of(t)),
		"zstd-frames": slices.Concat(zstdOf(t, event[:100]), zstdOf(t, event[100:])), "zstd-skippable": slices.Concat(skippable, zstdOf(t, event)),
		"zstd-in-gzip": gzipOf(zstdOf(t, event)), "gzip-in-zstd-in-gzip": gzipOf(zstdOf(t, gzipOf(event))), "bzip2-in-zstd": zstdOf(t, bzip2Of(t)),
	} {
		writeFile(t, name, data)
		want := 1
		if name == "bzip2-twice" {
			want = 2
		}
		for how, r := range map[string]result{
			"a file": command(t.Context(), "", nil, "detect", "--strict", name),
			"a pipe": command(t.Context(), string(data), nil, "detect", "--strict"),
		} {
			if !strings.Contains(r.stderr, fmt.Sprintf("files 1, records %d, events %d,", want, want)) || r.code != exitDone {
				t.Errorf("detect of %s as %s = %d with %q; want %d events", name, how, r.code, r.stderr, want)
			}
		}
	}
}

// The good events of a damaged file are read, and the damage is reported; a format that is
// not read is reported with the remedy.
func TestPackingsDamaged(t *testing.T) {
	t.Chdir(t.TempDir())
	var events strings.Builder
	for n := range 3000 {
		events.WriteString(denial(n, fmt.Sprint("user-", n)))
	}
	whole := zstdOf(t, []byte(events.String()))
	tar := make([]byte, 1024)
	copy(tar, "events.json")
	copy(tar[tarMagicAt:], "ustar\x0000")
	event := []byte(denial(1, "alice"))
	zip := archiveOf(t, member{name: "a", data: event})
	for _, c := range []struct {
		name string
		data []byte
		some bool // events are read
		want string
	}{
		{"cut.zst", whole[:len(whole)/2], true, "unexpected EOF"},
		{"junk.zst", slices.Concat(whole, []byte("junk")), true, "magic number mismatch"},
		{"window.zst", zstdOf(t, bytes.Repeat(event, 200_000), zstd.WithWindowSize(64<<20)), false, "with a window of more than 32 MiB"},
		{"cut.bz2", bzip2Of(t)[:100], false, "bzip2 data invalid"},
		{"a.tar", tar, false, "tar archive"},
		{"a.tar.gz", gzipOf(tar), false, "tar archive"},
		{"a.xz", []byte("\xfd7zXZ\x00\x00\x04"), false, "xz -dc"},
		{"a.parquet", []byte("PAR1\x15\x04\x15"), false, "export it as JSON lines"},
		{"zip.gz", gzipOf(zip), false, "zip archive in a stream or inside of another file"},
		{"zip.zip", archiveOf(t, member{name: "in.zip", data: zip}), false, "zip.zip/in.zip:0:cannot_unpack: the file cannot be unpacked further: it is a zip archive in a stream"},
		{"cut.zip", zip[:len(zip)-10], false, "not a valid zip file"},
		{"empty.zip", archiveOf(t), false, "empty zip archive"},
		{"hidden.zip", archiveOf(t, member{name: "d/", header: func(h *archivezip.FileHeader) { h.Method = archivezip.Store }}, member{name: "__MACOSX/a"}, member{name: "d/.b"}), false, "holds no files"},
		{"secret.zip", archiveOf(t, member{name: "a", data: event, header: func(h *archivezip.FileHeader) { h.Flags |= zipEncrypted }}, member{name: "b", data: event}), true, "secret.zip/a:0:cannot_unpack: the file cannot be unpacked further: the file is encrypted"},
	} {
		writeFile(t, c.name, c.data)
		r := command(t.Context(), "", nil, "detect", "--strict", c.name)
		if !strings.Contains(r.stderr, ":cannot_unpack: ") || !strings.Contains(r.stderr, c.want) || r.code != exitFailed {
			t.Errorf("detect --strict %s = %d with %.500q; want 1, and %q", c.name, r.code, r.stderr, c.want)
		}
		if none := strings.Contains(r.stderr, "events 0,"); none == c.some {
			t.Errorf("detect %s says %.500q; want some events: %t", c.name, r.stderr, c.some)
		}
	}
	if r := command(t.Context(), string(zip), nil, "detect"); !strings.Contains(r.stderr, "-:0:cannot_unpack: the file cannot be unpacked further: it is a zip archive in a stream") {
		t.Errorf("detect of a zip archive on stdin says %q; want why it is not read", r.stderr)
	}
}

// The files in an archive are read as those below a directory: by name, in the order of the
// times in their names. An alert names such a file so that explain finds it again.
func TestArchiveMembers(t *testing.T) {
	t.Chdir(t.TempDir())
	const early, late = "x/1_CloudTrail_eu-west-1_20260301T0900Z_zz.json.gz", "x/1_CloudTrail_eu-west-1_20260301T1000Z_aa.json.gz"
	writeFile(t, "logs", archiveOf(t,
		member{name: "b.json", data: []byte(denial(1, "alice") + denial(1, "bob"))},
		member{name: late, data: gzipOf([]byte(denial(1, "late")))},
		member{name: "../evil\x1b", data: []byte("junk")},
		member{name: early, data: zstdOf(t, []byte(denial(1, "early")))},
		member{name: "x/.hidden", data: []byte("junk")},
	))
	r := command(t.Context(), "", nil, "detect", "--set", eachDenial, "logs")
	var got []string
	for _, line := range lines(r.stdout) {
		al, err := readAlert([]byte(line))
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

// An archive with an understated directory takes no more memory than the limit.
func TestArchiveDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	var b bytes.Buffer
	z := archivezip.NewWriter(&b)
	name := strings.Repeat("n", 60_000)
	for n := range maxDirectory/60_000 + 1 {
		if _, err := z.CreateRaw(&archivezip.FileHeader{Name: fmt.Sprint(n, name)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "many.zip", b.Bytes())
	r := command(t.Context(), "", nil, "detect", "many.zip")
	if want := "many.zip:0:cannot_unpack: the file cannot be unpacked further: the directory of the archive is larger than 16 MiB\n"; !strings.HasPrefix(r.stderr, want) {
		t.Errorf("detect says %.300q; want %q", r.stderr, want)
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
		args, want, notes []string
	}{
		{
			[]string{"logs"}, []string{"logs/out/c", "logs/out/on/d", "logs/z/a", "logs/z/sub/b"},
			[]string{"logs/a leads to logs/z,", "logs/out2 leads to logs/out,", "logs/z/up leads to logs,", "logs/out/back leads to logs,"},
		},
		{
			[]string{"entry"}, []string{"entry/out/c", "entry/out/on/d", "entry/z/a", "entry/z/sub/b"},
			[]string{"entry/a leads to entry/z,", "entry/out2 leads to entry/out,", "entry/z/up leads to entry,", "entry/out/back leads to entry,"},
		},
		{[]string{"third", "third", "other/on"}, []string{"third/d"}, nil},
	} {
		var notes strings.Builder
		a := &app{stderr: &notes}
		files, err := a.inputFiles(tt.args)
		var got []string
		for _, f := range files {
			got = append(got, f.name)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("inputFiles(%q) = %q, %v; want %q", tt.args, got, err, tt.want)
		}
		said := lines(notes.String())
		for i, want := range tt.notes {
			if len(said) != len(tt.notes) || !strings.HasPrefix(said[i], want) {
				t.Errorf("inputFiles(%q) says %q; want %q", tt.args, said, tt.notes)
				break
			}
		}
	}
}
