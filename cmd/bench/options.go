package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"trailhound/consumer/kafka/wire"
)

// The exit codes, as those of trailhound.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// options are the flags of all modes.
type options struct {
	mix
	events     int
	partitions int
	shards     int
	codec      string
	batchBytes int
	runs       int

	keys           int // memory
	rate           int // latency, as are the four below
	background     int
	warm, duration time.Duration
	idle           time.Duration
	megabytes      int // detect

	brokers   string
	brokerPID int
	heap      string
	dir       string
	json      string
	section   string // file of --record
	sets      settings

	procs int // GOMAXPROCS of the measured process; 0: as it is by itself
}

// settings are the values of --set, in their order.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

// Set implements [flag.Value].
func (s *settings) Set(v string) error {
	if !strings.Contains(v, "=") {
		return fmt.Errorf("%q is not PATH=VALUE", v)
	}
	*s = append(*s, v)
	return nil
}

// args returns the settings as arguments of trailhound.
func (s settings) args() (all []string) {
	for _, v := range s {
		all = append(all, "--set", v)
	}
	return all
}

// mode is one thing that can be measured.
type mode struct {
	name, about  string
	events, runs int // defaults of the flags; 0 events: there is no topic to fill
	flags        func(*options, *flag.FlagSet)
	work         func(*bench, context.Context) error
}

var modes = []mode{
	{
		name: "", about: "throughput, then latency, then start.",
		events: 5_000_000, runs: 5, flags: (*options).latencyFlags,
		work: func(b *bench, ctx context.Context) error {
			return errors.Join(b.throughput(ctx), b.latency(ctx), b.start(ctx))
		},
	},
	{
		name: "throughput", events: 5_000_000, runs: 5, work: (*bench).throughput,
		about: `How many events a second one instance works off, with a backlog of --events. Beside it, in turn, runs what
only reads the same topic: kafka-go's Reader, one for each partition, which does nothing with the events. The rate
counts from 10 % to 90 % of the topic. After each run the alerts are compared with those that "trailhound detect"
finds in the same events: a run with other alerts is a failure, however fast it was.`,
	},
	{
		name: "latency", runs: 1, flags: (*options).latencyFlags, work: (*bench).latency,
		about: `How long an alert takes: --rate events a second come in, and one in a hundred is the tenth denial of a principal
that nobody has seen before. The time is from the moment it is handed to the producer until a read-committed reader of
the alerts topic has it. With --background it is measured under load. Before that: how much CPU an instance uses to which nothing comes.`,
	},
	{
		name: "scale", events: 1_000_000, runs: 1, work: (*bench).scale,
		about: `Throughput as above, with one thing varied at a time: GOMAXPROCS, partitions, shards, principals, size, codec.`,
	},
	{
		name: "memory", events: 2_000_000, runs: 1, flags: (*options).memoryFlags, work: (*bench).memory,
		about: `Throughput and resident memory with --keys live keys: that many principals are denied once, then --events follow
within the window of the rule, so that no key expires meanwhile.`,
	},
	{
		name: "start", events: 200_000, runs: 5, work: (*bench).start,
		about: `How long from the start of the process until /readyz answers 200, with local state from --events: after an orderly
stop, and after kill -9. The instance comes back under its own name (static membership), as under a supervisor.`,
	},
	{
		name: "detect", runs: 3, flags: (*options).detectFlags, work: (*bench).detect,
		about: `How fast "trailhound detect" reads files: gzip, a JSON event a line, --megabytes of JSON. Without Kafka.`,
	},
}

func (o *options) latencyFlags(f *flag.FlagSet) {
	f.IntVar(&o.rate, "rate", 2000, "events per second")
	f.IntVar(&o.background, "background", 0, "events per second beside those of --rate, packed before the clock starts (each takes memory as the codec leaves it)")
	f.DurationVar(&o.warm, "warm", 10*time.Second, "how long events come before it counts")
	f.DurationVar(&o.duration, "duration", 20*time.Second, "how long it counts")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "how long nothing comes, for the CPU of an idle instance; 0: leave that out")
}

func (o *options) memoryFlags(f *flag.FlagSet) {
	f.IntVar(&o.keys, "keys", 1_000_000, "principals that are denied once before the rest comes")
}

func (o *options) detectFlags(f *flag.FlagSet) {
	f.IntVar(&o.megabytes, "megabytes", 500, "millions of bytes of JSON in the files together")
}

