package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"trailhound/cmd/internal/testbed"
)

// latestStart is how much later than planned the last faults may begin.
const latestStart = 3 * time.Second

// carryOut carries the plan out and returns when all its faults are undone: brokers in
// sync, instances serving.
func (s *suite) carryOut(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var steps sync.WaitGroup
	for _, st := range newPlan(s.seed, s.duration, s.instances, s.brokers) {
		if slices.Contains(s.leftOut(), st.Fault) || st.Fault == diskFreeze && s.disk == nil {
			continue
		}
		if !testbed.Sleep(ctx, time.Until(s.begun.Add(st.At))) {
			break
		}
		steps.Go(func() {
			if err := s.act(ctx, st); err != nil {
				cancel(fmt.Errorf("%s: %w", strings.TrimSpace(st.String()), err))
			}
		})
	}
	steps.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := s.cluster.awaitSync(ctx); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	s.log.printf("no more faults; everything is back")
	if !testbed.Sleep(ctx, time.Until(s.begun.Add(s.duration))) {
		return context.Cause(ctx)
	}
	return nil
}

// act carries out one step and returns once its fault is undone. An error is a failure of
// the suite itself.
func (s *suite) act(ctx context.Context, st step) error {
	rng := rand.New(rand.NewPCG(st.Seed, 2))
	switch st.Fault {
	case brokerKill:
		return s.killBroker(ctx, st)
	case leaders, coordinators:
		s.move(ctx, st, rng)
		return nil
	case slow, cut, halfOpen, swallow:
		s.disturb(ctx, st, rng)
		return nil
	case hoursLate, doubled, backfilled:
		s.changeInput(ctx, st, rng)
		return nil
	case openTx:
		return s.holdInput(ctx, st, rng)
	}
	for _, i := range slices.Sorted(slices.Values(st.Targets)) { // in one order, so that no two wait for each other
		n := s.fleet.instance(i)
		n.lock.Lock()
		defer n.lock.Unlock()
	}
	if s.tooLate(ctx, st) {
		return nil
	}
	switch st.Fault {
	case kill, killLong, killTwo, wipe, corrupt, swap, killAgain, stale:
		return s.kill(ctx, st, rng)
	case terminate, terminateLong:
		s.happened(st, "")
		return s.terminate(ctx, st.Targets[0], st.For)
	case rolling:
		s.happened(st, "")
		for _, i := range st.Targets {
			if err := s.terminate(ctx, i, st.For/time.Duration(2*len(st.Targets))); err != nil {
				return err
			}
			testbed.Sleep(ctx, st.For/time.Duration(2*len(st.Targets)))
		}
		return nil
	case freeze:
		s.happened(st, "")
		s.fleet.pause(st.Targets[0])
		testbed.Sleep(ctx, st.For)
		s.fleet.resume(st.Targets[0])
		return nil
	case diskFreeze:
		s.happened(st, "")
		return s.freezeDisk(ctx, st.For)
	case guest:
		return s.visit(ctx, st, rng)
	}
	return fmt.Errorf("nobody knows how to do %s", st.Fault)
}

// move moves leaders. A broker that has just been killed can prevent that for a while.
func (s *suite) move(ctx context.Context, st step, rng *rand.Rand) {
	var err error
	for range 10 {
		if s.tooLate(ctx, st) {
			return
		}
		if err = s.cluster.moveLeaders(ctx, rng, st.Fault == coordinators); err == nil {
			s.happened(st, "")
			return
		}
		testbed.Sleep(ctx, time.Second)
	}
	s.log.printf("%s did not move: %v", st.Fault, err)
}

// tooLate tells whether a fault that had to wait for another one to end would reach into the quiet time.
func (s *suite) tooLate(ctx context.Context, st step) bool {
	late := time.Since(s.begun)+st.For > planEnd(s.duration)+latestStart
	if late {
		s.log.printf("%s is left out: what had to end before it took too long", st.Fault)
	}
	return late || ctx.Err() != nil
}

