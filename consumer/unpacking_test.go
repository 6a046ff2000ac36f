package consumer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A process that is killed in the middle of a record finds its note at the next start.
// After two such ends the third start does not unpack the record, nor does the fourth;
// other records, and those unpacked after all, are not affected.
func TestUnpackingEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	open := func() *Unpacking {
		t.Helper()
		u, err := OpenUnpacking(dir)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	in := &input{topicID: [16]byte{1}, partition: 2}
	bad, good := place(in, 7, 8), place(in, 9, 10)
	for start := range 2 {
		u := open()
		for range 3 {
			if err := u.begin(good); err != nil || u.err() != nil {
				t.Fatalf("start %d: begin of a good record = %v, %v", start, err, u.err())
			}
			u.end()
		}
		if u.watches() || u.givenUp(bad) {
			t.Errorf("start %d: the record is given up", start)
		}
		if err := u.begin(bad); err != nil {
			t.Fatalf("start %d: begin = %v; want nil", start, err)
		}
	}
	for start := range 2 {
		u := open()
		if !u.watches() || !u.givenUp(bad) || u.givenUp(good) || u.givenUp(place(&input{topicID: [16]byte{2}, partition: 2}, 7, 8)) {
			t.Errorf("start %d after two ends: want the record given up, and no other", start+2)
		}
		if err := u.begin(bad); !errors.Is(err, errProcessEnded) {
			t.Errorf("start %d after two ends: begin = %v; want errProcessEnded", start+2, err)
		}
		if err := u.begin(good); err != nil {
			t.Errorf("begin of a good record = %v", err)
		}
		u.end()
	}
	// A process killed while it wrote the note leaves half of one.
	name := filepath.Join(dir, unpackingFile)
	text, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(text, []byte(`"offset":7`)) {
		t.Fatalf("the note is %q, %v", text, err)
	}
	if err := os.WriteFile(name, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if u := open(); u.watches() {
		t.Error("half a note gives something up")
	}
	var none *Unpacking
	if none.end(); none.begin(bad) != nil || none.watches() || none.givenUp(bad) || none.err() != nil {
		t.Error("no note gives something up")
	}
}

// Of many records that ended a process once, the newest are remembered.
func TestUnpackingRemembersFew(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 * mostSuspects {
		u, err := OpenUnpacking(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(u.suspects) > mostSuspects {
			t.Fatalf("%d records are remembered; want at most %d", len(u.suspects), mostSuspects)
		}
		if err := u.begin(place(&input{}, int64(i), int64(i)+1)); err != nil {
			t.Fatal(err)
		}
	}
}

// Each of the large records of a batch has a note. A file that was truncated for each cost
// ext4 a write to the disk: 64 batches of 450 records of 500 KB took minutes.
func TestUnpackingNoteIsNotTruncated(t *testing.T) {
	dir := t.TempDir()
	u, err := OpenUnpacking(dir)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, unpackingFile))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := u.begin(place(&input{topicID: [16]byte{1}}, 7, 8)); err != nil {
		t.Fatal(err)
	}
	open := size()
	u.end()
	if got := size(); got != open || u.err() != nil {
		t.Errorf("the note has %d bytes when it is empty, %v; want the %d of before, overwritten", got, u.err(), open)
	}
	if u, err = OpenUnpacking(dir); err != nil || len(u.suspects) != 0 {
		t.Errorf("read again: %+v, %v; want no place", u, err)
	}
}
