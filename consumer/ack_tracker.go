package consumer

import (
	"sync"
	"sync/atomic"
	"time"
)

// ackTracker is the position of one router: each record below it is acknowledged in every
// partition producer that it went to (PROTOCOL R1, R2).
type ackTracker struct {
	mu          sync.Mutex
	read        logPosition                    // every record below it has been handed to the partition producers
	left        int64                          // records behind read, at the time of the fetch
	outstanding map[*inflightBatch]logPosition // in-flight batches with records of this router, and the first one of each

	pulse pulse // of the router

	committed atomic.Int64 // offset that the group has of this router, or of its start
	idle      atomic.Bool  // the router stands at the end of the log, and has sent the shards idle marks

	clock int64       // event time of the acknowledged records; noNewest: not known
	steps []clockStep // times of later records, by offset
}

// clockStep is the event time of a partition at an offset.
type clockStep struct{ offset, clock int64 }

func newAckTracker(start int64) *ackTracker {
	a := &ackTracker{read: logPosition{start, noEpoch}, clock: noNewest, outstanding: make(map[*inflightBatch]logPosition)}
	a.committed.Store(start)
	return a
}

// behind sets the leader epoch of the record before the start.
func (a *ackTracker) behind(epoch int32) *ackTracker {
	a.read.epoch = epoch
	return a
}

// position returns the offset that may be committed.
func (a *ackTracker) position() int64 { return a.reached().offset }

// reached returns the position that may be committed.
func (a *ackTracker) reached() logPosition {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acknowledged()
}

// reachedTime returns the position that may be committed, and the event time of the
// partition before it.
func (a *ackTracker) reachedTime() (at logPosition, clock int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at = a.acknowledged()
	for len(a.steps) > 0 && a.steps[0].offset <= at.offset {
		a.clock, a.steps = a.steps[0].clock, a.steps[1:]
	}
	return at, a.clock
}

// step notes that every record below next, in the middle of a fetch, has been handed to the
// partition producers, and the partition's event time there.
func (a *ackTracker) step(next logPosition, clock int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read = next
	a.steps = append(a.steps, clockStep{next.offset, clock})
}

func (a *ackTracker) acknowledged() logPosition {
	at := a.read
	for _, first := range a.outstanding {
		if first.offset < at.offset {
			at = first
		}
	}
	return at
}

// handed notes that every record below next has been handed to the partition producers, and that left
// records are behind it.
func (a *ackTracker) handed(next logPosition, left int64) {
	a.mu.Lock()
	a.read, a.left = next, left
	a.mu.Unlock()
}

// lag returns how many records are left to read.
func (a *ackTracker) lag() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left
}

// next returns the offset behind the records handed to the partition producers.
func (a *ackTracker) next() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.read.offset
}

// told says whether all shards have an idle mark of this partition, acknowledged.
func (a *ackTracker) told() bool {
	if !a.idle.Load() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.outstanding) == 0
}

// sourceOffset is the input record that a partition producer's record comes from.
type sourceOffset struct {
	router *ackTracker
	offset int64
	epoch  int32 // leader epoch of the record before it in the log; noEpoch: not known
	time   int64 // its timestamp in milliseconds since 1970; -1: it has none
}

// inflightBatch is the bookkeeping of one record batch of a partition producer, which is being
// filled or on its way to the partition. An entry of a work record counts as one of its records.
type inflightBatch struct {
	owners   map[*ackTracker]struct{}
	youngest newestTimestamp
	records  int
}

// note remembers the origin of a record of the in-flight batch. Offsets of one router come in order,
// so the first one noted is the lowest.
func (b *inflightBatch) note(from sourceOffset, now time.Time) {
	b.records++
	b.youngest.add(from.time, func() time.Time { return now })
	a := from.router
	if _, ok := b.owners[a]; ok {
		return
	}
	b.owners[a] = struct{}{}
	a.mu.Lock()
	a.outstanding[b] = logPosition{from.offset, from.epoch}
	a.mu.Unlock()
}

// acknowledge removes the in-flight batch from its routers' outstanding ones, and empties it.
func (b *inflightBatch) acknowledge() {
	for a := range b.owners {
		a.mu.Lock()
		delete(a.outstanding, b)
		a.mu.Unlock()
	}
	clear(b.owners)
	b.youngest, b.records = 0, 0
}
