package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"trailhound/cmd/internal/testbed"
)

// backlogOptions are the flags of backlog.
type backlogOptions struct {
	options
	spread
	events     int
	sets       string
	partitions string
	how        string
	family     bool
	kills      int
	drift      time.Duration
}

const backlogWithin = 20 * time.Minute

// backlog lets three instances evaluate a backlog, killing them on the way, and compares the alerts with the events and
// with those that detect finds in the same events in the order of time.
func backlog(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, code := parseBacklog(args, stderr)
	if code >= 0 {
		return code
	}
	set, err := readSet(strings.Split(o.sets, ","))
	if err != nil {
		fmt.Fprintln(stderr, "faults backlog:", err)
		return exitFailed
	}
	o.Copies = max(1, (o.events+len(set)-1)/len(set))
	worst := exitDone
	for how := range strings.SplitSeq(o.how, ",") {
		for n := range strings.SplitSeq(o.partitions, ",") {
			o.How = how
			o.Partitions, _ = strconv.Atoi(n) // 0 is refused
			if err := o.check(); err != nil {
				fmt.Fprintln(stderr, "faults backlog:", err)
				return exitUsage
			}
			fmt.Fprintf(stdout, "%s over %d partitions, %d copies of %d events, seed %d\n", how, o.Partitions, o.Copies, len(set), o.Seed)
			work := func(ctx context.Context, s *suite) (bool, error) { return o.evaluate(ctx, s, set, stdout) }
			worst = max(worst, play(ctx, o.options, stdout, stderr, work, func(s *suite) { s.later, s.inputs = true, o.Partitions; s.config += o.rules() }))
		}
	}
	return worst
}

func parseBacklog(args []string, stderr io.Writer) (o backlogOptions, code int) {
	flags := flag.NewFlagSet("faults backlog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o.spread.flags(flags)
	flags.IntVar(&o.events, "events", 100_000, "events, at least: the set is copied as often as that takes")
	flags.StringVar(&o.sets, "set", "cmd/trailhound/sample/cloudtrail.jsonl", "files of events, one a line, plain or gzip, comma-separated")
	flags.StringVar(&o.partitions, "partitions", "4", "partitions of the input, comma-separated: a run with each")
	flags.StringVar(&o.how, "how", strings.Join(spreads, ","), "how events are spread over partitions, comma-separated: a run with each")
	flags.BoolVar(&o.family, "denied-family", false, "rules.access_denied.denied_family")
	flags.IntVar(&o.instances, "instances", 3, "instances of the service")
	flags.IntVar(&o.kills, "kills", 3, "kill -9 of an instance on the way")
	flags.DurationVar(&o.drift, "drift", time.Hour, "events.max_drift: how far the order may differ from that of time")
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "512m", "Java heap of the broker")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, exitDone
		}
		return o, exitUsage
	}
	o.brokers = 1
	if flags.NArg() > 0 || o.events < 1 || o.instances < 1 || o.instances > 20 || o.kills < 0 {
		fmt.Fprintln(stderr, "faults backlog takes no arguments, only flags; want events and 1 to 20 instances")
		return o, exitUsage
	}
	return o, -1
}

// rules is the part of the configuration that is not the default.
func (o *backlogOptions) rules() string {
	return fmt.Sprintf("rules:\n  access_denied:\n    denied_family: %t\n", o.family)
}

// evaluate is one run.
func (o *backlogOptions) evaluate(ctx context.Context, s *suite, set []original, stdout io.Writer) (bool, error) {
	all := o.deliveries(set)
	ends, err := o.produce(ctx, s.cluster.addresses, inputTopic, set, all)
	if err != nil {
		return false, err
	}
	s.log.printf("%d events lie in %d partitions", len(all), len(ends))
	sorted := filepath.Join(s.dir, "sorted.jsonl")
	if err := o.writeSorted(sorted, set, all); err != nil {
		return false, err
	}
	begun := time.Now()
	if err := s.work(ctx, ends, o.kills); err != nil {
		return false, err
	}
	s.log.printf("evaluated in %s", time.Since(begun).Round(100*time.Millisecond))
	want, err := o.live(ctx, s, sorted)
	if err != nil {
		return false, err
	}
	got := newCheck(checkSettings{DeniedFamily: o.family})
	if err := got.readTopics(ctx, s.cluster.addresses, []string{inputTopic}, alertsTopic, deadLetterTopic); err != nil {
		return false, err
	}
	if err := got.judge().write(stdout, false); err != nil {
		return false, err
	}
	d := compareOrders(got, want, o.slack(set))
	for _, line := range d.lines {
		fmt.Fprintln(stdout, " ", line)
	}
	fmt.Fprintf(stdout, "keys with other alerts than in the order of time: %d that order can explain, %d that it cannot\n", d.explained, d.unexplained)
	return got.passed() && d.unexplained == 0, nil
}

// slack is how far the order of arrival, and of evaluation, can differ from that of time.
func (o *backlogOptions) slack(set []original) time.Duration {
	d := o.drift + o.Shuffle
	if o.LateShare > 0 {
		d += o.Late
	}
	for i := range set {
		d = max(d, o.drift+o.Shuffle+time.Duration(set[i].region)*o.Regions)
	}
	return d
}

