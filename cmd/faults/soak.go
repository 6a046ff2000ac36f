package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"trailhound/cmd/internal/testbed"
)

// soakOptions are the flags of soak.
type soakOptions struct {
	options
	roll, kill, every, warmUp time.Duration
	growth                    float64 // percent an hour that is still called flat
}

// soak is the mode that shows whether an instance grows with time.
func soak(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o soakOptions
	flags := flag.NewFlagSet("faults soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "duration", 30*time.Minute, "how long events are fed; the brokers need 1 KB of disk for each record")
	flags.IntVar(&o.rate, "rate", 5000, "records per second")
	flags.Uint64Var(&o.seed, "seed", 1, "decides the events, and who is killed")
	flags.IntVar(&o.brokers, "brokers", 1, "Kafka brokers")
	flags.IntVar(&o.instances, "instances", 3, "instances of the service; t1 is never restarted, so that what grows slowly has the time to")
	flags.DurationVar(&o.roll, "roll", 5*time.Minute, "how often the other instances are restarted, one after the other")
	flags.DurationVar(&o.kill, "kill", 7*time.Minute, "how often one of the others is killed and restarted")
	flags.DurationVar(&o.every, "sample", 10*time.Second, "how often instances are looked at")
	flags.DurationVar(&o.warmUp, "warm-up", time.Minute, "how long after its start a process is not judged")
	flags.Float64Var(&o.growth, "growth", 20, "percent an hour by which a figure may grow")
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "512m", "Java heap of each broker")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	case flags.NArg() > 0 || o.rate < soakHaste || o.brokers < 1 || o.brokers > 9 || o.instances < 2 || o.instances > 20:
		fmt.Fprintln(stderr, "want no arguments, a --rate of at least 6, 1 to 9 --brokers and 2 to 20 --instances")
		return exitUsage
	case o.roll <= 0 || o.kill <= 0 || o.every <= 0 || o.warmUp < 0 || o.duration < 4*o.every:
		fmt.Fprintln(stderr, "want spans longer than 0, and a --duration of many --sample")
		return exitUsage
	}
	return play(ctx, o.options, stdout, stderr, func(ctx context.Context, s *suite) (bool, error) {
		return (&soaking{suite: s, o: o, stdout: stdout}).run(ctx)
	})
}

// soaking is one soak.
type soaking struct {
	*suite
	o      soakOptions
	stdout io.Writer

	mu       sync.Mutex
	samples  []sample
	backlog  int64 // largest number of records that were fed and not yet committed
	restarts int
}

// soakHaste is how much faster event time goes on than in the suite. An eventID leaves the
// state after eight days of event time (a day for duplicates and a week for late events):
// with this haste, in the first half of a soak of half an hour.
const soakHaste = 6

// The figures of a sample.
const (
	memory = iota
	heap
	goroutines
	openFiles
	threads
	disk
	figures
)

// figureInfo is how a figure is judged: it may rise by so much, as caches fill and files of the state come and go.
var figureInfo = [figures]struct {
	name string
	rise float64
}{
	memory: {"memory (RSS), MB", 24}, heap: {"heap, MB", 24}, goroutines: {"goroutines", 12},
	openFiles: {"open files", 12}, threads: {"threads", 4}, disk: {"state_dir, MB", 16},
}

// sample is one measurement of an instance.
type sample struct {
	instance int
	run      int           // of its processes
	age      time.Duration // of the process
	at       time.Duration // since the soak began
	figures  [figures]float64
}

// run feeds, restarts and watches at the same time; then it drains, compares and judges.
func (k *soaking) run(ctx context.Context) (bool, error) {
	work := newWorkload(k.seed, inputPartitions)
	work.setRate(k.rate / soakHaste)
	var err error
	if k.feed, err = newFeed(k.cluster.addresses, work, k.rate); err != nil {
		return false, err
	}
	defer k.feed.close()
	v := newVerifier(k.cluster.addresses, verifyTopics{inputTopic, alertsTopic, deadLetterTopic}, oracleSettings{})
	defer v.close()
	k.begun = time.Now()
	k.log.begun = k.begun

	feeding, stop := context.WithTimeout(ctx, k.duration)
	defer stop()
	var others sync.WaitGroup
	var failed [2]error
	for i, do := range []func(context.Context) error{k.disturb, func(ctx context.Context) error { return k.compare(ctx, v) }} {
		others.Go(func() {
			if failed[i] = do(feeding); failed[i] != nil {
				stop()
			}
		})
	}
	others.Go(func() { k.watch(feeding) })
	err = k.feed.run(feeding)
	stop()
	others.Wait()
	if err := errors.Join(err, failed[0], failed[1], context.Cause(ctx)); err != nil {
		return false, err
	}
	if err := k.awaitReady(ctx); err != nil {
		return false, err
	}
	if err := k.drain(ctx, v); err != nil {
		return false, err
	}
	k.report.Duration = seconds(time.Since(k.begun))
	if err := k.report.write(k.stdout, false); err != nil {
		return false, err
	}
	flat, err := k.judge()
	return flat && k.report.passed(), err
}

