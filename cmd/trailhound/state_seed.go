package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/consumer/seed"
	"trailhound/rules"
	"trailhound/rules/cloudtrail/files"
	"trailhound/rules/play"
	"trailhound/state"
)

// seedFlags are the flags of state seed as they are typed.
type seedFlags struct {
	inputs     bool
	from, to   string
	replace    bool
	acceptLoss bool
	reportAll  bool
	asJSON     bool
}

// seeded is the outcome of a seed: the records read and the state written.
type seeded struct {
	App     string                 `json:"app_id"`
	Shards  int                    `json:"shards"`
	Records int64                  `json:"records"` // of the history
	Events  int64                  `json:"events"`
	Matches int64                  `json:"matches"`
	Alerts  map[string]int64       `json:"alerts"` // by rule; they were not sent
	LeftOut map[rules.Reason]int64 `json:"left_out"`
	State   seededState            `json:"state"`
}

type seededState struct {
	Records int64 `json:"records"`
	Removed int64 `json:"removed"`
	Bytes   int64 `json:"bytes"`
}

func stateSeedCommand(a *app) *cobra.Command {
	var f seedFlags
	c := &cobra.Command{
		Use:   "seed PATH...|-|--inputs",
		Short: "Give a new app a state that is built from history, so that it does not begin with nothing",
		Long: "Seed evaluates history without publishing its alerts, and makes what the rules then remember the state of\n" +
			"the app. A rule that trusts what it sees first so starts from the addresses of last month, not from whoever\n" +
			"comes first. It refuses an app that runs, and one that has a state unless --replace is given.\n\n" +
			"The history is files, as for detect: late events count, and run begins to read its inputs where it would have\n" +
			"begun. Or, with --inputs, it is what the input topics hold, or a range of it by the timestamps of the records,\n" +
			"as for replay: limits are those of run, which goes on exactly behind it.\n\n" +
			"Until all is written run refuses the app; a seed that was interrupted is started again.",
		Example: "  trailhound state seed ./cloudtrail/2026/02\n  trailhound state seed --inputs --to 2026-03-01",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.inputs = f.inputs || f.from != "" || f.to != ""
			if f.inputs && len(args) > 0 {
				return usagef("the history is files or, with --inputs, --from or --to, the input topics; not both")
			}
			return seedState(c.Context(), a, &f, args)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&f.inputs, "inputs", false, "take the history from the input topics, and go on behind it")
	flags.StringVar(&f.from, "from", "", "begin at this `TIME` in the input topics")
	flags.StringVar(&f.to, "to", "", "end before this `TIME` in the input topics")
	flags.BoolVar(&f.replace, "replace", false, "replace what an app that stands still remembers")
	reportAllFlag(c, &f.reportAll)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object on stdout")
	flags.BoolVar(&f.acceptLoss, "accept-loss", false, "go on behind record batches of the inputs that are damaged")
	return c
}

// seeding is one seed.
type seeding struct {
	app     *app
	setup   *setup
	flags   *seedFlags
	client  *wire.Client
	files   []files.File
	ranges  []replay.Range
	console *console
	tally   *tally
}

func seedState(ctx context.Context, a *app, f *seedFlags, args []string) error {
	bounds, err := byTime(f.from, f.to, time.Now())
	if err != nil {
		return err
	}
	var list []files.File
	if !f.inputs {
		if list, err = a.inputFiles(args); err != nil {
			return err
		}
	}
	return a.withKafka(ctx, func(s *setup, client *wire.Client) error {
		log, err := a.logger(s)
		if err != nil {
			return err
		}
		d := &seeding{app: a, setup: s, flags: f, client: client, files: list, tally: newTally()}
		d.tally.reported.all = f.reportAll
		if f.inputs {
			if d.ranges, err = inputRanges(ctx, a, client, s.config.Topics.Input, bounds); err != nil {
				return err
			}
		}
		if err := s.checkTopics(ctx, client); err != nil {
			return err
		}
		if err := s.settleTopics(ctx, client, nil, log); err != nil {
			return err
		}
		return d.run(ctx)
	})
}

