package state

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// origin names an input partition.
type origin struct {
	topicID   [16]byte
	partition int32
}

// sourcePosition is the place of an event in its input partition.
type sourcePosition struct {
	epoch  int32 // negative: not known
	offset int64
	index  int32
}

// compare orders positions by leader epoch first: records that were written anew behind a
// lost suffix have lower offsets, and a higher epoch (KIP-320). Where an epoch is not
// known, the offset alone tells.
func (p sourcePosition) compare(q sourcePosition) int {
	if p.epoch >= 0 && q.epoch >= 0 && p.epoch != q.epoch {
		return cmp.Compare(p.epoch, q.epoch)
	}
	return cmp.Or(cmp.Compare(p.offset, q.offset), cmp.Compare(p.index, q.index))
}

// source is one input partition as the shard knows it.
type source struct {
	origin
	last    sourcePosition // last event or time mark taken from it
	newest  int64          // newest event time; noTime: none is known
	idle    bool           // its router stood at the end of the log
	retired bool           // of an input that is not read any more: no router will tell that it is idle
}

const (
	flagNewest = 1 << iota // a newest event time is there
	flagIdle
	flagRetired
)

func (s *source) append(dst []byte) []byte {
	dst = binary.AppendVarint(append(dst, formatVersion), int64(s.last.epoch))
	dst = binary.AppendVarint(dst, s.last.offset)
	dst = binary.AppendVarint(dst, int64(s.last.index))
	var flags byte
	if s.newest != noTime {
		flags |= flagNewest
	}
	if s.idle {
		flags |= flagIdle
	}
	if s.retired {
		flags |= flagRetired
	}
	dst = append(dst, flags)
	if s.newest != noTime {
		dst = appendTime(dst, s.newest)
	}
	return dst
}

// decodeSource reads the value of a source; its origin stands in the key.
func decodeSource(value []byte) (source, error) {
	r, err := open(value)
	if err != nil {
		return source{}, err
	}
	s := source{last: sourcePosition{epoch: r.int32(), offset: r.varint(), index: r.int32()}, newest: noTime}
	flags := r.byte()
	if flags&flagNewest != 0 {
		if s.newest = r.time(); s.newest == noTime {
			r.fail()
		}
	}
	s.idle, s.retired = flags&flagIdle != 0, flags&flagRetired != 0
	if flags > flagNewest|flagIdle|flagRetired {
		r.fail()
	}
	return s, r.close()
}

// sources are the input partitions that a shard or a Tx knows.
type sources struct {
	list   []source
	index  map[origin]int // place in list
	shared bool           // index belongs to another sources too
}

// assign makes s a copy of o, in the memory of s. New partitions are rare, so both share
// the index until one of them adds a partition.
func (s *sources) assign(o *sources) {
	s.list = append(s.list[:0], o.list...)
	s.index, s.shared, o.shared = o.index, true, true
}

func (s *sources) get(o origin) *source {
	if i, ok := s.index[o]; ok {
		return &s.list[i]
	}
	return nil
}

// put gives the entry of an input partition, a new one if it is not known.
func (s *sources) put(o origin) (entry *source, added bool) {
	if entry := s.get(o); entry != nil {
		return entry, false
	}
	if s.shared {
		s.index, s.shared = maps.Clone(s.index), false
	}
	if s.index == nil {
		s.index = make(map[origin]int)
	}
	s.index[o] = len(s.list)
	s.list = append(s.list, source{origin: o, last: sourcePosition{epoch: -1, offset: -1}, newest: noTime})
	return &s.list[len(s.list)-1], true
}

// horizon gives the minimum of the newest event times of all partitions that are neither
// idle nor retired, and the maximum of all if each is; noTime: no time is known.
func (s *sources) horizon() int64 {
	slowest, newest, held := int64(noTime), int64(noTime), false
	for i := range s.list {
		e := &s.list[i]
		if e.newest == noTime {
			continue
		}
		newest = max(newest, e.newest)
		if !e.idle && !e.retired && (!held || e.newest < slowest) {
			slowest, held = e.newest, true
		}
	}
	if held {
		return slowest
	}
	return newest
}

// source gives the entry of an input partition in the Tx, a new one if it is not known.
func (t *Tx) source(src *Source) *source {
	o := origin{src.TopicID, src.Partition}
	if t.lastSource < len(t.sources.list) {
		if e := &t.sources.list[t.lastSource]; e.origin == o {
			return e
		}
	}
	e, added := t.sources.put(o)
	t.lastSource = t.sources.index[o]
	if added {
		e.retired = t.shard.reads != nil && !t.shard.reads(o.topicID)
		t.grow(1, 40)
	}
	return e
}

// Newer tells whether src comes after the last source of its (TopicID, Partition), by this
// Tx's own Advance too. An event with a source that is not newer has been evaluated before.
func (t *Tx) Newer(src Source) bool {
	e := t.sources.get(origin{src.TopicID, src.Partition})
	return e == nil || src.position().compare(e.last) > 0
}

func (s *Source) position() sourcePosition { return sourcePosition{s.Epoch, s.Offset, s.Index} }

// Advance remembers src as the last source of its (TopicID, Partition).
func (t *Tx) Advance(src Source) {
	t.invalidate()
	t.source(&src).last = src.position()
}

// Source gives the last source of an input partition; not ok: none yet.
func (t *Tx) Source(topicID [16]byte, partition int32) (last Source, ok bool) {
	e := t.sources.get(origin{topicID, partition})
	if e == nil {
		return Source{}, false
	}
	return Source{TopicID: topicID, Partition: partition, Epoch: e.last.epoch, Offset: e.last.offset, Index: e.last.index}, true
}

