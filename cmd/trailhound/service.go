package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// topology returns the app's topics as configured.
func (s *setup) topology() topic.App {
	return topic.App{
		ID: s.config.AppID, Shards: s.config.Shards, Inputs: s.config.Topics.Input, Alerts: s.config.Topics.Alerts, DeadLetter: s.config.Topics.DeadLetter,
		AlertPartitions: s.config.Topics.AlertPartitions, DeadLetterPartitions: s.config.Topics.DeadLetterPartitions,
		Replication: s.config.Topics.Replication, MaxAlertBytes: int(s.config.Limits.MaxAlertBytes),
	}
}

// service wires the detection pipeline together.
func (s *setup) service(client *wire.Client, store *state.Store, metrics *admin.Metrics, log zerolog.Logger) (*consumer.Service, error) {
	engine, err := s.engine(s.limits())
	if err != nil {
		return nil, err
	}
	return &consumer.Service{
		Client: client, App: s.topology(), Instance: s.config.InstanceID, LeaveOnStop: s.config.LeaveOnStop, Store: store, Engine: engine, Metrics: metrics, Log: log, Version: version(),
		StartLatest: s.config.Start == "latest", SessionTimeout: s.config.Kafka.SessionTimeout,
		TransactionTimeout: s.config.Kafka.TransactionTimeout, RequestTimeout: s.config.Kafka.RequestTimeout,
		Codec: s.codec(), MaxUnpacked: int64(s.config.Limits.MaxUnpacked), MaxHeld: s.mostHeld(), MaxDrift: s.config.Events.MaxDrift,
		Accept: changelog.Accept{Loss: s.config.AcceptLoss, Change: s.config.AcceptChange},
	}, nil
}

// codec is the compression of all records produced.
func (s *setup) codec() compress.Compression { return wire.Codecs[s.config.Kafka.Compression] }

// checkTopics refuses wrong topics, and missing ones unless run is to create them. It runs
// before the local state is opened: a mistyped name should leave nothing behind.
func (s *setup) checkTopics(ctx context.Context, client *wire.Client) error {
	app := s.topology()
	problems, err := topic.Check(ctx, client, app)
	if err != nil {
		return err
	}
	return problemsError(slices.DeleteFunc(problems, func(p topic.Problem) bool {
		return p.Missing && s.config.Topics.Create && !slices.Contains(app.Inputs, p.Topic) || p.Loss && s.config.AcceptLoss
	}))
}

// settleTopics creates missing topics, if topics.create allows that and verify, unless nil,
// finds nothing that the state refuses.
func (s *setup) settleTopics(ctx context.Context, client *wire.Client, verify func(context.Context) error, log zerolog.Logger) error {
	if verify != nil {
		if err := verify(ctx); err != nil {
			return err
		}
	}
	if !s.config.Topics.Create {
		return nil
	}
	created, err := topic.Create(ctx, client, s.topology())
	if err != nil {
		return err
	}
	for _, name := range created {
		log.Info().Str("topic", name).Str("event", "topic_created").Msg("topic created")
	}
	return s.checkTopics(ctx, client)
}

// problemsError returns an error with a line for each problem; nil without problems.
func problemsError(problems []topic.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}

// serviceLog returns the log of a service on stderr and, on a terminal, the bar below the
// log that shows restores; else a nil bar.
func serviceLog(a *app, s *setup) (zerolog.Logger, *restoreBar, error) {
	if !a.stderrTerminal {
		log, err := a.logger(s)
		return log, nil, err
	}
	bar := &restoreBar{console: console{w: a.stderr}}
	log, err := a.logTo(bar, s)
	return log, bar, err
}

// logger returns a log on stderr.
func (a *app) logger(s *setup) (zerolog.Logger, error) { return a.logTo(a.stderr, s) }

func (a *app) logTo(out io.Writer, s *setup) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(s.config.Log.Level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log.level: %w", err)
	}
	if s.config.Log.Format == "text" || s.config.Log.Format == "auto" && a.stderrTerminal {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !a.stderrTerminal || a.getenv("NO_COLOR") != "",
			FieldsExclude: []string{"event"}, // people read the message
		}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger(), nil
}

// restoreBar is the progress bar of the restores of a service, below the lines of its log.
type restoreBar struct{ console }

// Write writes lines of the log above the bar.
func (b *restoreBar) Write(line []byte) (n int, err error) {
	b.above(func() { n, err = b.w.Write(line) })
	return n, err
}

// restoring draws the bar anew, and removes it when no shard is left to restore.
func (b *restoreBar) restoring(r changelog.Restoration) {
	if r.Shards == 0 {
		b.close()
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(r.Read+r.Left,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("records"),
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		)
	}
	b.bar.ChangeMax64(r.Read + r.Left + 1) // the bar is never full before the last record
	b.bar.Describe(fmt.Sprintf("restoring state, shards left: %d", r.Shards))
	_ = b.bar.Set64(r.Read) // failing to draw is no reason to stop
}
