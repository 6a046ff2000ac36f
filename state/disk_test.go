package state_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"trailhound/state"
)

// ice is a disk on which calls of some kinds do not return from freeze to thaw.
type ice struct {
	kinds []errorfs.OpKind // none: all

	mu     sync.Mutex
	frozen chan struct{} // closed at the thaw; nil: not frozen
}

func (i *ice) on(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		i.mu.Lock()
		frozen := i.frozen
		i.mu.Unlock()
		if frozen != nil && (len(i.kinds) == 0 || slices.Contains(i.kinds, op.Kind)) {
			<-frozen
		}
		return nil
	}))
}

func (i *ice) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.frozen = make(chan struct{})
}

func (i *ice) thaw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.frozen)
	i.frozen = nil
}

// shortStall is the limit of the tests' stores, in place of half a minute.
const shortStall = 600 * time.Millisecond

// A disk that does not answer used to leave writers waiting for ever, without a word: file
// systems that are frozen, network disks without their server. Now the store fails with a
// sentence that names the call, for every kind of call, and Close returns.
func TestHungDisk(t *testing.T) {
	for what, kinds := range map[string][]errorfs.OpKind{
		"everything": nil,
		"create":     {errorfs.OpCreate},
		"write":      {errorfs.OpFileWrite},
		"sync":       {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"read":       {errorfs.OpFileReadAt},
	} {
		t.Run(what, func(t *testing.T) {
			files := vfs.NewMem()
			put := func(h *state.Shard, from, to int) {
				for n := from; n < to; n++ {
					in(t, h, n, func(s *state.Scope) { s.PutStringSet(fmt.Sprint("key", n), strings.Repeat("x", 2000)) })
				}
			}
			was, err := state.Open(state.Options{Dir: "state", FS: files})
			if err != nil {
				t.Fatal(err)
			}
			put(shardOf(t, was, 1), 0, 20)
			put(shardOf(t, was, 2), 0, 100)
			if err := was.Close(); err != nil {
				t.Fatal(err)
			}
			disk := &ice{kinds: kinds}
			s, err := state.Open(state.Options{Dir: "state", FS: disk.on(files), Stall: shortStall})
			if err != nil {
				t.Fatal(err)
			}
			h := shardOf(t, s, 1)
			put(h, 20, 21)
			if got := s.Stalled(); got != "" {
				t.Errorf("Stalled() = %q before the disk hangs; want none", got)
			}
			disk.freeze()
			go state.BeginFlush(s)
			// A shard that has not been opened yet: the blocks of the other one may all be in
			// the cache, and then no read was left to hang.
			go func() { _, _ = s.Shard(2) }()
			noticed, tick, late := "", time.NewTicker(time.Millisecond), time.After(time.Minute)
			defer tick.Stop()
			for noticed == "" && s.Err() == nil {
				noticed = s.Stalled()
				select {
				case <-tick.C:
				case <-late:
					t.Fatal("no call to the disk has hung within a minute")
				}
			}
			if !strings.Contains(noticed, "has not returned for") {
				t.Errorf("Stalled() = %q before the store has failed; want a call that does not return", noticed)
			}
			f := failed(t, s)
			if f.Damaged || !errors.Is(f, state.ErrStalled) || !strings.Contains(f.Error(), "state cannot be used any more (the disk does not answer: ") {
				t.Errorf("Err() = %v (damaged: %t); want a sentence about a disk that does not answer", f, f.Damaged)
			}
			if err := s.Close(); !errors.Is(err, state.ErrStalled) {
				t.Errorf("Close() = %v; want %v", err, state.ErrStalled)
			}
			disk.thaw()
		})
	}
}

// An Apply that waits for a memtable to be written out has made no call to the disk itself.
func TestHungDiskBlocksApply(t *testing.T) {
	disk := new(ice)
	s, err := state.Open(state.Options{Dir: "state", FS: disk.on(vfs.NewMem()), Stall: shortStall})
	if err != nil {
		t.Fatal(err)
	}
	h := shardOf(t, s, 7)
	disk.freeze()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 1_000 {
			tx := h.Begin()
			tx.PutMeta(fmt.Sprint("key", n), []byte(strings.Repeat("x", 20_000)))
			if tx.Apply(int64(n+1)) != nil {
				return
			}
		}
	}()
	f := failed(t, s)
	if !errors.Is(f, state.ErrStalled) {
		t.Errorf("Err() = %v; want %v", f, state.ErrStalled)
	}
	disk.thaw()
	<-done
}

// The disk hangs from the beginning on.
func TestOpenOnAHungDisk(t *testing.T) {
	disk := new(ice)
	disk.freeze()
	_, err := state.Open(state.Options{Dir: "state", FS: disk.on(vfs.NewMem()), Stall: shortStall})
	if !errors.Is(err, state.ErrStalled) {
		t.Errorf("Open() = %v; want %v", err, state.ErrStalled)
	}
	disk.thaw()
}
