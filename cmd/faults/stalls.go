package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/cmd/internal/testbed"
)

// The promise about a part that stands still: how long, at most, until /readyz says it,
// alerts flow again, and a process ends.
const (
	toldLimit     = 10 * time.Second
	diskToldLimit = 15 * time.Second // its calls may be buffered for a while
	overLimit     = 45 * time.Second
	graceLimit    = 48 * time.Second // as far as the kernel lets a process end: it gives itself 45 s from SIGTERM, which comes 2 s after the freeze
	openFor       = 15 * time.Second // a transaction of another producer
	frozenFor     = overLimit + 15*time.Second
	stoppedFor    = 20 * time.Second // a process by SIGSTOP
	stallWithin   = 3 * time.Minute
)

// stalls is the mode that lets parts stand still without ending them, and measures how soon
// that is reported and over.
func stalls(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{instances: 3}
	flags := flag.NewFlagSet("faults stalls", flag.ContinueOnError)
	flags.SetOutput(stderr)
	times := flags.Int("times", 3, "how often each part stands still")
	only := flags.String("only", "", "a regular expression: only cases whose names match")
	flags.IntVar(&o.brokers, "brokers", 1, "Kafka brokers")
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "512m", "Java heap of each broker")
	err := flags.Parse(args)
	match, bad := regexp.Compile(*only)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	case flags.NArg() > 0 || *times < 1 || o.brokers < 1 || o.brokers > 9 || bad != nil:
		fmt.Fprintln(stderr, "want no arguments, --times of at least 1, 1 to 9 --brokers and a regular expression for --only")
		return exitUsage
	}
	return play(ctx, o, stdout, stderr, func(ctx context.Context, s *suite) (bool, error) {
		m := &stalling{failovers: &failovers{suite: s, stdout: stdout}}
		if err := m.measure(ctx, *times, match); err != nil {
			return false, err
		}
		return m.table()
	}, func(s *suite) { s.freezes = true })
}

// stalling is one measurement.
type stalling struct {
	*failovers
	done   []*stallCase
	victim int // of the last case
	lost   int // probes without an alert
}

// stallCase is one way in which a part stands still.
type stallCase struct {
	name  string
	begin func(context.Context) error // sets victim to the instance that it meets
	says  *regexp.Regexp              // must match its /readyz; nil: it cannot answer
	lasts time.Duration               // 0: until alerts flow again
	end   func(context.Context) error
	after func() error // brings everything back; nil: nothing has to

	toldLimit, overLimit, endLimit time.Duration // 0: there is no such figure

	told, over, ended []time.Duration
}

// next chooses the next victim among all instances.
func (m *stalling) next() int {
	m.victim = m.victim%m.instances + 1
	return m.victim
}

