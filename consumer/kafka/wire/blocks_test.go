package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/segmentio/kafka-go/compress"
)

// javaBlocks is a snappy batch of the values, with records cut into blocks of one size at
// any byte, as Java cuts them.
func javaBlocks(t testing.TB, size int, values ...string) []byte {
	t.Helper()
	plain := encode(t, 0, compress.None, nil, values...)
	records := append(append([]byte(nil), xerialMagic...), xerialVersions...)
	for block := range slices.Chunk(plain[batchHeader:], size) {
		packed := s2.EncodeSnappy(nil, block)
		records = binary.BigEndian.AppendUint32(records, uint32(len(packed)))
		records = append(records, packed...)
	}
	return withRecords(plain, records, compress.Snappy)
}

// withRecords is a batch with other bytes for its records.
func withRecords(batch, records []byte, codec compress.Compression) []byte {
	set := append(slices.Clone(batch[:batchHeader]), records...)
	binary.BigEndian.PutUint32(set[atLength:], uint32(len(set)-logOverhead))
	binary.BigEndian.PutUint16(set[atAttributes:], uint16(codec))
	seal(set)
	return set
}

// Blocks end where they happen to: in a record, in its length, between two.
func TestRecordsAcrossBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	want := []string{"before", strings.Repeat("larger than many blocks ", 3000), "behind"}
	for n := range 60 {
		want = append(want, fmt.Sprintf("%d:%s", n, strings.Repeat(string(rune('a'+n%26)), rng.IntN(400))))
	}
	for size := 1; size < 1500; size += 1 + size/20 {
		f, err := fetched(javaBlocks(t, size, want...), 0, false)
		if err != nil {
			t.Fatal(err)
		}
		all, _, err := entries(f)
		if err != nil || len(all) != len(want) {
			t.Fatalf("blocks of %d bytes: %d records, %v; want %d", size, len(all), err, len(want))
		}
		for i := range all {
			if string(all[i].value) != want[i] {
				t.Fatalf("blocks of %d bytes: record %d = %q; want %q", size, i, all[i].value, want[i])
			}
		}
	}
}

// A fault behind the first blocks ends the batch there; records before it are read.
func TestBlocksThatCannotBeRead(t *testing.T) {
	first, second := strings.Repeat("first ", 2000), strings.Repeat("second ", 2000)
	good := javaBlocks(t, len(first)+100, first, second)
	whole := good[batchHeader:]
	cut := len(whole) - 10
	block := func(b []byte) []byte {
		packed := s2.EncodeSnappy(nil, b)
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(packed))), packed...)
	}
	damaged := slices.Clone(whole)
	damaged[len(damaged)-3] ^= 0xff
	for name, c := range map[string]struct {
		records []byte
		says    string
	}{
		"cut off":               {whole[:cut], "unexpected EOF"},
		"a length too many":     {append(slices.Clone(whole), 0, 0), "left behind"},
		"damaged":               {damaged, "corrupt"},
		"a block too many":      {append(slices.Clone(whole), block([]byte("more"))...), "left behind"},
		"an empty one too many": {append(slices.Clone(whole), block(nil)...), "left behind"},
		"a block that lies":     {append(slices.Clone(whole[:xerialHeader+4+int(binary.BigEndian.Uint32(whole[xerialHeader:]))]), 0, 0, 0, 7, 0x80, 0x80, 0x80, 0x40, 0, 'x', 'x'), "corrupt"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := fetched(withRecords(good, c.records, compress.Snappy), 0, false)
			if err != nil {
				t.Fatal(err)
			}
			all, _, err := entries(f)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset != 0 || corrupt.Next != 2 || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Each = %v; want a CorruptError that says %q and that offset 2 comes next", err, c.says)
			}
			if len(all) == 0 || string(all[0].value) != first {
				t.Errorf("Each gives %d records before the bad block; want the first one", len(all))
			}
		})
	}
}

// A batch that is packed as it grows takes no more memory than its bytes and a block,
// and is the same to a reader, whenever it was encoded.
func TestPackedAhead(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	b := Batch{Codec: compress.Snappy}
	for round := range 3 {
		var want []entry
		for b.Size() < 1<<20 {
			e := entry{time: 1000, key: []byte("key"), value: event(rng)}
			b.Append(e.time, e.key, e.value)
			want = append(want, e)
			if held := b.Held(); held > b.Size()/2+pieceBytes+2000 {
				t.Fatalf("round %d: %d bytes of records take %d of memory", round, b.Size(), held)
			}
		}
		once, err := b.Encode(nil, NoProducer)
		if err != nil || len(once) > b.Held()+batchHeader {
			t.Fatalf("Encode takes %d bytes, %v; want at most what was held, %d, and a header", len(once), err, b.Held())
		}
		if again, err := b.Encode(nil, NoProducer); err != nil || !bytes.Equal(once, again) {
			t.Fatalf("Encode for the second time gives something else, %v", err)
		}
		f, err := fetched(once, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := entries(f)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d records, %v; want %d", len(got), err, len(want))
		}
		for i := range want {
			if got[i].String() != want[i].String() {
				t.Fatalf("record %d = %v; want %v", i, got[i], want[i])
			}
		}
		b.Reset()
		if b.Held() != 0 || b.Size() != 0 {
			t.Fatalf("after Reset: Held() = %d, Size() = %d; want 0", b.Held(), b.Size())
		}
	}
}
