package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
)

// replayFlags are the flags of replay as they are typed.
type replayFlags struct {
	inputs     []string
	partitions []int32
	from, to   string
	offsets    string
	warm       string
	stateDir   string
	out, topic string
	strict     bool
	acceptLoss bool

	diff    string
	against string // file to compare with; "": the alerts topic
	json    bool
	diffAll bool
}

// alertsTopic, as the value of --diff, stands for the alerts topic. Help shows this value.
const alertsTopic = "alerts topic"

func replayCommand(a *app) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay",
		Short: "Run the rules over a range of the input topics again",
		Long: "Run the rules over what the input topics hold, or a range of it, with a state of its own, and print each\n" +
			"alert: for people on a terminal, else as one line of JSON. The same range gives the same alerts, byte for\n" +
			"byte. Nothing of the service is touched: not its group, its state, or its topics.\n\n" +
			"Times are timestamps of Kafka records, which brokers have an index of: --from is the first record of that\n" +
			"time or later, in each partition, and --to the first that is not read. They are RFC 3339 (seconds may be\n" +
			"left out), dates, durations before now as in 24h or 7d, or now: where the topic ends at the start, as\n" +
			"without --to. The records of several partitions are merged by timestamp. As for detect, late events count:\n" +
			"events.max_lateness and events.max_ahead hold only when they are given with --set.\n\n" +
			"--warm evaluates so much before the range without printing, so that windows are filled and addresses known\n" +
			"when the range begins.\n\n" +
			"--diff compares with the alerts of the same range in the alerts topic, or in FILE with one alert a line:\n" +
			"what is new, has vanished, or was kept, by the alerts' ids. It exits with 3 if anything differs.",
		Example: "  trailhound replay --from 2026-03-01T00:00Z --to 2026-03-02T00:00Z > alerts.jsonl\n" +
			"  trailhound replay --partition 3 --offsets 1000..2000\n" +
			"  trailhound replay --from 24h --warm 6h --diff --set rules.access_denied.threshold=5",
		Args: func(_ *cobra.Command, args []string) error { return f.arguments(args) },
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			bounds, warm, err := f.check(s, time.Now())
			if err != nil {
				return err
			}
			client, err := s.connect(c.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return replayRange(c.Context(), a, client, s, &f, bounds, warm)
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.inputs, "input", nil, "only this `TOPIC` of topics.input; may be given often")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only partition `N`; may be given often")
	flags.Lookup("partition").DefValue = "" // or help shows []
	flags.StringVar(&f.from, "from", "", "begin at this `TIME`")
	flags.StringVar(&f.to, "to", "", "end before this `TIME`")
	flags.StringVar(&f.offsets, "offsets", "", "read the offsets from `A..B` of one --partition, B not; one of both may be left out")
	flags.StringVar(&f.warm, "warm", "", "evaluate this `DURATION` before the range too, without its alerts")
	flags.StringVar(&f.stateDir, "state", "", "keep the state in this empty `DIR`, and leave it there, instead of in memory")
	flags.StringVar(&f.out, "out", "", "write the alerts to `FILE`, which appears when all is done")
	flags.StringVar(&f.topic, "topic", "", "write the alerts to the topic `NAME`, which exists and is none of the service's")
	flags.BoolVar(&f.strict, "strict", false, "fail when a record could not be evaluated")
	flags.BoolVar(&f.acceptLoss, "accept-loss", false, "go on behind record batches that are damaged")
	flags.StringVar(&f.diff, "diff", "", "compare with the alerts of the alerts topic, or of `FILE`")
	_ = c.RegisterFlagCompletionFunc("input", a.completeInputs) // fails for unknown flags only
	flags.Lookup("diff").NoOptDefVal = alertsTopic
	flags.BoolVar(&f.json, "json", false, "print JSON on a terminal too: alerts as lines, the comparison as one object")
	flags.BoolVar(&f.diffAll, "all", false, "print every row of the comparison")
	return c
}

