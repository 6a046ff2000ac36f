package main

import (
	"bytes"
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
	"trailhound/consumer/wire"
)

func (a *app) alertsCommand() *cobra.Command {
	var asJSON, fresh, noFollow bool
	c := &cobra.Command{
		Use:   "alerts",
		Short: "Print the committed alerts, and follow the topic",
		Long: "Alerts prints every committed alert of the alerts topic and goes on with those that come, until interrupted.\n" +
			"On a terminal they are printed for people; through a pipe, or with --json, as one JSON object a line.\n" +
			"It reads outside of any consumer group and leaves nothing behind.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKafka(c.Context(), func(s *settings, client *wire.Client) error {
				log, err := a.logger(s)
				if err != nil {
					return err
				}
				show := a.alertPrinter(asJSON)
				tail := consumer.Tail{Client: client, Topic: s.Topics.Alerts, Latest: fresh, Follow: !noFollow, Log: log}
				for told := false; ; told = true {
					err := tail.Run(c.Context(), show)
					if !tail.Follow || !errors.Is(err, kafka.UnknownTopicOrPartition) {
						return noTopic(err, "topics.alerts", tail.Topic)
					}
					if !told {
						fmt.Fprintf(a.stderr, "topics.alerts: topic %s does not exist; waiting until run, or trailhound topics create, creates it\n", tail.Topic)
						tail.Latest = false // whatever comes is new
					}
					select {
					case <-time.After(time.Second):
					case <-c.Context().Done():
						return nil
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON lines on a terminal too")
	c.Flags().BoolVar(&fresh, "new", false, "start with the next alert instead of the first one")
	c.Flags().BoolVar(&noFollow, "no-follow", false, "end at the last alert instead of waiting for more")
	return c
}

// noTopic explains the error of a reader whose topic, the value of key, is not there.
func noTopic(err error, key, topic string) error {
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("%s: topic %s does not exist; run creates it, and so does trailhound topics create", key, topic)
	}
	return err
}

// alertPrinter returns what prints one alert: for people on a terminal, as a JSON line elsewhere. What else somebody
// has written to the topic is reported and passed over.
func (a *app) alertPrinter(asJSON bool) func(partition int32, rec *wire.Record) error {
	show := a.printAlertLine
	if a.stdoutTerminal && !asJSON {
		show = func(payload []byte) error { return a.printAlert(a.stdout, payload) }
	}
	return func(partition int32, rec *wire.Record) error {
		err := show(rec.Value)
		if errors.Is(err, errNoAlert) {
			fmt.Fprintf(a.stderr, "partition %d offset %d: %s\n", partition, rec.Offset, brief(err.Error()))
			return nil
		}
		return err
	}
}

// titleBytes is longer than any title that the engine makes.
const titleBytes = 8 << 10

var errNoAlert = errors.New("not an alert")

func (a *app) printAlertLine(payload []byte) error {
	if !json.Valid(payload) || bytes.ContainsAny(payload, "\r\n") {
		return fmt.Errorf("%w: it is not JSON in one line", errNoAlert)
	}
	if a.stdoutTerminal {
		payload = printableJSON(nil, payload)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", payload)
	return err
}

// shownAlert is what people are shown of an alert; the JSON line has everything.
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
		Total  int        `json:"total"`
		Events []position `json:"events"` // the oldest may be left out
	} `json:"evidence"`
	Source     position `json:"source"`
	Suppressed int      `json:"suppressed"`
}

// evidence gives the lines on the event of the alert and on its evidence. The event that completed a count is the
// last of those counted, unless it came late; one that met a set which others had filled is not among the evidence.
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

// printAlert prints an alert for people. What came from the event is escaped, and cut where it is long: an attacker chose it.
func (a *app) printAlert(w io.Writer, payload []byte) error {
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
	_, err := fmt.Fprint(w, b.String())
	return err
}

// eventName is an eventID behind the word event.
func eventName(id string) string {
	if id == "" {
		return "without an eventID"
	}
	return brief(id)
}
