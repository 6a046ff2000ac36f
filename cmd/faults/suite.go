package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"trailhound/cmd/internal/testbed"
)

// The names of a run's topics, and its input's partitions.
const (
	appID           = "faults"
	inputTopic      = "events"
	alertsTopic     = "alerts"
	deadLetterTopic = "dead-letters"
	inputPartitions = 4
	readyWithin     = 2 * time.Minute
	drainWithin     = 3 * time.Minute
	stuckAfter      = time.Minute // without any progress while draining
	surplusWait     = 5 * time.Second
	shortTimeouts   = "  session_timeout: 6s\n  transaction_timeout: 10s\n  request_timeout: 5s\n" // of kafka
	commonConfig    = "app_id: " + appID + "\nshards: 8\n" +
		"topics:\n  input: [" + inputTopic + "]\n  alerts: " + alertsTopic + "\n  dead_letter: " + deadLetterTopic + "\n"
)

// lines writes lines of progress, with the time since the beginning.
type lines struct {
	mu    sync.Mutex
	w     io.Writer
	begun time.Time
}

func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%7s  %s\n", time.Since(l.begun).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}

// suite is one run.
type suite struct {
	options
	dir     string
	inputs  int                         // partitions of the input; 0: inputPartitions
	later   bool                        // instances are not started with the brokers
	freezes bool                        // the disk of an instance shall be one that can be frozen
	disk    *loopDisk                   // of frozenInstance; nil: it cannot
	prepare func(context.Context) error // called before the product makes its topics, if there is one
	config  string                      // common to all instances; begins within kafka
	log     *lines
	cluster *cluster
	fleet   *fleet
	feed    *feed
	begun   time.Time // of the plan

	broker  sync.Mutex   // held while a broker is down or catches up
	network []sync.Mutex // of each instance: held while a network fault lasts

	mu      sync.Mutex
	report  *report
	trouble []trouble // of each instance
}

// trouble is the faults that can explain why an instance ends by itself.
type trouble struct {
	now     int // faults that keep it from a broker
	until   time.Time
	damaged bool // its state, which may be found minutes later: a block is checked when it is read
	frozen  bool // its disk does not answer
	thawed  time.Time
}

// start starts brokers, topics, and instances, and waits until they serve.
func (s *suite) start(ctx context.Context) error {
	root, err := testbed.FindRoot()
	if err != nil {
		return err
	}
	binary, err := testbed.Build(ctx, root, s.dir)
	if err != nil {
		return err
	}
	all := s.instances + 1 // a guest is one more
	s.network, s.trouble = make([]sync.Mutex, all), make([]trouble, all)
	s.cluster, err = startCluster(ctx, root, filepath.Join(s.dir, "kafka"), s.heap, s.brokers, all)
	if err != nil {
		return err
	}
	s.log.printf("%d brokers run: %v", s.brokers, s.cluster.addresses)
	s.mountDisk()
	s.fleet, err = newFleet(binary, s.dir, s.config, all, s.cluster.bootstrap, s.stateDir)
	if err == nil {
		s.fleet.ended = s.ended
		if s.prepare != nil {
			err = s.prepare(ctx)
		}
	}
	if err == nil {
		err = s.createTopics()
	}
	for i := 1; err == nil && i <= s.instances && !s.later; i++ {
		err = s.fleet.start(i)
	}
	if err == nil && !s.later {
		err = s.awaitReady(ctx)
	}
	if err != nil {
		s.halt()
		s.cluster.halt()
		return err
	}
	if !s.later {
		s.log.printf("%d instances serve", s.instances)
	}
	return nil
}

// createTopics lets the product make its topics, and its input.
func (s *suite) createTopics() error {
	out, err := s.fleet.command(1, "topics", "create", "--input-partitions", fmt.Sprint(cmp.Or(s.inputs, inputPartitions))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("trailhound topics create: %w: %s", err, out)
	}
	return nil
}

// awaitReady waits until all instances serve all that is assigned to them.
func (s *suite) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for i := 1; i <= s.instances; i++ {
		if err := s.fleet.wait(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// live feeds, carries the plan out, drains and compares.
func (s *suite) live(ctx context.Context) error {
	var err error
	work := newWorkload(s.seed, inputPartitions)
	work.setRate(s.rate)
	s.feed, err = newFeed(s.cluster.addresses, work, s.rate)
	if err != nil {
		return err
	}
	defer s.feed.close()
	v := newVerifier(s.cluster.addresses, verifyTopics{inputTopic, alertsTopic, deadLetterTopic}, oracleSettings{})
	defer v.close()
	s.begun = time.Now()
	s.log.begun = s.begun
	feeding, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	fed := make(chan error, 1)
	go func() { fed <- s.feed.run(feeding) }()
	err = s.carryOut(ctx)
	if err != nil {
		stop()
	}
	err = errors.Join(err, <-fed, ctx.Err())
	if err != nil {
		return err
	}
	s.log.printf("%d events are fed; draining", s.feed.count())
	err = s.drain(ctx, v)
	s.report.Duration = seconds(time.Since(s.begun))
	return err
}

// drain waits until all events have had their effect, ends the instances, and compares the output.
func (s *suite) drain(ctx context.Context, v *verifier) error {
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for last, since := "", begun; ; {
		missing := s.missing(waiting, v)
		if missing == nil {
			s.report.Drained = true
			s.log.printf("drained after %s; missing until then: %s", time.Since(begun).Round(100*time.Millisecond), cmp.Or(last, "nothing"))
			testbed.Sleep(ctx, surplusWait)
			break
		}
		if missing.Error() != last {
			last, since = missing.Error(), time.Now()
		}
		if time.Since(since) > stuckAfter || !testbed.Sleep(waiting, time.Second) {
			s.log.printf("not drained after %s: %v", time.Since(begun).Round(time.Second), missing)
			s.explainStuck(ctx)
			break
		}
	}
	for i := 1; i <= s.instances; i++ {
		took := s.fleet.terminate(i)
		s.log.printf("t%d ended %s after SIGTERM", i, took.Round(time.Millisecond))
	}
	t, err := v.read(ctx)
	s.report.tally(t)
	s.report.Starts = s.fleet.starts()
	return err
}

// missing returns nil once everything is done, else an error about the first part that is not.
func (s *suite) missing(ctx context.Context, v *verifier) error {
	for i := 1; i <= s.instances; i++ {
		if err := s.fleet.ready(ctx, i); err != nil {
			return fmt.Errorf("t%d: %w", i, err)
		}
	}
	committed, err := s.cluster.committed(ctx, appID, inputTopic)
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	for p, end := range s.feed.ends() {
		if committed[p] < end {
			return fmt.Errorf("input partition %d is committed up to %d of %d", p, committed[p], end)
		}
	}
	t, err := v.read(ctx)
	if err != nil {
		return fmt.Errorf("read the alerts: %w", err)
	}
	if t.Lost > 0 || t.DeadLost > 0 {
		return fmt.Errorf("%d of %d alerts and %d of %d dead letters are missing", t.Lost, t.Expected, t.DeadLost, t.DeadExpected)
	}
	return nil
}

// explainStuck logs the lag that each instance reports.
func (s *suite) explainStuck(ctx context.Context) {
	for i := 1; i <= s.instances; i++ {
		m, err := s.fleet.metrics(ctx, i)
		if err != nil {
			s.log.printf("t%d: %v", i, err)
		}
		for series, v := range m {
			if v > 0 && strings.Contains(series, "_lag_records") {
				s.log.printf("t%d: %s %g", i, series, v)
			}
		}
	}
}