// work starts the instances and returns when all is evaluated, killing one after the other on the way.
func (s *suite) work(ctx context.Context, ends map[int32]int64, kills int) error {
	ctx, cancel := context.WithTimeout(ctx, backlogWithin)
	defer cancel()
	for i := 1; i <= s.instances; i++ {
		if err := s.fleet.start(i); err != nil {
			return err
		}
	}
	var all, killed int64
	for _, end := range ends {
		all += end
	}
	for testbed.Sleep(ctx, 100*time.Millisecond) {
		committed, err := s.cluster.committed(ctx, appID, inputTopic)
		if err != nil {
			continue
		}
		done := int64(0)
		for p, end := range ends {
			done += min(max(committed[p], 0), end)
		}
		if killed < int64(kills) && done > all*(killed+1)/int64(kills+1)/2 && done < all {
			i := int(killed)%s.instances + 1
			s.fleet.kill(i)
			s.log.printf("kill -9 of t%d at %d of %d", i, done, all)
			killed++
			if err := s.fleet.start(i); err != nil {
				return err
			}
		}
		if done == all && s.worked(ctx) == nil {
			for i := 1; i <= s.instances; i++ {
				s.fleet.terminate(i)
			}
			return nil
		}
	}
	s.explainStuck(context.WithoutCancel(ctx))
	return fmt.Errorf("the backlog is not evaluated: %w", context.Cause(ctx))
}

// worked returns nil if every instance serves and no shard has work left.
func (s *suite) worked(ctx context.Context) error {
	for i := 1; i <= s.instances; i++ {
		if err := s.fleet.ready(ctx, i); err != nil {
			return err
		}
		m, err := s.fleet.metrics(ctx, i)
		if err != nil {
			return err
		}
		for series, v := range m {
			if v > 0 && strings.Contains(series, "_lag_records") {
				return fmt.Errorf("t%d: %s is %g", i, series, v)
			}
		}
	}
	return nil
}

// live returns a check with the alerts that detect finds in the events in the order of time.
func (o *backlogOptions) live(ctx context.Context, s *suite, sorted string) (*check, error) {
	cmd := testbed.Command(filepath.Join(s.dir, "trailhound"), "detect", "--set", fmt.Sprintf("rules.access_denied.denied_family=%t", o.family), sorted)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("trailhound detect: %w: %.2000s", err, &said)
	}
	c := newCheck(checkSettings{DeniedFamily: o.family})
	if err := c.readFile(sorted); err != nil {
		return nil, err
	}
	for line := range bytes.Lines(out.Bytes()) {
		c.alert(line)
	}
	return c, errors.Join(os.Remove(sorted), ctx.Err())
}

// difference is the result of comparing the alerts of two orders of the same events.
type difference struct {
	explained, unexplained int
	lines                  []string
}

// compareOrders compares the numbers of alerts by rule and key. A difference is explained if events lie so that an order
// that differs by no more than drift from that of time can make it: denials in a run longer than one window, or first uses
// of a role from two addresses within drift.
func compareOrders(got, want *check, drift time.Duration) (d difference) {
	for _, s := range sortedSubjects(want.keyed) {
		a, b := got.alerts[s], want.alerts[s]
		if len(a) == len(b) {
			continue
		}
		why := want.explain(s, a, b, drift)
		if why == "" {
			d.unexplained++
			why = "NO ORDER EXPLAINS IT"
		} else {
			d.explained++
		}
		d.lines = append(d.lines, fmt.Sprintf("%s, %s: %d alerts, %d in the order of time: %s", s.rule, s.key, len(a), len(b), why))
	}
	return d
}

// explain says why another order can give other alerts of a key, or "".
func (c *check) explain(s subject, got, want []*alertBody, drift time.Duration) string {
	calls := slices.SortedStableFunc(slices.Values(c.distinct(s)), func(a, b *call) int { return a.at.Compare(b.at) })
	if s.rule == ruleAssume {
		calls = slices.DeleteFunc(calls, (*call).failed)
		for _, e := range calls {
			if e.origin() != calls[0].origin() && e.at.Sub(calls[0].at) <= drift {
				return "it was first used from two addresses within " + drift.String()
			}
		}
		return ""
	}
	for begin := 0; begin < len(calls); {
		end := begin + 1
		for end < len(calls) && calls[end].at.Sub(calls[end-1].at) < c.Window {
			end++
		}
		first, last := calls[begin].at, calls[end-1].at
		if between(got, first, last) != between(want, first, last) && last.Sub(first) < c.Window {
			return ""
		}
		begin = end
	}
	return "its denials run on for longer than a window"
}

// between counts the alerts of events from first to last.
func between(alerts []*alertBody, first, last time.Time) (n int) {
	for _, a := range alerts {
		if at, err := time.Parse(time.RFC3339, a.EventTime); err == nil && !at.Before(first) && !at.After(last) {
			n++
		}
	}
	return n
}