// kill is every fault that begins with kill -9.
func (s *suite) kill(ctx context.Context, st step, rng *rand.Rand) error {
	var killing sync.WaitGroup
	for _, i := range st.Targets {
		killing.Go(func() { s.fleet.kill(i) })
	}
	killing.Wait()
	i := st.Targets[0]
	state := s.fleet.instance(i).state
	detail, err := "", error(nil)
	switch st.Fault {
	case wipe, killAgain:
		err = os.RemoveAll(state)
	case corrupt:
		detail, err = damageState(state, rng)
		s.damaged(i)
	case swap:
		err = swapStates(state, s.fleet.instance(st.Targets[1]).state)
	case stale:
		err = copyState(state, state+"-old")
	}
	s.happened(st, detail)
	if err != nil {
		return err
	}
	if st.Fault == stale {
		if err := s.fleet.start(i); err != nil {
			return err
		}
		testbed.Sleep(ctx, st.For)
		s.fleet.kill(i)
		if err := copyState(state+"-old", state); err != nil {
			return err
		}
		s.log.printf("         the old copy is put back under t%d", i)
		return s.fleet.start(i)
	}
	testbed.Sleep(ctx, st.For)
	for _, i := range st.Targets {
		err = errors.Join(err, s.fleet.start(i))
	}
	if st.Fault == killAgain && err == nil {
		testbed.Sleep(ctx, time.Duration(rng.IntN(1000))*time.Millisecond)
		s.fleet.kill(i)
		err = s.fleet.start(i)
	}
	return err
}

// terminate is SIGTERM, and a restart after a pause.
func (s *suite) terminate(ctx context.Context, i int, pause time.Duration) error {
	took := s.fleet.terminate(i)
	if took > time.Second {
		s.log.printf("         t%d ended %s after SIGTERM", i, took.Round(100*time.Millisecond))
	}
	testbed.Sleep(ctx, pause)
	return s.fleet.start(i)
}

// visit is one more instance that joins and leaves, in order or not.
func (s *suite) visit(ctx context.Context, st step, rng *rand.Rand) error {
	i, detail := st.Targets[0], "leaves by SIGTERM"
	killed := rng.IntN(2) == 0
	if killed {
		detail = "leaves by kill -9"
	}
	s.happened(st, detail)
	if err := s.fleet.start(i); err != nil {
		return err
	}
	testbed.Sleep(ctx, st.For)
	if killed {
		s.fleet.kill(i)
		s.report.killed(1)
	} else {
		s.fleet.terminate(i)
	}
	return nil
}

