package state_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// onPartition runs fn in a Scope of an event of an input partition, and applies it.
func onPartition(t *testing.T, h *state.Shard, partition int32, at time.Time, fn func(s *state.Scope)) {
	t.Helper()
	n := h.Position().Changelog
	r := state.Ref{ID: fmt.Sprint("event-", n), Time: at, Source: state.Source{Topic: "trail", Partition: partition, Offset: n}}
	tx := h.Begin()
	tx.Observe(r.Source, at)
	s := tx.Scope("rule", "key", r)
	fn(s)
	s.Commit()
	tx.Sweep(100)
	apply(t, h, tx)
}

// Partitions drift apart in a backlog, and one that was idle, or that nothing was known
// of, may bring a burst of days ago. None of its events is too late for its own
// partition, so each of them meets those before it: a timeline that measures lateness
// from its own newest event would look at each of them alone.
func TestTimelineOfPartitionsThatDrift(t *testing.T) {
	const burst = 20
	for name, first := range map[string]func(tx *state.Tx){
		"unknown": func(*state.Tx) {},
		"behind":  func(tx *state.Tx) { tx.Observe(state.Source{Partition: 1}, minute(0)) },
		"idle":    func(tx *state.Tx) { tx.Mark(state.Source{Partition: 1}, minute(0), true) },
		"no time": func(tx *state.Tx) { tx.Mark(state.Source{Partition: 1}, time.Time{}, false) },
	} {
		for _, noHorizon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/NoHorizon=%t", name, noHorizon), func(t *testing.T) {
				h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), NoHorizon: noHorizon}), 0)
				tx := h.Begin()
				first(tx)
				apply(t, h, tx)
				onPartition(t, h, 0, minute(day(9)), func(s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
				for n := range burst {
					onPartition(t, h, 1, minute(n), func(s *state.Scope) {
						s.Observe("n", "")
						if got := len(s.Within("n", time.Hour)); got != n+1 {
							t.Errorf("event %d of the burst: Within() gives %d entries; want %d", n, got, n+1)
						}
					})
					onPartition(t, h, 0, minute(day(9)+n), func(s *state.Scope) {
						s.Observe("n", "")
						if got := len(s.Within("n", time.Hour)); got != n+2 {
							t.Errorf("event %d beside it: Within() gives %d entries; want %d", n, got, n+2)
						}
					})
				}
			})
		}
	}
}

// Entries that no admitted event can reach go, so that a timeline does not grow for ever.
func TestTimelineForgets(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxLateness: 2 * time.Hour}), 0)
	inBatches(t, h, 3000, ref, func(_ int, s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
	tx := h.Begin()
	defer tx.Discard()
	for v := range tx.Values("rule", "key") {
		if v.Count < 181 || v.Count > 181+128 { // two hours of lateness, one of reach; the oldest block goes as a whole
			t.Errorf("Values() gives a timeline of %d entries; want those of three hours, and at most a block more", v.Count)
		}
	}
}

// A late event in a full timeline needs the entries around it, which are the oldest or
// nearly so, and the next event in order of time needs the newest. Neither give way.
func TestTimelineFullKeepsNeighbours(t *testing.T) {
	const most, burst = 400, 50
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: most}), 0)
	evicted, offset := 0, int64(0)
	observe := func(at time.Time, want int) {
		t.Helper()
		r := state.Ref{ID: fmt.Sprint("event-", offset), Time: at, Source: state.Source{Topic: "trail", Offset: offset}}
		offset++
		inScope(t, h, "key", r, func(s *state.Scope) {
			s.Observe("n", "")
			if got := len(s.Within("n", time.Hour)); got != want {
				t.Fatalf("event %d at %s: Within() gives %d entries; want %d", offset, at, got, want)
			}
			evicted += s.Evicted()
		})
	}
	for n := range burst {
		observe(minute(0).Add(time.Duration(n)*time.Second), n+1)
	}
	last := 0
	for n := range most - burst {
		last = 120 + 10*n
		observe(minute(last), min(n+1, 7))
	}
	for n := range burst {
		observe(minute(1).Add(time.Duration(n)*time.Second), burst+n+1)
	}
	for n := range burst {
		observe(minute(last-5).Add(time.Duration(n)*time.Second), 7+n+1)
	}
	if evicted != 2*most/8 {
		t.Errorf("Evicted() = %d in all; want an eighth of %d now and then", evicted, most)
	}
}