// flagSet returns the flags of a mode.
func (o *options) flagSet(m mode) *flag.FlagSet {
	f := flag.NewFlagSet(strings.TrimSpace("bench "+m.name), flag.ContinueOnError)
	f.IntVar(&o.runs, "runs", m.runs, "how often each thing is measured; medians count")
	if m.events > 0 {
		f.IntVar(&o.events, "events", m.events, "events in the topic")
	}
	if m.name != "detect" {
		f.IntVar(&o.partitions, "partitions", 4, "partitions of the input topic")
		f.IntVar(&o.shards, "shards", 8, "shards of the product")
		f.StringVar(&o.codec, "codec", "lz4", "compression of the input: none, gzip, snappy, lz4 or zstd")
		f.IntVar(&o.batchBytes, "batch", 900_000, "bytes of a record batch of the input, before compression")
		f.StringVar(&o.brokers, "brokers", "", "HOST:PORT,... of brokers to use, without TLS and SASL (default: one that is started for the while)")
		f.IntVar(&o.brokerPID, "broker-pid", 0, "process of the broker that --brokers names, for its CPU time")
		f.StringVar(&o.heap, "heap", "1g", "Java heap of the broker that is started")
	}
	f.Float64Var(&o.Denied, "denied", 0.02, "share of events that are AccessDenied, which a rule counts")
	f.Float64Var(&o.Assume, "assume", 0.03, "share of events that are AssumeRole, which a rule looks at")
	f.IntVar(&o.Principals, "principals", 5000, "principals that act")
	f.BoolVar(&o.Hot, "hot", false, "all events are denials of one principal, from all partitions: the worst case for one shard")
	f.IntVar(&o.Size, "size", 0, "bytes of an event, at least, from about 500; 0: as they come, about 1670")
	f.Uint64Var(&o.Seed, "seed", 1, "decides the events")
	f.Var(&o.sets, "set", "`PATH=VALUE` of the product's configuration, as often as needed")
	f.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one)")
	f.StringVar(&o.json, "json", "", "append each result to this file as a line of JSON")
	f.StringVar(&o.section, "record", "", "append the tables to this file as a dated section of Markdown, if the run succeeds")
	if m.flags != nil {
		m.flags(o, f)
	}
	return f
}

// parse returns the mode and its options, or an exit code that is not negative.
func parse(args []string, stdout, stderr io.Writer) (m mode, o options, code int) {
	m = modes[0]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		i := slices.IndexFunc(modes, func(m mode) bool { return m.name == args[0] })
		if args[0] == "help" {
			return m, o, help(stdout)
		}
		if i < 0 {
			fmt.Fprintf(stderr, "bench: there is no mode %q; bench --help names them\n", args[0])
			return m, o, exitUsage
		}
		m, args = modes[i], args[1:]
	}
	flags := o.flagSet(m)
	flags.SetOutput(stderr)
	flags.Usage = func() {} // the cases below print it
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp) && m.name == "":
		return m, o, help(stdout)
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "usage: bench %s [flags]\n\n%s\n\n", m.name, m.about)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return m, o, exitDone
	case err != nil:
		fmt.Fprintf(stderr, "%s --help shows the flags\n", flags.Name())
		return m, o, exitUsage
	}
	if err := o.check(m, flags.Args()); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return m, o, exitUsage
	}
	return m, o, -1
}

// help prints the modes and the flags.
func help(w io.Writer) int {
	fmt.Fprintf(w, "usage: go run ./cmd/bench [mode] [flags]\n\nMeasures trailhound, built from this checkout. Without a mode: %s\n", modes[0].about)
	for _, m := range modes[1:] {
		fmt.Fprintf(w, "\n%s\n    %s\n", m.name, strings.ReplaceAll(m.about, "\n", "\n    "))
	}
	fmt.Fprint(w, "\nResults go to stdout, progress to stderr. What is started is stopped, and what is stored deleted, at the end and on Ctrl-C.\n\nflags (bench MODE --help shows those of a mode):\n")
	o := options{}
	f := o.flagSet(modes[0])
	f.SetOutput(w)
	f.PrintDefaults()
	return exitDone
}

// check returns an error about arguments that a mode cannot take.
func (o options) check(m mode, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is one argument too many; a mode comes first, then flags", rest[0])
	}
	if err := o.mix.check(); err != nil {
		return err
	}
	_, known := wire.Codecs[o.codec]
	feeds := m.name == "" || m.name == "latency"
	switch {
	case o.runs < 1:
		return fmt.Errorf("--runs %d: want at least one", o.runs)
	case m.events > 0 && o.events < 100:
		return fmt.Errorf("--events %d: want at least 100", o.events)
	case m.name == "detect":
		if o.megabytes < 1 {
			return fmt.Errorf("--megabytes %d: want at least one", o.megabytes)
		}
		return nil
	case !known:
		return fmt.Errorf("--codec %q: want none, gzip, snappy, lz4 or zstd", o.codec)
	case o.partitions < 1 || o.partitions > 1000 || o.shards < 1 || o.shards > 1000:
		return fmt.Errorf("--partitions %d and --shards %d: want 1 to 1000", o.partitions, o.shards)
	case o.batchBytes < 1000 || o.batchBytes > 900_000:
		return fmt.Errorf("--batch %d: want 1000 to 900000 bytes, which brokers take", o.batchBytes)
	case feeds && (o.background < 0 || o.background > 0 && o.background < 100):
		return fmt.Errorf("--background %d: want none or at least 100", o.background)
	case feeds && (o.rate < 200 || o.duration < time.Second || o.warm < 0 || o.idle < 0):
		return errors.New("want a --rate of at least 200, so that two alerts a second are due, a --duration of at least 1s, and no negative spans")
	case m.name == "memory" && o.keys < 1:
		return fmt.Errorf("--keys %d: want at least one", o.keys)
	case o.brokerPID > 0 && o.brokers == "":
		return errors.New("--broker-pid is for a broker that --brokers names")
	}
	return nil
}