// cases returns the parts that can stand still on this machine.
func (m *stalling) cases() []*stallCase {
	broker, names := 0, regexp.MustCompile(`(shard|input|topic) .*broker \d+ has not answered`)
	restart := func() error { // after it the instance takes again the partitions that it has handed back
		m.fleet.terminate(m.victim)
		return m.fleet.start(m.victim)
	}
	var transaction *foreign
	n := 0
	all := []*stallCase{
		{
			name: "a leader swallows requests", says: names, toldLimit: toldLimit, overLimit: overLimit, after: restart,
			begin: func(context.Context) error {
				broker = broker%m.brokers + 1
				m.cluster.proxies[m.next()-1].set(mode{swallow: true, lose: true}, broker)
				return nil
			},
			end: func(context.Context) error {
				m.cluster.proxies[m.victim-1].set(mode{}, broker)
				return nil
			},
		},
		{
			name: "SIGSTOP for " + stoppedFor.String(), lasts: stoppedFor, overLimit: goneLimit,
			begin: func(context.Context) error { m.fleet.pause(m.next()); return nil },
			end:   func(context.Context) error { m.fleet.resume(m.victim); return nil },
		},
		{
			name: "an open transaction in the input, " + openFor.String(), lasts: openFor, overLimit: openFor + 3*time.Second,
			says: regexp.MustCompile(inputTopic + `.*open transaction of a producer`), toldLimit: toldLimit,
			begin: func(ctx context.Context) (err error) {
				transaction, err = newForeign(m.cluster.addresses, "foreign-"+strconv.Itoa(n))
				if err != nil {
					return err
				}
				n++
				rec := m.probes.probe(foreignProbes+n, n%failoverShards, m.probes.roles[n%failoverShards])
				if err := transaction.begin(ctx, rec); err != nil {
					return err
				}
				m.victim, err = m.reader(ctx, rec.Partition)
				return err
			},
			end: func(ctx context.Context) error {
				defer transaction.client.Close()
				return transaction.end(ctx, kgo.TryCommit)
			},
		},
	}
	if m.disk == nil {
		return all
	}
	var thaw func() error
	freeze := func(context.Context) (err error) {
		m.victim = frozenInstance
		thaw, err = m.freezeNow()
		return err
	}
	melt := func(context.Context) error { return thaw() }
	says := regexp.MustCompile(`the disk of the local state does not answer`)
	return append(all,
		&stallCase{
			name: "a frozen disk, " + frozenFor.String(), begin: freeze, says: says, lasts: frozenFor, end: melt,
			toldLimit: diskToldLimit, overLimit: overLimit, endLimit: overLimit,
		},
		&stallCase{
			name: "SIGTERM on a frozen disk", overLimit: overLimit, endLimit: graceLimit, end: melt,
			begin: func(ctx context.Context) error {
				if err := freeze(ctx); err != nil {
					return err
				}
				testbed.Sleep(ctx, 2*time.Second) // until something waits for the disk
				m.fleet.signal(m.victim, syscall.SIGTERM, true)
				return nil
			},
			after: func() error {
				m.fleet.kill(m.victim) // returns when the process is gone
				return m.fleet.start(m.victim)
			},
		})
}

// foreignProbes is the number of the first probe in another producer's transaction.
const foreignProbes = 0xe000

