package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// memoryOf returns a memory with other figures than those that follow from a limit.
func memoryOf(most, whole, share int) *Memory {
	m := NewMemory(0, 0)
	m.most, m.whole = most, whole
	m.share.Store(int64(share))
	return m
}

// packings are the forms in which producers pack records.
func packings(t testing.TB, plain []byte) map[string]struct {
	codec compress.Compression
	bytes []byte
} {
	t.Helper()
	type packing = struct {
		codec compress.Compression
		bytes []byte
	}
	all := map[string]packing{"raw snappy": {compress.Snappy, s2.EncodeSnappy(nil, plain)}}
	for _, codec := range allCodecs[1:] {
		b, err := Pack(codec, nil, plain)
		if err != nil {
			t.Fatal(err)
		}
		all[codec.String()] = packing{codec, b}
	}
	for name, frame := range lz4Frames(t, plain) {
		all["lz4 with "+name] = packing{compress.Lz4, frame}
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	half := len(plain) / 2
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}
	all["two zstd frames"] = packing{compress.Zstd, slices.Concat(z.EncodeAll(plain[:half], nil), skippable, z.EncodeAll(plain[half:], nil))}
	var streamed, members bytes.Buffer
	if z, err = zstd.NewWriter(&streamed, zstd.WithWindowSize(1<<20)); err != nil {
		t.Fatal(err)
	}
	g := gzip.NewWriter(&members)
	for part := range slices.Chunk(plain, half+1) {
		_, e1 := z.Write(part)
		e2 := z.Flush()
		_, e3 := g.Write(part)
		e4 := g.Close()
		g.Reset(&members)
		if err := errors.Join(e1, e2, e3, e4); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	all["zstd as a stream"] = packing{compress.Zstd, streamed.Bytes()}
	all["gzip in members"] = packing{compress.Gzip, members.Bytes()}
	return all
}

// mixed are values of all sizes up to most.
func mixed(rng *rand.Rand, n, most int) (all []string) {
	for i := range n {
		size := rng.IntN(1 << rng.IntN(12))
		if i%17 == 3 {
			size = most/2 + rng.IntN(most/2)
		}
		all = append(all, fmt.Sprintf("%d:%s", i, strings.Repeat(string(rune('a'+i%26)), size)))
	}
	return all
}

// In pieces of any size, the records of a batch are the same.
func TestPiecesAreTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	want := mixed(rng, 400, 300<<10)
	plain := encode(t, 0, compress.None, nil, want...)
	for name, p := range packings(t, plain[batchHeader:]) {
		for _, m := range []*Memory{nil, memoryOf(64<<20, 64<<20, 1<<10), memoryOf(64<<20, 64<<10, 1<<10)} {
			for _, from := range []int64{0, 1, 137, 399} {
				f := &Fetched{memory: m}
				f.reset(FetchRequest{Offset: from})
				if err := f.take(withRecords(plain, p.bytes, p.codec)); err != nil {
					t.Fatal(err)
				}
				all, _, err := entries(f)
				if err != nil || len(all) != len(want)-int(from) {
					t.Fatalf("%s from %d: %d records, %v; want %d", name, from, len(all), err, len(want)-int(from))
				}
				for i := range all {
					if string(all[i].value) != want[int(from)+i] {
						t.Fatalf("%s from %d: record %d is another one", name, from, i)
					}
				}
				if m != nil && (!m.turn.TryAcquire(1) || !m.room.TryAcquire(m.total)) {
					t.Fatalf("%s: the memory is not given back", name)
				} else if m != nil {
					m.turn.Release(1)
					m.room.Release(m.total)
				}
			}
		}
	}
}

// A record that takes too much is named alone, with its beginning; a reader that goes on
// behind it reads the records around it.
func TestRecordTooLarge(t *testing.T) {
	want := []string{"before", strings.Repeat("large ", 100_000), "between", strings.Repeat("LARGE ", 100_000), "behind"}
	plain := encode(t, 0, compress.None, nil, want...)
	for name, p := range packings(t, plain[batchHeader:]) {
		if name == "raw snappy" {
			continue // which cannot be read in parts
		}
		f := &Fetched{memory: memoryOf(400<<10, 64<<10, 1<<10)}
		f.reset(FetchRequest{})
		if err := f.take(withRecords(plain, p.bytes, p.codec)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			all, offsets, err := entries(f)
			for i, e := range all {
				got = append(got, fmt.Sprint(offsets[i], string(e.value)))
			}
			corrupt, ok := errors.AsType[*CorruptError](err)
			if !ok {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				break
			}
			if corrupt.Record < 600_000 || corrupt.Next != corrupt.Offset+1 || len(corrupt.Bytes) < 100 || !strings.HasPrefix(want[corrupt.Offset], string(corrupt.Bytes[:100])) {
				t.Fatalf("%s: Each = %+v; want the one record, its size and its beginning", name, corrupt)
			}
			got = append(got, fmt.Sprint(corrupt.Offset))
			f.Skip(corrupt.Next)
		}
		if fmt.Sprint(got) != "[0before 1 2between 3 4behind]" {
			t.Errorf("%s: %.200q; want the small records and the places of the large ones", name, got)
		}
	}
}