// Where all entries are near the event, the furthest give way, and only as many as must:
// at least half of the limit is left on one side of the event.
func TestTimelineFullOfNeighbours(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 10}), 0)
	for n := range 10 {
		in(t, h, n, func(s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
	}
	r := ref(4)
	r.ID, r.Source.Offset = "late", 100
	inScope(t, h, "key", r, func(s *state.Scope) {
		s.Observe("n", "")
		if got := s.Within("n", time.Hour); len(got) != 10 || !got[0].Time.Equal(minute(0)) || !got[9].Time.Equal(minute(8)) || s.Evicted() != 1 {
			t.Errorf("Within() = %s, Evicted() = %d; want all but that of minute 9, 1", entryLines(got), s.Evicted())
		}
	})
}

// An event of an absurd time must not blind a timeline until that time has come. After a
// Rewind its entries are out of the way: they keep no other entry out, are the first to
// give way, and do not keep the timeline once its other entries have expired.
func TestTimelineAfterRewind(t *testing.T) {
	const most = 40
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: most}), 0)
	future := epoch.AddDate(10, 0, 0)
	for n := range most {
		onPartition(t, h, 0, future.Add(time.Duration(n)*time.Second), func(s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
	}
	tx := h.Begin()
	tx.Rewind(minute(0), time.Hour)
	apply(t, h, tx)
	for n := range most {
		onPartition(t, h, 0, minute(3*n), func(s *state.Scope) {
			s.Observe("n", "")
			if got := len(s.Within("n", 200*time.Minute)); got != n+1 {
				t.Fatalf("event %d after the Rewind: Within() gives %d entries; want %d", n, got, n+1)
			}
		})
	}
	onPartition(t, h, 1, minute(day(30)), func(*state.Scope) {})
	onPartition(t, h, 0, minute(day(30)), func(*state.Scope) {})
	tx = h.Begin()
	defer tx.Discard()
	for v := range tx.Values("rule", "key") {
		t.Errorf("Values() gives %+v; want it swept, as no event can reach its entries", v)
	}
}

// In a full timeline the oldest entries give way: a burst is seen, also after many events
// in the days before it.
func TestTimelineFull(t *testing.T) {
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 200}), 0)
	evicted := 0
	for n := range 1000 {
		in(t, h, n, func(s *state.Scope) {
			s.Observe("n", "")
			if got := len(s.Within("n", time.Hour)); s.Err() != nil || got != min(n+1, 61) {
				t.Fatalf("event %d: Within() gives %d entries, Err() = %v; want those of the last hour", n, got, s.Err())
			}
			evicted += s.Evicted()
		})
	}
	if evicted < 800 || evicted > 900 {
		t.Errorf("Evicted() = %d in all; want all but the newest hundred or two of a thousand", evicted)
	}
}

// A timeline goes, blocks and all, when no event that is admitted can reach its entries.
func TestTimelineIsSwept(t *testing.T) {
	h := openShard(t)
	for n := range 300 {
		in(t, h, n, func(s *state.Scope) { s.Observe("n", "label"); s.Within("n", time.Hour) })
	}
	tx := h.Begin()
	tx.Observe(state.Source{}, minute(day(8)))
	tx.Sweep(1000)
	apply(t, h, tx)
	records, err := state.Dump(h, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Key[0] == 't' || r.Key[0] == 'b' {
			t.Errorf("%q is left", r.Key)
		}
	}
}

// inBatches runs fn in a Scope for each of n events, many of them in a Tx.
func inBatches(t *testing.T, h *state.Shard, n int, event func(n int) state.Ref, fn func(n int, s *state.Scope)) {
	t.Helper()
	tx := h.Begin()
	for i := range n {
		at := event(i)
		tx.Observe(at.Source, at.Time)
		s := tx.Scope("rule", "key", at)
		fn(i, s)
		s.Commit()
		if i%50 == 49 {
			apply(t, h, tx)
			tx = h.Begin()
		}
	}
	apply(t, h, tx)
}

// An event that comes twice is in its timeline once, wherever the entries are by then: in
// the value, in a block, or, as those of the instant at which the value begins, in either.
func TestTimelineDoubles(t *testing.T) {
	h := openShard(t)
	const events = 200
	inBatches(t, h, 2*events, func(n int) state.Ref { return ref(n % events) }, func(_ int, s *state.Scope) {
		for range 2 {
			s.Observe("n", "")
		}
		s.Within("n", time.Hour)
	})
	in(t, h, 0, func(s *state.Scope) {
		if got := s.Within("n", events*time.Minute); len(got) != events {
			t.Errorf("Within() = %d entries; want one for each of %d events", len(got), events)
		}
		s.Observe("n", "step")
		if got := s.Within("n", 0); len(got) != 2 || got[0].Label != "" || got[1].Label != "step" {
			t.Errorf("Within() = %v; want the event under both labels", got)
		}
	})
}

