package consumer

import (
	"math"
	"time"

	"trailhound/rules"
	"trailhound/state"
)

const (
	// markStep is how far in event time a partition moves on until each shard is told. The
	// horizon, by which values are swept a week later, needs no better.
	markStep = 12 * time.Hour

	// markEvery is how often each shard is told how far a partition was handed on that it
	// gets no events of: from there it is read when the group's offsets have expired
	// (PROTOCOL R7).
	markEvery = 10 * time.Minute

	// busyEvery is the same while a backlog is read. A former router of the partition may
	// have told the shards, further on, that it was idle: what is told before that place is
	// dropped as a repeat, and told again behind it.
	busyEvery = 10 * time.Second

	// The index of a mark stands behind all events of its record. A partition may become
	// idle where it was busy without a record more.
	busyIndex = math.MaxInt32 - 1
	idleIndex = math.MaxInt32
)

// timeMarks tell the shards of the event time of one input partition, in band
// (PROTOCOL R9): marks travel with the events, so that a restore and a repetition see
// the same. An event tells its own time; a mark is sent where a shard would not know.
type timeMarks struct {
	newest int64 // event time of the fetch at hand, Unix nanoseconds; noNewest: none
	idle   bool  // the router stands at the end of the log, and has committed that
	busy   bool  // a backlog is read
	shards []marked
}

// marked is what a shard was told. A mark tells of the times since the one before it, and of
// those that are newer than what the shard's own events tell: a time that an operator has set
// back must not come again by a router that has kept it.
type marked struct {
	told   bool
	newest int64 // event time that it was told last
	events int64 // newest event time that its events have told since the last mark; noNewest: none
	fresh  int64 // newest event time beyond that; noNewest: none
	idle   bool
	at     int64     // offset below which all was handed on
	when   time.Time // by this machine's clock
}

func newTimeMarks(shards int) timeMarks {
	m := timeMarks{newest: noNewest, shards: make([]marked, shards)}
	for i := range m.shards {
		m.shards[i] = marked{newest: noNewest, events: noNewest, fresh: noNewest}
	}
	return m
}

// observe notes the time of an event that may move it.
func (m *timeMarks) observe(ev *rules.Event) { m.newest = max(m.newest, ev.Time.UnixNano()) }

// event notes that a shard is sent an event.
func (m *timeMarks) event(shard int, ev *rules.Event) {
	t := &m.shards[shard]
	t.newest, t.idle = ev.Time.UnixNano(), false
	t.events = max(t.events, t.newest)
}

// observe notes the newest event time of a fetch whose events have been handed on.
func (t *marked) observe(newest int64) {
	if t.fresh = max(t.fresh, newest); t.fresh <= t.events {
		t.fresh = noNewest
	}
}

// due tells whether a shard has to be told where the partition stands.
func (t *marked) due(m *timeMarks, next int64, now time.Time) bool {
	switch {
	case !t.told, t.idle && m.busy, !t.idle && m.idle:
		return true
	case t.fresh != noNewest && (t.newest == noNewest || t.fresh-min(t.newest, now.UnixNano()) >= int64(markStep)):
		// By the clock too: were an absurd time kept for being near an earlier one that
		// the shard was told, it would come behind the instruction that sets both back.
		return true
	}
	every := markEvery
	if m.busy {
		every = busyEvery
	}
	return next != t.at && now.Sub(t.when) >= every
}

// mark sends a mark to each shard that has to be told, with all records below next handed
// on. A router is idle once it has fetched nothing at end, the last stable offset, and its
// position there is committed, and busy while more is left behind a fetch. Between the two a
// partition is alive: its events tell its time, and a mark for each of them would cost as much
// as they do.
func (r *router) mark(next logPosition, end int64, empty bool, now time.Time) {
	m := &r.marks
	switch {
	case empty && next.offset < end:
		// The log has grown meanwhile. A busy mark at the place of an idle one would be
		// dropped as older: the fetch of what has come tells.
		m.idle = false
		r.progress.idle.Store(false)
		return
	case empty:
		// A router that began below an idle mark would be ignored up to there, and the
		// partition taken for idle while it is read.
		m.idle, m.busy = r.progress.committed.Load() >= next.offset, false
	default:
		m.idle, m.busy = false, next.offset < end
	}
	newest := m.newest
	m.newest = noNewest
	defer func() { r.progress.idle.Store(m.idle) }()
	if next.offset == 0 {
		return // nothing was ever read: a partition that is not known holds nothing back
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
		r.err = r.lanes[shard].addWork(r.ctx, origin{r.progress, next.offset, next.epoch, r.stamp}, r.head, nil)
		if t.fresh != noNewest {
			t.newest = t.fresh
		}
		*t = marked{told: true, newest: t.newest, events: noNewest, fresh: noNewest, idle: m.idle, at: next.offset, when: now}
	}
}
