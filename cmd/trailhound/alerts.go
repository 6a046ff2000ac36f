package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/spf13/cobra"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

func alertsCommand(a *app) *cobra.Command {
	var f alertFlags
	c := &cobra.Command{
		Use:   "alerts",
		Short: "Print the committed alerts, and follow the topic",
		Long: "Alerts prints every committed alert of the alerts topic and goes on with those that come, until interrupted.\n" +
			"On a terminal they are printed for people; through a pipe, or with --json, as one JSON object a line.\n" +
			"It reads outside of any consumer group and leaves nothing behind.\n\n" +
			"--since and --last go by the times at which alerts were written to the topic, which is when they were\n" +
			"found: the event may be older. With --with-record a line is an object with two members: record, with the\n" +
			"timestamp, the partition and the offset in the topic, and alert.",
		Example: "  trailhound alerts --since 24h --severity high,critical\n" +
			"  trailhound alerts --last 10 --no-follow --rule access_denied --json",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			since, err := f.check(time.Now())
			if err != nil {
				return err
			}
			return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error {
				if err := f.checkPartitions(c.Context(), client, s.config.Topics.Alerts); err != nil {
					return err
				}
				log, err := a.logger(s)
				if err != nil {
					return err
				}
				tail := consumer.Tail{Client: client, Topic: s.config.Topics.Alerts, Latest: f.fresh, Since: since, Follow: !f.noFollow, Log: log}
				return showAlerts(c.Context(), a, &tail, &f)
			})
		},
	}
	f.add(c)
	return c
}

