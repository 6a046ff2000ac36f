package wire

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/internal/primitive"
)

// sealAll writes the checksums of all batches of a set, so that a fuzzer gets past them.
func sealAll(set []byte) {
	for len(set) >= batchHeader {
		length := int(int32(binary.BigEndian.Uint32(set[atLength:]))) + logOverhead
		if length < batchHeader || length > len(set) {
			return
		}
		seal(set[:length])
		set = set[length:]
	}
}

func FuzzTake(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add(slices.Concat(encode(f, 0, codec, nil, strings.Repeat("compressible ", 20), "b"), hollow(f, 2, 3), marker(f, 6, 1, 0)), int64(0), int64(1), int64(0))
	}
	f.Add(encode(f, 5, compress.None, attribute(logAppendTimeBit|transactionalBit), "x"), int64(5), int64(-1), int64(3))
	f.Fuzz(func(t *testing.T, set []byte, from, producer, first int64) {
		sealAll(set)
		in := Fetched{memory: memoryOf(1<<20, 64<<10, 4<<10)}
		in.reset(FetchRequest{Offset: from, ReadCommitted: first%2 == 0})
		in.filter.expected = append(in.filter.expected, abortedTransaction{producer, first})
		if err := in.take(set); err != nil {
			if len(in.sections) > 0 || in.Next != from {
				t.Fatalf("take = %v with %d sections and Next %d; want none and %d", err, len(in.sections), in.Next, from)
			}
			return
		}
		if in.Next < from {
			t.Fatalf("take: Next %d; want no less than the offset asked for, %d", in.Next, from)
		}
		held := in.most(t)
		if most := 12<<20 + 3*len(set); held > most {
			t.Fatalf("Each of %d bytes holds %d; want at most %d", len(set), held, most)
		}
		all, offsets, err := entries(&in)
		for _, offset := range offsets {
			if offset < from || offset >= in.Next {
				t.Fatalf("Each: a record at offset %d; want it from %d to below Next, %d", offset, from, in.Next)
			}
		}
		if err != nil || len(all) == 0 {
			return
		}
		b := Batch{Codec: compress.Compression(len(set) % 5)}
		for _, e := range all {
			b.Append(e.time, e.key, e.value, e.headers...)
		}
		again, err := b.Encode(nil, NoProducer)
		if err != nil {
			t.Fatal(err)
		}
		out, err := fetched(again, 0, true)
		if err != nil {
			t.Fatalf("take of what Encode made = %v; want nil", err)
		}
		got, _, err := entries(out)
		if err != nil || len(got) != len(all) {
			t.Fatalf("Each of what Encode made: %d records, %v; want %d", len(got), err, len(all))
		}
		for i := range all {
			if got[i].String() != all[i].String() {
				t.Fatalf("record %d after Encode = %v; want %v", i, got[i], all[i])
			}
		}
	})
}

func FuzzResponses(f *testing.F) {
	body := make([]byte, 10) // throttle time, code, session
	body = appendString(appendInt32(body, 1), "t")
	body = appendInt32(appendInt32(body, 1), 3) // one partition, number 3
	body = append(body, make([]byte, 26)...)    // code and offsets
	body = appendInt64(appendInt64(appendInt32(body, 1), 9), 0)
	body = appendInt32(body, -1) // preferred replica
	f.Add(appendBytes(body, encode(f, 0, compress.Lz4, nil, "a", "b")))
	f.Add(flexibleAnswer(encode(f, 0, compress.Zstd, nil, "a", "b")))
	f.Fuzz(func(t *testing.T, body []byte) {
		for version := apiFetch.min; version <= apiFetch.max; version++ {
			var in Fetched
			in.reset(seedRequest)
			var a fetchAnswer
			r := primitive.Reader{Rest: body}
			a.read(&r, version, &in)
			if !r.Bad && a.verdict("fetch", seedRequest) == nil && in.take(a.batches) == nil {
				_ = in.Each(func(*Record) bool { return true })
			}
		}
		parts := []*PartitionBatch{{Topic: "t", Partition: 3}}
		for _, read := range []func(*primitive.Reader){
			func(r *primitive.Reader) { readTopics(r) },
			func(r *primitive.Reader) { readProduced(r, 7, parts) },
			func(r *primitive.Reader) { readProduced(r, 8, parts) },
			func(r *primitive.Reader) { readAdded(parts)(r, 2) },
		} {
			read(&primitive.Reader{Rest: body})
		}
	})
}

// seedRequest is the request that the fuzzer's seeds answer.
var seedRequest = FetchRequest{Topic: "t", TopicID: [16]byte{7}, Partition: 3}

// flexibleAnswer is the body of a Fetch v13 response with one aborted transaction.
func flexibleAnswer(batches []byte) []byte {
	body := make([]byte, 10) // throttle time, code, session
	body = append(body, 2)
	body = append(body, seedRequest.TopicID[:]...)
	body = append(body, 2)
	body = append(appendInt32(body, 3), make([]byte, 26)...) // code and offsets
	body = append(body, 2)
	body = append(appendInt64(appendInt64(body, 9), 0), 0)
	body = appendInt32(body, -1) // preferred replica
	body = append(binary.AppendUvarint(body, uint64(len(batches))+1), batches...)
	return append(body, 0, 0, 0)
}

func TestFuzzSeedsAreWhole(t *testing.T) {
	// The seeds of FuzzResponses must be responses, or the fuzzer starts from nothing.
	body := make([]byte, 10)
	body = appendString(appendInt32(body, 1), "t")
	body = append(appendInt32(appendInt32(body, 1), 3), make([]byte, 26)...)
	body = appendInt32(appendInt32(body, 0), -1)
	batches := encode(t, 0, compress.None, nil, "a")
	for version, body := range map[int16][]byte{11: appendBytes(body, batches), 13: flexibleAnswer(batches)} {
		r := primitive.Reader{Rest: body}
		var in Fetched
		in.reset(seedRequest)
		var a fetchAnswer
		a.read(&r, version, &in)
		if err := a.verdict("fetch", seedRequest); err != nil || r.Bad || len(r.Rest) != 0 || len(a.batches) == 0 {
			t.Errorf("the fuzzer's seed for version %d: %+v, %v, %d bytes left; want a whole response", version, a, err, len(r.Rest))
		}
	}
}