// arguments takes the only argument allowed: the file of --diff FILE.
func (f *replayFlags) arguments(args []string) error {
	if f.diff == alertsTopic && len(args) == 1 {
		f.diff, args = args[0], nil
	}
	if len(args) > 0 {
		return usagef("replay takes no argument; got %q", args)
	}
	if f.diff != alertsTopic {
		f.against = f.diff
	}
	if f.diff == "" && f.diffAll {
		return usagef("--all is about the comparison that --diff makes")
	}
	return nil
}

// check returns the range and the warm-up that the flags give.
func (f *replayFlags) check(s *setup, now time.Time) (b replay.Bounds, warm time.Duration, err error) {
	if len(f.inputs) == 0 {
		f.inputs = s.Topics.Input
	}
	for _, name := range f.inputs {
		if !slices.Contains(s.Topics.Input, name) {
			return b, 0, usagef("--input %s: topics.input has %q; name others with --set topics.input=%s", name, s.Topics.Input, name)
		}
	}
	if b, err = f.bounds(now); err != nil {
		return b, 0, err
	}
	if f.warm != "" {
		if warm, err = config.ParseDuration(f.warm); err != nil || warm <= 0 {
			return b, 0, usagef("--warm %s: a duration is wanted, as in 6h or 7d", f.warm)
		}
		if !b.ByOffset && b.From.IsZero() || b.ByOffset && b.FromOffset == 0 {
			return b, 0, usagef("--warm %s: there is nothing before the beginning of the topics; begin the range later, with --from or --offsets", f.warm)
		}
	}
	if problem := config.TopicName(f.topic); f.topic != "" && problem != "" {
		return b, 0, usagef("--topic: %s", problem)
	}
	if f.topic != "" && slices.Contains(s.ownTopics(), f.topic) {
		return b, 0, usagef("--topic %s: that is a topic of the service itself; name another one", f.topic)
	}
	return b, warm, cmp.Or(f.checkState(s), f.checkFiles())
}

// checkFiles refuses missing files before the replay. It opens none, which may be a pipe.
func (f *replayFlags) checkFiles() error {
	if f.against != "" && f.against != "-" {
		info, err := os.Stat(f.against)
		if err != nil {
			return namedError("--diff", err)
		}
		if info.IsDir() {
			return usagef("--diff %s: it is a directory; a file with one alert a line is wanted", f.against)
		}
	}
	if f.out == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(f.out)); err != nil {
		return outError(f.out, err)
	}
	if info, err := os.Stat(f.out); err == nil && !info.Mode().IsRegular() {
		return usagef("--out %s: it is not a file", f.out)
	}
	return nil
}

// ownTopics are the topics that the service reads or writes.
func (s *setup) ownTopics() []string {
	app := s.topology()
	return append([]string{app.WorkTopic(), app.StateTopic(), app.Alerts, app.DeadLetter}, app.Inputs...)
}

// checkState refuses a directory that is not empty, and the service's own, which the
// service may be about to use.
func (f *replayFlags) checkState(s *setup) error {
	if f.stateDir == "" {
		return nil
	}
	dir, err := filepath.Abs(f.stateDir)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	if own, err := filepath.Abs(s.StateDir); err == nil && own == dir {
		return usagef("--state %s: that is state_dir, where the service has its state; name another directory", f.stateDir)
	}
	switch found, err := os.ReadDir(dir); {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return namedError("--state", err)
	case len(found) > 0:
		return usagef("--state %s: the directory is not empty; a replay begins with an empty state", f.stateDir)
	}
	return nil
}

// replay resolves the ranges, and evaluates their records.
func replayRange(ctx context.Context, a *app, client *wire.Client, s *setup, f *replayFlags, b replay.Bounds, warm time.Duration) error {
	ranges, err := inputRanges(ctx, a, client, f.inputs, b)
	if err != nil {
		return err
	}
	r := replaying{app: a, setup: s, flags: f, client: client, ranges: ranges, read: ranges}
	if warm > 0 {
		if r.read, err = replay.WarmUp(ctx, client, ranges, b.From, warm); err != nil {
			return err
		}
		tellTrimmed(a, r.read)
	}
	return r.run(ctx)
}
