package wire

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/segmentio/kafka-go/compress"
)

// partlyRandom returns size bytes; the first of them, random many, do not compress.
func partlyRandom(size, random int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size)
	for i := range random {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

// The buffers that fetches are unpacked into are used again, across codecs. A buffer waited
// under the size that it had grown to, and was asked for by another: by the most that LZ4
// may unpack to, 255 times its own. One was made anew for nearly each batch.
func TestUnpackingBuffersAreUsedAgain(t *testing.T) {
	const value, rounds = 300 << 10, 50
	plain := encode(t, 0, compress.None, nil, partlyRandom(value, 30<<10))
	for name, p := range packings(t, plain[batchHeader:]) {
		f := &Fetched{memory: NewMemory(0, 0)}
		set := withRecords(plain, p.bytes, p.codec)
		read := func() {
			f.reset(FetchRequest{})
			if err := f.take(set); err != nil {
				t.Fatal(err)
			}
			if err := f.Each(func(*Record) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
		read()
		read() // the first one does not know how much there is
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			read()
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > value/4 {
			t.Errorf("%s: %d bytes are allocated for each fetch that unpacks to %d; want next to none", name, each, value)
		}
	}
}

// A buffer that was asked for small, and has grown, is found by the same request.
func TestBufferPoolFindsWhatHasGrown(t *testing.T) {
	for _, asked := range []int{0, smallBuffer, 5 * smallBuffer} {
		var p bufferPool
		b := p.get(asked)
		*b = make([]byte, 0, max(4*asked, 2*smallBuffer))
		p.put(b)
		if got := p.get(asked); got != b {
			t.Errorf("get(%d) after one that had grown to %d bytes gives another one; want that", asked, cap(*b))
		}
		if p.kept != 0 {
			t.Errorf("%d bytes are kept by an empty pool", p.kept)
		}
	}
}

// A pool that was full of buffers of sizes that nothing asks for any more took no others:
// each batch was unpacked into a new one.
func TestBufferPoolMakesRoom(t *testing.T) {
	var p bufferPool
	for size := idleBuffer; p.kept+int64(size) <= idleBuffers; {
		b := make([]byte, 0, size)
		p.put(&b)
		if len(p.idle[bufferSize(size)]) == mostIdle {
			size /= 2
		}
		if size < smallBuffer {
			t.Skip("on one processor a pool keeps too few buffers of each size to be full")
		}
	}
	b := make([]byte, 0, idleBuffer/2)
	for range 3 {
		if p.put(&b); p.kept > idleBuffers {
			t.Fatalf("%d bytes are kept; want at most %d", p.kept, idleBuffers)
		}
		if got := p.get(cap(b)); got != &b {
			t.Fatal("a full pool has not kept a buffer that came back")
		}
	}
}

// A batch of LZ4 may unpack to 255 times its size, and seldom does. As long as the reader's
// share suffices, it needs no room of the process, which others may hold.
func TestLZ4TakesNoRoomWithinTheShare(t *testing.T) {
	const share = 40 << 10
	m := memoryOf(64<<20, 8<<20, share)
	holder := &Turn{Memory: m}
	if _, err := holder.take(int(m.total)); err != nil {
		t.Fatal(err)
	}
	waits, stop := context.WithCancel(t.Context())
	stop()
	for size, want := range map[int]error{share / 2: nil, 2 * share: context.Canceled} {
		f := &Fetched{Turn: &Turn{Memory: m, Context: waits}}
		f.reset(FetchRequest{})
		if err := f.take(encode(t, 0, compress.Lz4, nil, partlyRandom(size, 5<<10))); err != nil {
			t.Fatal(err)
		}
		if err := f.Each(func(*Record) bool { return true }); !errors.Is(err, want) {
			t.Errorf("Each of %d bytes with a share of %d, while others hold all room = %v; want %v", size, share, err, want)
		}
	}
	holder.give(m.total)
}

// The limit of unpacked bytes holds within a block of LZ4, too. Such a block once got the
// room for all of it first: 4 MiB, however low the limit.
func TestLZ4LimitHoldsWithinABlock(t *testing.T) {
	const limit = 64 << 10
	zeros := make([]byte, 4<<20)
	for name, frame := range lz4Frames(t, zeros) {
		out, err := unpackLz4(nil, frame, limit)
		if !errors.Is(err, errTooLarge) {
			t.Errorf("unpackLz4 of a frame with %s = %v; want errTooLarge", name, err)
		}
		if cap(out) > 2*limit {
			t.Errorf("unpackLz4 of a frame with %s takes %d bytes with a limit of %d", name, cap(out), limit)
		}
	}
}