// reader returns which instance reads a partition of the input.
func (m *stalling) reader(ctx context.Context, partition int32) (int, error) {
	series := fmt.Sprintf(`{topic="%s",partition="%d"}`, inputTopic, partition)
	var seen []string
	for i := 1; i <= m.instances; i++ {
		all, err := m.fleet.metrics(ctx, i)
		if err != nil {
			return 0, err
		}
		for name := range all {
			if strings.HasPrefix(name, "trailhound_input_lag_records") {
				seen = append(seen, name)
				if strings.HasSuffix(name, series) || strings.Contains(name, fmt.Sprintf(`partition="%d"`, partition)) {
					return i, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("no instance reads partition %d: %v", partition, seen)
}

// measure goes through all cases, with probes under way all the time.
func (m *stalling) measure(ctx context.Context, times int, only *regexp.Regexp) error {
	return m.probing(ctx, func(ctx context.Context) error {
		for _, c := range m.cases() {
			if !only.MatchString(c.name) {
				continue
			}
			m.done = append(m.done, c)
			for range times {
				if err := m.once(ctx, c); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
		_, m.lost = m.probes.longest(time.Time{}, time.Now().Add(-probePatience))
		return nil
	})
}

// once lets a part stand still, and go on.
func (m *stalling) once(ctx context.Context, c *stallCase) error {
	ctx, cancel := context.WithTimeout(ctx, stallWithin)
	defer cancel()
	if err := m.settle(ctx, nil); err != nil {
		return err
	}
	begun := time.Now()
	if err := c.begin(ctx); err != nil {
		return err
	}
	ended := make(chan error, 1)
	ending, endNow := context.WithCancel(ctx)
	defer endNow()
	go func() {
		if c.lasts > 0 {
			testbed.Sleep(ending, time.Until(begun.Add(c.lasts)))
		} else {
			<-ending.Done()
		}
		ended <- c.end(context.WithoutCancel(ctx))
	}()
	told, exited := make(chan time.Duration, 1), make(chan time.Duration, 1)
	watching, stop := context.WithTimeout(ctx, overLimit+30*time.Second)
	defer stop()
	go func() { told <- m.toldAfter(watching, c, begun) }()
	go func() { exited <- m.endedAfter(watching, c, begun) }()
	t, e := <-told, <-exited
	if c.lasts > 0 {
		if err := <-ended; err != nil {
			return err
		}
	}
	over, err := m.flowing(ctx, begun)
	endNow()
	if c.lasts == 0 {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	c.over = append(c.over, over)
	c.told, c.ended = append(c.told, t), append(c.ended, e)
	m.log.printf("%-40s told %6s, over %6s, ended %6s", c.name, t.Round(time.Millisecond), over.Round(time.Millisecond), e.Round(time.Millisecond))
	return m.settle(ctx, c.after)
}

// toldAfter returns how long it took until the victim's /readyz named the cause; 0: it need not.
func (m *stalling) toldAfter(ctx context.Context, c *stallCase, begun time.Time) time.Duration {
	if c.says == nil {
		return 0
	}
	last := ""
	for {
		err := m.fleet.ready(ctx, m.victim)
		if err != nil && err.Error() != last {
			last = err.Error()
			if c.says.MatchString(last) {
				m.log.printf("t%d says: %s", m.victim, last)
				return time.Since(begun)
			}
		}
		if !testbed.Sleep(ctx, 100*time.Millisecond) {
			m.log.printf("t%d does not say what it must: %s", m.victim, last)
			return time.Since(begun)
		}
	}
}

// endedAfter returns how long it took until the victim's process had ended, as far as the kernel lets it; 0: it need not.
func (m *stalling) endedAfter(ctx context.Context, c *stallCase, begun time.Time) time.Duration {
	if c.endLimit == 0 {
		return 0
	}
	n := m.fleet.instance(m.victim)
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	for p.Running() && !leaving(p.Cmd.Process.Pid) && testbed.Sleep(ctx, 50*time.Millisecond) {
	}
	return time.Since(begun)
}

// leaving tells whether a process has ended but for threads that the kernel holds in a call to a disk.
func leaving(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if err != nil {
			continue // it has just gone
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if rest != "" && !strings.ContainsAny(rest[:1], "DZX") {
			return false
		}
	}
	return err == nil && len(tasks) > 0
}

// table prints the longest times, and tells whether all limits were kept and everything is exact.
func (m *stalling) table() (bool, error) {
	doubled := m.probes.doubled()
	ok := m.lost+doubled == 0
	w := tabwriter.NewWriter(m.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what stands still\ttimes\ttold\tlimit\talerts flow again\tlimit\tprocess ended\tlimit\t")
	for _, c := range m.done {
		fmt.Fprintf(w, "%s\t%d", c.name, len(c.over))
		for _, f := range []struct {
			took  []time.Duration
			limit time.Duration
		}{{c.told, c.toldLimit}, {c.over, c.overLimit}, {c.ended, c.endLimit}} {
			most := testbed.Quantile(f.took, 1)
			switch {
			case f.limit == 0:
				fmt.Fprint(w, "\t\t")
			case most > f.limit:
				ok = false
				fmt.Fprintf(w, "\t%s\t≤ %s MISSED", most.Round(100*time.Millisecond), f.limit)
			default:
				fmt.Fprintf(w, "\t%s\t≤ %s", most.Round(100*time.Millisecond), f.limit)
			}
		}
		fmt.Fprintln(w, "\t")
	}
	err := w.Flush()
	if err == nil {
		_, err = fmt.Fprintf(m.stdout, "the longest of each; probes: %d, without an alert: %d, doubled alerts: %d\n", m.probes.count(), m.lost, doubled)
	}
	return ok, err
}
