package wire

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"
)

const (
	// memoryShares is the number of parts into which a process divides its memory limit. A
	// record may unpack to one part, batches that are unpacked as a whole have one part
	// together, and so have the bytes that all readers hold without asking. A record that
	// is read with the turn takes three parts at most: the window of the codec, its bytes,
	// and the data packed inside it.
	memoryShares = 8

	leastBatch = 64 << 10 // bytes of a batch that a reader unpacks without asking, at least
	mostBatch  = 4 << 20  // the same, at most
	mostWhole  = 8 << 20  // bytes of a batch that is unpacked as a whole

	// leastWindow is the window that every reader of zstd should have (RFC 8878, 3.1.1.1.2).
	leastWindow = 8 << 20

	// usualRoom is the room for batches of a process without a memory limit.
	usualRoom = 64 << 20
)

// Memory bounds the unpacked bytes that all readers of a process hold at a time. It has
// three steps, which are always taken in this order, so that readers do not wait for each
// other in a circle:
//
//   - each reader unpacks a batch of its share without asking;
//   - a larger one takes as much of the room, which batches that are unpacked as a whole have
//     together;
//   - the largest ones, which are read piece by piece, and records beyond a few MiB take turns:
//     one reader of the process holds such a thing at a time.
//
// A reader that has room or the turn may wait for a broker, but not for another reader (see
// Turn.Held). Memory is safe for concurrent use.
type Memory struct {
	limit int64 // of the process; 0: not known
	most  int   // bytes of a record
	whole int   // bytes of a batch that is unpacked as a whole
	share atomic.Int64
	total int64 // of room
	room  portion
	turn  portion
	held  []metrics.Sample // for settle

	mu     sync.Mutex
	stream *zstd.Decoder // a decoder that is not in use; nil: none is
}

// portion is memory that goroutines acquire and release.
type portion struct {
	*semaphore.Weighted
	moves atomic.Uint64 // counts the steps of its holders: acquisitions, progress, releases
}

// Release gives back n, and counts as a move.
func (p *portion) Release(n int64) {
	p.moves.Add(1)
	p.Weighted.Release(n)
}

// NewMemory returns the memory of a process with a limit in bytes (0: not known). A record
// may unpack to maxUnpacked bytes; 0 means MostUnpacked(limit).
func NewMemory(limit, maxUnpacked int64) *Memory {
	if maxUnpacked <= 0 {
		maxUnpacked = MostUnpacked(limit)
	}
	m := &Memory{limit: limit, total: usualRoom}
	m.turn.Weighted = semaphore.NewWeighted(1)
	if limit > 0 {
		m.total = min(m.total, limit/memoryShares)
	}
	m.whole = int(min(mostWhole, m.total/2))
	m.most = int(max(maxUnpacked, int64(m.whole)))
	m.room.Weighted = semaphore.NewWeighted(m.total)
	m.Divide(1)
	return m
}

// Divide sets the number of readers from now on: routers, detectors, or ranges that are
// read side by side.
func (m *Memory) Divide(readers int) {
	if m != nil {
		m.share.Store(min(max(m.total/int64(max(readers, 1)), leastBatch), mostBatch, int64(m.whole)))
	}
}

// Share is the bytes that each reader may unpack without asking: of a batch, and as many
// again of a record.
func (m *Memory) Share() int {
	if m == nil {
		return unbounded.Share()
	}
	return int(m.share.Load())
}

// MostUnpacked is the most bytes that a record may unpack to in a process with a memory
// limit (0: not known), unless its configuration sets another bound.
func MostUnpacked(limit int64) int64 {
	if limit <= 0 {
		return maxUnpacked
	}
	return min(maxUnpacked, limit/memoryShares)
}

// unbounded is the memory of clients without one of their own.
var unbounded = NewMemory(0, 0)

// settle gives garbage back to the system when there is much of it: a large record must not
// come on top of the garbage of the last one. A memory limit alone makes the collector run
// too late for that, since allocation goes on meanwhile. It is called with the turn.
func (m *Memory) settle() {
	if m.limit == 0 {
		return
	}
	if m.held == nil {
		m.held = []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/live:bytes"}}
	}
	metrics.Read(m.held)
	held := int64(m.held[0].Value.Uint64() - m.held[1].Value.Uint64())
	if garbage := held - int64(m.held[2].Value.Uint64()); held > m.limit/2 && garbage > m.limit/4 {
		debug.FreeOSMemory()
	}
}

