package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"trailhound/cmd/internal/testbed"
)

// The promise of failover: how long, at most, until alerts flow again.
const (
	productSession   = 10 * time.Second // the product's default of kafka.session_timeout
	restartLimit     = 3 * time.Second  // of an instance that is killed and comes back at once
	stopLimit        = time.Second      // of one that ends in order, and comes back or says that it will not
	goneLimit        = productSession + 2*time.Second
	rollingLimit     = 5 * time.Second
	failoverShards   = 8 // the product's default
	probeEvery       = 100 * time.Millisecond
	probesBefore     = time.Second     // of an event: probes that count for it
	probesAfter      = 4 * time.Second // likewise, at least
	probePatience    = 2 * time.Second // a probe that has taken longer is a gap that is not over
	failoverWithin   = 90 * time.Second
	betweenFailovers = 2 * time.Second
)

// failover is the mode that measures how soon alerts flow again after an instance has ended.
func failover(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{instances: 3}
	flags := flag.NewFlagSet("faults failover", flag.ContinueOnError)
	flags.SetOutput(stderr)
	times := flags.Int("times", 20, "how often an instance is killed and restarted at once; the other cases come a quarter as often")
	flags.IntVar(&o.brokers, "brokers", 1, "Kafka brokers")
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "512m", "Java heap of each broker")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	case flags.NArg() > 0 || *times < 1 || o.brokers < 1 || o.brokers > 9:
		fmt.Fprintln(stderr, "want no arguments, --times of at least 1 and 1 to 9 --brokers")
		return exitUsage
	}
	return play(ctx, o, stdout, stderr, func(ctx context.Context, s *suite) (bool, error) {
		f := &failovers{suite: s, stdout: stdout}
		if err := f.measure(ctx, *times); err != nil {
			return false, err
		}
		return f.table()
	})
}

// failovers is one measurement.
type failovers struct {
	*suite
	stdout io.Writer
	probes *probes
	cases  []*failoverCase
	moved  int // shards that a rolling restart has moved
}

// failoverCase is one way in which an instance ends, and the delay of alerts each time.
type failoverCase struct {
	name  string
	limit time.Duration // 0: the figure is only told
	at    float64       // the quantile that the limit is for
	took  []time.Duration
}

// measure goes through all cases, with probes under way all the time.
func (f *failovers) measure(ctx context.Context, times int) error {
	return f.probing(ctx, func(ctx context.Context) error { return f.measureAll(ctx, times) })
}

// probing calls do while probes are under way.
func (f *failovers) probing(ctx context.Context, do func(context.Context) error) (err error) {
	f.probes, err = newProbes(f.cluster.addresses)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	probing := f.probes.start(ctx, stop)
	defer func() {
		stop(nil)
		probing.Wait()
		f.probes.close()
	}()
	return do(ctx)
}

func (f *failovers) measureAll(ctx context.Context, times int) error {
	fewer := max(2, times/4)
	victim := 0
	next := func() int { victim = victim%f.instances + 1; return victim }
	for _, c := range []struct {
		failoverCase
		times  int
		before func() error // sets up the event
		event  func() error // is measured
		after  func() error // brings everything back; nil: nothing has to
	}{
		{failoverCase{name: "nothing happens"}, fewer, nil, func() error { return nil }, nil},
		{failoverCase{name: "kill -9, restarted at once", limit: restartLimit, at: 0.95}, times, nil, func() error {
			f.fleet.kill(next())
			return f.fleet.start(victim)
		}, nil},
		{failoverCase{name: "kill -9, not restarted", limit: goneLimit, at: 1}, fewer, nil, func() error {
			f.fleet.kill(next())
			return nil
		}, func() error { return f.fleet.start(victim) }},
		{failoverCase{name: "SIGTERM, restarted at once", limit: stopLimit, at: 1}, fewer, nil, func() error {
			f.fleet.terminate(next())
			return f.fleet.start(victim)
		}, nil},
		{failoverCase{name: "SIGTERM, not restarted", limit: goneLimit, at: 1}, fewer, nil, func() error {
			f.fleet.terminate(next())
			return nil
		}, func() error { return f.fleet.start(victim) }},
		{failoverCase{name: "SIGTERM, leave_on_stop, not restarted", limit: stopLimit, at: 1}, fewer, func() error {
			f.fleet.terminate(next())
			f.fleet.instance(victim).flags = []string{"--set", "leave_on_stop=true"}
			return f.fleet.start(victim)
		}, func() error {
			f.fleet.terminate(victim)
			return nil
		}, func() error {
			f.fleet.instance(victim).flags = nil
			return f.fleet.start(victim)
		}},
		{failoverCase{name: "rolling restart of all", limit: rollingLimit, at: 1}, fewer, nil, func() error { return f.roll(ctx) }, nil},
	} {
		one := c.failoverCase
		f.cases = append(f.cases, &one)
		for range c.times {
			took, err := f.once(ctx, c.before, c.event, c.after)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			one.took = append(one.took, took)
			f.log.printf("%-28s %6s", c.name, took.Round(time.Millisecond))
		}
	}
	return nil
}

