package consumer

import (
	"sync"
	"sync/atomic"
	"time"
)

// progress is the position of one router: each record below it is acknowledged in every
// lane that it went to (PROTOCOL R1, R2).
type progress struct {
	mu          sync.Mutex
	read        logPosition             // every record below it has been handed to the lanes
	left        int64                   // records behind read, at the time of the fetch
	outstanding map[*parcel]logPosition // parcels with records of this router, and the first one of each

	pulse pulse // of the router

	committed atomic.Int64 // offset that the group has of this router, or of its start
	idle      atomic.Bool  // the router stands at the end of the log, and has sent the shards idle marks

	clock int64       // event time of the acknowledged records; noNewest: not known
	steps []clockStep // times of later records, by offset
}

// clockStep is the event time of a partition at an offset.
type clockStep struct{ offset, clock int64 }

func newProgress(start int64) *progress {
	p := &progress{read: logPosition{start, noEpoch}, clock: noNewest, outstanding: make(map[*parcel]logPosition)}
	p.committed.Store(start)
	return p
}

// behind sets the leader epoch of the record before the start.
func (p *progress) behind(epoch int32) *progress {
	p.read.epoch = epoch
	return p
}

// position returns the offset that may be committed.
func (p *progress) position() int64 { return p.reached().offset }

// reached returns the position that may be committed.
func (p *progress) reached() logPosition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acknowledged()
}

// reachedTime returns the position that may be committed, and the event time of the
// partition before it.
func (p *progress) reachedTime() (at logPosition, clock int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = p.acknowledged()
	for len(p.steps) > 0 && p.steps[0].offset <= at.offset {
		p.clock, p.steps = p.steps[0].clock, p.steps[1:]
	}
	return at, p.clock
}

// step notes that every record below next, in the middle of a fetch, has been handed to the
// lanes, and the partition's event time there.
func (p *progress) step(next logPosition, clock int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = next
	p.steps = append(p.steps, clockStep{next.offset, clock})
}

func (p *progress) acknowledged() logPosition {
	at := p.read
	for _, first := range p.outstanding {
		if first.offset < at.offset {
			at = first
		}
	}
	return at
}

// handed notes that every record below next has been handed to the lanes, and that left
// records are behind it.
func (p *progress) handed(next logPosition, left int64) {
	p.mu.Lock()
	p.read, p.left = next, left
	p.mu.Unlock()
}

// lag returns how many records are left to read.
func (p *progress) lag() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// next returns the offset behind the records handed to the lanes.
func (p *progress) next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read.offset
}

// told says whether all shards have an idle mark of this partition, acknowledged.
func (p *progress) told() bool {
	if !p.idle.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.outstanding) == 0
}

// origin is the input record that a lane's record comes from.
type origin struct {
	router *progress
	offset int64
	epoch  int32 // leader epoch of the record before it in the log; noEpoch: not known
	time   int64 // its timestamp in milliseconds since 1970; -1: it has none
}

// parcel is the bookkeeping of one record batch on its way to a lane's partition. An entry
// of a work record counts as one of its records.
type parcel struct {
	owners   map[*progress]struct{}
	youngest youngest
	records  int
}

// note remembers the origin of a record of the parcel. Offsets of one router come in order,
// so the first one noted is the lowest.
func (c *parcel) note(from origin, now time.Time) {
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

// acknowledge removes the parcel from its routers' outstanding ones, and empties it.
func (c *parcel) acknowledge() {
	for p := range c.owners {
		p.mu.Lock()
		delete(p.outstanding, c)
		p.mu.Unlock()
	}
	clear(c.owners)
	c.youngest, c.records = 0, 0
}
