package state_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

func TestOpenLocksTheDirectory(t *testing.T) {
	dir := t.TempDir()
	openStore(t, state.Options{Dir: dir})
	if s, err := state.Open(state.Options{Dir: dir}); err == nil {
		s.Close()
		t.Fatalf("Open(%q) a second time = nil; want an error", dir)
	} else if !strings.Contains(err.Error(), dir) {
		t.Errorf("Open(%q) a second time = %q; want the directory named", dir, err)
	}
}

func TestOpenRefusesANewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	db, err := pebble.Open("state", &pebble.Options{FS: fs, Logger: pebble.DefaultLogger, EventListener: &pebble.EventListener{}, FormatMajorVersion: pebble.FormatTableFormatV6})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte{0xff, 0xff, 'f'}, []byte{5}, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = state.Open(state.Options{Dir: "state", FS: fs})
	if err == nil || !strings.Contains(err.Error(), "local format 5") {
		t.Errorf("Open of a newer format = %v; want an error that names it", err)
	}
	if _, again := state.Open(state.Options{Dir: "state", FS: fs}); again == nil || again.Error() != err.Error() {
		t.Errorf("Open a second time = %v; want %v: the lock is given back", again, err)
	}
}

func TestOpenRefusesNegativeBounds(t *testing.T) {
	for _, o := range []state.Options{{Lifetime: -1}, {MaxLateness: -1}, {MaxSetMembers: -1}} {
		o.Dir, o.FS = "state", vfs.NewMem()
		if s, err := state.Open(o); err == nil {
			s.Close()
			t.Errorf("Open(%+v) = nil; want an error", o)
		}
	}
}

func TestShards(t *testing.T) {
	s := openStore(t, state.Options{Dir: "state", FS: vfs.NewMem()})
	for _, n := range []int{7, 0, 256, 65534} {
		in(t, shardOf(t, s, n), 0, func(s *state.Scope) { s.IncrementCounter("n") })
	}
	shardOf(t, s, 9) // looked at, never written
	if got, err := s.Shards(); err != nil || !slices.Equal(got, []int{0, 7, 256, 65534}) {
		t.Errorf("Shards() = %v, %v; want [0 7 256 65534]", got, err)
	}
	if a, b := shardOf(t, s, 7), shardOf(t, s, 7); a != b {
		t.Errorf("Shard(7) twice = %p, %p; want the same", a, b)
	}
	for _, n := range []int{-1, 65535} {
		if _, err := s.Shard(n); err == nil {
			t.Errorf("Shard(%d) = nil; want an error", n)
		}
	}
}

func TestShardsDoNotSeeEachOther(t *testing.T) {
	s := openStore(t, state.Options{Dir: "state", FS: vfs.NewMem()})
	a, b := shardOf(t, s, 1), shardOf(t, s, 2)
	fill := func(h *state.Shard, n int) {
		tx := h.Begin()
		tx.Observe(state.Source{}, minute(n))
		tx.SetWorkOffset(int64(n), 0)
		tx.Advance(state.Source{TopicID: [16]byte{1}, Offset: int64(n)})
		tx.PutMeta("identity", []byte{byte(n)})
		state.See(tx, "rule", "key", "id", minute(n), time.Hour)
		c := tx.Scope("rule", "key", ref(n))
		c.IncrementCounterBy("n", int64(n))
		c.PutStringSet("n", strings.Repeat("x", n))
		c.Suppress("d", time.Hour)
		c.Commit()
		apply(t, h, tx)
	}
	fill(a, 1)
	before := dump(t, b)
	if len(before) != 0 || b.Position().Work != -1 {
		t.Fatalf("shard 2 has %q at %v; want nothing", before, b.Position())
	}
	fill(b, 2)
	was := dump(t, a)
	if err := b.Wipe(); err != nil {
		t.Fatalf("Wipe() = %v; want nil", err)
	}
	if got := dump(t, a); !slices.EqualFunc(got, was, sameChange) {
		t.Errorf("shard 1 after the Wipe of shard 2 = %q; want %q", got, was)
	}
	if got := dump(t, b); len(got) != 0 || b.Position().Work != -1 || b.Position().Changelog != 0 {
		t.Errorf("shard 2 after its Wipe = %q at %v; want nothing", got, b.Position())
	}
	tx := b.Begin()
	defer tx.Discard()
	if state.See(tx, "rule", "key", "id", minute(2), time.Hour) {
		t.Errorf("Seen() after Wipe = true; want false")
	}
	if !tx.Newer(state.Source{TopicID: [16]byte{1}, Offset: 1}) {
		t.Errorf("Newer() after Wipe = false; want true")
	}
}

func TestMarksAreLocalAndOutliveAReopening(t *testing.T) {
	fs := vfs.NewMem()
	s, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	h := shardOf(t, s, 3)
	if at, ok := h.CaughtUpAt(); ok {
		t.Errorf("CaughtUpAt() = %v, true; want false", at)
	}
	if since, ok := h.Restoring(); ok {
		t.Errorf("Restoring() = %v, true; want false", since)
	}
	if err := errors.Join(h.MarkCaughtUp(minute(1)), h.BeginRestore(minute(2)), h.BeginRestore(minute(3))); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, h); len(got) != 0 {
		t.Errorf("changelog records of marks = %q; want none", got)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v; want nil", err)
	}
	h = shardOf(t, openStore(t, state.Options{Dir: "state", FS: fs}), 3)
	if at, ok := h.CaughtUpAt(); !ok || !at.Equal(minute(1)) {
		t.Errorf("CaughtUpAt() = %v, %t; want %v", at, ok, minute(1))
	}
	if since, ok := h.Restoring(); !ok || !since.Equal(minute(2)) {
		t.Errorf("Restoring() = %v, %t; want the older mark %v", since, ok, minute(2))
	}
	if err := h.EndRestore(); err != nil {
		t.Fatalf("EndRestore() = %v; want nil", err)
	}
	if _, ok := h.Restoring(); ok {
		t.Errorf("Restoring() after EndRestore = true; want false")
	}
	if err := h.Wipe(); err != nil {
		t.Fatalf("Wipe() = %v; want nil", err)
	}
	if _, ok := h.CaughtUpAt(); ok {
		t.Errorf("CaughtUpAt() after Wipe = true; want false")
	}
}

// Close under a reader used to be a panic of Pebble's.
func TestCloseWaitsForReaders(t *testing.T) {
	for range 20 {
		s, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		h := shardOf(t, s, 1)
		for n := range 10 {
			in(t, h, n, func(s *state.Scope) { s.PutStringSet(fmt.Sprint("key", n), "x") })
		}
		const readers = 3
		reading, ended := make(chan struct{}, readers), make(chan error, readers)
		for range readers {
			go func() {
				for first := true; ; first = false {
					if _, err := state.Dump(h, true); err != nil {
						ended <- err
						return
					}
					if first {
						reading <- struct{}{}
					}
				}
			}()
		}
		for range readers {
			<-reading
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v beside readers; want nil", err)
		}
		for range readers {
			if err := <-ended; !strings.Contains(err.Error(), "is closed") {
				t.Errorf("a reader ends with %v; want a sentence that the state is closed", err)
			}
		}
	}
}
