package consumer

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

// marksOf returns the marks that wait in a partition producer, and empties it.
func marksOf(t *testing.T, l *partitionProducer) (marks []work) {
	t.Helper()
	if l.bundle.size() == 0 {
		return nil
	}
	all, err := worksOf(entryReader{}, l.bundle.record())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.isMark() {
			marks = append(marks, w)
		}
	}
	return marks
}

// A router that waits for a slower partition in the middle of a fetch sends its newest time
// before it waits: a mark hours later could bring back a time that was set back meanwhile.
func TestMarksBeforeARouterWaits(t *testing.T) {
	l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
	l.init()
	ended, stop := context.WithCancel(t.Context())
	stop()
	meter := admin.NewMetrics("test").Input("t", 0)
	t.Cleanup(meter.Close)
	r := &router{in: input{topic: "t", topicID: [16]byte{1}}, progress: newAckTracker(0), marks: newTimeMarks(1), producers: []*partitionProducer{l}, meter: meter, ctx: ended, now: alignEpoch}
	a := newAlignment(time.Hour)
	a.update(inputKey{"slow", 0}, alignEpoch, func(in *inputTime) { in.backlog, in.clock = true, hour(0) })
	r.gate = newGate(a, inputKey{"t", 0}, hour(3), true, alignEpoch)
	r.marks.observe(&rules.Event{Time: time.Unix(0, hour(600_000))}) // of record 6
	if r.admit(&wire.Record{Offset: 7, LastEpoch: 3}) {
		t.Fatal("admit() = true three hours ahead of the slowest; want it to wait")
	}
	r.await(*r.parked)
	marks := marksOf(t, l)
	if len(marks) != 1 || marks[0].newest != hour(600_000) || marks[0].source.Offset != 6 || marks[0].source.Index != busyIndex {
		t.Errorf("marks %+v; want one with the time of the records before, behind the last of them", marks)
	}
	if m := &r.marks; m.newest != noNewest || m.shards[0].fresh != noNewest {
		t.Error("the router still holds a time; want it told")
	}
}

// The first marks of a router carry no record's time: 0 would be one of 1970, and the partition producer
// would take them for part of a backlog, and wait for more.
func TestMarkBeforeAnyRecordHasNoTime(t *testing.T) {
	client := wire.NewClient(nil, nil, nil, nil)
	t.Cleanup(client.Close)
	l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
	l.init()
	r := &router{in: input{topic: "t", topicID: [16]byte{1}}, prefetcher: prefetcher{client: client}, progress: newAckTracker(5), marks: newTimeMarks(1), producers: []*partitionProducer{l}}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := r.run(ended); err != nil {
		t.Fatal(err)
	}
	r.mark(logPosition{5, 3}, 5, true, alignEpoch)
	if marks := marksOf(t, l); len(marks) != 1 || marks[0].recordTime != -1 {
		t.Errorf("marks before any record: %+v; want one without a record time", marks)
	}
}

