package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own, for the time of the test.
func smallDisk(t *testing.T, at string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a disk of limited size takes the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Write() = %v; want %v", err, syscall.ENOSPC)
	}
}

// The disk of the state gets full while the service runs: it ends with a sentence instead
// of going on without its state, does not start before there is space, and then goes on
// where it stopped.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 4)
		f := &fleet{site: s, instances: make([]*program, 1)}
		smallDisk(t, f.disk(0))
		filler := filepath.Join(f.disk(0), "filler")
		all := deeds(41, 4000)
		f.startInstance(0)
		f.await("the instance to join", f.joined(0))
		s.ingest(all[:1000])
		f.drain()

		fillUp(t, filler)
		p := f.instances[0]
		p.expectEnd()
		// Applied batches go to disk every ten seconds at the latest, and there have to be
		// events to apply.
		next := 1000
		s.await("the end of the instance", func() bool {
			if next < 3000 && !p.over() {
				s.ingest(all[next : next+5])
				next += 5
			}
			return p.over()
		})
		if p.wait() != exitFailed || !p.stderr.has("state_dir: ") || !p.stderr.has("make space") || p.stderr.has("panic") {
			t.Errorf("run on a full disk = %d; want %d and a sentence about state_dir that says what to do", p.code, exitFailed)
		}
		f.startInstance(0)
		again := f.instances[0]
		if again.wait() != exitFailed || !again.stderr.has("state_dir: ") || !again.stderr.has("make space") || again.stderr.has("panic") {
			t.Errorf("run on a disk that is still full = %d; want %d and a sentence about state_dir that says what to do", again.code, exitFailed)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		f.startInstance(0)
		s.ingest(all[next:])
		f.drain()
		s.wantAnswer(all)
		if f.instances[0].stderr.has("is damaged") {
			t.Error("the instance calls its state damaged; a full disk damages nothing")
		}
	})
}

// The state directory of a killed instance is damaged: its next start says so in one line,
// and restores from the changelog.
func TestDiskDamaged(t *testing.T) {
	t.Parallel()
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 4)
		f := &fleet{site: s, instances: make([]*program, 1)}
		all := deeds(42, 2000)
		f.startInstance(0)
		f.await("the instance to join", f.joined(0))
		s.ingest(all[:1000])
		f.drain()
		f.instances[0].kill()
		manifests, err := filepath.Glob(filepath.Join(f.disk(0), "MANIFEST-*"))
		if err != nil || len(manifests) == 0 {
			t.Fatalf("no MANIFEST in %s (%v)", f.disk(0), err)
		}
		for _, name := range manifests {
			if err := os.WriteFile(name, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		f.startInstance(0)
		f.await("the shards to be restored", func() bool {
			return strings.Count(f.instances[0].stderr.String(), `"message":"shard taken"`) == s.app.Shards
		})
		t.Logf("restored %s after the start", time.Since(began).Round(time.Millisecond))
		if text := f.instances[0].stderr.String(); strings.Count(text, "is damaged and is deleted; it is restored from the changelog") != 1 {
			t.Error("the log does not say once that the state was damaged and what becomes of it")
		}
		s.ingest(all[1000:])
		f.drain()
		s.wantAnswer(all)
	})
}