// once lets an event happen and returns the longest delay among the probes around it.
func (f *failovers) once(ctx context.Context, before, event, after func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, failoverWithin)
	defer cancel()
	if err := f.settle(ctx, before); err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := event(); err != nil {
		return 0, err
	}
	took, err := f.flowing(ctx, begun)
	if err != nil {
		return 0, err
	}
	return took, f.settle(ctx, after)
}

// settle calls do outside the measurement, and waits until all instances serve and alerts flow.
func (f *failovers) settle(ctx context.Context, do func() error) error {
	if do != nil {
		if err := do(); err != nil {
			return err
		}
	}
	if err := f.awaitReady(ctx); err != nil {
		return err
	}
	if _, err := f.flowing(ctx, time.Now()); err != nil {
		return err
	}
	if !testbed.Sleep(ctx, betweenFailovers) {
		return context.Cause(ctx)
	}
	return nil
}

// flowing waits until the alerts of all probes come soon again, and returns the longest delay among the probes from
// shortly before an event until now.
func (f *failovers) flowing(ctx context.Context, event time.Time) (time.Duration, error) {
	for {
		until := time.Now().Add(-probePatience)
		longest, missing := f.probes.longest(event.Add(-probesBefore), until)
		if missing == 0 && time.Since(event) > probesAfter+probePatience {
			return longest, nil
		}
		if !testbed.Sleep(ctx, 50*time.Millisecond) {
			return 0, fmt.Errorf("%d probes have no alert %s after the event: %w", missing, time.Since(event).Round(time.Millisecond), context.Cause(ctx))
		}
	}
}

// roll restarts all instances, one after the other, and notes which shards have moved.
func (f *failovers) roll(ctx context.Context) error {
	before, err := f.owners(ctx)
	if err != nil {
		return err
	}
	for i := 1; i <= f.instances; i++ {
		f.fleet.terminate(i)
		if err := f.fleet.start(i); err != nil {
			return err
		}
		if err := f.fleet.wait(ctx, i); err != nil {
			return err
		}
	}
	now, err := f.owners(ctx)
	if err != nil {
		return err
	}
	for shard, owner := range before {
		if now[shard] != owner {
			f.moved++
			f.log.printf("shard %s has moved from t%d to t%d", shard, owner, now[shard])
		}
	}
	return nil
}

// owners returns which instance serves each shard, as their metrics say.
func (f *failovers) owners(ctx context.Context) (map[string]int, error) {
	owners := make(map[string]int)
	for i := 1; i <= f.instances; i++ {
		m, err := f.fleet.metrics(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("metrics of t%d: %w", i, err)
		}
		for series, v := range m {
			if shard, ok := strings.CutPrefix(series, "trailhound_shard_ready"); ok && v == 1 {
				owners[shard] = i
			}
		}
	}
	if len(owners) != failoverShards {
		return nil, fmt.Errorf("%d of %d shards have an owner: %v", len(owners), failoverShards, owners)
	}
	return owners, nil
}

// table prints the delays, and tells whether all limits were kept.
func (f *failovers) table() (bool, error) {
	ok := f.moved == 0
	w := tabwriter.NewWriter(f.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "longest delay of an alert after\ttimes\tp50\tp95\tmax\tlimit\t")
	for _, c := range f.cases {
		limit, verdict := "", ""
		if c.limit > 0 {
			limit = fmt.Sprintf("p%.0f ≤ %s", 100*c.at, c.limit)
			if c.at == 1 {
				limit = fmt.Sprintf("max ≤ %s", c.limit)
			}
			if verdict = "kept"; testbed.Quantile(c.took, c.at) > c.limit {
				verdict, ok = "MISSED", false
			}
		}
		ms := func(at float64) time.Duration { return testbed.Quantile(c.took, at).Round(time.Millisecond) }
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", c.name, len(c.took), ms(0.5), ms(0.95), ms(1), limit, verdict)
	}
	err := w.Flush()
	if err == nil {
		_, err = fmt.Fprintf(f.stdout, "shards moved by rolling restarts: %d; probes: %d\n", f.moved, f.probes.count())
	}
	return ok, err
}
