package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"trailhound/cmd/internal/testbed"
)

// The exit codes, as those of trailhound.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// dirPrefix begins the names of temporary directories.
const dirPrefix = "trailhound-faults-"

// options are the flags of a run.
type options struct {
	duration  time.Duration
	seed      uint64
	brokers   int
	instances int
	rate      int
	dir       string
	heap      string
	json      bool
	without   string
}

// run is the command: it is given its arguments and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, code := parse(args, stderr)
	if code >= 0 {
		return code
	}
	own := o.dir == ""
	dir, err := testbed.MakeDir(o.dir, dirPrefix)
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "seed %d; everything is kept in %s while it runs\n", o.seed, dir)
	r, err := faults(ctx, o, dir, stderr)
	if err == nil {
		err = r.write(stdout, o.json)
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil || !r.passed() {
		if err != nil {
			fmt.Fprintln(stderr, "faults:", err)
		}
		fmt.Fprintf(stderr, "FAILED. Logs, state and the brokers' data are in %s\nThe same plan again: %s\n", dir, o.replay())
		return exitFailed
	}
	if own {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(stderr, "faults:", err)
		}
	}
	return exitDone
}

// parse returns the options, or an exit code that is not negative.
func parse(args []string, stderr io.Writer) (o options, code int) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "duration", 3*time.Minute, "how long events are fed; faults happen in the first 85 % of it")
	flags.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "decides the events and the plan of the faults")
	flags.IntVar(&o.brokers, "brokers", 3, "Kafka brokers; fewer than 3 are never killed")
	flags.IntVar(&o.instances, "instances", 3, "instances of the service")
	flags.IntVar(&o.rate, "rate", 400, "events per second")
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "320m", "Java heap of each broker")
	flags.BoolVar(&o.json, "json", false, "report in JSON")
	flags.StringVar(&o.without, "without", "", "leave out these kinds of faults of the plan, comma-separated, to find out what a failure needs")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, exitDone
		}
		return o, exitUsage
	}
	switch {
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "faults takes no arguments, only flags: %q\n", flags.Arg(0))
	case o.duration <= 0 || o.rate <= 0:
		fmt.Fprintln(stderr, "--duration and --rate must be positive")
	case o.brokers < 1 || o.brokers > 9 || o.instances < 1 || o.instances > 20:
		fmt.Fprintln(stderr, "want 1 to 9 --brokers and 1 to 20 --instances")
	case o.unknown() != "":
		fmt.Fprintf(stderr, "--without %s: there is no such kind of fault\n", o.unknown())
	default:
		return o, -1
	}
	return o, exitUsage
}

// replay is the command that runs the same plan again.
func (o options) replay() string {
	text := fmt.Sprintf("go run ./cmd/faults --seed %d --duration %s --brokers %d --instances %d --rate %d", o.seed, o.duration, o.brokers, o.instances, o.rate)
	if o.without != "" {
		text += " --without " + o.without
	}
	return text
}

// leftOut are the kinds of faults that are left out.
func (o options) leftOut() []fault {
	var all []fault
	for name := range strings.SplitSeq(o.without, ",") {
		if name != "" {
			all = append(all, fault(name))
		}
	}
	return all
}

// unknown returns a kind to leave out that does not exist.
func (o options) unknown() fault {
	for _, f := range o.leftOut() {
		if !slices.Contains(instanceDeck, f) && !slices.Contains(clusterDeck, f) && !slices.Contains(inputDeck, f) && f != brokerKill {
			return f
		}
	}
	return ""
}

// faults is one run: everything is started, fed, disturbed, drained and compared.
func faults(ctx context.Context, o options, dir string, stderr io.Writer) (r *report, err error) {
	s := &suite{options: o, log: &lines{w: stderr, begun: time.Now()}, dir: dir, config: shortTimeouts + commonConfig, report: newReport(o.seed), freezes: true}
	if err := s.start(ctx); err != nil {
		return s.report, err
	}
	defer func() {
		s.halt()
		if err == nil && s.report.passed() {
			err = s.cluster.stop()
		} else {
			s.cluster.halt()
		}
	}()
	err = s.live(ctx)
	return s.report, err
}
