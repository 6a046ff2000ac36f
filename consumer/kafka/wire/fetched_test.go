package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/segmentio/kafka-go/compress"
)

// encode returns a batch with the values, as a log holds it at an offset, changed by edit.
func encode(t testing.TB, base int64, codec compress.Compression, edit func([]byte), values ...string) []byte {
	t.Helper()
	return encodeAs(t, base, codec, NoProducer, edit, values...)
}

// encodeAs is encode for a producer of its own.
func encodeAs(t testing.TB, base int64, codec compress.Compression, o BatchOptions, edit func([]byte), values ...string) []byte {
	t.Helper()
	b := Batch{Codec: codec}
	for _, v := range values {
		b.Append(1000, []byte("key"), []byte(v))
	}
	set, err := b.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(set, uint64(base))
	if edit != nil {
		edit(set)
		seal(set)
	}
	return set
}

// seal writes the checksum of a batch.
func seal(batch []byte) {
	binary.BigEndian.PutUint32(batch[atCRC:], crc32.Checksum(batch[atAttributes:], castagnoli))
}

func attribute(bit uint16) func([]byte) {
	return func(b []byte) {
		binary.BigEndian.PutUint16(b[atAttributes:], binary.BigEndian.Uint16(b[atAttributes:])|bit)
	}
}

// marker returns a control batch that ends a transaction: type 0 aborts, 1 commits.
func marker(t testing.TB, base, producer int64, kind byte) []byte {
	t.Helper()
	var b Batch
	b.Append(1000, []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 0})
	set, err := b.Encode(nil, BatchOptions{ProducerID: producer, Sequence: -1, Transactional: true})
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(set, uint64(base))
	attribute(controlBit)(set)
	seal(set)
	return set
}

// hollow returns the last batch of a producer as compaction leaves it.
func hollow(t testing.TB, base int64, lastDelta uint32) []byte {
	t.Helper()
	set := encode(t, base, compress.None, nil, "gone")[:batchHeader]
	binary.BigEndian.PutUint32(set[atLength:], batchHeader-logOverhead)
	binary.BigEndian.PutUint32(set[atLastDelta:], lastDelta)
	binary.BigEndian.PutUint32(set[atCount:], 0)
	seal(set)
	return set
}

func values(t testing.TB, f *Fetched) string {
	t.Helper()
	all, _, err := entries(f)
	if err != nil {
		t.Fatalf("Each() = %v; want nil", err)
	}
	var words []string
	for _, e := range all {
		words = append(words, string(e.value))
	}
	return strings.Join(words, " ")
}

