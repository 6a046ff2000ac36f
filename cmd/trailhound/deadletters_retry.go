package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"trailhound/consumer/wire"
)

func (a *app) deadLettersRetryCommand() *cobra.Command {
	var dryRun bool
	var filter letterFilter
	c := &cobra.Command{
		Use:   "retry",
		Short: "Send the bytes of dead letters to their input topics again, unchanged",
		Long: "Retry sends the bytes of each dead letter, unchanged, to the input topic that it came from, for instance after\n" +
			"an upgrade that understands them. The dead letters stay where they are: retry twice and they are sent twice;\n" +
			"events that have been evaluated since count once all the same, by their eventID. One whose bytes were cut\n" +
			"because they did not fit the dead-letter topic cannot be sent and is reported.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKafka(c.Context(), func(s *settings, client *wire.Client) error {
				return a.retryLetters(c, client, s, &filter, dryRun)
			})
		},
	}
	filter.flags(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count what would be sent")
	return c
}

// retryLetters sends the dead letters that the topic holds now, in order.
func (a *app) retryLetters(c *cobra.Command, client *wire.Client, s *settings, f *letterFilter, dryRun bool) error {
	r := retry{settings: s, client: client, producers: make(map[string]*producer), dryRun: dryRun}
	cannot := 0
	err := a.eachLetter(c, client, s, f, func(l *letter, rec *wire.Record) error {
		err := r.letter(c.Context(), l, rec)
		if why, ok := errors.AsType[*unsendableError](err); ok {
			cannot++
			fmt.Fprintln(a.stderr, printable(fmt.Sprintf("offset %d of partition %d: %s", l.Offset, l.Partition, why)))
			return nil
		}
		return err
	})
	if err = cmp.Or(err, r.close()); err != nil {
		return err
	}
	verb := "sent again"
	if dryRun {
		verb = "would be sent again"
	}
	fmt.Fprintf(a.stderr, "%d dead letters %s, %d cannot be\n", r.sent, verb, cannot)
	return nil
}

// retry sends dead letters to the topics that they came from.
type retry struct {
	*settings
	client    *wire.Client
	producers map[string]*producer // by topic
	dryRun    bool
	sent      int
}

// unsendableError says why one dead letter is not sent; the others are.
type unsendableError struct{ why string }

func (e *unsendableError) Error() string { return e.why }

func (r *retry) letter(ctx context.Context, l *letter, rec *wire.Record) error {
	switch {
	case l.Reason == "":
		return &unsendableError{"it has no header reason, so it is no dead letter of trailhound"}
	case !slices.Contains(r.Topics.Input, l.Source.Topic):
		return &unsendableError{fmt.Sprintf("its source topic, %q, is not in topics.input", l.Source.Topic)}
	case l.Reason == "unreadable_batch":
		return &unsendableError{fmt.Sprintf("its value is no record but a record batch that cannot be read, of %s partition %d offset %d",
			l.Source.Topic, l.Source.Partition, l.Source.Offset)}
	case l.Truncated > 0:
		return &unsendableError{fmt.Sprintf("only %d of %d bytes were kept; its source is %s partition %d offset %d",
			l.Bytes, l.Truncated, l.Source.Topic, l.Source.Partition, l.Source.Offset)}
	case !r.dryRun:
		if err := r.send(ctx, l.Source.Topic, rec); err != nil {
			return err
		}
	}
	r.sent++
	return nil
}

func (r *retry) send(ctx context.Context, topic string, rec *wire.Record) error {
	p := r.producers[topic]
	if p == nil {
		var err error
		if p, err = newProducer(ctx, r.client, topic, r.settings); err != nil {
			return err
		}
		r.producers[topic] = p
	}
	err := p.add(rec.Key, rec.Value)
	if tooLarge, ok := errors.AsType[*tooLargeError](err); ok {
		return &unsendableError{tooLarge.Error()}
	}
	return err
}

// close waits until everything is written or has failed.
func (r *retry) close() (err error) {
	for _, p := range r.producers {
		err = cmp.Or(p.close(), err)
	}
	return err
}
