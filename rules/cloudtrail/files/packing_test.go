package files

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

	"trailhound/rules/cloudtrail"
	"trailhound/rules/cloudtrail/filestest"
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

// bzip2Denial is filestest.Denial(1, "alice") packed by bzip2 1.0.8: the standard library only unpacks.
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

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, path string) []File {
	t.Helper()
	files, err := List([]string{path}, func(link, name string) {})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The packing of a file is told by its content, under any name, as a file and through a
// pipe.
func TestPackings(t *testing.T) {
	t.Chdir(t.TempDir())
	event := []byte(filestest.Denial(1, "alice"))
	skippable := []byte("\x5b\x2a\x4d\x18\x03\x00\x00\x00abc")
	for name, data := range map[string][]byte{
		"plain": event, "gzip": filestest.Gzip(event), "zstd": zstdOf(t, event), "bzip2": bzip2Of(t),
		"bzip2-twice": slices.Concat(bzip2Of(t), bzip2Of(t)),
		"zstd-frames": slices.Concat(zstdOf(t, event[:100]), zstdOf(t, event[100:])), "zstd-skippable": slices.Concat(skippable, zstdOf(t, event)),
		"zstd-in-gzip": filestest.Gzip(zstdOf(t, event)), "gzip-in-zstd-in-gzip": filestest.Gzip(zstdOf(t, filestest.Gzip(event))), "bzip2-in-zstd": zstdOf(t, bzip2Of(t)),
	} {
		writeFile(t, name, data)
		want := 1
		if name == "bzip2-twice" {
			want = 2
		}
		for how, got := range map[string]result{
			"a file": read(t.Context(), nil, list(t, name)...),
			"a pipe": read(t.Context(), bytes.NewReader(data), list(t, "-")...),
		} {
			for _, record := range got.records {
				if !strings.HasSuffix(record+"\n", " "+string(event)) {
					t.Errorf("Read of %s as %s gives %q; want %q", name, how, record, event)
				}
			}
			if len(got.records) != want || got.refused != nil || got.ended != 1 || got.err != nil {
				t.Errorf("Read of %s as %s = %v with %d records and %q; want %d", name, how, got.err, len(got.records), got.refused, want)
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
		events.WriteString(filestest.Denial(n, fmt.Sprint("user-", n)))
	}
	whole := zstdOf(t, []byte(events.String()))
	tar := make([]byte, 1024)
	copy(tar, "events.json")
	copy(tar[tarMagicAt:], "ustar\x0000")
	event := []byte(filestest.Denial(1, "alice"))
	zip := filestest.Archive(t, filestest.Member{Name: "a", Data: event})
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
		{"a.tar.gz", filestest.Gzip(tar), false, "tar archive"},
		{"a.xz", []byte("\xfd7zXZ\x00\x00\x04"), false, "xz -dc"},
		{"a.parquet", []byte("PAR1\x15\x04\x15"), false, "export it as JSON lines"},
		{"zip.gz", filestest.Gzip(zip), false, "zip archive in a stream or inside of another file"},
		{"zip.zip", filestest.Archive(t, filestest.Member{Name: "in.zip", Data: zip}), false, "zip.zip/in.zip:0:cannot_unpack: the file cannot be unpacked further: it is a zip archive in a stream"},
		{"cut.zip", zip[:len(zip)-10], false, "not a valid zip file"},
		{"empty.zip", filestest.Archive(t), false, "empty zip archive"},
		{"hidden.zip", filestest.Archive(t, filestest.Member{Name: "d/", Header: func(h *archivezip.FileHeader) { h.Method = archivezip.Store }}, filestest.Member{Name: "__MACOSX/a"}, filestest.Member{Name: "d/.b"}), false, "holds no files"},
		{"secret.zip", filestest.Archive(t, filestest.Member{Name: "a", Data: event, Header: func(h *archivezip.FileHeader) { h.Flags |= zipEncrypted }}, filestest.Member{Name: "b", Data: event}), true, "secret.zip/a:0:cannot_unpack: the file cannot be unpacked further: the file is encrypted"},
	} {
		writeFile(t, c.name, c.data)
		got := read(t.Context(), nil, list(t, c.name)...)
		if refused := strings.Join(got.refused, "\n"); !strings.Contains(refused, ":cannot_unpack: ") || !strings.Contains(refused, c.want) || got.err != nil {
			t.Errorf("Read(%s) = %v, and refuses %.500q; want %q", c.name, got.err, refused, c.want)
		}
		if some := slices.ContainsFunc(got.records, isEvent); some != c.some {
			t.Errorf("Read(%s) gives %.500q; want some events: %t", c.name, got.records, c.some)
		}
	}
	got := read(t.Context(), bytes.NewReader(zip), list(t, "-")...)
	if len(got.refused) != 1 || !strings.HasPrefix(got.refused[0], "-:0:cannot_unpack: the file cannot be unpacked further: it is a zip archive in a stream") {
		t.Errorf("Read of a zip archive on stdin refuses %q; want why it is not read", got.refused)
	}
}

// isEvent tells whether a line of a result has a whole event.
func isEvent(line string) (is bool) {
	_, value, _ := strings.Cut(line, " {")
	new(cloudtrail.Decoder).Decode([]byte("{"+value), func(_ *cloudtrail.Event, err error) bool {
		is = err == nil
		return is
	})
	return is
}

// The files in an archive are read in the order of the times in their names, and found again
// by their names.
func TestArchiveMembers(t *testing.T) {
	t.Chdir(t.TempDir())
	const early, late = "x/1_CloudTrail_eu-west-1_20260301T0900Z_zz.json.gz", "x/1_CloudTrail_eu-west-1_20260301T1000Z_aa.json.gz"
	writeFile(t, "logs", filestest.Archive(t,
		filestest.Member{Name: "b.json", Data: []byte("{}\n[1,2]")},
		filestest.Member{Name: late, Data: filestest.Gzip([]byte("{}"))},
		filestest.Member{Name: "../evil", Data: []byte("{}")},
		filestest.Member{Name: early, Data: zstdOf(t, []byte("{}"))},
		filestest.Member{Name: "x/.hidden", Data: []byte("junk")},
	))
	got := read(t.Context(), nil, list(t, "logs")...)
	if want := []string{"logs/" + early + " 0 {}", "logs/" + late + " 0 {}", "logs/../evil 0 {}", "logs/b.json 0 {}", "logs/b.json 1 1", "logs/b.json 2 2"}; !slices.Equal(got.records, want) || got.ended != 4 {
		t.Errorf("Read(logs) gives %q of %d files; want %q of 4", got.records, got.ended, want)
	}
	for _, name := range []string{"logs/" + early, "logs/b.json"} {
		f, ok := Find(t.Context(), name)
		if found := read(t.Context(), nil, f); !ok || len(found.records) == 0 || !strings.HasPrefix(found.records[0], name+" 0 {}") {
			t.Errorf("Find(%s) = %t with %q; want the member", name, ok, found.records)
		}
	}
	for _, name := range []string{"logs/x", "absent", "absent/b.json", ""} {
		if f, ok := Find(t.Context(), name); ok {
			t.Errorf("Find(%q) = %s; want nothing", name, f.Name)
		}
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
	got := read(t.Context(), nil, list(t, "many.zip")...)
	if want := "many.zip:0:cannot_unpack: the file cannot be unpacked further: the directory of the archive is larger than 16 MiB"; !slices.Equal(got.refused, []string{want}) {
		t.Errorf("Read(many.zip) refuses %.300q; want %q", got.refused, want)
	}
}