// A shard is told a partition's time if its events do not tell it, and the end of the log;
// while a partition is alive nothing is sent beside the events.
func TestMarks(t *testing.T) {
	const shards = 2
	r := &router{in: input{topic: "t", topicID: [16]byte{1}}, progress: newAckTracker(0), marks: newTimeMarks(shards), ctx: t.Context()}
	for range shards {
		l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
		l.init()
		r.producers = append(r.producers, l)
	}
	now, next := alignEpoch.Add(30*24*time.Hour), int64(0)
	type mark struct {
		newest float64 // hours; -1: none
		idle   bool
	}
	step := func(what string, records int64, left int64, at float64, toShard int, after time.Duration, want [shards][]mark) {
		t.Helper()
		now, next = now.Add(after), next+records
		if at >= 0 {
			ev := &rules.Event{Time: time.Unix(0, hour(at))}
			if r.marks.observe(ev); toShard >= 0 {
				r.marks.event(toShard, ev)
			}
		}
		if r.mark(logPosition{next, 3}, next+left, records == 0, now); r.err != nil {
			t.Fatal(r.err)
		}
		for n, l := range r.producers {
			var got []mark
			for _, w := range marksOf(t, l) {
				m := mark{-1, w.idle}
				if w.newest != noNewest {
					m.newest = time.Duration(w.newest - hour(0)).Hours()
				}
				if got = append(got, m); w.source.Offset != next-1 || w.source.Epoch != 3 || (w.source.Index == idleIndex) != w.idle {
					t.Errorf("%s: shard %d is told %+v; want the last record below %d", what, n, w.source, next)
				}
			}
			if len(got) != len(want[n]) || len(got) == 1 && got[0] != want[n][0] {
				t.Errorf("%s: shard %d is told %v; want %v", what, n, got, want[n])
			}
		}
	}
	none := [shards][]mark{}
	step("an empty partition", 0, 0, -1, -1, 0, none)
	step("the first fetch of a backlog", 5, 90, 0, 0, 0, [shards][]mark{{{-1, false}}, {{0, false}}})
	step("a backlog", 5, 85, 1, 0, 0, none)
	step("half a day further", 5, 80, 12, 0, 0, [shards][]mark{nil, {{12, false}}})
	step("told again while busy", 5, 75, 12, 0, busyEvery, [shards][]mark{{{-1, false}}, {{12, false}}})
	step("the last fetch", 75, 0, 13, 1, 0, none)
	// The next router begins at the committed offset, and a shard drops its marks below an idle
	// one: the shard would take the partition for idle for as long as it is read up to there.
	step("the end of the log, which is not committed", 0, 0, -1, -1, 0, none)
	if r.progress.told() {
		t.Error("told() = true before the position is committed; want false")
	}
	r.progress.committed.Store(next)
	step("the end of the log", 0, 0, -1, -1, 0, [shards][]mark{{{13, true}}, {{-1, true}}})
	if r.progress.told() {
		t.Error("told() = true with the marks on their way; want false")
	}
	step("still the end", 0, 0, -1, -1, time.Hour, none)
	step("an event when it is alive", 1, 0, 13, 0, 0, [shards][]mark{{{-1, false}}, {{13, false}}}) // an hour has passed since the last mark
	step("another", 1, 0, 13, 0, 0, none)
	r.progress.committed.Store(next)
	step("the end again", 0, 0, -1, -1, 0, [shards][]mark{{{-1, true}}, {{13, true}}})
	step("records that come just behind an empty fetch", 0, 5, -1, -1, 0, none)
	if r.progress.idle.Load() {
		t.Error("idle = true with records behind the router; want false")
	}
	step("a backlog again", 5, 9, 14, 1, 0, [shards][]mark{{{14, false}}, nil})
}

// A router holds no absurd time back that it could send behind the instruction of an
// operator: neither one that an event of the shard has told, nor one that a mark has told,
// nor a second one near the first. Each is told at once or not at all, and the marks of
// later fetches have their own times.
func TestMarksBringNoTimeBack(t *testing.T) {
	absurd := hour(600_000)
	for name, own := range map[string]bool{"told by the shard's event": true, "told by a mark": false} {
		t.Run(name, func(t *testing.T) {
			l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: entryWriter{codec: compress.None}}
			l.init()
			r := &router{in: input{topic: "t", topicID: [16]byte{1}}, progress: newAckTracker(0), marks: newTimeMarks(1), producers: []*partitionProducer{l}, ctx: t.Context()}
			now, next := alignEpoch, int64(0)
			fetch := func(at int64, own bool) (newest []int64) {
				now, next = now.Add(time.Second), next+1
				ev := &rules.Event{Time: time.Unix(0, at)}
				if r.marks.observe(ev); own {
					r.marks.event(0, ev)
				}
				if r.mark(logPosition{next, 3}, next, false, now); r.err != nil {
					t.Fatal(r.err)
				}
				for _, w := range marksOf(t, l) {
					newest = append(newest, w.newest)
				}
				return newest
			}
			fetch(hour(0), false)
			for i, at := range []int64{absurd, absurd + int64(time.Hour), absurd - int64(time.Hour)} {
				got := fetch(at, own)
				if !own && !slices.Equal(got, []int64{at}) {
					t.Errorf("absurd event %d: told %v; want its time at once", i, got)
				}
			}
			now = now.Add(markEvery) // an operator sets the times back here
			if got := fetch(hour(0.2), false); len(got) != 1 || got[0] > hour(0.2) {
				t.Errorf("after the times were set back: told %v; want one mark, without an absurd time", got)
			}
			now = now.Add(markEvery)
			if got := fetch(hour(0.4), false); !slices.Equal(got, []int64{hour(0.4)}) {
				t.Errorf("told %v; want the partition's time of now, %d", got, hour(0.4))
			}
		})
	}
}
