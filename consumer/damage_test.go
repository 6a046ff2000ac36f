package consumer_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"trailhound/consumer/fatal"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// spoil rewrites the files of the state directory with names that begin or end with part;
// nil deletes them.
func spoil(t testing.TB, fs *vfs.MemFS, part string, change func([]byte) []byte) {
	t.Helper()
	names, err := fs.List("state")
	if err != nil {
		t.Fatal(err)
	}
	hit := 0
	for _, name := range names {
		if !strings.HasPrefix(name, part) && !strings.HasSuffix(name, part) || name == "LOCK" {
			continue
		}
		hit++
		path := fs.PathJoin("state", name)
		if change == nil {
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// In place, as a disk does it: a process with the file open sees it too.
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err == nil {
			_, err = f.WriteAt(change(b), 0)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if hit == 0 {
		t.Fatalf("no file of %q is called %s", names, part)
	}
}

// garble puts garbage into every page.
func garble(b []byte) []byte {
	for i := 10; i < len(b); i += 512 {
		copy(b[i:], "garbage")
	}
	return b
}

// Any damage to the state directory while the instance is down: the instance starts without
// help, and the alerts are right.
func TestServiceStartsOnADamagedDisk(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(testing.TB, *vfs.MemFS){
		"tables deleted":   func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, ".sst", nil) },
		"tables garbled":   func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, ".sst", garble) },
		"manifest garbled": func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, "MANIFEST-", garble) },
		"manifest deleted": func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, "MANIFEST-", nil) },
		"markers deleted":  func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, "marker.", nil) },
		"options garbled":  func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, "OPTIONS-", garble) },
		"everything gone":  func(t testing.TB, fs *vfs.MemFS) { spoil(t, fs, "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, 4)
			events, fs := workload(31, 1500, 40), disk()
			first := r.start("only", fs, nil)
			r.send(records(events[:1000], 2)...)
			r.drain()
			first.shutdown()
			hurt(t, fs)
			r.start("only", fs, nil)
			r.send(records(events[1000:], 2)...)
			r.drain()
			r.wantAlerts(expected(events))
		})
	}
}

// Damage that shows only when the disk is read, after the start, ends the run with
// a sentence; the next start needs no help. A shard that is taken again and again
// with the same damage would stay silent for ever.
func TestServiceEndsOnDamage(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 4)
	events, fs := workload(32, 6000, 40), disk()
	first := r.start("only", fs, nil)
	r.send(records(events[:5000], 2)...)
	r.drain()
	first.shutdown()

	second := r.build("only", fs, nil)
	spoil(t, fs, ".sst", garble)
	err := second.service.Run(t.Context())
	var stop *fatal.Error
	if !errors.As(err, &stop) || !strings.Contains(err.Error(), "state_dir: state is damaged") || !strings.Contains(err.Error(), "start the instance again") {
		t.Errorf("Run() = %v; want a *fatal.Error that says that the state is damaged", err)
	}
	if err := second.store.Close(); err != nil {
		t.Logf("Close() = %v", err)
	}

	r.start("only", fs, nil)
	r.send(records(events[5000:], 2)...)
	r.drain()
	r.wantAlerts(expected(events))
}