func TestTake(t *testing.T) {
	a := encode(t, 10, compress.Zstd, nil, "a0", "a1", "a2")
	b := encode(t, 20, compress.None, nil, "b0", "b1")
	txn := func(base, producer int64, v ...string) []byte {
		return encodeAs(t, base, compress.None, BatchOptions{ProducerID: producer, Transactional: true}, nil, v...)
	}
	for _, c := range []struct {
		name    string
		from    int64
		batches [][]byte
		raw     bool // read uncommitted
		aborted []abortedTransaction
		want    string
		next    int64
	}{
		{name: "nothing", from: 7, want: "", next: 7},
		{name: "two batches with a hole between them", from: 10, batches: [][]byte{a, b}, want: "a0 a1 a2 b0 b1", next: 22},
		{name: "from inside a batch", from: 12, batches: [][]byte{a, b}, want: "a2 b0 b1", next: 22},
		{name: "a batch of before the offset", from: 20, batches: [][]byte{a, b}, want: "b0 b1", next: 22},
		{name: "the last batch cut off", from: 10, batches: [][]byte{a, b[:len(b)-1]}, want: "a0 a1 a2", next: 13},
		{name: "the last batch cut off in its header", from: 10, batches: [][]byte{a, b[:20]}, want: "a0 a1 a2", next: 13},
		{name: "the last batch cut off before its format", from: 10, batches: [][]byte{a, b[:16]}, want: "a0 a1 a2", next: 13},
		{name: "a batch emptied by compaction", from: 10, batches: [][]byte{a, hollow(t, 13, 4)}, want: "a0 a1 a2", next: 18},
		{name: "nothing but an emptied batch", from: 13, batches: [][]byte{hollow(t, 13, 4)}, want: "", next: 18},
		{name: "nothing but a commit marker", from: 5, batches: [][]byte{marker(t, 5, 1, 1)}, want: "", next: 6},
		{name: "an aborted transaction alone", from: 0, batches: [][]byte{txn(0, 1, "x", "y"), marker(t, 2, 1, 0)},
			aborted: []abortedTransaction{{1, 0}}, want: "", next: 3},
		{name: "the beginning of an aborted transaction", from: 0, batches: [][]byte{txn(0, 1, "x", "y")},
			aborted: []abortedTransaction{{1, 0}}, want: "", next: 2},
		{name: "the end of an aborted transaction", from: 1, batches: [][]byte{txn(0, 1, "x", "y"), marker(t, 2, 1, 0), txn(3, 1, "z")},
			aborted: []abortedTransaction{{1, 0}}, want: "z", next: 4},
		{name: "read uncommitted", from: 0, raw: true, batches: [][]byte{txn(0, 1, "x"), marker(t, 1, 1, 0), txn(2, 1, "y")}, want: "x y", next: 3},
		{name: "committed between two aborted, producers mixed", from: 0,
			batches: [][]byte{txn(0, 1, "a"), txn(1, 2, "B"), encode(t, 2, compress.None, nil, "C"), marker(t, 3, 1, 0), txn(4, 1, "D"),
				marker(t, 5, 2, 1), marker(t, 6, 1, 1), txn(7, 1, "e"), txn(8, 2, "f"), marker(t, 9, 2, 0), txn(10, 2, "G"), marker(t, 11, 1, 0)},
			aborted: []abortedTransaction{{1, 7}, {2, 8}, {1, 0}}, want: "B C D G", next: 12},
		{name: "aborted data is not unpacked", from: 0, batches: [][]byte{
			encodeAs(t, 0, compress.None, BatchOptions{ProducerID: 1, Transactional: true}, attribute(uint16(compress.Gzip)), "not gzip"), marker(t, 1, 1, 0)},
			aborted: []abortedTransaction{{1, 0}}, want: "", next: 2},
	} {
		f, err := fetched(slices.Concat(c.batches...), c.from, !c.raw, c.aborted...)
		if err != nil {
			t.Errorf("%s: take = %v; want nil", c.name, err)
			continue
		}
		if got := values(t, f); got != c.want || f.Next != c.next {
			t.Errorf("%s: records %q, Next %d; want %q, %d", c.name, got, f.Next, c.want, c.next)
		}
	}
}

func TestTakeRefuses(t *testing.T) {
	good := encode(t, 10, compress.Lz4, nil, "a0", "a1")
	bad := func(codec compress.Compression, edit func([]byte)) []byte {
		return encode(t, 12, codec, edit, strings.Repeat("b0", 99), "b1")
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	flipped := bad(compress.None, nil)
	flipped[len(flipped)-1] ^= 1
	old := bad(compress.None, nil)
	old[atMagic] = 1
	for _, c := range []struct {
		name string
		set  []byte
		next int64
		want string
	}{
		{"a flipped bit", flipped, 14, "checksum"},
		{"an old format", old, 0, "message format version 1"},
		{"a short length", bad(compress.None, put32(atLength, 48)), 0, "length of 60 bytes"},
		{"a negative length", bad(compress.None, put32(atLength, 1<<31)), 0, "claims a length"},
		{"cut off", bad(compress.None, nil)[:70], 0, "only its beginning"},
		{"a negative offset delta", bad(compress.None, put32(atLastDelta, 1<<31)), 0, "last offset delta -2147483648"},
		{"a negative count", bad(compress.None, put32(atCount, 1<<31)), 0, "-2147483648 records"},
		{"a negative base offset", bad(compress.None, put32(0, 1<<31)), 0, "base offset -"},
	} {
		_, err := fetched(c.set, 12, true)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: take = %v; want a CorruptError about %q", c.name, err, c.want)
			continue
		}
		if corrupt.Topic != "t" || corrupt.Partition != 3 || corrupt.Next != c.next || (corrupt.Offset != 12 && !strings.Contains(c.name, "base")) {
			t.Errorf("%s: %+v; want topic t, partition 3, offset 12, next %d", c.name, corrupt, c.next)
		}
		if want := c.name == "a flipped bit" || c.name == "cut off"; corrupt.Damaged != want {
			t.Errorf("%s: damaged %t; want %t", c.name, corrupt.Damaged, want)
		}
		// Behind a good batch, that one is delivered first.
		f, err := fetched(append(bytes.Clone(good), c.set...), 10, true)
		if err != nil || f.Next != 12 || values(t, f) != "a0 a1" {
			t.Errorf("%s behind a good batch: Next %d, %v; want a0 a1, 12, nil", c.name, f.Next, err)
		}
	}
}