// run keeps both states in a temporary directory: a month of history may be larger than
// memory.
func (d *seeding) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "trailhound-seed-")
	if err != nil {
		return fmt.Errorf("make a directory for the state: %w; name one on a disk with room in TMPDIR", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o, err := d.options()
	if err != nil {
		return err
	}
	scratch := d.setup.stateOptions(d.setup.limits())
	scratch.Dir = dir + "/was"
	was, err := state.Open(scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, was.Close()) }()
	s := seed.Seeder{
		Client: d.client, App: d.setup.topology(), Owner: "trailhound state seed", Replace: d.flags.replace, Ranges: d.ranges, StartLatest: d.setup.config.Start == "latest",
		Fingerprint: o.Engine.Fingerprint(), Scratch: was, Codec: d.setup.codec(),
		TransactionTimeout: d.setup.config.Kafka.TransactionTimeout, RequestTimeout: d.setup.config.Kafka.RequestTimeout,
	}
	if err := s.Begin(ctx); err != nil {
		return err
	}
	o.State.Dir = dir + "/is"
	player, err := play.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, player.Close()) }()
	begun := time.Now()
	if err := d.play(ctx, player); err != nil {
		return err
	}
	d.tally.played(player.Counts())
	d.app.tell(d.summary(player.Counts(), time.Since(begun)))
	if player.Counts().Matches == 0 {
		return errors.New("the history holds nothing that a rule looks for; the app is as it was")
	}
	written, err := s.Finish(ctx, player.Shard)
	if err != nil {
		return err
	}
	if d.flags.asJSON {
		c := player.Counts()
		return d.app.jsonLine(seeded{d.setup.config.AppID, d.setup.config.Shards, c.Records, c.Events, c.Matches, d.tally.alerts, d.tally.badReasons, seededState{written.Records, written.Removed, written.Bytes}})
	}
	_, err = fmt.Fprintf(d.app.stdout, "app %s is seeded: records of state %d, removed %d, bytes %d, shards %d\n", d.setup.config.AppID, written.Records, written.Removed, written.Bytes, d.setup.config.Shards)
	return err
}

// options returns the options of the player. A range of the inputs is evaluated as run
// would have evaluated it.
func (d *seeding) options() (play.Options, error) {
	o, err := d.setup.playOptions()
	if err != nil {
		return o, err
	}
	if d.ranges != nil {
		if o.Engine, err = d.setup.engine(d.setup.limits()); err != nil {
			return o, err
		}
		o.State, o.Now = d.setup.stateOptions(d.setup.limits()), time.Now()
	}
	o.Alert = func(_ *rules.Event, alert *rules.Alert) error {
		d.tally.alert(alert)
		return nil
	}
	o.Rejected = func(at state.Source, index int, reason rules.Reason, detail string) {
		d.tally.bad(d.console, at, index, reason, detail)
	}
	return o, nil
}

func (d *seeding) play(ctx context.Context, player *play.Player) error {
	if d.ranges == nil {
		d.console = d.app.newConsole("seed", totalSize(d.files))
	} else {
		d.console = d.app.recordConsole("seed", offsetsOf(d.ranges))
	}
	defer d.console.close()
	if d.ranges == nil {
		return player.Run(ctx, playFiles(d.app.fileReader(d.console, d.setup, d.tally), d.files))
	}
	log, err := d.app.logTo(consoleLog{d.console}, d.setup)
	if err != nil {
		return err
	}
	reader := replay.Reader{
		Client: d.client, Ranges: d.ranges, Log: log, AcceptLoss: d.flags.acceptLoss,
		Advance: func(offsets int64) { d.console.advance(int(offsets)) },
	}
	return player.Run(ctx, reader.Run)
}

// summary is that of detect or of replay; alerts of the past are counted and not sent.
func (d *seeding) summary(counts play.Counts, took time.Duration) string {
	var b strings.Builder
	d.tally.reported.more(&b)
	if d.ranges == nil {
		fmt.Fprintf(&b, "files %d", d.tally.files)
	} else {
		fmt.Fprintf(&b, "partitions %d", partitionsOf(d.ranges))
	}
	fmt.Fprintf(&b, ", records %d, events %d, matches %d\n", counts.Records, counts.Events, counts.Matches)
	d.tally.outcome(&b, took)
	if len(d.tally.alerts) > 0 {
		b.WriteString("the alerts of the history were not sent\n")
	}
	return b.String()
}