// alerts prints the alerts that tail reads; with --last, the newest ones of the topic
// first.
func showAlerts(ctx context.Context, a *app, tail *consumer.Tail, f *alertFlags) error {
	printAlert := alertPrinter(a, f.asJSON, f.withRecord)
	show := func(partition int32, rec *wire.Record) error {
		if !f.takes(partition, rec) {
			return nil
		}
		return printAlert(partition, rec)
	}
	if f.last > 0 {
		err := lastAlerts(ctx, tail, f, printAlert)
		if err != nil && !(tail.Follow && errors.Is(err, kafka.UnknownTopicOrPartition)) {
			return noTopic(err, "topics.alerts", tail.Topic)
		}
		if !tail.Follow {
			return nil
		}
	}
	for told := false; ; told = true {
		err := tail.Run(ctx, show)
		if !tail.Follow || !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return noTopic(err, "topics.alerts", tail.Topic)
		}
		if !told {
			fmt.Fprintf(a.stderr, "topics.alerts: topic %s does not exist; waiting until run, or trailhound topics create, creates it\n", tail.Topic)
			tail.Latest = false // all alerts of a topic created later are new
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// lastAlerts prints the newest alerts that the topic holds, and sets tail to go on behind
// them.
func lastAlerts(ctx context.Context, tail *consumer.Tail, f *alertFlags, show func(int32, *wire.Record) error) error {
	last, from := newest{most: f.last}, map[int32]int64{}
	there := *tail
	there.Follow = false
	err := there.Run(ctx, func(partition int32, rec *wire.Record) error {
		from[partition] = rec.Offset + 1
		if f.takes(partition, rec) {
			last.add(partition, rec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	tail.From = from
	for i := range last.records {
		if err := show(last.records[i].partition, &last.records[i].Record); err != nil {
			return err
		}
	}
	return nil
}

// noTopic explains the error of a reader of a topic that does not exist; key names it in
// the configuration.
func noTopic(err error, key, topic string) error {
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("%s: topic %s does not exist; run creates it, and so does trailhound topics create", key, topic)
	}
	return err
}

// alertPrinter returns the function that prints one alert: for people on a terminal, as a
// JSON line elsewhere. A record of another producer that is no alert is reported and passed
// over.
func alertPrinter(a *app, asJSON, withRecord bool) func(partition int32, rec *wire.Record) error {
	show := func(_ int32, rec *wire.Record) error { return printAlertLine(a, rec.Value) }
	switch {
	case a.stdoutTerminal && !asJSON:
		show = func(partition int32, rec *wire.Record) error {
			var note string
			if withRecord {
				note = fmt.Sprintf("record partition %d offset %d, written %s", partition, rec.Offset, writtenAt(rec))
			}
			return a.printAlert(a.stdout, rec.Value, note)
		}
	case withRecord:
		show = func(partition int32, rec *wire.Record) error { return printPlacedLine(a, partition, rec) }
	}
	return func(partition int32, rec *wire.Record) error {
		err := show(partition, rec)
		if errors.Is(err, errNoAlert) {
			fmt.Fprintf(a.stderr, "partition %d offset %d: %s\n", partition, rec.Offset, brief(err.Error()))
			return nil
		}
		return err
	}
}

// alertRecord is the place of an alert in the topic, as --with-record prints it.
type alertRecord struct {
	Timestamp string `json:"timestamp"` // RFC 3339, with milliseconds
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func writtenAt(rec *wire.Record) string {
	return time.UnixMilli(rec.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func printPlacedLine(a *app, partition int32, rec *wire.Record) error {
	if err := alertLine(rec.Value); err != nil {
		return err
	}
	line, err := json.Marshal(alertRecord{writtenAt(rec), partition, rec.Offset})
	if err != nil {
		return err
	}
	// The alert's own bytes: json.Marshal would escape HTML characters that the alert has
	// unescaped.
	return a.printLine(slices.Concat([]byte(`{"record":`), line, []byte(`,"alert":`), rec.Value, []byte("}")))
}

// titleBytes is longer than any title that the engine makes.
const titleBytes = 8 << 10

var errNoAlert = errors.New("not an alert")

// alertLine says why a value cannot be printed as the JSON of an alert.
func alertLine(payload []byte) error {
	if !json.Valid(payload) || bytes.ContainsAny(payload, "\r\n") {
		return fmt.Errorf("%w: it is not JSON in one line", errNoAlert)
	}
	return nil
}

func printAlertLine(a *app, payload []byte) error {
	if err := alertLine(payload); err != nil {
		return err
	}
	return a.printLine(payload)
}

// printLine prints one line of JSON.
func (a *app) printLine(text []byte) error {
	if a.stdoutTerminal {
		text = printableJSON(nil, text)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", text)
	return err
}

// shownAlert holds the fields of an alert that people see on a terminal; the JSON line has
// all fields.
type shownAlert struct {
	ID        string    `json:"id"`
	RuleID    string    `json:"rule_id"`
	Severity  string    `json:"severity"`
	Title     string    `json:"title"`
	EventID   string    `json:"event_id"`
	EventTime time.Time `json:"event_time"`
	SourceIP  string    `json:"source_ip"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	Evidence  struct {
		Total  int              `json:"total"`
		Events []rules.Position `json:"events"` // the oldest may be left out
	} `json:"evidence"`
	Source     rules.Position `json:"source"`
	Suppressed int            `json:"suppressed"`
}

// evidence gives the lines on the event of the alert and on its evidence. The event that
// completes a count is the last of the evidence, unless it came late; an event that meets a
// set filled by others is not among the evidence.
func (al *shownAlert) evidence() string {
	listed, total := al.Evidence.Events, al.Evidence.Total
	event := "         event " + eventName(al.EventID) + "\n"
	switch i := slices.Index(listed, al.Source); {
	case total <= 0:
		return event
	case i >= 0 && i == len(listed)-1:
		return fmt.Sprintf("         evidence: %s, the last %s\n", counted(total, "event"), eventName(al.EventID))
	case i < 0 && len(listed) == total:
		return event + fmt.Sprintf("         evidence: %s\n", counted(total, "other event"))
	}
	return event + fmt.Sprintf("         evidence: %s\n", counted(total, "event"))
}

// printAlert prints an alert for people, and the caller's notes as lines below it. Values
// of the event are escaped, and cut where they are long: an attacker chose them.
func (a *app) printAlert(w io.Writer, payload []byte, notes ...string) error {
	var al shownAlert
	if err := json.Unmarshal(payload, &al); err != nil {
		return fmt.Errorf("%w: %w", errNoAlert, err)
	}
	if al.RuleID == "" {
		return fmt.Errorf("%w: it has no rule_id", errNoAlert)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s  %s\n", strings.ToUpper(brief(al.Severity)), al.EventTime.UTC().Format(time.RFC3339), briefly(al.Title, titleBytes))
	fmt.Fprintf(&b, "         rule %s", brief(al.RuleID))
	for _, detail := range []struct{ name, value string }{{"from", al.SourceIP}, {"account", al.Account}, {"region", al.Region}} {
		if detail.value != "" {
			fmt.Fprintf(&b, ", %s %s", detail.name, brief(detail.value))
		}
	}
	b.WriteByte('\n')
	fmt.Fprintf(&b, "         alert %s\n", brief(al.ID))
	b.WriteString(al.evidence())
	if al.Suppressed > 0 {
		fmt.Fprintf(&b, "         held back before this one: %d\n", al.Suppressed)
	}
	for _, note := range notes {
		if note != "" {
			fmt.Fprintf(&b, "         %s\n", note)
		}
	}
	text := wrapText(b.String(), a.width(), alertHang)
	_, err := io.WriteString(w, a.coloured(al.Severity, text))
	return err
}

// eventName returns an eventID, or the words for a missing one, to follow the word event.
func eventName(id string) string {
	if id == "" {
		return "without an eventID"
	}
	return brief(id)
}