// Any number of events may be of one instant, but a record has a limit: no broker would
// take more.
func TestTimelineOfOneInstant(t *testing.T) {
	h := openShard(t)
	const events, most = 1000, 128 * 700 // bytes of a record
	label, id := strings.Repeat("l", 100), strings.Repeat("i", state.MaxEventID-4)
	at := func(n int) state.Ref {
		at := ref(0)
		at.ID, at.Source.Offset = fmt.Sprintf("%s%04d", id, n), int64(n*7%events)
		return at
	}
	inBatches(t, h, events, at, func(n int, s *state.Scope) {
		s.Observe("n", label)
		got := s.Within("n", time.Hour)
		if len(got) != n+1 || !slices.IsSortedFunc(got, func(a, b state.Entry) int { return int(a.Source.Offset - b.Source.Offset) }) {
			t.Fatalf("Within() = %d entries; want %d in the order of their sources", len(got), n+1)
		}
	})
	records, err := state.Dump(h, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if len(r.Value) > most {
			t.Errorf("record %q has %d bytes; want %d at most", r.Key[:1], len(r.Value), most)
		}
	}
}

// A timeline that stays near its bound for ever, as entries are consumed here and there,
// needs no more blocks than its entries do.
func TestTimelineBlocksAreMerged(t *testing.T) {
	h := openShard(t)
	inBatches(t, h, 1500, ref, func(n int, s *state.Scope) {
		s.Observe("n", "")
		near := s.Within("n", 100*time.Hour)
		if n%100 == 99 {
			s.Consume("n", slices.DeleteFunc(near, func(e state.Entry) bool { return e.Time.Minute()%30 == 0 }))
		}
	})
	records, err := state.Dump(h, false)
	if err != nil {
		t.Fatal(err)
	}
	blocks := len(slices.DeleteFunc(records, func(r state.Change) bool { return r.Key[0] != 'b' }))
	if blocks != 1 {
		t.Errorf("%d blocks; want the 50 entries in one, or none", blocks)
	}
}

// A mistake of a rule's author is the outcome of that event.
func TestTimelineBounds(t *testing.T) {
	h := openShard(t)
	for reason, observe := range map[string]func(tx *state.Tx) *state.Scope{
		"member_too_long": func(tx *state.Tx) *state.Scope {
			s := tx.Scope("rule", "key", ref(1))
			s.Observe("n", strings.Repeat("l", state.MaxString+1))
			return s
		},
		"key_too_long": func(tx *state.Tx) *state.Scope {
			s := tx.Scope("rule", "key", ref(1))
			s.Observe(strings.Repeat("n", state.MaxString+1), "")
			return s
		},
		"value_too_large": func(tx *state.Tx) *state.Scope {
			at := ref(1)
			at.ID = strings.Repeat("i", state.MaxEventID+1)
			s := tx.Scope("rule", "key", at)
			s.Observe("n", "")
			return s
		},
	} {
		tx := h.Begin()
		s := observe(tx)
		if e, ok := s.Err().(*state.LimitError); !ok || e.Reason != reason {
			t.Errorf("Err() = %v; want %s", s.Err(), reason)
		}
		if got := s.Within("n", time.Hour); got != nil {
			t.Errorf("Within() after %s = %v; want nothing", reason, got)
		}
		s.Commit()
		if !tx.Empty() {
			t.Errorf("a scope that met %s has changed something", reason)
		}
	}
}

// A block that is missing, or differs from its timeline's directory, is damage and not an
// answer.
func TestTimelineDamaged(t *testing.T) {
	h := openShard(t)
	for n := range 100 {
		in(t, h, n, func(s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
	}
	records, err := state.Dump(h, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Key[0] == 'b' {
			state.Damage(t, h, r.Key)
		}
	}
	tx := h.Begin()
	defer tx.Discard()
	s := tx.Scope("rule", "key", ref(0))
	s.Observe("n", "")
	if got := s.Within("n", time.Hour); got != nil || tx.Err() == nil {
		t.Errorf("Within() = %d entries, Err() = %v; want none and an error", len(got), tx.Err())
	}
}

// Values describes a timeline by its entries.
func TestTimelineValue(t *testing.T) {
	h := openShard(t)
	for n := range 100 {
		in(t, h, n, func(s *state.Scope) { s.Observe("n", ""); s.Within("n", time.Hour) })
	}
	tx := h.Begin()
	defer tx.Discard()
	s := tx.Scope("rule", "key", ref(0))
	s.Consume("n", s.Within("n", 0))
	s.Commit()
	for v := range tx.Values("rule", "key") {
		if v.Kind != state.ValueTimeline || v.Name != "n" || v.Count != 99 || !v.First.Equal(minute(1)) || !v.Newest.Equal(minute(99)) || !v.Expiry.Equal(minute(159)) || !v.OwnExpiry {
			t.Errorf("Values() = %+v; want a timeline of 99 from minute 1 to 99 that expires an hour later", v)
		}
	}
}
