package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// demoEvents is an hour of made-up CloudTrail of one account: everyday work, a
// leaked key that is tried on everything, and a role assumed from elsewhere.
// As in life, events come out of order, one twice, and one record is broken.
//
//go:embed sample/cloudtrail.jsonl
var demoEvents []byte

// demoPatience is how long the demo waits for its own pipeline.
const demoPatience = time.Minute

func demoCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole pipeline at work in this process, without a Kafka",
		Long: "Demo starts a Kafka broker inside this process, feeds it an hour of made-up CloudTrail events with two attacks\n" +
			"in them, runs the service on it and prints the alerts that are committed to the alerts topic, by the times of\n" +
			"their events. It needs nothing, leaves nothing behind and ends by itself.\n" +
			"--set rules.access_denied.threshold=5 tries other parameters.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			return runDemo(c.Context(), a, s, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the alerts as JSON lines on a terminal too")
	return c
}

// demo runs broker, service and reader, feeds the sample and waits until all of it is
// evaluated.
func runDemo(ctx context.Context, a *app, s *setup, asJSON bool) (err error) {
	start := time.Now()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return fmt.Errorf("start the demo's broker: %w", err)
	}
	defer broker.Close()
	// The demo's broker replaces the configured cluster.
	s.config.Kafka.Brokers, s.config.Kafka.TLS.Enabled, s.config.Kafka.SASL.Mechanism = broker.ListenAddrs(), false, "none"
	s.config.AppID, s.config.InstanceID, s.config.Shards, s.config.Start, s.config.Topics.Replication = "trailhound-demo", "", 4, "earliest", -1
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	app := s.topology()
	app.Inputs = app.Inputs[:1]
	app.CreateInput, app.InputPartitions = true, 1
	if _, err := topic.Create(ctx, client, app); err != nil {
		return err
	}
	options := s.stateOptions(s.limits())
	options.Dir, options.FS = "demo", vfs.NewMem()
	store, err := state.Open(options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	log, err := demoLog(a, s)
	if err != nil {
		return err
	}
	metrics := admin.NewMetrics(version())
	service, err := s.service(client, store, metrics, log)
	if err != nil {
		return err
	}
	service.App = app

	lines := bytes.Split(bytes.TrimSpace(demoEvents), []byte("\n"))
	a.tell(fmt.Sprintf("A Kafka broker runs in this process at %s. %d CloudTrail records go into topic %s;\nthe alerts below are read, committed, from topic %s.\n\n",
		s.config.Kafka.Brokers[0], len(lines), app.Inputs[0], app.Alerts))
	if err := feedDemo(ctx, client, app.Inputs[0], lines); err != nil {
		return err
	}
	alerts, err := watchDemo(ctx, service)
	if err != nil {
		return err
	}
	show := alertPrinter(a, asJSON, false)
	for i := range alerts {
		if err := show(0, &alerts[i]); err != nil {
			return err
		}
	}
	dead, err := countRecords(ctx, client, app.DeadLetter)
	if err != nil {
		return err
	}
	a.tell(fmt.Sprintf("\n%d records in, %d alerts out, each committed exactly once; came twice, counted once: %d; dead letters: %d; %.1f s.\n",
		len(lines), len(alerts), metrics.Evaluations(string(rules.VerdictDuplicate)), dead, time.Since(start).Seconds()))
	return nil
}

// demoLog is quiet unless a level was asked for: the demo shows alerts, not log lines.
func demoLog(a *app, s *setup) (zerolog.Logger, error) {
	if s.config.Origin("log.level").Source == 0 {
		return zerolog.Nop(), nil
	}
	return a.logger(s)
}

// feedDemo writes one record per line.
func feedDemo(ctx context.Context, client *wire.Client, topic string, lines [][]byte) error {
	batch := wire.Batch{Codec: compress.Lz4}
	for _, line := range lines {
		batch.Append(time.Now().UnixMilli(), nil, line)
	}
	encoded, err := batch.Encode(nil, wire.NoProducer)
	if err != nil {
		return err
	}
	parts := []wire.PartitionBatch{{Topic: topic, Batch: encoded}}
	if err := client.Produce(ctx, "", demoPatience, parts); err != nil {
		return err
	}
	return parts[0].Err
}

// watchDemo runs the service until its input is evaluated and returns the committed alerts,
// sorted by the times of their events: which shard commits first is chance. Its goroutines
// have ended then.
func watchDemo(ctx context.Context, service *consumer.Service) (alerts []wire.Record, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, demoPatience, fmt.Errorf("the demo did not end within %s; --set log.level=info shows what it does", demoPatience))
	defer stop()
	committed := make(chan wire.Record)
	ended := make(chan error, 2)
	go func() { ended <- service.Run(ctx) }()
	go func() {
		seen := make(map[string]bool)
		tail := consumer.Tail{Client: service.Client, Topic: service.App.Alerts, Follow: true, Log: zerolog.Nop()}
		ended <- tail.Run(ctx, func(_ int32, rec *wire.Record) error {
			id, _ := rec.Header("alert_id")
			if seen[string(id)] {
				return fmt.Errorf("alert %s was committed twice", id)
			}
			seen[string(id)] = true
			committed <- wire.Record{Offset: rec.Offset, Timestamp: rec.Timestamp, Value: bytes.Clone(rec.Value)}
			return nil
		})
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	want, running := -1, 2
	for running > 0 {
		if len(alerts) == want {
			stop()
		}
		select {
		case alert := <-committed:
			alerts = append(alerts, alert)
		case <-tick.C:
			if n, ok := demoDone(ctx, service); ok {
				want = n
			}
		case failed := <-ended:
			running--
			err = cmp.Or(err, failed)
			stop()
		}
	}
	if len(alerts) != want {
		err = cmp.Or(err, context.Cause(ctx))
	}
	slices.SortFunc(alerts, func(x, y wire.Record) int { return compareAlerts(x.Value, y.Value) })
	return alerts, err
}

// compareAlerts compares two alerts by the times of their events, then by their ids.
func compareAlerts(x, y []byte) int {
	var a, b shownAlert
	_, _ = json.Unmarshal(x, &a), json.Unmarshal(y, &b) // a record that is no alert sorts first
	return cmp.Or(a.EventTime.Compare(b.EventTime), cmp.Compare(a.ID, b.ID))
}

// demoDone tells whether all input is evaluated, and how many alerts there are then.
func demoDone(ctx context.Context, service *consumer.Service) (alerts int, ok bool) {
	if lag, err := consumer.Lag(ctx, service.Client, service.App); err != nil || lag > 0 {
		return 0, false
	}
	n, err := countRecords(ctx, service.Client, service.App.Alerts)
	return n, err == nil
}

// countRecords counts the committed records of a topic.
func countRecords(ctx context.Context, client *wire.Client, topic string) (n int, err error) {
	tail := consumer.Tail{Client: client, Topic: topic, Log: zerolog.Nop()}
	return n, tail.Run(ctx, func(int32, *wire.Record) error {
		n++
		return nil
	})
}
