package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [ALERT|-]",
		Short: "Show how an alert came about: its events, what the rule remembered before and after each, why it fired",
		Long: "Explain fetches the evidence of an alert from where it came, plays it with the parameters that the alert\n" +
			"names, one event at a time, and prints the time-line. ALERT is the id of an alert in the alerts topic; without\n" +
			"it, or with -, one alert is read from stdin as JSON, as alerts and detect print it.\n\n" +
			"What is not in the input any more is named, and what the alert carries itself takes its place. Nothing is\n" +
			"written anywhere. The exit code is 1 when there is no such alert.",
		Example: "  trailhound explain 8433fb4a-a02b-5f59-bd24-766b9c78c746\n  trailhound detect ./cloudtrail | head -n 1 | trailhound explain",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("explain wants one alert; got %d", len(args))
			}
			id := cmp.Or(append(args, "-")[0], "-")
			if id != "-" && !uuidForm.MatchString(id) {
				return usagef("explain %s: that is no id of an alert; one is like 8433fb4a-a02b-5f59-bd24-766b9c78c746, and trailhound alerts shows them", id)
			}
			return a.explain(c.Context(), id, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func (a *app) explain(ctx context.Context, id string, asJSON bool) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	x := &explainer{app: a, settings: s}
	defer x.close()
	payload, err := x.payload(ctx, id)
	if err != nil {
		return err
	}
	if x.alert, err = readAlert(payload); err != nil {
		return err
	}
	if x.past, err = rules.ReadPast(x.alert.payload); err != nil {
		return err
	}
	if err := x.gather(ctx, id == "-"); err != nil {
		return err
	}
	e, err := x.play()
	if err != nil {
		return err
	}
	if asJSON {
		return a.printExplanationJSON(e)
	}
	return a.printExplanation(e)
}

// explainer explains one alert.
type explainer struct {
	app      *app
	settings *settings
	client   *wire.Client // nil: not needed yet
	alert    *carriedAlert
	past     *rules.Past // of the alert
	slots    []*slot
}

func (x *explainer) close() {
	if x.client != nil {
		x.client.Close()
	}
}

// connect returns the client, and makes it at the first call: an alert that detect has made
// from a file needs no Kafka.
func (x *explainer) connect(ctx context.Context) (*wire.Client, error) {
	if x.client != nil {
		return x.client, nil
	}
	client, err := x.settings.connect(ctx)
	x.client = client
	return client, err
}

// payload returns the alert's JSON.
func (x *explainer) payload(ctx context.Context, id string) ([]byte, error) {
	if id == "-" {
		return x.app.alertOnStdin()
	}
	client, err := x.connect(ctx)
	if err != nil {
		return nil, err
	}
	return x.find(ctx, client, id)
}

// mostAlert is larger than any alert that fits into a record.
const mostAlert = 256 << 20

func (a *app) alertOnStdin() ([]byte, error) {
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

var errFound = errors.New("found")

// uuidForm matches the ids of alerts and of CloudTrail's events.
var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// mostOfEvent bounds how many alerts with one event are listed.
const mostOfEvent = 5

// find looks for an alert in the alerts topic.
func (x *explainer) find(ctx context.Context, client *wire.Client, id string) ([]byte, error) {
	log, err := x.app.logger(x.settings)
	if err != nil {
		return nil, err
	}
	var payload []byte
	looked := 0
	var with eventAlerts
	tail := consumer.Tail{Client: client, Topic: x.settings.Topics.Alerts, Log: log}
	err = tail.Run(ctx, func(_ int32, rec *wire.Record) error {
		looked++
		if !hasAlertID(rec, strings.ToLower(id)) {
			with.look(rec.Value, id)
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
	case with.count > 0:
		return nil, with.error(id)
	}
	return nil, fmt.Errorf("no alert with the id %q is in topic %s, which holds %d records; trailhound alerts prints them with their ids", id, tail.Topic, looked)
}

// eventAlerts are the alerts that an event completed, or is evidence in.
type eventAlerts struct {
	ids   []string // at most mostOfEvent
	count int
}

func (e *eventAlerts) look(payload []byte, event string) {
	if !bytes.Contains(payload, []byte(event)) {
		return
	}
	var al carriedAlert
	if json.Unmarshal(payload, &al) != nil {
		return
	}
	if al.EventID != event && !slices.ContainsFunc(al.Evidence.Events, func(ref carriedRef) bool { return ref.EventID == event }) {
		return
	}
	if e.count++; len(e.ids) < mostOfEvent {
		e.ids = append(e.ids, brief(al.ID))
	}
}

func (e *eventAlerts) error(event string) error {
	more := ""
	if n := e.count - len(e.ids); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s is the id of an event, not of an alert; the event is in the alert %s%s: trailhound explain %s", event, strings.Join(e.ids, ", "), more, e.ids[0])
}

// hasAlertID compares the header that the service writes or, in a copy of an alert without
// headers, the id in its JSON.
func hasAlertID(rec *wire.Record, id string) bool {
	if header, ok := rec.Header("alert_id"); ok {
		return string(header) == id
	}
	var al struct {
		ID string `json:"id"`
	}
	return bytes.Contains(rec.Value, []byte(id)) && json.Unmarshal(rec.Value, &al) == nil && al.ID == id
}
