package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
	"trailhound/state"
)

// topology is the app's topics as the configuration has them.
func (s *settings) topology() topic.App {
	return topic.App{
		ID: s.AppID, Shards: s.Shards, Inputs: s.Topics.Input, Alerts: s.Topics.Alerts, DeadLetter: s.Topics.DeadLetter,
		AlertPartitions: s.Topics.AlertPartitions, DeadLetterPartitions: s.Topics.DeadLetterPartitions,
		Replication: s.Topics.Replication, MaxAlertBytes: int(s.Limits.MaxAlertBytes),
	}
}

// service wires the detection pipeline together.
func (s *settings) service(client *wire.Client, store *state.Store, metrics *admin.Metrics, log zerolog.Logger) (*consumer.Service, error) {
	engine, err := s.engine(s.limits())
	if err != nil {
		return nil, err
	}
	return &consumer.Service{
		Client: client, App: s.topology(), Instance: s.InstanceID, Store: store, Engine: engine, Metrics: metrics, Log: log,
		StartLatest: s.Start == "latest", SessionTimeout: s.Kafka.SessionTimeout,
		TransactionTimeout: s.Kafka.TransactionTimeout, RequestTimeout: s.Kafka.RequestTimeout,
		Codec: s.codec(), MaxUnpacked: int64(s.Limits.MaxUnpacked),
		Accept: changelog.Accept{Loss: s.AcceptLoss, Change: s.AcceptChange},
	}, nil
}

// codec is the compression of everything that is produced.
func (s *settings) codec() compress.Compression {
	return map[string]compress.Compression{
		"none": compress.None, "gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd,
	}[s.Kafka.Compression]
}

// settleTopics creates the topics that are missing, if it may, and refuses those that are wrong. Nothing is created
// while something else is wrong: a mistyped name should leave no topics behind.
func (s *settings) settleTopics(ctx context.Context, client *wire.Client, log zerolog.Logger) error {
	app := s.topology()
	problems, err := topic.Check(ctx, client, app)
	if err != nil {
		return err
	}
	if s.Topics.Create {
		problems = slices.DeleteFunc(problems, func(p topic.Problem) bool {
			return p.Missing && !slices.Contains(app.Inputs, p.Topic)
		})
	}
	if len(problems) > 0 || !s.Topics.Create {
		return problemsError(problems)
	}
	created, err := topic.Create(ctx, client, app)
	if err != nil {
		return err
	}
	for _, name := range created {
		log.Info().Str("topic", name).Msg("topic created")
	}
	problems, err = topic.Check(ctx, client, app)
	return errors.Join(err, problemsError(problems))
}

// problemsError is nil without problems, and otherwise says each in a line of its own.
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

// logger returns the log of a service, on stderr.
func (a *app) logger(s *settings) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(s.Log.Level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log.level: %w", err)
	}
	if s.Log.Format == "text" || s.Log.Format == "auto" && a.stderrTerminal {
		out := zerolog.ConsoleWriter{Out: a.stderr, TimeFormat: time.TimeOnly, NoColor: !a.stderrTerminal || a.getenv("NO_COLOR") != ""}
		return zerolog.New(out).Level(level).With().Timestamp().Logger(), nil
	}
	return zerolog.New(a.stderr).Level(level).With().Timestamp().Logger(), nil
}
