package state_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"trailhound/state"
)

// failed waits for the store to say why it can be used no more.
func failed(t *testing.T, s *state.Store) *state.FailedError {
	t.Helper()
	select {
	case <-s.Failed():
	case <-time.After(time.Minute):
		t.Fatal("Failed() is open after a minute; want it closed")
	}
	var f *state.FailedError
	if !errors.As(s.Err(), &f) {
		t.Fatalf("Err() = %v; want a FailedError", s.Err())
	}
	return f
}

// A disk without space, at the write of any file of Pebble's, ends the use of the store
// with a sentence, instead of writers that wait for ever or a Pebble that tries without a
// pause. Nothing on disk is damaged by it: once there is space, the changes written out
// before are there.
func TestFullDisk(t *testing.T) {
	for what, kinds := range map[string][]errorfs.OpKind{
		"create": {errorfs.OpCreate},
		"write":  {errorfs.OpFileWrite},
		"sync":   {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
	} {
		for _, file := range []string{"", ".sst", "MANIFEST"} {
			if what == "create" && file == "MANIFEST" {
				continue // one of this size is not replaced while the store is open
			}
			t.Run(what+" "+file, func(t *testing.T) { fullDisk(t, file, kinds) })
		}
	}
}

func fullDisk(t *testing.T, file string, kinds []errorfs.OpKind) {
	disk := vfs.NewCrashableMem()
	var full atomic.Bool
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && slices.Contains(kinds, op.Kind) && strings.Contains(op.Path, file) {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	stop := make(chan error, 1)
	s, err := state.Open(state.Options{Dir: "state", FS: fs, Fatal: func(err error) {
		stop <- err
		select {} // the process would have ended
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := shardOf(t, s, 1)
	in(t, h, 1, func(s *state.Scope) { s.IncrementCounter("n") })
	state.Flush(t, s)
	before, at := dump(t, h), h.Position().Changelog

	full.Store(true)
	in(t, h, 2, func(s *state.Scope) { s.IncrementCounter("n") })
	state.BeginFlush(s)
	if f := failed(t, s); f.Damaged || !errors.Is(f, syscall.ENOSPC) || !strings.Contains(f.Error(), "the disk of state is full") {
		t.Errorf("Err() = %v (damaged: %t); want a sentence about a full disk", f, f.Damaged)
	}
	left := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	full.Store(false)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	// Fatal comes some time after Failed, with Pebble's locks held: a Close that has
	// begun before it never ends.
	select {
	case err := <-stop:
		if err != s.Err() {
			t.Errorf("Fatal was told %v; want %v", err, s.Err())
		}
	case err := <-closed:
		if err != nil {
			t.Logf("Close() = %v", err)
		}
	}

	warn := func(m string) { t.Errorf("Open with space again warns %q; want nothing", m) }
	h = shardOf(t, openStore(t, state.Options{Dir: "state", FS: left, Warn: warn}), 1)
	if got := h.Position().Changelog; got < at {
		t.Errorf("Position().Changelog = %d with space again; want at least %d", got, at)
	} else if got == at && !slices.EqualFunc(dump(t, h), before, sameChange) {
		t.Errorf("dump with space again = %q; want %q", dump(t, h), before)
	}
}

// There is no space from the beginning on.
func TestOpenOnAFullDisk(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	warn := func(m string) { t.Errorf("Open warns %q; want no talk of damage", m) }
	if _, err := state.Open(state.Options{Dir: "state", FS: fs, Warn: warn}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Open() = %v; want %v", err, syscall.ENOSPC)
	}
}

// overwrite puts garbage into the middle of each table.
func overwrite(t *testing.T, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables in %s (%v)", dir, err)
	}
	for _, name := range tables {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("garbage"), 20)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// damaged fills a directory, opens it, and damages it then.
func damaged(t *testing.T, warn func(string)) (s *state.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	was, err := state.Open(state.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	in(t, shardOf(t, was, 1), 1, func(s *state.Scope) {
		for i := range 100 { // more than a block: Open reads the last one
			s.PutStringSet(fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 1000))
		}
	})
	if err := was.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = state.Open(state.Options{Dir: dir, Warn: warn, Fatal: func(error) { select {} }}); err != nil {
		t.Fatal(err)
	}
	overwrite(t, dir)
	return s, dir
}

// Damage that only a read comes upon is told from every other error, and the next
// Open begins with an empty copy: the shard is not taken for ever with the same
// damage.
func TestDamageFoundByARead(t *testing.T) {
	s, dir := damaged(t, nil)
	if _, err := state.Dump(shardOf(t, s, 1), true); err == nil {
		t.Error("Dump() of a damaged shard = nil; want an error")
	}
	if f := failed(t, s); !f.Damaged || !strings.Contains(f.Error(), dir) || !strings.Contains(f.Error(), "start the instance again") {
		t.Errorf("Err() = %v (damaged: %t); want a sentence about damage that names the directory", f, f.Damaged)
	}
	if err := s.Close(); err != nil {
		t.Logf("Close() = %v", err)
	}
	wantWiped(t, dir, "checksum")
}

// The test reads none of the damaged blocks, but a compaction does.
func TestDamageFoundInTheBackground(t *testing.T) {
	s, dir := damaged(t, func(string) {})
	h := shardOf(t, s, 2)
	for i := range 40 {
		select {
		case <-s.Failed():
		default:
			in(t, h, i, func(s *state.Scope) { s.IncrementCounter("n") })
			state.BeginFlush(s)
		}
	}
	stop := state.Compact(s)
	if f := failed(t, s); !f.Damaged {
		t.Errorf("Err() = %v; want damage", f)
	}
	stop()
	if err := s.Close(); err != nil {
		t.Logf("Close() = %v", err)
	}
	wantWiped(t, dir, "")
}

// wantWiped opens a directory that is marked as damaged: its content is deleted,
// once, loudly, and nothing but it.
func wantWiped(t *testing.T, dir, reason string) {
	t.Helper()
	mine := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		var warned []string
		s, err := state.Open(state.Options{Dir: dir, Warn: func(m string) { warned = append(warned, m) }})
		if err != nil {
			t.Fatalf("Open() = %v; want nil", err)
		}
		if numbers, err := s.Shards(); err != nil || len(numbers) > 0 {
			t.Errorf("Shards() = %v, %v; want none", numbers, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
		if i == 0 && (len(warned) != 1 || !strings.Contains(warned[0], dir) || !strings.Contains(warned[0], reason) || !strings.Contains(warned[0], "restored from the changelog")) {
			t.Errorf("Warn was told %q; want one sentence with %s and %q", warned, dir, reason)
		}
		if i > 0 && len(warned) > 0 {
			t.Errorf("Warn was told %q by the Open after that; want nothing", warned)
		}
	}
	if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
		t.Errorf("a file that is not Pebble's holds %q, %v; want it untouched", b, err)
	}
}

// Another process has the directory: a mark of damage does not let it be wiped.
func TestDamageIsNotWipedUnderALock(t *testing.T) {
	s, dir := damaged(t, nil)
	defer s.Close()
	if _, err := state.Dump(shardOf(t, s, 1), true); err == nil {
		t.Fatal("Dump() of a damaged shard = nil; want an error")
	}
	other := func(m string) { t.Errorf("Warn was told %q; want nothing", m) }
	if o, err := state.Open(state.Options{Dir: dir, Warn: other}); err == nil {
		o.Close()
		t.Error("Open() of a directory in use = nil; want an error")
	}
	if tables, err := filepath.Glob(filepath.Join(dir, "*.sst")); err != nil || len(tables) == 0 {
		t.Errorf("tables of the store that is in use: %q, %v; want them left alone", tables, err)
	}
}

// A format of the local records that no build has written is damage; the same
// goes for records without one. Newer formats are not.
func TestLocalFormat(t *testing.T) {
	format := []byte{0xff, 0xff, 'f'}
	for name, tt := range map[string]struct {
		write func(*pebble.DB) error
		wiped bool
	}{
		"garbage":      {func(db *pebble.DB) error { return db.Set(format, []byte("\x01garbage"), nil) }, true},
		"empty":        {func(db *pebble.DB) error { return db.Set(format, nil, nil) }, true},
		"old":          {func(db *pebble.DB) error { return db.Set(format, []byte{0}, nil) }, true},
		"missing":      {func(db *pebble.DB) error { return db.Set([]byte{0, 1, 'c'}, []byte{1}, nil) }, true},
		"newer":        {func(db *pebble.DB) error { return db.Set(format, []byte{9}, nil) }, false},
		"newer Pebble": {func(db *pebble.DB) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			db, err := pebble.Open("state", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: quiet{}})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tt.write(db), db.Close()); err != nil {
				t.Fatal(err)
			}
			if name == "newer Pebble" {
				f, err := fs.Create("state/marker.format-version.000099.999", vfs.WriteCategoryUnspecified)
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			warned := 0
			s, err := state.Open(state.Options{Dir: "state", FS: fs, Warn: func(string) { warned++ }})
			if s != nil {
				defer s.Close()
			}
			if tt.wiped && (err != nil || warned != 1) || !tt.wiped && (err == nil || warned > 0 || !strings.Contains(err.Error(), "run the build that wrote it")) {
				t.Errorf("Open() = %v with %d warnings; want it wiped: %t", err, warned, tt.wiped)
			}
		})
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, _ ...any) { panic(f) }
