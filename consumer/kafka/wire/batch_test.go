package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"pgregory.net/rapid"
)

var allCodecs = []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}

// entry is a record as it is put into a batch.
type entry struct {
	time       int64
	key, value []byte
	headers    []Header
}

func (e entry) String() string {
	return fmt.Sprintf("{time %d, key %q (null %t), value %q (null %t), headers %q}", e.time, e.key, e.key == nil, e.value, e.value == nil, e.headers)
}

// fetched returns the records of a set as a fetch from offset on does.
func fetched(set []byte, offset int64, committed bool, aborted ...abortedTransaction) (*Fetched, error) {
	var f Fetched
	f.reset(FetchRequest{Topic: "t", Partition: 3, Offset: offset, ReadCommitted: committed})
	f.filter.expected = append(f.filter.expected, aborted...)
	return &f, f.take(set)
}

func entries(f *Fetched) (all []entry, offsets []int64, err error) {
	err = f.Each(func(r *Record) bool {
		e := entry{r.Timestamp, bytes.Clone(r.Key), bytes.Clone(r.Value), slices.Collect(r.Headers())}
		for i := range e.headers {
			e.headers[i].Value = bytes.Clone(e.headers[i].Value)
		}
		all = append(all, e)
		offsets = append(offsets, r.Offset)
		return true
	})
	return all, offsets, err
}

func genEntry(t *rapid.T) entry {
	blob := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 200),
		rapid.Map(rapid.IntRange(0, 20_000), func(n int) []byte { return bytes.Repeat([]byte("ab"), n) }))
	e := entry{time: rapid.Int64Range(-1, 1<<50).Draw(t, "time"), key: blob.Draw(t, "key"), value: blob.Draw(t, "value")}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		e.headers = append(e.headers, Header{rapid.String().Draw(t, "name"), rapid.SliceOf(rapid.Byte()).Draw(t, "header")})
	}
	return e
}

func TestDecodeUndoesEncode(t *testing.T) {
	batches := make(map[compress.Compression]*Batch)
	for _, codec := range allCodecs {
		batches[codec] = &Batch{Codec: codec}
	}
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(allCodecs).Draw(t, "codec")
		b := batches[codec]
		b.Reset()
		want := rapid.SliceOfN(rapid.Custom(genEntry), 1, 20).Draw(t, "entries")
		for i, e := range want {
			would := b.SizeWith(e.time, e.key, e.value, e.headers...)
			b.Append(e.time, e.key, e.value, e.headers...)
			if b.Len() != i+1 || b.Size() != would {
				t.Fatalf("after Append: Len() = %d, Size() = %d; want %d, and %d as SizeWith said", b.Len(), b.Size(), i+1, would)
			}
		}
		set, err := b.Encode([]byte("before"), NoProducer)
		if err != nil || !bytes.HasPrefix(set, []byte("before")) {
			t.Fatalf("Encode(%v) = %q…, %v; want it appended", codec, set[:min(6, len(set))], err)
		}
		if set = set[6:]; len(set) > b.Size() {
			t.Fatalf("Encode(%v) takes %d bytes; want at most Size() = %d", codec, len(set), b.Size())
		}
		f, err := fetched(set, 0, rapid.Bool().Draw(t, "committed"))
		if err != nil {
			t.Fatal(err)
		}
		got, offsets, err := entries(f)
		if err != nil || len(got) != len(want) || f.Next != int64(len(want)) {
			t.Fatalf("decoded %d records, Next %d, %v; want %d", len(got), f.Next, err, len(want))
		}
		for i := range want {
			if got[i].String() != want[i].String() || offsets[i] != int64(i) {
				t.Fatalf("decoded record %d at offset %d = %v; want %v", i, offsets[i], got[i], want[i])
			}
		}
	})
}

func TestEncodeRefuses(t *testing.T) {
	var b Batch
	if got, err := b.Encode([]byte("x"), NoProducer); err == nil || string(got) != "x" || b.Size() != 0 {
		t.Errorf("Encode of an empty batch = %q, %v, Size() %d; want x, an error, 0", got, err, b.Size())
	}
	b.Codec = 7
	b.Append(0, nil, nil)
	if got, err := b.Encode([]byte("x"), NoProducer); err == nil || string(got) != "x" {
		t.Errorf("Encode with codec 7 = %q, %v; want x and an error", got, err)
	}
}

func TestEncodeDoesNotGrowWhatDoesNotCompress(t *testing.T) {
	noise := make([]byte, 200_000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(noise)
	for _, codec := range allCodecs {
		b := Batch{Codec: codec}
		for part := range slices.Chunk(noise, 50_000) { // packed ahead, those that are
			b.Append(1, nil, part)
		}
		set, err := b.Encode(nil, NoProducer)
		if err != nil || len(set) > b.Size() {
			t.Errorf("Encode(%v) of noise takes %d bytes, %v; want at most %d", codec, len(set), err, b.Size())
		}
		if f, err := fetched(set, 0, false); err != nil || len(f.sections) != 1 {
			t.Errorf("decode of noise with %v: %d sections, %v; want 1", codec, len(f.sections), err)
		}
	}
}

func TestVarintSize(t *testing.T) {
	for _, v := range []int64{0, -1, 1, 63, 64, -64, -65, 8191, 8192, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		if got, want := varintSize(v), len(binary.AppendVarint(nil, v)); got != want {
			t.Errorf("varintSize(%d) = %d; want %d", v, got, want)
		}
	}
}

func TestPartitionOf(t *testing.T) {
	// From org.apache.kafka.common.utils.UtilsTest.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d; want %d", key, got, want)
		}
		if got, want := PartitionOf([]byte(key), 7), (want&0x7fffffff)%7; got != want {
			t.Errorf("PartitionOf(%q, 7) = %d; want %d", key, got, want)
		}
	}
}
