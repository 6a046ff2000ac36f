package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// past is the content of each shard at each changelog position that it ever had.
type past map[int]map[int64][]state.Change

// template makes a store with two shards, several tables, and values that were
// overwritten and removed in between, and leaves it as it is on disk.
func template(t *testing.T, fs *vfs.MemFS, seed uint64) past {
	t.Helper()
	s, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatalf("Open() = %v; want nil", err)
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	was := past{1: {0: nil}, 2: {0: nil}}
	for i := range 60 {
		n := 1 + rng.IntN(2)
		h := shardOf(t, s, n)
		inScope(t, h, fmt.Sprint("key-", rng.IntN(20)), ref(i), func(c *state.Scope) {
			if c.IncrementCounter("n"); rng.IntN(4) == 0 {
				c.ResetCounter("n")
			}
			c.PutStringSet("s", strings.Repeat(fmt.Sprint(i), 1+rng.IntN(200)))
		})
		was[n][h.Position().Changelog] = dump(t, h)
		if rng.IntN(8) == 0 {
			state.Flush(t, s)
		}
	}
	if rng.IntN(2) == 0 { // else it has crashed: the memtables are lost
		if err := s.Close(); err != nil {
			t.Fatalf("Close() = %v; want nil", err)
		}
		return was
	}
	t.Cleanup(func() { _ = s.Close() })
	return was
}

// injure damages one file at random and says how.
func injure(t *testing.T, fs *vfs.MemFS, rng *rand.Rand) string {
	t.Helper()
	names, err := fs.List("state")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "LOCK" })
	slices.Sort(names)
	name := names[rng.IntN(len(names))]
	path := fs.PathJoin("state", name)
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close(), fs.Remove(path)); err != nil {
		t.Fatal(err)
	}
	how := [...]string{"deleted", "cut", "zeroed", "overwritten", "lengthened"}[rng.IntN(5)]
	at := 0
	if len(b) > 0 {
		at = rng.IntN(len(b))
	}
	garbage := make([]byte, 1+rng.IntN(64))
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	switch how {
	case "deleted":
		return name + " deleted"
	case "cut":
		b = b[:at]
	case "zeroed":
		clear(b[at:])
	case "overwritten":
		copy(b[at:], garbage)
	case "lengthened":
		b = append(b, garbage...)
	}
	w, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(b)
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s at %d of %d", name, how, at, len(b))
}

// look reads everything. It gives an error that the store admits to, and fails the test if
// the records that it reads are not those of some Apply.
func look(t *testing.T, s *state.Store, was past) (found int, err error) {
	for n, history := range was {
		h, err := s.Shard(n)
		if err != nil {
			return 0, err
		}
		got, err := state.Dump(h, false)
		if err != nil {
			return 0, err
		}
		at := h.Position().Changelog
		want, ok := history[at]
		if !ok || !slices.EqualFunc(got, want, sameChange) {
			t.Errorf("shard %d at position %d (known: %t) holds %d records; want the %d that were there", n, at, ok, len(got), len(want))
		}
		found += len(got)
	}
	return found, s.Err()
}

// Any file is damaged in any way. Records that can be read are those once applied, or they
// are refused; the next Open then begins with an empty copy, and never meets the same
// damage again.
func TestDamageIsNeverRead(t *testing.T) {
	seeds := 50
	if os.Getenv("TRAILHOUND_TEST_FULL") != "" {
		seeds = 200
	}
	outcomes := map[string]int{}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			watchdog := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("seed %d hangs", seed)) })
			defer watchdog.Stop()
			outcomes[survive(t, uint64(seed))]++
		})
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["wiped at once"] == 0 || outcomes["read"] == 0 || outcomes["wiped later"] == 0 {
		t.Errorf("outcomes = %v; want some of each", outcomes)
	}
}

func survive(t *testing.T, seed uint64) (outcome string) {
	rng := rand.New(rand.NewPCG(seed, 4))
	disk := vfs.NewCrashableMem()
	was := template(t, disk, seed)
	disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	what := injure(t, disk, rng)
	t.Logf("%s", what)
	var warned bytes.Buffer
	open := func() *state.Store {
		s, err := state.Open(state.Options{Dir: "state", FS: disk, Warn: func(m string) { warned.WriteString(m) }})
		if err != nil {
			t.Fatalf("Open() after %s = %v; want nil: the changelog has everything", what, err)
		}
		return s
	}
	s := open()
	_, err := look(t, s, was)
	if err == nil {
		outcome = "read"
		if warned.Len() > 0 {
			outcome = "wiped at once"
		}
	} else {
		outcome = "wiped later"
		var failed *state.FailedError
		if !errors.As(s.Err(), &failed) || !failed.Damaged {
			t.Errorf("Err() after %v = %v; want a FailedError with Damaged", err, s.Err())
		}
	}
	if err := s.Close(); err != nil && s.Err() == nil {
		t.Errorf("Close() = %v; want nil", err)
	}
	s = open()
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	}()
	found, err := look(t, s, was)
	if err != nil {
		t.Errorf("the Open after that: %v; want no error", err)
	}
	if (outcome != "read") != (warned.Len() > 0) || outcome != "read" && found > 0 {
		t.Errorf("%s: Warn was told %q and the copy holds %d records; want an empty one and a warning if it was damaged", outcome, warned.String(), found)
	}
	return outcome
}
