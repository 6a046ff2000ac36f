package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer"
	"trailhound/consumer/wire"
)

func (a *app) deadLettersCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "dead-letters",
		Short: "Look at what could not be evaluated, and send it again",
		Long: "A record or an event that cannot be evaluated goes to the dead-letter topic: its bytes unchanged, the reason\n" +
			"and the source in its headers. List shows them; retry sends their bytes to the input topic again.",
	})
	c.AddCommand(a.deadLettersListCommand(), a.deadLettersRetryCommand())
	return c
}

// letter is a dead letter as its headers describe it.
type letter struct {
	Reason    string       `json:"reason"`
	Detail    string       `json:"detail,omitempty"`
	Stage     string       `json:"stage"`
	Rule      string       `json:"rule,omitempty"`
	Source    letterSource `json:"source"`
	Time      string       `json:"time"` // when it was given up
	Bytes     int          `json:"bytes"`
	Truncated int          `json:"truncated_from,omitempty"`
	Partition int32        `json:"partition"` // in the dead-letter topic
	Offset    int64        `json:"offset"`    // in the dead-letter topic
	Value     *[]byte      `json:"value,omitempty"`
}

type letterSource struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Index     *int   `json:"index,omitempty"`
}

func readLetter(partition int32, rec *wire.Record) letter {
	text := func(key string) string {
		v, _ := rec.Header(key)
		return string(v)
	}
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(text(key), 10, 64)
		return n
	}
	l := letter{
		Reason: text("reason"), Detail: text("detail"), Stage: text("stage"), Rule: text("rule"),
		Source: letterSource{Topic: text("source_topic"), Partition: int(number("source_partition")), Offset: number("source_offset")},
		Time:   time.UnixMilli(rec.Timestamp).UTC().Format(time.RFC3339),
		Bytes:  len(rec.Value), Truncated: int(number("truncated_from")), Partition: partition, Offset: rec.Offset,
	}
	if _, ok := rec.Header("source_index"); ok {
		index := int(number("source_index"))
		l.Source.Index = &index
	}
	return l
}

// letterFilter chooses dead letters by reason; without reasons, all.
type letterFilter struct{ reasons []string }

func (f *letterFilter) flags(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.reasons, "reason", nil, "only those with this `REASON`; may be given often")
}

func (f *letterFilter) takes(l *letter) bool {
	return len(f.reasons) == 0 || slices.Contains(f.reasons, l.Reason)
}

// eachLetter calls each for the dead letters that the topic holds now.
func (a *app) eachLetter(c *cobra.Command, client *wire.Client, s *settings, f *letterFilter, each func(*letter, *wire.Record) error) error {
	log, err := a.logger(s)
	if err != nil {
		return err
	}
	tail := consumer.Tail{Client: client, Topic: s.Topics.DeadLetter, Log: log}
	err = tail.Run(c.Context(), func(partition int32, rec *wire.Record) error {
		l := readLetter(partition, rec)
		if !f.takes(&l) {
			return nil
		}
		return each(&l, rec)
	})
	return noTopic(err, "topics.dead_letter", tail.Topic)
}

func (a *app) deadLettersListCommand() *cobra.Command {
	var asJSON, values bool
	var filter letterFilter
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the dead letters: for people on a terminal, as JSON lines elsewhere",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKafka(c.Context(), func(s *settings, client *wire.Client) error {
				show := a.letterPrinter(asJSON || values, values)
				return a.eachLetter(c, client, s, &filter, show)
			})
		},
	}
	filter.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON lines on a terminal too")
	c.Flags().BoolVar(&values, "values", false, "with the bytes of each, base64, as JSON lines")
	return c
}

func (a *app) letterPrinter(asJSON, values bool) func(*letter, *wire.Record) error {
	if a.stdoutTerminal && !asJSON {
		return a.printLetter
	}
	return func(l *letter, rec *wire.Record) error {
		if values {
			l.Value = &rec.Value
		}
		line, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if a.stdoutTerminal {
			line = printableJSON(nil, line)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", line)
		return err
	}
}

// detailBytes is as long as the detail of a dead letter is.
const detailBytes = 4 << 10

func (a *app) printLetter(l *letter, _ *wire.Record) error {
	source := fmt.Sprintf("%s partition %d offset %d", l.Source.Topic, l.Source.Partition, l.Source.Offset)
	if l.Source.Index != nil {
		source += fmt.Sprintf(" event %d", *l.Source.Index)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-20s %s, %d bytes\n         %s\n", printable(l.Time), brief(l.Reason), brief(source), l.Bytes, briefly(l.Detail, detailBytes))
	return err
}