// Observe notes the time of an event that src has brought: the newest of its input
// partition and of the shard move on to it if it is newer, and the partition is not idle.
func (t *Tx) Observe(src Source, eventTime time.Time) {
	t.observe(t.source(&src), nanos(eventTime), false)
}

func (t *Tx) observe(e *source, at int64, idle bool) {
	if e.idle == idle && at <= e.newest {
		return
	}
	t.invalidate()
	// With many partitions most events are not of the one that the horizon waits for.
	if idle || e.idle || e.retired || e.newest <= t.horizonAt {
		t.horizonKnown = false
	}
	e.idle = idle
	e.newest = max(e.newest, at)
	t.pos.stream = max(t.pos.stream, at)
	t.reach()
}

// reach notes how far the horizon has come. A partition that was idle, or not known yet,
// may bring older events and set the horizon back; forgotten events stay forgotten.
// Otherwise an answer would depend on how far Sweep had come before that.
func (t *Tx) reach() { t.pos.reached = max(t.pos.reached, t.horizon()) }

// Mark notes a time mark of a router: all of src's input partition up to and including
// src has been handed on, its newest event time is newest (zero: no event with a time has
// come), and idle tells whether the router stands at the end of the log. A mark that
// is not Newer than the last source of its partition must not be noted: a former
// router of the partition has sent it.
func (t *Tx) Mark(src Source, newest time.Time, idle bool) {
	at := int64(noTime)
	if !newest.IsZero() {
		at = nanos(newest)
	}
	e := t.source(&src)
	t.observe(e, at, idle)
	t.invalidate()
	e.last = src.position()
}

// NewestOf gives the newest event time that is known of src's input partition; zero:
// none.
func (t *Tx) NewestOf(src Source) time.Time {
	if e := t.sources.get(origin{src.TopicID, src.Partition}); e != nil {
		return instant(e.newest)
	}
	return time.Time{}
}

// Horizon gives the event time up to which the shard's input has come: the minimum of the
// newest event times of its input partitions, those aside that are idle or retired. Values
// are swept by it. Zero: no time is known, or the store keeps no horizon.
func (t *Tx) Horizon() time.Time { return instant(t.horizon()) }

func (t *Tx) horizon() int64 {
	if t.shard.store.noHorizon {
		return noTime
	}
	if !t.horizonKnown {
		t.horizonAt, t.horizonKnown = t.sources.horizon(), true
	}
	return t.horizonAt
}

// Retire tells the shard which inputs are read. Partitions of a topic for which reads gives
// false do not hold the horizon back, even while the work topic still has records of them,
// and even if the shard meets them only later. That is part of the state of each partition,
// so that a copy agrees with its owner, independent of the configuration of either. It
// holds until the next call, with which each owner begins. The result tells whether it
// changes anything for a partition that is known.
func (t *Tx) Retire(reads func(topicID [16]byte) bool) (changed bool) {
	t.shard.reads = reads
	for i := range t.sources.list {
		e := &t.sources.list[i]
		if retired := !reads(e.topicID); e.retired != retired {
			t.invalidate()
			e.retired, t.horizonKnown, changed = retired, false, true
		}
	}
	t.reach()
	return changed
}

// Rewind sets back to an instant the times that are beyond that instant: the newest of each
// input partition and of the shard, and the horizon. An operator asks for it after an event
// of an absurd time. No event that was remembered before is remembered for longer than
// within beyond the instant. Values and events that were swept meanwhile do not come back.
// The result tells whether any time has moved.
func (t *Tx) Rewind(to time.Time, within time.Duration) (moved bool) {
	at := nanos(to)
	for i := range t.sources.list {
		if e := &t.sources.list[i]; e.newest > at {
			e.newest, moved = at, true
		}
	}
	if t.pos.stream > at {
		t.pos.stream, moved = at, true
	}
	if moved {
		t.invalidate()
		t.pos.reached = min(t.pos.reached, at)
		t.horizonKnown = false
		t.rememberUntil(after(at, within))
	}
	return moved
}

// buildSources adds the partitions that have changed to the changes.
func (t *Tx) buildSources() {
	for i := range t.sources.list {
		e := &t.sources.list[i]
		if i < len(t.shard.sources.list) && t.shard.sources.list[i] == *e {
			continue
		}
		k := parts{kind: kindSource, hash: e.topicID, partition: e.partition}
		t.key = k.append(t.key[:0])
		t.value = e.append(t.value[:0])
		t.put(t.key, t.value)
	}
}

// SourceState is one input partition as a shard knows it.
type SourceState struct {
	Last    Source    // last event or time mark; without the topic's name
	Newest  time.Time // newest event time; zero: none is known
	Idle    bool      // its router stood at the end of the log
	Retired bool      // Retire was told that its topic is not read any more
}

// Sources gives the input partitions that the shard knows, by topic id and partition.
func (h *Shard) Sources() []SourceState {
	out := make([]SourceState, len(h.sources.list))
	for i := range h.sources.list {
		e := &h.sources.list[i]
		out[i] = SourceState{
			Last:   Source{TopicID: e.topicID, Partition: e.partition, Epoch: e.last.epoch, Offset: e.last.offset, Index: e.last.index},
			Newest: instant(e.newest), Idle: e.idle, Retired: e.retired,
		}
	}
	slices.SortFunc(out, func(a, b SourceState) int {
		return cmp.Or(slices.Compare(a.Last.TopicID[:], b.Last.TopicID[:]), cmp.Compare(a.Last.Partition, b.Last.Partition))
	})
	return out
}
