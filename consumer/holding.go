package consumer

import (
	"sync"
	"time"

	"trailhound/consumer/kafka/wire"
)

// holding counts the bytes that a prefetcher has fetched and its reader has not given back.
type holding struct {
	of *sharedFetches // nil: it is not counted

	mu    sync.Mutex
	bytes int64
	ended bool
}

func (h *holding) add(bytes int) {
	if h.of == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.bytes += int64(bytes)
		h.of.held.Add(int64(bytes))
	}
}

// end stops counting: a reader that has left gives nothing back.
func (h *holding) end() {
	if h.of == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of.held.Add(-h.bytes)
	h.ended = true
}

// full tells whether many prefetchers together hold more than their memory.
func (h *holding) full() bool { return h.of != nil && h.of.many && h.of.held.Load() > h.of.memory }

// logEnd is the end of a partition as a broker last told its prefetcher, and whether the
// prefetcher's reader moves. It is kept up to date while the reader is held up, too. It is
// safe for concurrent use, and outlasts its prefetchers.
type logEnd struct {
	mu     sync.Mutex
	seen   logView
	reader *wire.Reader // of the prefetcher; nil: its fetches are not shared
}

// logView is a logEnd at a time.
type logView struct {
	answered      time.Time // when a broker last answered; zero: not yet, and the other fields are not known
	highWatermark int64     // end of the log
	lastStable    int64     // end of the records that a read-committed reader gets
	fetched       int64     // offset behind all records fetched, be they read or not
	unread        int       // fetches that the reader has not given back
	unreadSince   time.Time // when the reader got the first of them; zero: there is none
	turns         uint64    // moves while a fetch waits for its turn, which comes (wire.Reader.Turns)
}

// view returns the state by now.
func (e *logEnd) view() logView {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reader != nil {
		e.seen.turns = e.reader.Turns()
	}
	return e.seen
}

// came notes a fetch that the reader is about to get.
func (e *logEnd) came(f *wire.Fetched, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.seen
	s.answered, s.highWatermark, s.lastStable, s.fetched = now, f.HighWatermark, f.LastStable, f.Next
	if s.unread++; s.unread == 1 {
		s.unreadSince = now
	}
}

// reaches notes the end of a log that was asked for while nothing was fetched.
func (e *logEnd) reaches(end int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen.highWatermark = max(e.seen.highWatermark, end)
}

// gone notes that the reader has finished with a fetch, and begins with the next one.
func (e *logEnd) gone(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.seen
	s.unread, s.unreadSince = max(s.unread-1, 0), now
	if s.unread == 0 {
		s.unreadSince = time.Time{}
	}
}

// begin forgets the fetches of a prefetcher that has ended; r is the reader of the next one.
func (e *logEnd) begin(r *wire.Reader) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reader = r
	e.seen.unread, e.seen.unreadSince = 0, time.Time{}
}
