package main

import (
	"errors"
	"fmt"

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
			s, err := a.settings()
			if err != nil {
				return err
			}
			client, err := s.connect(c.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.retryLetters(c, client, s, &filter, dryRun)
		},
	}
	filter.flags(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count what would be sent")
	return c
}

// retryLetters sends the dead letters that the topic holds now, in order.
func (a *app) retryLetters(c *cobra.Command, client *wire.Client, s *settings, f *letterFilter, dryRun bool) (err error) {
	producers := make(map[string]*producer)
	defer func() {
		for _, p := range producers {
			err = errors.Join(err, p.close())
		}
	}()
	sent, cut := 0, 0
	err = a.eachLetter(c, client, s, f, func(l *letter, rec *wire.Record) error {
		if l.Truncated > 0 {
			cut++
			fmt.Fprintln(a.stderr, printable(fmt.Sprintf("offset %d of partition %d: only %d of %d bytes were kept; its source is %s partition %d offset %d",
				l.Offset, l.Partition, l.Bytes, l.Truncated, l.Source.Topic, l.Source.Partition, l.Source.Offset)))
			return nil
		}
		sent++
		if dryRun {
			return nil
		}
		p := producers[l.Source.Topic]
		if p == nil {
			var err error
			if p, err = newProducer(c.Context(), client, l.Source.Topic, s); err != nil {
				return err
			}
			producers[l.Source.Topic] = p
		}
		return p.add(rec.Key, rec.Value)
	})
	if err != nil {
		return err
	}
	for _, p := range producers {
		if err := p.close(); err != nil {
			return err
		}
	}
	clear(producers)
	verb := "sent again"
	if dryRun {
		verb = "would be sent again"
	}
	_, err = fmt.Fprintf(a.stderr, "%d dead letters %s, %d cannot be\n", sent, verb, cut)
	return err
}
