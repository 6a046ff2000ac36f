package wire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/compress"
)

// event is about the size of a CloudTrail event, and compresses about as well.
func event(rng *rand.Rand) []byte {
	b := []byte(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"`)
	for len(b) < 1700 {
		b = fmt.Appendf(b, `"field%d":"%016x","arn":"arn:aws:iam::123456789012:role/some-role-name","sourceIPAddress":"10.%d.%d.%d","userAgent":"aws-cli/2.15"},{`,
			rng.IntN(20), rng.Uint64(), rng.IntN(256), rng.IntN(256), rng.IntN(256))
	}
	return b
}

// benchSet returns about 1 MB of batches, as a fetch brings them, and the number of records.
func benchSet(b testing.TB, codec compress.Compression) (set []byte, records int) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	batch := Batch{Codec: codec}
	for len(set) < 1<<20 {
		batch.Reset()
		for range 60 {
			batch.Append(1_700_000_000_000, []byte("key"), event(rng), Header{"h", []byte("v")})
		}
		one, err := batch.Encode(nil, NoProducer)
		if err != nil {
			b.Fatal(err)
		}
		one[6] = byte(records >> 8) // base offset
		one[7] = byte(records)
		set, records = append(set, one...), records+60
	}
	return set, records
}

// decode goes through a set as Fetch and Each do, and returns the number of records.
func decode(b testing.TB, f *Fetched, set []byte) (n int) {
	f.reset(FetchRequest{ReadCommitted: true})
	if err := f.take(set); err != nil {
		b.Fatal(err)
	}
	if err := f.Each(func(r *Record) bool { n += min(1, len(r.Value)); return true }); err != nil {
		b.Fatal(err)
	}
	return n
}

func BenchmarkDecode(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			set, records := benchSet(b, codec)
			var f Fetched
			decode(b, &f, set)
			b.ReportAllocs()
			b.SetBytes(int64(len(set)))
			for b.Loop() {
				if n := decode(b, &f, set); n != records {
					b.Fatalf("%d records; want %d", n, records)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var values [][]byte
	for range 600 {
		values = append(values, event(rng))
	}
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			batch := Batch{Codec: codec}
			var out []byte
			key, header := []byte("key"), []Header{{"h", []byte("v")}}
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				for _, v := range values {
					batch.Append(1, key, v, header...)
				}
				var err error
				if out, err = batch.Encode(out[:0], NoProducer); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/record")
		})
	}
}

// TestAllocations keeps the hot paths free of work for the garbage collector: a few
// allocations for a whole fetch or batch, of thousands of records, are allowed.
func TestAllocations(t *testing.T) {
	for _, codec := range allCodecs {
		set, records := benchSet(t, codec)
		var f Fetched
		decode(t, &f, set)
		if got := testing.AllocsPerRun(20, func() { decode(t, &f, set) }); got > float64(records)/20 {
			t.Errorf("decode of %d records in %v: %.0f allocations; want none per record", records, codec, got)
		}
		batch := Batch{Codec: codec}
		var out []byte
		header := []Header{{"h", []byte("v")}}
		value := slices.Repeat([]byte("v"), 300)
		write := func() {
			batch.Reset()
			for range 1000 {
				batch.Append(1, nil, value, header...)
			}
			out, _ = batch.Encode(out[:0], NoProducer)
		}
		write()
		if got := testing.AllocsPerRun(20, write); got > 20 {
			t.Errorf("encode of 1000 records in %v: %.0f allocations; want none per record", codec, got)
		}
	}
}
