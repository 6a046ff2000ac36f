package consumer

import (
	"math"
	"time"

	"trailhound/rules"
	"trailhound/state"
)

const (
	// The index of a mark is above those of all events of its record. The idle mark is the
	// higher one: a partition may become idle at the record of its busy mark.
	busyIndex = math.MaxInt32 - 1
	idleIndex = math.MaxInt32
)

// timeMarks tell the shards the event time of one input partition, in band (PROTOCOL R9):
// marks travel with the events, so that a restore and a repetition see the same. An event
// tells its own time; a mark tells a shard the times that its own events do not.
type timeMarks struct {
	newest int64 // event time of the fetch at hand, Unix nanoseconds; noNewest: none
	idle   bool  // the router stands at the end of the log, and has committed that offset
	busy   bool  // the router reads a backlog
	shards []marked
}

// marked is the state of one shard's marks. A mark tells the newest event time since the
// one before it, if that is beyond the shard's own events: a router must not send a time
// again that an operator has set back meanwhile.
type marked struct {
	told   bool
	newest int64 // event time that the shard was told last
	events int64 // newest time of the shard's events since the last mark; noNewest: none
	fresh  int64 // newest event time beyond that; noNewest: none
	idle   bool
	at     int64     // offset of the last mark: all records below it were handed on
	when   time.Time // by this machine's clock
}

func newTimeMarks(shards int) timeMarks {
	m := timeMarks{newest: noNewest, shards: make([]marked, shards)}
	for i := range m.shards {
		m.shards[i] = marked{newest: noNewest, events: noNewest, fresh: noNewest}
	}
	return m
}

// observe notes the time of an event that may move the partition's time.
func (m *timeMarks) observe(ev *rules.Event) { m.newest = max(m.newest, ev.Time.UnixNano()) }

// event notes that a shard is sent an event.
func (m *timeMarks) event(shard int, ev *rules.Event) {
	t := &m.shards[shard]
	t.newest, t.idle = ev.Time.UnixNano(), false
	t.events = max(t.events, t.newest)
}

// observe notes the newest event time of a fetch after its events were handed on.
func (t *marked) observe(newest int64) {
	if t.fresh = max(t.fresh, newest); t.fresh <= t.events {
		t.fresh = noNewest
	}
}

// due tells whether a shard needs a mark.
func (t *marked) due(m *timeMarks, next int64, now time.Time) bool {
	switch {
	case !t.told, t.idle && m.busy, !t.idle && m.idle:
		return true
	case t.fresh != noNewest && (t.newest == noNewest || t.fresh-min(t.newest, now.UnixNano()) >= int64(markStep)):
		// By the clock too: an absurd time, kept for being near an earlier one that the shard was
		// told, would else be sent behind the instruction that sets both back.
		return true
	}
	every := markEvery
	if m.busy {
		every = busyEvery
	}
	return next != t.at && now.Sub(t.when) >= every
}

// mark sends a mark to each shard that needs one, with all records below next handed on. A
// router is idle once it has fetched nothing at end, the last stable offset, and its position
// there is committed; it is busy while more is left behind a fetch. In between its events
// tell the partition's time, and a mark for each of them would cost as much as they do.
func (r *router) mark(next logPosition, end int64, empty bool, now time.Time) {
	m := &r.marks
	switch {
	case empty && next.offset < end:
		// The log has grown meanwhile. A busy mark at the offset of an idle one would be dropped
		// as a repeat; the fetch of the new records sends the next one.
		m.idle = false
		r.progress.idle.Store(false)
		return
	case empty:
		// Before the commit a new router may begin below the idle mark: its marks would be
		// dropped up to there, and the partition taken for idle while it is read.
		m.idle, m.busy = r.progress.committed.Load() >= next.offset, false
	default:
		m.idle, m.busy = false, next.offset < end
	}
	newest := m.newest
	m.newest = noNewest
	defer func() { r.progress.idle.Store(m.idle) }()
	if next.offset == 0 {
		return // no record was ever read: a partition that is not known holds nothing back
	}
	for shard := range m.shards {
		t := &m.shards[shard]
		t.observe(newest)
		if r.err != nil || !t.due(m, next.offset, now) {
			continue
		}
		index := int32(busyIndex)
		if m.idle {
			index = idleIndex
		}
		w := work{
			source:     state.Source{Topic: r.in.topic, TopicID: r.in.topicID, Partition: r.in.partition, Epoch: next.epoch, Offset: next.offset - 1, Index: index},
			recordTime: r.stamp, newest: t.fresh, idle: m.idle,
		}
		r.head = w.appendHead(r.head[:0])
		r.err = r.producers[shard].addWork(r.ctx, sourceOffset{r.progress, next.offset, next.epoch, r.stamp}, r.head, nil)
		if t.fresh != noNewest {
			t.newest = t.fresh
		}
		*t = marked{told: true, newest: t.newest, events: noNewest, fresh: noNewest, idle: m.idle, at: next.offset, when: now}
	}
}