// Turn is the claim of one goroutine on memory for unpacked bytes. All fetches that a
// goroutine reads side by side must have the same Turn, and the data that it unpacks out of
// their records goes by it too: a locked Turn may be locked again. The zero value is ready.
type Turn struct {
	Memory  *Memory         // nil: that of a process without a limit
	Context context.Context // its end ends the waits of cursors and of Lock; nil: they do not end

	// Waiting, unless nil, is called before the goroutine waits for others, with a counter
	// that moves as long as these make progress, and with nil after the wait.
	Waiting func(others *atomic.Uint64)

	// Begin, unless nil, is called when a cursor has taken the turn for the records from
	// offset to before next. If it fails, they are not unpacked, and the *CorruptError that
	// names them wraps its error.
	Begin func(offset, next int64) error
	// Locked, unless nil, is called when Lock has taken the turn, and Unlocked when the
	// turn is given up, also by a cursor.
	Locked, Unlocked func()

	depth int
	room  int64
}

// Held says whether the goroutine holds memory that others may wait for. It must not wait
// for them then: it closes its cursors, which are cheap to open again.
func (t *Turn) Held() bool { return t.depth > 0 || t.room > 0 }

// Lock waits until no other goroutine of the process has the turn. False: Context has ended
// before, and the turn is not taken.
func (t *Turn) Lock() bool {
	if t.lock(t.context()) != nil {
		return false
	}
	if t.depth == 1 && t.Locked != nil {
		t.Locked()
	}
	return true
}

func (t *Turn) lock(ctx context.Context) error {
	if t.depth == 0 {
		if err := t.acquire(ctx, &t.memory().turn, 1); err != nil {
			return err
		}
		t.memory().settle()
	}
	t.depth++
	return nil
}

// acquire takes n of a portion, and reports the wait for it to Waiting.
func (t *Turn) acquire(ctx context.Context, from *portion, n int64) error {
	if !from.TryAcquire(n) {
		if t.Waiting != nil {
			t.Waiting(&from.moves)
			defer t.Waiting(nil)
		}
		if err := from.Acquire(ctx, n); err != nil {
			return err
		}
	}
	from.moves.Add(1)
	return nil
}

// Beat reports progress to the goroutines that wait for the memory of this one.
func (t *Turn) Beat() {
	if t.depth > 0 {
		t.memory().turn.moves.Add(1)
	}
	if t.room > 0 {
		t.memory().room.moves.Add(1)
	}
}

// Unlock undoes one Lock.
func (t *Turn) Unlock() {
	if t.depth--; t.depth > 0 {
		return
	}
	if t.Unlocked != nil {
		t.Unlocked()
	}
	t.memory().turn.Release(1)
}

// take waits for room for n bytes, and returns the bytes to give back. A goroutine that
// holds room already does not wait for more, lest it wait for itself.
func (t *Turn) take(n int) (int64, error) {
	room := &t.memory().room
	size := min(int64(n), t.memory().total)
	if t.room > 0 {
		if !room.TryAcquire(size) {
			return 0, nil
		}
	} else if err := t.acquire(t.context(), room, size); err != nil {
		return 0, err
	}
	t.room += size
	return size, nil
}

func (t *Turn) give(size int64) {
	if size > 0 {
		t.room -= size
		t.memory().room.Release(size)
	}
}

func (t *Turn) memory() *Memory {
	if t.Memory == nil {
		return unbounded
	}
	return t.Memory
}

func (t *Turn) context() context.Context {
	if t.Context == nil {
		return context.Background()
	}
	return t.Context
}

// window is the largest window of a codec in data that is read piece by piece.
func (m *Memory) window() int { return min(max(m.most, leastWindow), zstd.MaxWindowSize) }

// zstd returns a decoder that reads from a stream, with memory for the frames' windows.
func (m *Memory) zstd() *zstd.Decoder {
	m.mu.Lock()
	defer m.mu.Unlock()
	if z := m.stream; z != nil {
		m.stream = nil
		return z
	}
	// A batch has a checksum over all of its bytes.
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.IgnoreChecksum(true),
		zstd.WithDecoderMaxWindow(uint64(m.window())))
	if err != nil {
		panic(err) // an option that the library does not take: every test would meet it
	}
	return z
}

// putZstd takes a decoder back, unless its last frames had a large window.
func (m *Memory) putZstd(z *zstd.Decoder, window int) {
	_ = z.Reset(nil) // which lets go of its source, and cannot fail
	if window > mostWhole {
		z.Close()
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stream = z
}