func TestEachRefuses(t *testing.T) {
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	for _, c := range []struct {
		name string
		edit func([]byte)
		read int // records before the error
		want string
	}{
		{"more records claimed than there are", put32(atCount, 3), 2, "record 3 of 3 is malformed"},
		{"fewer records claimed than there are", put32(atCount, 1), 1, "bytes are left behind its 1 records"},
		{"an offset beyond the last", put32(atLastDelta, 0), 1, "record 2 of 2 is malformed"},
		{"a record longer than the batch", func(b []byte) { b[batchHeader] = 0x7e }, 0, "record 1 of 2 is malformed"},
		{"a negative record length", func(b []byte) { b[batchHeader] = 1 }, 0, "record 1 of 2 is malformed"},
		{"what is no gzip", attribute(uint16(compress.Gzip)), 0, "gzip data"},
		{"what is no snappy", attribute(uint16(compress.Snappy)), 0, "snappy data"},
		{"what is no lz4", attribute(uint16(compress.Lz4)), 0, "lz4 data"},
		{"what is no zstd", attribute(uint16(compress.Zstd)), 0, "zstd data"},
		{"an unknown codec", attribute(5), 0, "no compression has the number 5"},
		{"a header count without headers", func(b []byte) { b[len(b)-1] = 2 }, 1, "record 2 of 2 is malformed"},
	} {
		f, err := fetched(encode(t, 4, compress.None, c.edit, "v0", "v1"), 4, true)
		if err != nil {
			t.Fatalf("%s: take = %v", c.name, err)
		}
		n := 0
		err = f.Each(func(*Record) bool { n++; return true })
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), c.want) || n != c.read || corrupt.Offset != 4 || corrupt.Next < 5 {
			t.Errorf("%s: Each gives %d records, %v; want %d, a CorruptError about %q", c.name, n, err, c.read, c.want)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	set := encode(t, 0, compress.None, func(b []byte) {
		attribute(logAppendTimeBit)(b)
		binary.BigEndian.PutUint64(b[atMaxTime:], 777)
	}, "v")
	f, err := fetched(set, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if all, _, _ := entries(f); all[0].time != 777 {
		t.Errorf("time of a record with LogAppendTime = %d; want that of the batch, 777", all[0].time)
	}
}

func TestEachStops(t *testing.T) {
	f, err := fetched(encode(t, 0, compress.None, nil, "v0", "v1"), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := f.Each(func(*Record) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("Each with a yield that returns false: %d calls, %v; want 1, nil", n, err)
	}
}

func TestUnpackLimit(t *testing.T) {
	for _, codec := range allCodecs[1:] {
		small := encode(t, 0, codec, nil, strings.Repeat("small", 1000))
		bomb := encode(t, 1, codec, nil, strings.Repeat("0", 1<<20))
		large := encode(t, 2, codec, nil, strings.Repeat("large", 1000))
		const limit = 9000
		f := Fetched{memory: memoryOf(limit, limit, limit)}
		f.reset(FetchRequest{Offset: 0})
		if err := f.take(slices.Concat(small, bomb, large)); err != nil {
			t.Fatal(err)
		}
		all, _, err := entries(&f)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Offset != 1 || corrupt.Next != 2 || corrupt.Record == 0 && !strings.Contains(err.Error(), errTooLarge.Error()) {
			t.Errorf("Each of a %v bomb = %v; want a CorruptError that says so and where to go on", codec, err)
		}
		if len(all) != 1 {
			t.Errorf("Each gives %d records before the %v bomb; want 1", len(all), codec)
		}
		out, _ := unpack(codec, nil, bomb[batchHeader:], limit)
		if cap(out) > 4<<20 {
			t.Errorf("unpack of a %v bomb with a limit of %d takes %d bytes", codec, limit, cap(out))
		}
	}
}

func TestUnpackBelievesNoClaim(t *testing.T) {
	// A zstd frame and a snappy block that claim 200 MB and hold next to nothing.
	zstdLie := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0x00, 0xc2, 0xeb, 0x0b, 0x01, 0x00, 0x00}
	snappyLie := binary.AppendUvarint(nil, 200_000_000)
	for codec, lie := range map[compress.Compression][]byte{compress.Zstd: zstdLie, compress.Snappy: append(snappyLie, 0, 'x')} {
		out, err := unpack(codec, nil, lie, maxUnpacked)
		if err == nil || cap(out) > 4<<20 {
			t.Errorf("unpack of a %v lie = %d bytes of memory, %v; want little, and an error", codec, cap(out), err)
		}
	}
}

func TestUnpackXerial(t *testing.T) {
	want := strings.Repeat("java writes snappy in blocks ", 5000)
	w := new(bytes.Buffer)
	z := compress.Snappy.Codec().NewWriter(w)
	for part := range slices.Chunk([]byte(want), 10_000) {
		if _, err := z.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(w.Bytes(), xerialMagic) {
		t.Fatal("the other side does not write xerial blocks any more")
	}
	got, err := unpack(compress.Snappy, []byte("before "), w.Bytes(), maxUnpacked)
	if err != nil || string(got) != "before "+want {
		t.Errorf("unpack of xerial snappy: %d bytes, %v; want %d", len(got), err, len(want)+7)
	}
	for n := range 40 {
		if _, err := unpack(compress.Snappy, nil, w.Bytes()[:len(w.Bytes())-1-n], maxUnpacked); err == nil {
			t.Errorf("unpack of xerial snappy without its last %d bytes = nil; want an error", n+1)
		}
	}
}

// TestUnpackSmallFrames: a frame that does not tell its size was refused when the buffer
// was smaller than its contents.
func TestUnpackSmallFrames(t *testing.T) {
	for n := range 1500 {
		want := strings.Repeat("ab", n)
		f, err := fetched(encode(t, 0, compress.Zstd, nil, want), 0, false)
		if err != nil {
			t.Fatalf("take of a zstd batch with a value of %d bytes = %v; want nil", len(want), err)
		}
		if got := values(t, f); got != want {
			t.Fatalf("a zstd batch with a value of %d bytes gives one of %d", len(want), len(got))
		}
	}
}

// Snappy data is written in blocks, as Java writes it, so that brokers check it block by
// block; other clients read it as they read Java's.
func TestSnappyIsWrittenInBlocks(t *testing.T) {
	want := []byte(strings.Repeat("some text that repeats itself, and is longer than two blocks. ", 5000))
	packed, err := Pack(compress.Snappy, []byte("before "), want)
	if err != nil {
		t.Fatal(err)
	}
	packed = packed[len("before "):]
	z := compress.Snappy.Codec().NewReader(bytes.NewReader(packed))
	got, err := io.ReadAll(z)
	if err := errors.Join(err, z.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("kafka-go reads %d bytes, %v; want %d", len(got), err, len(want))
	}
	blocks := 0
	for rest := packed[xerialHeader:]; len(rest) > 0; blocks++ {
		n := 4 + binary.BigEndian.Uint32(rest)
		if size, err := s2.DecodedLen(rest[4:n]); err != nil || size > snappyBlock {
			t.Errorf("block %d holds %d bytes (%v); want %d at most", blocks, size, err, snappyBlock)
		}
		rest = rest[n:]
	}
	if want := (len(want) + snappyBlock - 1) / snappyBlock; blocks != want || !bytes.HasPrefix(packed, xerialMagic) {
		t.Errorf("%d blocks behind %q; want %d behind Java's header", blocks, packed[:xerialHeader], want)
	}
}