// A batch of 200 MB takes the memory of its records, in each packing.
func TestPiecesTakeLittle(t *testing.T) {
	value := strings.Repeat("a", 500_000)
	plain := encode(t, 0, compress.None, nil, slices.Repeat([]string{value}, 400)...)
	sets := map[string][]byte{}
	for _, codec := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		packed, err := Pack(codec, nil, plain[batchHeader:])
		if err != nil {
			t.Fatal(err)
		}
		sets[codec.String()] = withRecords(plain, packed, codec)
	}
	plain = nil
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	for name, set := range sets {
		before, most, n := heap(), int64(0), 0
		f := &Fetched{memory: NewMemory(64<<20, 0)}
		f.reset(FetchRequest{})
		if err := f.take(set); err != nil {
			t.Fatal(err)
		}
		err := f.Each(func(*Record) bool {
			if n++; n%100 == 50 {
				most = max(most, heap()-before)
			}
			return true
		})
		if err != nil || n != 400 {
			t.Errorf("%s: %d records, %v; want 400", name, n, err)
		}
		if most > 8<<20 {
			t.Errorf("%s: %d MiB are held for records of half a MiB", name, most>>20)
		}
	}
}

// One goroutine of the process reads a large batch at a time, batches that are unpacked as
// a whole have their room together, and a goroutine waits no more after the end of its
// context.
func TestTurns(t *testing.T) {
	m := memoryOf(1<<20, 64<<10, 1<<10)
	large := encode(t, 6, compress.Zstd, nil, slices.Repeat([]string{strings.Repeat("x", 50_000)}, 20)...)
	medium := encode(t, 1, compress.Lz4, nil, slices.Repeat([]string{strings.Repeat("y", 5_000)}, 5)...)
	var inside, most atomic.Int32
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			turn := &Turn{Memory: m}
			for range 10 {
				f := &Fetched{Turn: turn}
				f.reset(FetchRequest{})
				if err := f.take(slices.Concat(encode(t, 0, compress.Gzip, nil, "z"), medium, large)); err != nil {
					t.Error(err)
					return
				}
				records := 0
				err := f.Each(func(r *Record) bool {
					records++
					if !turn.Lock() { // as a goroutine that unpacks the record may
						t.Error("the turn is refused")
						return false
					}
					defer turn.Unlock()
					now := inside.Add(1)
					most.Store(max(most.Load(), now))
					runtime.Gosched()
					inside.Add(-1)
					return true
				})
				if err != nil || records == 0 || turn.Held() {
					t.Errorf("Each = %v after %d records, the turn held: %t", err, records, turn.Held())
				}
			}
		})
	}
	wait.Wait()
	if most.Load() != 1 {
		t.Errorf("%d goroutines had the turn at the same time", most.Load())
	}

	holder := &Turn{Memory: m}
	if !holder.Lock() {
		t.Fatal("the turn is refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	f := &Fetched{Turn: &Turn{Memory: m, Context: ctx}}
	f.reset(FetchRequest{})
	if err := f.take(large); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Each(func(*Record) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("Each of a large batch whose context has ended = %v; want that", err)
	}
	// The unpacking of a record waited for the turn for ever, and with it the end of its
	// partition.
	locked, unlocked := 0, 0
	other := &Turn{Memory: m, Context: ctx, Locked: func() { locked++ }, Unlocked: func() { unlocked++ }}
	if other.Lock() || other.Held() || locked != 0 {
		t.Errorf("Lock of a turn that another goroutine has, when the context has ended, takes it")
	}
	holder.Unlock()
	other = &Turn{Memory: m, Context: t.Context(), Locked: func() { locked++ }, Unlocked: func() { unlocked++ }}
	for range 2 {
		if !other.Lock() || locked != 1 {
			t.Errorf("Lock does not take the turn that is free, or tells %d times of it; want once", locked)
		}
	}
	other.Unlock()
	if other.Unlock(); other.Held() || unlocked != 1 {
		t.Errorf("Unlock tells %d times that the turn is given up; want once", unlocked)
	}
}

// most returns how many bytes a fetch holds unpacked at most, while its records are read.
func (f *Fetched) most(t testing.TB) (most int) {
	t.Helper()
	c := f.Cursor()
	defer c.Close()
	for more := true; more; {
		more = c.Next()
		held := cap(c.stream.lz4.out) + c.stream.window
		if c.buffer != nil {
			held += cap(*c.buffer)
		}
		most = max(most, held)
	}
	return most
}
