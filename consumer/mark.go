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
)

// timeMarks tell the shards of the event time of one input partition, in band
// (PROTOCOL R9): marks travel with the events, so that a restore and a repetition see
// the same. An event tells its own time; a mark is sent where a shard would not know.
type timeMarks struct {
	newest int64 // event time, Unix nanoseconds; noNewest: no event yet
	idle   bool  // the router stands at the end of the log
	shards []marked
}

// marked is what a shard was told.
type marked struct {
	told   bool
	newest int64
	idle   bool
	at     int64     // offset below which all was handed on
	when   time.Time // by this machine's clock
}

func newTimeMarks(shards int) timeMarks {
	return timeMarks{newest: noNewest, shards: make([]marked, shards)}
}

// observe notes the time of an event that may move it.
func (m *timeMarks) observe(ev *rules.Event) { m.newest = max(m.newest, ev.Time.UnixNano()) }

// event notes that a shard is sent an event.
func (m *timeMarks) event(shard int, ev *rules.Event) {
	t := &m.shards[shard]
	t.newest, t.idle = max(t.newest, ev.Time.UnixNano()), false
}

// due tells whether a shard has to be told where the partition stands.
func (t *marked) due(m *timeMarks, next int64, now time.Time) bool {
	switch {
	case !t.told, t.idle != m.idle:
		return true
	case m.newest != noNewest && (t.newest == noNewest || m.newest-t.newest >= int64(markStep)):
		return true
	}
	return next != t.at && now.Sub(t.when) >= markEvery
}

// mark sends a mark to each shard that has to be told, with all records below next handed
// on. A router is idle once it has fetched nothing at the end of the log, and is no more when
// more is left behind a fetch than came with it: between the two, a partition is alive.
func (r *router) mark(next, end int64, empty bool, now time.Time) {
	m := &r.marks
	switch {
	case empty && next >= end:
		m.idle = true
	case next < end:
		m.idle = false
	}
	if next == 0 {
		return // nothing was ever read: a partition that is not known holds nothing back
	}
	for shard := range m.shards {
		t := &m.shards[shard]
		if r.err != nil || !t.due(m, next, now) {
			continue
		}
		w := work{
			source:     state.Source{Topic: r.in.topic, TopicID: r.in.topicID, Partition: r.in.partition, Epoch: r.epoch, Offset: next - 1, Index: math.MaxInt32},
			recordTime: r.stamp, newest: m.newest, idle: m.idle,
		}
		r.head = w.appendHead(r.head[:0])
		r.err = r.lanes[shard].addWork(r.ctx, origin{r.progress, next - 1, r.stamp}, r.head, nil)
		*t = marked{told: true, newest: m.newest, idle: m.idle, at: next, when: now}
	}
}
