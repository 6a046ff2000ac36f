package state

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A reader of the changelog finds the records that the Tx has put there, and passes over
// other kinds.
func TestReadChangesWithoutCopy(t *testing.T) {
	store, err := Open(Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := store.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	tx := h.Begin()
	defer tx.Discard()
	src := Source{TopicID: [16]byte{7}, Partition: 3, Offset: 41, Index: 2}
	tx.Advance(src)
	tx.PutMeta("name", []byte("record"))
	tx.PutMeta("name2", []byte("another"))
	tx.SetWorkOffset(99, 4)
	metas, sources, works := 0, 0, 0
	for c := range tx.Changes() {
		if record, ok, err := MetaOf("name", c.Key, c.Value); ok {
			if metas++; err != nil || !bytes.Equal(record, []byte("record")) {
				t.Errorf("MetaOf(name) = %q, %v; want %q", record, err, "record")
			}
		}
		if got, ok, err := SourceOf(c.Key, c.Value); ok {
			if sources++; err != nil || got != src {
				t.Errorf("SourceOf = %+v, %v; want %+v", got, err, src)
			}
		}
		if next, ok, err := WorkOf(c.Key, c.Value); ok {
			if works++; err != nil || next != 99 {
				t.Errorf("WorkOf = %d, %v; want 99", next, err)
			}
		}
	}
	if metas != 1 || sources != 1 || works != 1 {
		t.Errorf("found %d records, %d sources and %d positions; want one of each", metas, sources, works)
	}
	if record, ok, err := MetaOf("gone", append([]byte{kindMeta}, "gone"...), nil); !ok || err != nil || record != nil {
		t.Errorf("MetaOf of a tombstone = %q, %t, %v; want nil, true, nil", record, ok, err)
	}
	newer := []byte{99}
	_, _, meta := MetaOf("name", append([]byte{kindMeta}, "name"...), newer)
	_, _, source := SourceOf((&parts{kind: kindSource}).append(nil), newer)
	_, _, work := WorkOf(positionKey, newer)
	if err := errors.Join(meta, source, work); !errors.Is(meta, ErrFormat) || !errors.Is(source, ErrFormat) || !errors.Is(work, ErrFormat) {
		t.Errorf("records of a newer format = %v; want %v for each", err, ErrFormat)
	}
}
