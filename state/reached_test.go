package state_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

const (
	knownWithin   = 24 * time.Hour
	knownLateness = 10 * time.Hour
)

// The horizon goes back when a partition that was idle wakes with an older event. Runs of
// events that the higher horizon had passed were dropped from memory, while their pages
// waited for Sweep: a copy that had loaded the pages knew events that the owner did not,
// and evaluated other events.
func TestOwnerAndCopyForgetTheSame(t *testing.T) {
	owner := openCopy(t, 4)
	step := func(fn func(tx *state.Tx)) {
		t.Helper()
		owner.apply(t, fn)
	}
	id := func(n int) string { return fmt.Sprint("e", n) }
	step(func(tx *state.Tx) { src, when := at(1, 0); tx.Mark(src, when, true) })
	for n := range 12 {
		step(func(tx *state.Tx) {
			src, when := at(0, n)
			tx.Observe(src, when)
			if state.See(tx, "rule", "key", id(n), when, knownWithin) {
				t.Fatalf("Seen(%s) = true; want false", id(n))
			}
		})
	}
	step(func(tx *state.Tx) {
		src, when := at(0, day(3))
		tx.Observe(src, when)
		tx.Sweep(1)
	})
	step(func(tx *state.Tx) { src, when := at(1, 30); tx.Observe(src, when) })
	restored := openCopy(t, 4)
	restored.load(t, dump(t, owner.shard)...)
	for name, c := range map[string]*copied{"owner": owner, "copy": restored} {
		tx := c.shard.Begin()
		for n := range 12 {
			if tx.Seen(tx.EventKey("rule", "key", id(n))) {
				t.Errorf("%s: Seen(%s) = true; want false: the horizon has passed it", name, id(n))
			}
		}
		tx.Discard()
	}
}

