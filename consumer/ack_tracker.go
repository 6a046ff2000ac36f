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
	p := &ackTracker{read: logPosition{start, noEpoch}, clock: noNewest, outstanding: make(map[*inflightBatch]logPosition)}
	p.committed.Store(start)
	return p
}

// behind sets the leader epoch of the record before the start.
func (p *ackTracker) behind(epoch int32) *ackTracker {
	p.read.epoch = epoch
	return p
}

// position returns the offset that may be committed.
func (p *ackTracker) position() int64 { return p.reached().offset }

// reached returns the position that may be committed.
func (p *ackTracker) reached() logPosition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acknowledged()
}

// reachedTime returns the position that may be committed, and the event time of the
// partition before it.
func (p *ackTracker) reachedTime() (at logPosition, clock int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = p.acknowledged()
	for len(p.steps) > 0 && p.steps[0].offset <= at.offset {
		p.clock, p.steps = p.steps[0].clock, p.steps[1:]
	}
	return at, p.clock
}

// step notes that every record below next, in the middle of a fetch, has been handed to the
// partition producers, and the partition's event time there.
func (p *ackTracker) step(next logPosition, clock int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = next
	p.steps = append(p.steps, clockStep{next.offset, clock})
}

func (p *ackTracker) acknowledged() logPosition {
	at := p.read
	for _, first := range p.outstanding {
		if first.offset < at.offset {
			at = first
		}
	}
	return at
}

// handed notes that every record below next has been handed to the partition producers, and that left
// records are behind it.
func (p *ackTracker) handed(next logPosition, left int64) {
	p.mu.Lock()
	p.read, p.left = next, left
	p.mu.Unlock()
}

// lag returns how many records are left to read.
func (p *ackTracker) lag() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// next returns the offset behind the records handed to the partition producers.
func (p *ackTracker) next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read.offset
}

// told says whether all shards have an idle mark of this partition, acknowledged.
func (p *ackTracker) told() bool {
	if !p.idle.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.outstanding) == 0
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
func (c *inflightBatch) note(from sourceOffset, now time.Time) {
	c.records++
	c.youngest.add(from.time, func() time.Time { return now })
	p := from.router
	if _, ok := c.owners[p]; ok {
		return
	}
	c.owners[p] = struct{}{}
	p.mu.Lock()
	p.outstanding[c] = logPosition{from.offset, from.epoch}
	p.mu.Unlock()
}

// acknowledge removes the in-flight batch from its routers' outstanding ones, and empties it.
func (c *inflightBatch) acknowledge() {
	for p := range c.owners {
		p.mu.Lock()
		delete(p.outstanding, c)
		p.mu.Unlock()
	}
	clear(c.owners)
	c.youngest, c.records = 0, 0
}
