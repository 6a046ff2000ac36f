package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
)

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
