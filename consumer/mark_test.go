package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/wire"
	"trailhound/rules"
)

// marksOf returns the marks that wait in a lane, and empties it.
func marksOf(t *testing.T, l *lane) (marks []work) {
	t.Helper()
	if l.bundle.size() == 0 {
		return nil
	}
	all, err := worksOf(entries{}, l.bundle.record())
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

// The first marks of a router carry no record's time: 0 would be one of 1970, and the lane
// would take them for part of a backlog, and wait for more.
func TestMarkBeforeAnyRecordHasNoTime(t *testing.T) {
	client := wire.NewClient(nil, nil, nil, nil)
	t.Cleanup(client.Close)
	l := &lane{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: bundle{codec: compress.None}}
	l.init()
	r := &router{in: input{topic: "t", topicID: [16]byte{1}}, feed: feed{client: client}, progress: newProgress(5), marks: newTimeMarks(1), lanes: []*lane{l}}
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

// A shard is told of a partition's time where its events do not tell it, and of the end of
// the log; while a partition is alive nothing is sent beside the events.
func TestMarks(t *testing.T) {
	const shards = 2
	r := &router{in: input{topic: "t", topicID: [16]byte{1}}, progress: newProgress(0), marks: newTimeMarks(shards), ctx: t.Context()}
	for range shards {
		l := &lane{most: 1 << 20, limit: 1 << 20, now: time.Now, bundle: bundle{codec: compress.None}}
		l.init()
		r.lanes = append(r.lanes, l)
	}
	now, next := alignEpoch, int64(0)
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
		for n, l := range r.lanes {
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
	all := func(m mark) [shards][]mark { return [shards][]mark{{m}, {m}} }
	none := [shards][]mark{}
	step("an empty partition", 0, 0, -1, -1, 0, none)
	step("the first fetch of a backlog", 5, 90, 0, 0, 0, all(mark{0, false}))
	step("a backlog", 5, 85, 1, 0, 0, none)
	step("half a day further", 5, 80, 12, 0, 0, [shards][]mark{nil, {{12, false}}})
	step("told again while busy", 5, 75, 12, 0, busyEvery, all(mark{12, false}))
	step("the last fetch", 75, 0, 13, 1, 0, none)
	step("the end of the log", 0, 0, -1, -1, 0, [shards][]mark{{{13, true}}, {{13, true}}})
	step("still the end", 0, 0, -1, -1, time.Hour, none)
	step("an event when it is alive", 1, 0, 13, 0, 0, [shards][]mark{{{13, false}}, {{13, false}}}) // an hour has passed
	step("another", 1, 0, 13, 0, 0, none)
	step("the end again", 0, 0, -1, -1, 0, all(mark{13, true}))
	step("records that come just behind an empty fetch", 0, 5, -1, -1, 0, none)
	if r.progress.idle.Load() {
		t.Error("idle = true with records behind the router; want false")
	}
	step("a backlog again", 5, 9, 14, 1, 0, [shards][]mark{{{14, false}}, nil})
}