// disturb restarts instances until ctx ends: all but the first in turn, and now and then one with kill -9.
func (k *soaking) disturb(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(k.seed, 3))
	roll, kill := time.NewTicker(k.o.roll), time.NewTicker(k.o.kill)
	defer roll.Stop()
	defer kill.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-roll.C:
			k.log.printf("rolling restart")
			for i := 2; i <= k.instances && err == nil; i++ {
				k.fleet.terminate(i)
				err = k.back(ctx, i)
			}
		case <-kill.C:
			i := 2 + rng.IntN(k.instances-1)
			k.log.printf("kill -9 of t%d", i)
			k.fleet.kill(i)
			k.report.killed(1)
			err = k.back(ctx, i)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// back starts instance i again and waits until it serves.
func (k *soaking) back(ctx context.Context, i int) error {
	if err := k.fleet.start(i); err != nil {
		return err
	}
	k.mu.Lock()
	k.restarts++
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return k.fleet.wait(ctx, i)
}

// compare reads the outputs during the run, so that little is left at its end, and logs the
// tally every minute.
func (k *soaking) compare(ctx context.Context, v *verifier) error {
	for testbed.Sleep(ctx, time.Minute) {
		t, err := v.read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		k.log.printf("%d records fed; of %d alerts %d are doubled, %d wrong, %d not there yet; %d dead letters wrong",
			k.feed.count(), t.Expected, t.Doubled, t.Wrong, t.Lost, t.DeadWrong)
		if t.Doubled+t.Wrong+t.DeadWrong > 0 {
			return fmt.Errorf("the comparison has failed: %s", strings.Join(t.Examples, "; "))
		}
	}
	return nil
}

// watch takes samples until ctx ends.
func (k *soaking) watch(ctx context.Context) {
	for testbed.Sleep(ctx, k.o.every) {
		for i := 1; i <= k.instances; i++ {
			if s, err := k.look(ctx, i); err == nil { // else it is being restarted
				k.mu.Lock()
				k.samples = append(k.samples, s)
				k.mu.Unlock()
			}
		}
		if n, err := k.waiting(ctx); err == nil {
			k.mu.Lock()
			k.backlog = max(k.backlog, n)
			k.mu.Unlock()
		}
	}
}

// waiting is how many records were fed that no instance has committed.
func (k *soaking) waiting(ctx context.Context) (n int64, err error) {
	fed := k.feed.ends()
	committed, err := k.cluster.committed(ctx, appID, inputTopic)
	for p, end := range fed {
		n += max(0, end-committed[p])
	}
	return n, err
}

// look takes a sample of instance i.
func (k *soaking) look(ctx context.Context, i int) (s sample, err error) {
	n := k.fleet.instance(i)
	n.mu.Lock()
	if !n.running() {
		n.mu.Unlock()
		return s, errors.New("it does not run")
	}
	s = sample{instance: i, run: n.starts, age: time.Since(n.process.Begun), at: time.Since(k.begun)}
	proc := filepath.Join("/proc", strconv.Itoa(n.process.Cmd.Process.Pid))
	n.mu.Unlock()

	m, err := k.fleet.metrics(ctx, i)
	if err != nil {
		return s, err
	}
	s.figures[heap], s.figures[goroutines] = m["go_memstats_heap_alloc_bytes"]/1e6, m["go_goroutines"]
	statm, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		return s, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	if err != nil {
		return s, err
	}
	s.figures[memory] = pages * float64(syscall.Getpagesize()) / 1e6
	files, err1 := os.ReadDir(filepath.Join(proc, "fd"))
	tasks, err2 := os.ReadDir(filepath.Join(proc, "task"))
	size, err3 := sizeOf(n.state)
	s.figures[openFiles], s.figures[threads], s.figures[disk] = float64(len(files)), float64(len(tasks)), float64(size)/1e6
	return s, errors.Join(err1, err2, err3)
}

// sizeOf returns the bytes of all files in a directory. Files may come and go meanwhile.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				size += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return size, err
}
