package consumer_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TRAILHOUND_TEST_SEEDS is how many plans TestFaults plays; more take longer. -run
// 'TestFaults/seed=123$' plays one of them alone, of any number.
const seedsEnv = "TRAILHOUND_TEST_SEEDS"

// plan is a random sequence of faults. All its decisions come from its seed, so that the
// same seed plays the same faults at the same times.
type plan struct {
	*bubble
	rng     *rand.Rand
	slots   []slot
	history []string
	began   time.Time
}

// slot is a place for an instance: its name, and its disk while no instance has it.
type slot struct {
	name string
	disk *vfs.MemFS
	in   *inhabitant // nil: no instance is running
}

// fault is one kind of event in a plan. A fault that does not apply does nothing.
type fault struct {
	name  string
	share int // its weight among all faults
	do    func(p *plan, s *slot)
}

var faults = []fault{
	{"crash", 4, func(p *plan, s *slot) {
		if s.in != nil {
			p.note("%d%% of the unsynced data left", p.crash(s))
		}
	}},
	{"crash and restart", 4, func(p *plan, s *slot) {
		if s.in != nil {
			p.note("%d%% of the unsynced data left", p.crash(s))
			p.run(s)
		}
	}},
	{"disk lost", 2, func(p *plan, s *slot) {
		if s.in != nil {
			p.crash(s)
		}
		s.disk = disk()
		p.run(s)
	}},
	{"stop", 2, func(_ *plan, s *slot) {
		if s.in != nil {
			s.in.link.thaw()
			s.in.link.slow(0)
			s.disk, s.in = s.in.shutdown(), nil
		}
	}},
	{"start", 6, func(p *plan, s *slot) { p.run(s) }},
	{"freeze", 3, func(_ *plan, s *slot) {
		if s.in != nil {
			s.in.link.freeze()
		}
	}},
	{"thaw", 4, func(_ *plan, s *slot) {
		if s.in != nil {
			s.in.link.thaw()
		}
	}},
	{"cut connections", 3, func(_ *plan, s *slot) {
		if s.in != nil {
			s.in.link.cut(false)
		}
	}},
	{"half-open connections", 2, func(_ *plan, s *slot) {
		if s.in != nil {
			s.in.link.halve()
		}
	}},
	{"slow connections", 2, func(p *plan, s *slot) {
		if s.in != nil {
			s.in.link.slow(time.Duration(p.rng.IntN(400)) * time.Millisecond)
		}
	}},
	{"leaders move", 3, func(p *plan, _ *slot) { p.moveLeaders() }},
	{"coordinators move", 2, func(p *plan, _ *slot) { p.cluster.RehashCoordinators() }},
}

// crash ends the slot's instance and returns how much of its unsynced data is left.
func (p *plan) crash(s *slot) int {
	unsynced := p.rng.IntN(101)
	s.disk, s.in = s.in.crash(unsynced), nil
	return unsynced
}

// run starts an instance in the slot if there is none.
func (p *plan) run(s *slot) {
	if s.in == nil {
		s.in = p.start(s.name, s.disk, trap{})
	}
}

// moveLeaders gives every other partition another leader.
func (p *plan) moveLeaders() {
	for _, name := range []string{"input", p.app.WorkTopic(), p.app.StateTopic(), p.app.Alerts} {
		for n := range p.cluster.PartitionInfos(name) {
			if p.rng.IntN(2) == 0 {
				continue
			}
			if err := p.cluster.MoveTopicPartition(name, int32(n), p.rng.Int32N(3)); err != nil {
				p.Fatal(err)
			}
		}
	}
}

func (p *plan) note(format string, args ...any) {
	p.history = append(p.history, fmt.Sprintf("%8v  ", time.Since(p.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// step plays one fault at one slot.
func (p *plan) step() {
	all := 0
	for _, f := range faults {
		all += f.share
	}
	s := &p.slots[p.rng.IntN(len(p.slots))]
	at := p.rng.IntN(all)
	for _, f := range faults {
		if at -= f.share; at < 0 {
			p.note("%s: %s", s.name, f.name)
			f.do(p, s)
			return
		}
	}
}

// play sends the workload over some minutes while faults happen, then mends
// everything and lets the app finish.
func (p *plan) play() {
	const rounds = 60
	events := workload(p.rng.Uint64(), 30*rounds, 20)
	for i := range p.slots {
		p.run(&p.slots[i])
	}
	for i := range rounds {
		p.send(events[i*30 : (i+1)*30])
		elapse(time.Duration(p.rng.IntN(5000)) * time.Millisecond)
		if p.rng.IntN(2) == 0 {
			p.step()
		}
	}
	p.note("everything is mended")
	for i := range p.slots {
		s := &p.slots[i]
		p.run(s)
		s.in.link.thaw()
		s.in.link.slow(0)
	}
	p.drain()
}

// Two or three instances live through a random plan of faults: crashes that lose
// any part of the disk, stops, frozen and thawed networks, connections that are cut,
// half-open or slow, leaders and coordinators that move. No alert is lost, none is
// doubled.
func TestFaults(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run("seed="+strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 4, 6, func(w *bubble) {
				p := &plan{bubble: w, rng: rand.New(rand.NewPCG(seed, 4)), began: time.Now()}
				for i := range 2 + p.rng.IntN(2) {
					p.slots = append(p.slots, slot{name: string(rune('a' + i)), disk: disk()})
				}
				defer func() {
					if t.Failed() {
						t.Logf("the faults:\n%s", strings.Join(p.history, "\n"))
					}
				}()
				p.play()
				if difference := w.compare(); difference != "" {
					t.Error(difference)
				}
				if len(w.dead) > 0 {
					t.Errorf("%d events in the dead-letter topic; want none", len(w.dead))
				}
			})
		})
	}
}

// seeds returns the numbers of the plans to play, and that of -run if it names one.
func seeds(t *testing.T) []uint64 {
	n := 4
	if full {
		n = 12
	}
	if s := os.Getenv(seedsEnv); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s=%q: %v", seedsEnv, s, err)
		}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	if seed, ok := wantedSeed(); ok && !slices.Contains(all, seed) {
		all = append(all, seed)
	}
	return all
}

// wantedSeed is the seed in -run 'TestFaults/seed=123$'.
func wantedSeed() (uint64, bool) {
	f := flag.Lookup("test.run")
	_, number, _ := strings.Cut(f.Value.String(), "seed=")
	seed, err := strconv.ParseUint(strings.TrimRight(number, "$"), 10, 64)
	return seed, err == nil
}
