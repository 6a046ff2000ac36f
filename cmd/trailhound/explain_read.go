package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/rules/cloudtrail/files"
	"trailhound/rules/explain"
	"trailhound/state"
)

// explainInput reads an alert and its events from where they came.
type explainInput struct {
	app    *app
	setup  *setup
	client *wire.Client // nil: not needed yet
	local  bool         // the alert may be one of detect, from a file
}

func (in *explainInput) close() {
	if in.client != nil {
		in.client.Close()
	}
}

// connect returns the client, and makes it at the first call: an alert that detect has made
// from a file needs no Kafka.
func (in *explainInput) connect(ctx context.Context) (*wire.Client, error) {
	if in.client != nil {
		return in.client, nil
	}
	client, err := in.setup.connect(ctx)
	in.client = client
	return client, err
}

// alert returns the JSON of an alert in the alerts topic, or of the one on stdin.
func (in *explainInput) alert(ctx context.Context, id string) ([]byte, error) {
	if id == "-" {
		return alertOnStdin(in.app)
	}
	client, err := in.connect(ctx)
	if err != nil {
		return nil, err
	}
	log, err := in.app.logger(in.setup)
	if err != nil {
		return nil, err
	}
	var payload []byte
	looked := 0
	var involved eventAlerts
	tail := consumer.Tail{Client: client, Topic: in.setup.config.Topics.Alerts, Log: log}
	err = tail.Run(ctx, func(_ int32, rec *wire.Record) error {
		looked++
		if !hasAlertID(rec, strings.ToLower(id)) {
			involved.look(rec.Value, id)
			return nil
		}
		payload = bytes.Clone(rec.Value)
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return payload, nil
	case err != nil:
		return nil, noTopic(err, "topics.alerts", tail.Topic)
	case involved.count > 0:
		return nil, involved.error(id)
	}
	return nil, fmt.Errorf("no alert with the id %q is in topic %s, which holds %d records; trailhound alerts prints them with their ids", id, tail.Topic, looked)
}

// errFound ends reading: nothing more is wanted.
var errFound = errors.New("found")

// hasAlertID compares the header that the service writes or, in a copy of an alert without
// headers, the id in its JSON.
func hasAlertID(rec *wire.Record, id string) bool {
	if header, ok := rec.Header("alert_id"); ok {
		return string(header) == id
	}
	return explain.Is(rec.Value, id)
}

// mostOfEvent bounds how many alerts with one event are listed.
const mostOfEvent = 5

// eventAlerts are the alerts that an event completed, or is evidence in.
type eventAlerts struct {
	ids   []string // at most mostOfEvent
	count int
}

func (e *eventAlerts) look(payload []byte, event string) {
	id := explain.AlertOf(payload, event)
	if id == "" {
		return
	}
	if e.count++; len(e.ids) < mostOfEvent {
		e.ids = append(e.ids, brief(id))
	}
}

func (e *eventAlerts) error(event string) error {
	more := ""
	if n := e.count - len(e.ids); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s is the id of an event, not of an alert; the event is in the alert %s%s: trailhound explain %s", event, strings.Join(e.ids, ", "), more, e.ids[0])
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// read looks up the events of one partition or, for an alert that detect may have made, of
// one file.
func (in *explainInput) read(ctx context.Context, steps []*explain.Step, take takeRecord) error {
	of := steps[0].Position
	if in.local && !slices.Contains(in.setup.config.Topics.Input, of.Topic) {
		if file, ok := files.Find(ctx, of.Topic); ok {
			return in.readFile(ctx, file, steps, take)
		}
	}
	if of.Topic == "-" {
		return missing(steps, "it came through standard input, of which nothing is kept")
	}
	if !topicName.MatchString(of.Topic) {
		return missing(steps, "it came from the file %q, which is not here", of.Topic)
	}
	client, err := in.connect(ctx)
	if err != nil && in.local {
		return missing(steps, "no file has the name %q, and no Kafka answers: %v", of.Topic, err)
	}
	if err != nil {
		return err
	}
	look := replay.Lookup{
		Client: client, Topic: of.Topic, Partition: of.Partition,
		Found:   func(i int, rec *wire.Record) { take(steps[i], rec.Value, time.UnixMilli(rec.Timestamp).UTC()) },
		Missing: func(i int, why string) { steps[i].Missing = why },
	}
	for _, s := range steps {
		look.Offsets = append(look.Offsets, s.Offset)
	}
	return look.Run(ctx)
}

// takeRecord takes the record at the position of a step.
type takeRecord = func(s *explain.Step, record []byte, timestamp time.Time)

// missing gives the same cause to all steps that have no event.
func missing(steps []*explain.Step, format string, args ...any) error {
	for _, s := range steps {
		if s.Event == nil && s.Missing == "" {
			s.Missing = fmt.Sprintf(format, args...)
		}
	}
	return nil
}

// readFile reads the records of the steps from a file.
func (in *explainInput) readFile(ctx context.Context, file files.File, steps []*explain.Step, take takeRecord) error {
	t := newTally()
	r := in.app.fileReader(&console{w: in.app.stderr}, in.setup, t)
	next := 0
	err := eachRecord(ctx, r, []files.File{file}, t, func(at state.Source, record []byte) error {
		for ; next < len(steps) && steps[next].Offset <= at.Offset; next++ {
			if steps[next].Offset == at.Offset {
				take(steps[next], record, time.Time{})
			}
		}
		if next == len(steps) {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	return missing(steps, "file %q has no such record: it is not as it was", file.Name)
}

// mostAlert is larger than any alert that fits into a record.
const mostAlert = 256 << 20

func alertOnStdin(a *app) ([]byte, error) {
	if a.stdinTerminal {
		return nil, usagef("explain wants the id of an alert, or its JSON on standard input")
	}
	text, err := io.ReadAll(io.LimitReader(a.stdin, mostAlert))
	if err != nil {
		return nil, fmt.Errorf("read the alert from standard input: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, errors.New("standard input is empty; explain wants one alert as JSON there")
	}
	in := json.NewDecoder(bytes.NewReader(text))
	var alert json.RawMessage
	if err := in.Decode(&alert); err != nil {
		return nil, fmt.Errorf("what is on standard input is no alert: %w", err)
	}
	if in.More() {
		return nil, errors.New("standard input holds more than one alert; pick one, as with head -n 1")
	}
	return alert, nil
}
