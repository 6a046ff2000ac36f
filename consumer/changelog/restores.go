package changelog

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"trailhound/consumer/kafka/wire"
)

// reportEvery is how often a restore is reported while it goes on.
const reportEvery = 5 * time.Second

// maxRounds bounds the loads at work at a time. Each holds a fetch, its unpacked
// records and a batch for Pebble, tens of MiB in all; more of them than processors
// would cost memory and win nothing.
const maxRounds = 8

// Restores is shared by the restores of one instance: it bounds their memory and
// reports their progress. Its fields are set before the first use and not changed after.
type Restores struct {
	// Report is called every few seconds while shards are being restored, and once more
	// when no shard is left. nil: no reports.
	Report func(Restoration)
	// Every is the time between reports; 0: 5 s.
	Every time.Duration

	mu      sync.Mutex
	free    []*wire.Fetched
	made    int
	waiting []*round
	left    map[int32]int64 // partition → offsets still to read
	since   time.Time       // the first of them began
	read    int64           // offsets, since then
	total   int64           // offsets, ever
	told    time.Time
	begun   bool // a report has been made, so that the end is reported too
}

// Restoration is how far the restores of an instance are.
type Restoration struct {
	Shards int   // still being restored
	Left   int64 // changelog offsets that they have still to read
	Read   int64 // changelog offsets read since the first of them began
	Took   time.Duration
}

// Rate gives the offsets read in a second.
func (r Restoration) Rate() float64 {
	if r.Took <= 0 {
		return 0
	}
	return float64(r.Read) / r.Took.Seconds()
}

// Remaining returns the time left at the rate so far; not ok: there is no rate yet.
func (r Restoration) Remaining() (d time.Duration, ok bool) {
	seconds := float64(r.Left) / r.Rate()
	if r.Read == 0 || seconds > math.MaxInt32 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// round waits for a buffer to fetch into.
type round struct {
	left int64
	got  chan *wire.Fetched
}

// buffer waits for a buffer to fetch into. The restore with the least left to read
// comes first: a shard with a local copy is ready at once, however much the others
// have still to read.
func (r *Restores) buffer(ctx context.Context, left int64) (*wire.Fetched, error) {
	r.mu.Lock()
	if n := len(r.free); n > 0 {
		f := r.free[n-1]
		r.free = r.free[:n-1]
		r.mu.Unlock()
		return f, nil
	}
	if r.made < min(2*runtime.GOMAXPROCS(0), maxRounds) {
		r.made++
		r.mu.Unlock()
		return new(wire.Fetched), nil
	}
	w := &round{left: left, got: make(chan *wire.Fetched, 1)}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case f := <-w.got:
		return f, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, w); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	} else {
		r.release(<-w.got)
	}
	return nil, ctx.Err()
}

// busy says whether a restore waits for a buffer.
func (r *Restores) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0
}

// give hands a buffer to the next restore that waits, or keeps it.
func (r *Restores) give(f *wire.Fetched) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(f)
}

func (r *Restores) release(f *wire.Fetched) {
	if len(r.waiting) == 0 {
		r.free = append(r.free, f)
		return
	}
	next := 0
	for i, w := range r.waiting {
		if w.left < r.waiting[next].left {
			next = i
		}
	}
	w := r.waiting[next]
	r.waiting = slices.Delete(r.waiting, next, next+1)
	w.got <- f
}

// advance notes the number of offsets that a partition has still to read, and the number
// just read.
func (r *Restores) advance(partition int32, left, read int64) {
	r.note(func() {
		r.left[partition] = max(left, 0)
		r.read += read
		if left > 0 {
			r.total += read
		}
	})
}

// Total returns how many changelog offsets all restores have read so far, without the last
// round of each.
func (r *Restores) Total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// end notes that a partition is not being restored any more: it is complete, or
// the restore was given up.
func (r *Restores) end(partition int32) {
	r.note(func() { delete(r.left, partition) })
}

// note changes the notes and reports them when it is time. The buffers go when no
// shard is left: a running instance has better use for the memory.
func (r *Restores) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.left) == 0 {
		r.left, r.since, r.told, r.read, r.begun = make(map[int32]int64), now, now, 0, false
	}
	change()
	s := Restoration{Shards: len(r.left), Read: r.read, Took: now.Sub(r.since)}
	for _, n := range r.left {
		s.Left += n
	}
	if s.Shards == 0 {
		r.made -= len(r.free)
		r.free = nil
	}
	every := r.Every
	if every == 0 {
		every = reportEvery
	}
	if due := now.Sub(r.told) >= every; r.Report != nil && (due || r.begun && s.Shards == 0) {
		r.told, r.begun = now, true
		r.Report(s)
	}
}
