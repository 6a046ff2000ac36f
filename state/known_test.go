package state

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var seenAt = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func idOf(n int) string { return string(hashOf(n)[:]) }

// seeing is a shard of which events are asked for and remembered.
type seeing struct {
	*testing.T
	fs vfs.FS
	s  *Store
	h  *Shard
}

func newSeeing(t *testing.T) *seeing {
	t.Helper()
	s := &seeing{T: t, fs: vfs.NewMem()}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *seeing) open() {
	s.Helper()
	var err error
	if s.s, err = Open(Options{Dir: "state", FS: s.fs}); err == nil {
		s.h, err = s.s.Shard(0)
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *seeing) close() {
	s.Helper()
	if err := s.s.Close(); err != nil {
		s.Fatal(err)
	}
}

func (s *seeing) reopen() {
	s.Helper()
	s.close()
	s.open()
}

// see asks, in one Tx at an instant of stream time, for events that came at that time.
func (s *seeing) see(at time.Time, from, to int, want bool) {
	s.Helper()
	tx := s.h.Begin()
	tx.Observe(Source{}, at)
	for n := from; n < to; n++ {
		if got := See(tx, "rule", "key", idOf(n), at, time.Hour); got != want {
			s.Fatalf("Seen(event %d) at %s = %t; want %t", n, at, got, want)
		}
	}
	s.apply(tx)
}

func (s *seeing) apply(tx *Tx) {
	s.Helper()
	if err := tx.Apply(s.h.Position().Changelog + 1); err != nil {
		s.Fatal(err)
	}
	if err := Check(s.h); err != nil {
		s.Fatal(err)
	}
}

func (s *seeing) load(changes ...Change) {
	s.Helper()
	err := s.h.Load(s.h.Position().Changelog+1, 0, func(yield func(k, v []byte) bool) error {
		for _, c := range changes {
			if !yield(c.Key, c.Value) {
				break
			}
		}
		return nil
	})
	if err == nil {
		err = Check(s.h)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// Runs are made while events come in, read when the database is opened again, and made
// from the pages when they are not there: no event that is remembered is ever taken for a
// new one.
func TestSeenThroughRuns(t *testing.T) {
	const small = runEvents / 8
	const events, batch = 3*small + 128, 128
	s := newSeeing(t)
	SmallRuns(s.s, small)
	for from := 0; from < events; from += batch {
		s.see(seenAt, from, from+batch, false)
		s.see(seenAt, from/2, from/2+10, true)
	}
	if n := Runs(s.h); n != 3 {
		t.Errorf("%d events are in %d runs; want 3", events, n)
	}
	s.see(seenAt, 0, events, true)
	s.load()
	s.see(seenAt, 0, events, true)
	s.reopen()
	SmallRuns(s.s, small)
	s.see(seenAt, 0, events, true)
	s.see(seenAt, events+batch, events+2*batch, false)

	log, err := Dump(s.h, false)
	if err != nil {
		t.Fatal(err)
	}
	other := newSeeing(t) // from the changelog alone
	SmallRuns(other.s, small)
	other.load(log...)
	other.see(seenAt, 0, events, true)
	if n := Runs(other.h); n != 3 {
		t.Errorf("a restored copy has %d runs; want 3", n)
	}
	other.see(seenAt, events+2*batch, events+3*batch, false)
}

// An event that is remembered anew stands in several places; the latest instant counts, in
// any of them.
func TestSeenAnew(t *testing.T) {
	s := newSeeing(t)
	SmallRuns(s.s, 8)
	for i := range 40 {
		at := seenAt.Add(time.Duration(i) * 61 * time.Minute)
		s.see(at, 0, 3, false)
		s.see(at.Add(time.Hour), 0, 3, true)
		if i%3 == 0 {
			s.see(at, 100+3*i, 103+3*i, false)
		}
		if i%8 == 0 {
			s.reopen()
			SmallRuns(s.s, 8)
		}
	}
	if n := Runs(s.h); n < 3 {
		t.Errorf("there are %d runs; want some, or this test shows nothing", n)
	}
}

// A look-up asks few runs for any number of events: runs become larger, and so have more
// blocks.
func TestRunsStayFew(t *testing.T) {
	s := newSeeing(t)
	const small, events, batch = 128, 128 * 400, 512
	SmallRuns(s.s, small)
	for n := 0; n < events; n += batch {
		tx := s.h.Begin()
		tx.Observe(Source{}, seenAt)
		for i := range batch {
			if See(tx, "rule", "key", idOf(n+i), seenAt, time.Hour) {
				t.Fatalf("Seen(event %d) = true; want false", n+i)
			}
		}
		if err := tx.Apply(s.h.Position().Changelog + 1); err != nil {
			t.Fatal(err)
		}
	}
	runs := s.h.known.runs
	// While T events come to be remembered, their runs being T/64 then, ln(400/64) times 64
	// are added to the first 64; and a run ends with a page.
	if n := len(runs); n < manyRuns || n > 230 {
		t.Errorf("%d events are in %d runs; want %d to 230, not 400", events, n, manyRuns)
	}
	if first, last := runs[0].bits, runs[len(runs)-1].bits; first != 1 || last <= first {
		t.Errorf("the first run tells its blocks apart by %d bits, the last one by %d; want 1 and more", first, last)
	}
	s.reopen()
	s.see(seenAt, 0, events, true)
	s.see(seenAt, events, events+batch, false)
}

// When everything is forgotten, and swept, only the position is left on disk.
func TestSweepLeavesNoRuns(t *testing.T) {
	s := newSeeing(t)
	SmallRuns(s.s, 100)
	for i := range 10 {
		s.see(seenAt, 100*i, 100*i+100, false)
	}
	if n := Runs(s.h); n != 9 {
		t.Fatalf("there are %d runs; want 9", n)
	}
	s.reopen() // no event is asked for after this
	tx := s.h.Begin()
	tx.Observe(Source{}, seenAt.Add(71*time.Minute))
	if n := tx.Sweep(1000); n != 1000 {
		t.Errorf("Sweep() = %d; want all of the 1000 events", n)
	}
	s.apply(tx)
	records, err := Dump(s.h, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		switch r.Key[0] {
		case kindPosition, kindSource, kindChangelog, kindEpoch:
		default:
			t.Errorf("%x is left", r.Key)
		}
	}
}

// Runs go when all of their events are forgotten, and not before, for any order of the
// events.
func TestSweepKeepsLiveRuns(t *testing.T) {
	s := newSeeing(t)
	SmallRuns(s.s, 16)
	for i, minutes := range []int{0, 10, 40, 5, 45} {
		s.see(seenAt.Add(time.Duration(minutes)*time.Minute), 8*i, 8*i+8, false)
	}
	now := seenAt.Add(91 * time.Minute)
	tx := s.h.Begin()
	tx.Observe(Source{}, now)
	if n := tx.Sweep(1000); n != 16 {
		t.Errorf("Sweep() = %d; want the 16 events of minutes 0 and 10: that of minute 5 came at minute 40", n)
	}
	s.apply(tx)
	if n := Runs(s.h); n != 1 {
		t.Errorf("there are %d runs; want 1, with the events of minutes 40 and 5", n)
	}
	for range 2 {
		s.see(now, 16, 40, true)
		s.reopen()
	}
	s.see(now, 0, 16, false)
}

// The seed of a state writes its history anew, and other copies meet that as a Load. The
// runs of before must not count any more: an event that the new history has never met would
// be dropped as a duplicate, and one that it has met would be counted twice. Each case has
// one sign of it.
func TestLoadOfAnotherHistory(t *testing.T) {
	const old, fresh = 40, 1000 // events of either
	at := func(minutes int) time.Time { return seenAt.Add(time.Duration(minutes) * time.Minute) }
	position := func(stream time.Time, next uint64) Change {
		p := position{work: 9, stream: nanos(stream), reached: nanos(stream), next: next}
		return Change{positionKey, p.append(nil)}
	}
	source := func(newest time.Time) Change {
		k, s := parts{kind: kindSource}, source{newest: nanos(newest)}
		return Change{k.append(nil), s.append(nil)}
	}
	pageOf := func(number uint64, from, to int, until time.Time) Change {
		var events []remembered
		for n := from; n < to; n++ {
			events = append(events, remembered{*hashOfID(idOf(n)), nanos(until)})
		}
		k := parts{kind: kindPage, page: pageID{number, pageEnd(nanos(until))}}
		return Change{k.append(nil), appendPage(nil, events)}
	}
	for name, tt := range map[string]struct {
		stream time.Time // of the copy, when the history comes
		swept  bool      // pages have gone, as another owner has swept them
		load   []Change
		now    time.Time // afterwards
		known  int       // fresh events
	}{
		"pages under numbers of old ones": {
			stream: at(0), now: at(80), known: 24,
			load: []Change{position(at(80), 9), pageOf(2, fresh, fresh+24, at(140))},
		},
		"pages gone before their time": {
			stream: at(0), now: at(0),
			load: []Change{position(at(0), 9)},
		},
		"a time that was over": {
			stream: at(71), swept: true, now: at(0),
			load: []Change{position(at(0), 9), source(at(0))},
		},
		"numbers from the beginning": {
			stream: at(71), swept: true, now: at(80),
			load: []Change{position(at(80), 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeeing(t)
			SmallRuns(s.s, 8)
			for n := 0; n < old; n += 8 {
				s.see(at(0), n, n+8, false)
			}
			if n := Runs(s.h); n != 4 {
				t.Fatalf("there are %d runs; want 4", n)
			}
			tx := s.h.Begin()
			tx.Observe(Source{}, tt.stream)
			s.apply(tx)
			records, err := Dump(s.h, false)
			if err != nil {
				t.Fatal(err)
			}
			var gone []Change
			for _, c := range records {
				if c.Key[0] == kindPage {
					gone = append(gone, Change{Key: c.Key})
				}
			}
			if tt.swept {
				s.load(gone...)
				gone = nil
			}
			s.load(append(gone, tt.load...)...)
			s.see(tt.now, fresh, fresh+tt.known, true)
			s.see(tt.now, 0, old, false)
			s.reopen()
			s.see(tt.now, 0, old, true)
			s.see(tt.now, fresh, fresh+tt.known, true)
		})
	}
}

// A run that cannot be read, or has lost its filter, is damage: the copy is restored.
func TestDamagedRun(t *testing.T) {
	for name, key := range map[string]func(number uint64) []byte{
		"block": func(n uint64) []byte {
			return appendRunBlockKey(nil, n, 0)
		},
		"filter": func(n uint64) []byte { return appendRunBlockKey(nil, n, runFilter) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeeing(t)
			SmallRuns(s.s, 8)
			for i := range 3 {
				s.see(seenAt, 8*i, 8*i+8, false)
			}
			b := s.s.db.NewBatch()
			if err := errors.Join(s.h.set(b, key(s.h.known.runs[0].number), []byte{formatVersion, 7}), s.h.commit(b), b.Close()); err != nil {
				t.Fatal(err)
			}
			s.reopen()
			tx := s.h.Begin()
			defer tx.Discard()
			See(tx, "rule", "key", idOf(0), seenAt, time.Hour)
			if err := tx.Err(); !errors.Is(err, ErrDamaged) {
				t.Errorf("Err() = %v; want ErrDamaged", err)
			}
			if err := s.s.Err(); err == nil {
				t.Error("the store goes on with a run that cannot be read; want it to end")
			}
		})
	}
}

func hashOfID(id string) *[16]byte {
	h := (&Tx{work: newWork()}).EventKey("rule", "key", id)
	return (*[16]byte)(&h)
}

func TestFreshEvents(t *testing.T) {
	var f freshEvents
	for range 2 {
		for n := range runEvents {
			if got := f.until(*hashOf(n)); got != noTime {
				t.Fatalf("until(event %d) = %d before it was added; want none", n, got)
			}
			f.add(remembered{*hashOf(n), int64(n)})
			f.add(remembered{*hashOf(n / 2), int64(n) - 1})
		}
		if len(f.events) != runEvents {
			t.Errorf("%d events are kept; want %d", len(f.events), runEvents)
		}
		for n := range runEvents {
			want := int64(n)
			if n < runEvents/2 {
				want = int64(2*n + 1 - 1)
			}
			if got := f.until(*hashOf(n)); got != max(want, int64(n)) {
				t.Fatalf("until(event %d) = %d; want %d", n, got, want)
			}
		}
		f = f.reset()
	}
}
