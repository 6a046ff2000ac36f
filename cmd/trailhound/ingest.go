package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// keyKinds are the values of --key.
var keyKinds = []string{"principal", "rule", "none"}

// ingestFlags are the flags of ingest as they are typed.
type ingestFlags struct {
	key, topic                string
	strict, asJSON, reportAll bool
}

// ingestCounts counts files, records and events by outcome.
type ingestCounts struct {
	Topic   string                 `json:"topic"`
	Files   int64                  `json:"files"`
	Records int64                  `json:"records"`
	Events  int64                  `json:"events"`
	Written int64                  `json:"written"`
	LeftOut map[rules.Reason]int64 `json:"left_out"`
	Skipped map[rules.Reason]int64 `json:"skipped"`
}

func ingestCommand(a *app) *cobra.Command {
	var f ingestFlags
	c := &cobra.Command{
		Use:   "ingest [PATH...|-]",
		Short: "Write CloudTrail files into the input topic, one record per event",
		Long: "Read CloudTrail files, directories of them or standard input as detect does, and write each event as a\n" +
			"record of its own, stamped with the present time, to the first topic of topics.input. What is no event is\n" +
			"left out and reported; the dead-letter topic gets nothing.\n\n" +
			"The partition follows from the key as in Kafka's own producer. Events of one partition keep the order\n" +
			"of the files. A batch whose outcome is unknown is sent again, so an event can arrive twice; the rules\n" +
			"evaluate it once (events.duplicates_within).",
		Example: "  trailhound ingest ./cloudtrail\n" +
			"  zcat events.jsonl.gz | trailhound ingest --key none -",
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(keyKinds, f.key) {
				return usagef("unknown --key %q; known are %s", f.key, strings.Join(keyKinds, ", "))
			}
			return ingestFiles(c.Context(), a, args, &f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "principal", "`KIND` of record key: principal, rule (the key of the first rule that matches, else the principal) or none")
	c.Flags().StringVar(&f.topic, "topic", "", "write to this `TOPIC` instead")
	c.Flags().BoolVar(&f.strict, "strict", false, "fail when something could not be written")
	reportAllFlag(c, &f.reportAll)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the counts as one JSON object on stdout")
	_ = c.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(keyKinds, cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
	return c
}

func ingestFiles(ctx context.Context, a *app, args []string, f *ingestFlags) error {
	begun := time.Now()
	s, err := a.setup()
	if err != nil {
		return err
	}
	topic := cmp.Or(f.topic, s.config.Topics.Input[0])
	if problem := config.TopicName(topic); problem != "" {
		return usagef("--topic: %s", problem)
	}
	list, err := a.inputFiles(args)
	if err != nil {
		return err
	}
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := newProducer(ctx, client, topic, s)
	if err != nil {
		return err
	}
	in, err := newIntake(s, f.key, p)
	if err != nil {
		return errors.Join(err, p.close())
	}
	console := a.newConsole("ingest", totalSize(list))
	defer console.close()
	in.console, in.tally.reported.all = console, f.reportAll
	err = cmp.Or(eachRecord(ctx, a.fileReader(console, s, in.tally), list, in.tally, in.record), p.close())
	console.close()
	a.tell(in.tally.summary(time.Since(begun), fmt.Sprintf("written to %s: %d", topic, p.written())))
	if err == nil && f.asJSON {
		err = a.jsonLine(ingestCounts{topic, in.tally.files, in.tally.records, in.tally.events, p.written(), in.tally.badReasons, in.tally.skipped})
	}
	if n := in.tally.badTotal(); err == nil && f.strict && n > 0 {
		return fmt.Errorf("not everything could be written: left out %d", n)
	}
	return err
}

// intake turns events into records.
type intake struct {
	decoder  cloudtrail.Decoder
	engine   *rules.Engine
	kind     string // one of keyKinds
	producer *producer
	tally    *tally
	console  *console

	matches []rules.Match
	key     []byte
}

func newIntake(s *setup, kind string, p *producer) (*intake, error) {
	engine, err := s.engine(s.limits())
	if err != nil {
		return nil, err
	}
	return &intake{
		decoder: s.decoder(),
		engine:  engine, kind: kind, producer: p, tally: newTally(),
	}, nil
}

// record hands every event of the record to the producer.
func (in *intake) record(at state.Source, record []byte) error {
	var failed error
	in.decoder.Decode(record, func(ev *rules.Event, err error) bool {
		if err != nil {
			bad, ok := errors.AsType[*cloudtrail.DecodeError](err)
			if ok {
				in.tally.bad(in.console, at, bad.Index, bad.Reason, bad.Detail)
				return true
			}
			failed = err
			return false
		}
		failed = in.event(at, ev)
		return failed == nil
	})
	return failed
}

func (in *intake) event(at state.Source, ev *rules.Event) error {
	in.tally.events++
	err := in.producer.add(in.keyOf(ev), ev.Raw)
	if tooLarge, ok := errors.AsType[*tooLargeError](err); ok {
		in.tally.bad(in.console, at, int(ev.At.Index), reasonTooLarge, tooLarge.Error())
		return nil
	}
	return err
}

// keyOf returns the key for the event's record, valid until the next call; nil: none.
func (in *intake) keyOf(ev *rules.Event) []byte {
	key := ""
	if in.kind == "rule" {
		if in.matches, _ = in.engine.Match(ev, in.matches[:0]); len(in.matches) > 0 {
			key = in.matches[0].Key
		}
	}
	if key == "" && in.kind != "none" {
		key = ev.Principal()
	}
	if key == "" {
		return nil
	}
	in.key = append(in.key[:0], key...)
	return in.key
}