// killBroker ends a broker, starts it again, and returns when it has caught up: until then no other may end.
func (s *suite) killBroker(ctx context.Context, st step) error {
	s.broker.Lock()
	defer s.broker.Unlock()
	if s.tooLate(ctx, st) {
		return nil
	}
	all := make([]int, len(s.trouble))
	for i := range all {
		all[i] = i + 1
	}
	defer s.troubled(all)()
	b := st.Targets[0]
	if err := s.cluster.awaitSync(ctx); err != nil {
		return err
	}
	if err := s.cluster.kill(ctx, b); err != nil {
		return err
	}
	s.happened(st, "")
	testbed.Sleep(ctx, st.For)
	begun := time.Now()
	if err := s.cluster.up(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	s.log.printf("         broker %d is back in sync %s after its restart", b, time.Since(begun).Round(100*time.Millisecond))
	return nil
}

// disturb makes connections bad for a while.
func (s *suite) disturb(ctx context.Context, st step, rng *rand.Rand) {
	for _, i := range st.Targets { // in rising order
		s.network[i-1].Lock()
		defer s.network[i-1].Unlock()
	}
	if s.tooLate(ctx, st) {
		return
	}
	m, detail := badMode(st.Fault, rng)
	defer s.troubled(st.Targets)()
	s.happened(st, detail)
	for _, i := range st.Targets {
		s.cluster.proxies[i-1].set(m, st.Brokers...)
	}
	testbed.Sleep(ctx, st.For)
	for _, i := range st.Targets {
		s.cluster.proxies[i-1].set(mode{}, st.Brokers...)
	}
}

// badMode chooses the mode of a bad connection, and describes it.
func badMode(f fault, rng *rand.Rand) (mode, string) {
	switch f {
	case slow:
		m := mode{delay: time.Duration(10+rng.IntN(300)) * time.Millisecond, rate: 20_000 + rng.IntN(200_000)}
		return m, fmt.Sprintf("%s later and %d KB/s", m.delay, m.rate/1000)
	case cut:
		return mode{cut: true}, ""
	}
	m := mode{lose: rng.IntN(2) == 0}
	direction, way := "in both directions", rng.IntN(3)
	switch {
	case f == swallow:
		m.swallow, direction = true, "to leaders"
	case way == 0:
		m.holdUp, direction = true, "to the broker"
	case way == 1:
		m.holdDn, direction = true, "to the instance"
	default:
		m.holdUp, m.holdDn = true, true
	}
	end := "arrive late"
	if m.lose {
		end = "are lost"
	}
	return m, "bytes " + direction + " " + end
}

// The bounds of a backfill: the number of its records, and their age, within
// events.max_lateness of the partition's others.
const (
	mostBackfill = 600
	oldest       = 5 * 24 * time.Hour
)

// changeInput lets the input of a partition be untidy for a while.
func (s *suite) changeInput(ctx context.Context, st step, rng *rand.Rand) {
	partition := st.Targets[0]
	switch st.Fault {
	case hoursLate:
		late := 2*time.Hour + time.Duration(rng.Int64N(int64(4*time.Hour)))
		s.happened(st, late.Round(time.Minute).String()+" late")
		s.feed.change(partition, func(c *cell) { c.behind = late })
		testbed.Sleep(ctx, st.For)
		s.feed.change(partition, func(c *cell) { c.behind = 0 })
	case doubled:
		s.happened(st, "")
		s.feed.change(partition, func(c *cell) { c.doubled = true })
		testbed.Sleep(ctx, st.For)
		s.feed.change(partition, func(c *cell) { c.doubled = false })
	case backfilled:
		n, old := mostBackfill/2+rng.IntN(mostBackfill/2), oldest-time.Duration(rng.Int64N(int64(oldest/2)))
		s.happened(st, fmt.Sprintf("%d records of %s ago", n, old.Round(time.Hour)))
		s.feed.backfill(ctx, partition, n, old)
	}
}

// happened notes a fault that has begun.
func (s *suite) happened(st step, detail string) {
	s.report.happened(st)
	line := st.String()[9:]
	if detail != "" {
		line += ": " + detail
	}
	s.log.printf("%s", line)
}

// troubled notes that instances cannot reach brokers as they should, until the function that it returns is called.
func (s *suite) troubled(instances []int) func() {
	note := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, i := range instances {
			s.trouble[i-1].now += n
			s.trouble[i-1].until = time.Now()
		}
	}
	note(1)
	return func() { note(-1) }
}

// damaged notes that the state of an instance was damaged.
func (s *suite) damaged(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble[i-1].damaged = true
}

// ended notes that an instance has ended by itself. An exit that no fault explains fails the run.
func (s *suite) ended(e exit) {
	s.mu.Lock()
	t := s.trouble[e.Instance-1]
	broken := t.damaged && !e.Crashed && strings.Contains(e.Last[len(e.Last)-1], "state_dir")
	s.trouble[e.Instance-1].damaged = t.damaged && !broken // the next start makes the state anew
	s.mu.Unlock()
	switch {
	case e.Crashed: // no fault excuses a crash
	case broken:
		e.Why = "its state directory was damaged"
	case e.Instance == frozenInstance && (t.frozen || time.Since(t.thawed) < e.Ran):
		e.Why = "its disk did not answer"
	case !e.Started && (t.now > 0 || time.Since(t.until) < e.Ran):
		e.Why = "it could not reach the brokers when it started"
	}
	s.report.ended(e)
	s.log.printf("%s", e)
}
