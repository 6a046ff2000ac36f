package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state/formattest"
)

// A directory that the first release has written is opened by each later one, or, once
// the local format is another, emptied for the changelog to fill.
func TestFormatOfLocalState(t *testing.T) {
	const dir = "testdata/format/local-4"
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && *update {
		writeLocalState(t, dir)
	}
	fs := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, fs, dir, "state"); err != nil || !ok {
		t.Fatalf("Clone(%s) = %t, %v; want the directory; -update writes it once", dir, ok, err)
	}
	s, err := Open(Options{Dir: "state", FS: fs, Warn: func(m string) { t.Errorf("Warn was told %q; want nothing", m) }})
	if err != nil {
		t.Fatalf("Open(%s) = %v; want nil", dir, err)
	}
	defer s.Close()
	h, err := s.Shard(3)
	if err != nil {
		t.Fatal(err)
	}
	var got []formattest.Sample
	err = h.scan(nil, nil, func(key, value []byte) (bool, error) {
		if key[0] < kindLocal {
			got = append(got, formattest.Sample{Name: fmt.Sprintf("%x", key), Key: []byte(string(key)), Bytes: []byte(string(value))})
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	formattest.Written(t, "local", localFormat, got, meaning)
	if at := h.Position(); at.Changelog != 77 || at.Work != 9 || at.WorkEpoch != 2 {
		t.Errorf("Position() = %+v; want changelog 77 and work 9 in epoch 2", at)
	}
	if at, ok := h.CaughtUpAt(); !ok || !at.Equal(localCaughtUp) {
		t.Errorf("CaughtUpAt() = %s, %t; want %s", at, ok, localCaughtUp)
	}
}

var localCaughtUp = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// writeLocalState is how the directory came about.
func writeLocalState(t *testing.T, dir string) {
	t.Helper()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Shard(3)
	if err != nil {
		t.Fatal(err)
	}
	tx := h.Begin()
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for i := range 40 {
		ev := at.Add(time.Duration(i) * time.Minute)
		sc := tx.Scope("access_denied", "arn:aws:iam::111122223333:user/alice", Ref{ID: "event-" + string(rune('a'+i%26)), Time: ev, Source: Source{Topic: "cloudtrail", Partition: 1, Offset: int64(i)}})
		if sc.IncrementCounter("denied") == 1 {
			sc.SetKeyTTL("denied", time.Hour)
		}
		sc.Commit()
		See(tx, "access_denied", "alice", "event-"+string(rune('a'+i%26)), ev, 24*time.Hour)
		tx.Observe(Source{}, ev)
	}
	sc := tx.Scope("assume_role_unique_ip", "arn:aws:iam::111122223333:role/admin", Ref{ID: "4f7c1e1e-0000-4000-8000-0123456789ab", Time: at, Source: Source{Topic: "cloudtrail", Offset: 8}})
	sc.AddToStringSet("ips", "192.0.2.1", "2001:db8::1")
	sc.Suppress("assume_role_unique_ip:admin", time.Hour)
	sc.Commit()
	tx.Advance(Source{TopicID: [16]byte{1, 2}, Partition: 1, Offset: 39})
	tx.SetWorkOffset(9, 2)
	tx.SetFingerprint([]byte("fingerprint"))
	tx.PutMeta("identity", []byte("{}"))
	if err := tx.Apply(77); err != nil {
		t.Fatal(err)
	}
	if err := h.MarkCaughtUp(localCaughtUp); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), os.Remove(filepath.Join(dir, "LOCK"))); err != nil {
		t.Fatal(err)
	}
}