// copied is a shard, and the settings with which another one is restored.
type copied struct {
	o     state.Options
	small int
	store *state.Store
	shard *state.Shard
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func openCopy(t interface {
	fataler
	Cleanup(func())
}, small int) *copied {
	t.Helper()
	c := &copied{o: state.Options{Dir: "state", FS: vfs.NewMem(), MaxLateness: knownLateness}, small: small}
	c.open(t)
	t.Cleanup(func() {
		if err := c.store.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return c
}

func (c *copied) open(t fataler) {
	t.Helper()
	var err error
	if c.store, err = state.Open(c.o); err == nil {
		c.shard, err = c.store.Shard(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	state.SmallRuns(c.store, c.small)
}

func (c *copied) reopen(t fataler) {
	t.Helper()
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.open(t)
}

// apply commits the changes of fn, and gives them.
func (c *copied) apply(t fataler, fn func(tx *state.Tx)) (changes []state.Change) {
	t.Helper()
	tx := c.shard.Begin()
	fn(tx)
	for ch := range tx.Changes() {
		changes = append(changes, state.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value)})
	}
	if err := tx.Apply(c.shard.Position().Changelog + 1); err != nil {
		t.Fatal(err)
	}
	c.check(t)
	return changes
}

func (c *copied) load(t fataler, changes ...state.Change) {
	t.Helper()
	err := c.shard.Load(c.shard.Position().Changelog+1, 0, func(yield func(k, v []byte) bool) error {
		for _, ch := range changes {
			yield(ch.Key, ch.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.check(t)
}

func (c *copied) check(t fataler) {
	t.Helper()
	if err := state.Check(c.shard); err != nil {
		t.Fatal(err)
	}
}

// heard is one entry of the work topic: an event, or a mark.
type heard struct {
	src  state.Source
	at   time.Time // zero: of a mark without a time
	id   string    // of an event; "": a mark
	idle bool      // of a mark
}

func drawHeard(t *rapid.T, n int, clock *time.Time) heard {
	e := heard{src: state.Source{TopicID: [16]byte{1}, Partition: rapid.Int32Range(0, 2).Draw(t, "partition"), Offset: int64(n)}}
	*clock = clock.Add(rapid.SampledFrom([]time.Duration{0, time.Minute, time.Minute, time.Hour, 5 * time.Hour, 30 * time.Hour}).Draw(t, "later"))
	e.at = clock.Add(-rapid.SampledFrom([]time.Duration{0, 0, time.Minute, 5 * time.Hour, 30 * time.Hour, 60 * time.Hour}).Draw(t, "late"))
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		e.idle = true
	case 1:
		if rapid.Bool().Draw(t, "no time") {
			e.at = time.Time{}
		}
	default:
		e.id = fmt.Sprint("e", rapid.IntRange(0, 5).Draw(t, "id"))
	}
	return e
}

// play treats an entry as the engine does. The answers are whether the event was seen, and,
// for one that is not too late behind any horizon so far, the count of a counter.
func (e *heard) play(tx *state.Tx, reached time.Time) string {
	if e.id == "" {
		tx.Mark(e.src, e.at, e.idle)
		return ""
	}
	tx.Observe(e.src, e.at)
	defer tx.Advance(e.src)
	seen := state.See(tx, "rule", "key", e.id, e.at, knownWithin)
	if e.at.Before(reached.Add(-knownLateness)) {
		return fmt.Sprint(seen)
	}
	s := tx.Scope("rule", "key", state.Ref{ID: e.id, Time: e.at, Source: e.src})
	defer s.Commit()
	if n := s.IncrementCounter("n"); n > 1 {
		return fmt.Sprint(seen, n)
	}
	s.SetKeyTTL("n", 2*time.Hour)
	return fmt.Sprint(seen, 1)
}

// reaching is the same in plain maps: nothing is swept, and forgotten events stay
// forgotten.
type reaching struct {
	newest          map[int32]time.Time
	idle            map[int32]bool
	stream, reached time.Time
	until           map[string]time.Time
}

func (m *reaching) hear(e *heard) (seen bool) {
	m.newest[e.src.Partition] = later(m.newest[e.src.Partition], e.at)
	m.idle[e.src.Partition] = e.idle
	m.stream = later(m.stream, e.at)
	var least time.Time
	for p, at := range m.newest {
		if !m.idle[p] && !at.IsZero() && (least.IsZero() || at.Before(least)) {
			least = at
		}
	}
	if least.IsZero() {
		least = m.stream
	}
	m.reached = later(m.reached, least)
	if e.id == "" {
		return false
	}
	until, known := m.until[e.id]
	if seen = known && !until.Before(m.reached); !seen {
		m.until[e.id] = m.stream.Add(knownWithin)
	}
	return seen
}

// player plays entries in transactions of its own, sweeps and restarts when it likes.
type player struct {
	*copied
	tx *state.Tx
}

// pause does one of the things that may happen between two entries.
func (p *player) pause(t *rapid.T) {
	what := rapid.IntRange(0, 9).Draw(t, "pause")
	if what < 5 {
		return
	}
	if what < 8 {
		p.tx.Sweep(rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "steps"))
	}
	if err := p.tx.Apply(p.shard.Position().Changelog + 1); err != nil {
		t.Fatal(err)
	}
	p.check(t)
	switch what {
	case 8:
		p.reopen(t)
	case 9: // another owner, from the changelog alone
		log, err := state.Dump(p.shard, false)
		if err != nil {
			t.Fatal(err)
		}
		p.copied = openCopy(t, rapid.IntRange(1, 5).Draw(t, "events of a run"))
		p.load(t, log...)
	}
	p.tx = p.shard.Begin()
}

// The same entries give the same answers, for any order of partitions, any cut into
// transactions, any time of Sweep, and from any copy.
func TestSweepHasNoPartInAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		players := make([]*player, 2)
		for i := range players {
			p := &player{copied: openCopy(t, rapid.IntRange(1, 5).Draw(t, "events of a run"))}
			p.tx = p.shard.Begin()
			players[i] = p
		}
		m := reaching{newest: map[int32]time.Time{}, idle: map[int32]bool{}, until: map[string]time.Time{}}
		clock := epoch
		for n := range rapid.IntRange(40, 120).Draw(t, "entries") {
			e := drawHeard(t, n, &clock)
			want := m.hear(&e)
			answers := make([]string, len(players))
			for i, p := range players {
				if answers[i] = e.play(p.tx, m.reached); e.id != "" && !strings.HasPrefix(answers[i], fmt.Sprint(want)) {
					t.Fatalf("%+v: player %d answers %s; want Seen() = %t (horizon so far %s)", e, i, answers[i], want, m.reached)
				}
				p.pause(t)
			}
			if answers[0] != answers[1] {
				t.Fatalf("%+v: the players answer %s and %s", e, answers[0], answers[1])
			}
		}
		for _, p := range players {
			p.tx.Discard()
		}
	})
}
