package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

// retryFlags are the flags of dead-letters retry as they are typed.
type retryFlags struct {
	letterFilter
	dryRun, again, force, asJSON bool
}

func deadLettersRetryCommand(a *app) *cobra.Command {
	var f retryFlags
	c := &cobra.Command{
		Use:   "retry",
		Short: "Send the bytes of dead letters to their input topics again, unchanged",
		Long: "Retry sends the bytes of each dead letter, unchanged, to the input topic that it came from, for instance after\n" +
			"an upgrade that understands them; the header retried_from names the letter. The dead letters stay where they\n" +
			"are, and a record in their topic marks each that was sent: it is not sent a second time, unless with --again.\n" +
			"Events that have been evaluated since count once all the same, by their eventID.\n\n" +
			"It refuses what would come back: what this build cannot decode either, and events that are too late, which\n" +
			"replay evaluates. --force sends them. One whose bytes were cut because they did not fit the dead-letter topic\n" +
			"cannot be sent and is reported.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			since, err := f.check(time.Now())
			if err != nil {
				return err
			}
			return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error {
				r, err := newLetters(a, s, client, &f.letterFilter, since)
				if err != nil {
					return err
				}
				return retryLetters(c.Context(), a, client, s, r, &f)
			})
		},
	}
	f.flags(c)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only count what would be sent")
	c.Flags().BoolVar(&f.again, "again", false, "send those too that were sent before")
	c.Flags().BoolVar(&f.force, "force", false, "send those too that would come back")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the counts as one JSON object on stdout")
	return c
}

// retryLetters sends the dead letters that the topic holds now, in order, and then marks them.
func retryLetters(ctx context.Context, a *app, client *wire.Client, s *setup, from *letters, f *retryFlags) error {
	r := retry{setup: s, client: client, from: from, flags: f, producers: make(map[string]*producer)}
	told := reported{}
	err := from.each(ctx, func(l *letter, rec *wire.Record) error {
		err := r.letter(ctx, l, rec)
		if why, ok := errors.AsType[*unsendableError](err); ok {
			if told.takes(l.Source.Topic, rules.Reason(why.kind)) {
				fmt.Fprintln(a.stderr, printable(fmt.Sprintf("offset %d of partition %d: %s", l.Offset, l.Partition, why)))
			}
			return nil
		}
		return err
	})
	if err = cmp.Or(err, r.flush()); err == nil {
		err = r.mark(ctx)
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	told.more(&b)
	b.WriteString(r.counts.text(f.dryRun))
	a.tell(b.String())
	if !f.asJSON {
		return nil
	}
	return a.jsonLine(&r.counts)
}

// retryCounts counts dead letters by the outcome of the retry.
type retryCounts struct {
	Sent   int64 `json:"sent"`        // or would be, for --dry-run
	Before int64 `json:"sent_before"` // and not again
	Back   int64 `json:"would_come_back"`
	Cannot int64 `json:"cannot_be_sent"`
}

func (n *retryCounts) text(dryRun bool) string {
	verb := "sent again"
	if dryRun {
		verb = "would be sent again"
	}
	text := fmt.Sprintf("%d dead letters %s", n.Sent, verb)
	if n.Before > 0 {
		text += fmt.Sprintf(", %d were before (--again sends them)", n.Before)
	}
	if n.Back > 0 {
		text += fmt.Sprintf(", %d would come back (--force sends them)", n.Back)
	}
	return text + fmt.Sprintf(", %d cannot be\n", n.Cannot)
}

// retry sends dead letters to the topics that they came from.
type retry struct {
	setup     *setup
	client    *wire.Client
	from      *letters
	flags     *retryFlags
	producers map[string]*producer // by topic; those of inputs, until the marks are written
	sent      []letterPlace
	counts    retryCounts
}

// unsendableError is the reason why one dead letter is not sent; the retry goes on with the
// others.
type unsendableError struct {
	kind string // groups errors: only a few of each kind are reported
	why  string
}

func (e *unsendableError) Error() string { return e.why }

func (r *retry) letter(ctx context.Context, l *letter, rec *wire.Record) error {
	if why := r.unsendable(l, rec); why != nil {
		r.counts.Cannot++
		return why
	}
	if l.Retried && !r.flags.again {
		r.counts.Before++
		return nil
	}
	if why := r.hopeless(l, rec); why != nil && !r.flags.force {
		r.counts.Back++
		return why
	}
	if !r.flags.dryRun {
		if err := r.send(ctx, l, rec); err != nil {
			return err
		}
		r.sent = append(r.sent, letterPlace{l.Partition, l.Offset})
	}
	r.counts.Sent++
	return nil
}

func (r *retry) unsendable(l *letter, rec *wire.Record) error {
	switch {
	case l.Reason == "":
		return &unsendableError{"foreign", "it has no header reason, so it is no dead letter of trailhound"}
	case !slices.Contains(r.setup.config.Topics.Input, l.Source.Topic):
		return &unsendableError{"elsewhere", fmt.Sprintf("its source topic, %q, is not in topics.input", l.Source.Topic)}
	case l.Reason == "unreadable_batch":
		return &unsendableError{"batch", fmt.Sprintf("its value is no record but a record batch that cannot be read, of %s partition %d offset %d",
			l.Source.Topic, l.Source.Partition, l.Source.Offset)}
	case l.Truncated > 0:
		return &unsendableError{"cut", fmt.Sprintf("only %d of %d bytes were kept; its source is %s partition %d offset %d",
			l.Bytes, l.Truncated, l.Source.Topic, l.Source.Partition, l.Source.Offset)}
	case rec.Value == nil:
		return &unsendableError{"empty", fmt.Sprintf("it has no bytes; its source is %s partition %d offset %d", l.Source.Topic, l.Source.Partition, l.Source.Offset)}
	}
	return nil
}

// hopeless returns the reason why a letter would come back, or nil if none is known.
func (r *retry) hopeless(l *letter, rec *wire.Record) error {
	if refused := r.from.decoder.decode(l, rec.Value); refused != nil {
		return &unsendableError{string(refused.Reason), fmt.Sprintf("it would come back as %s: %s; mend it at its source, or retry with a build or a configuration that takes it", refused.Reason, refused.Detail)}
	}
	if l.Reason == string(rules.ReasonTooLate) && r.setup.config.Events.MaxLateness > 0 {
		return &unsendableError{l.Reason, "it would come back as too_late: events.max_lateness holds for it still; trailhound replay evaluates events whatever their age"}
	}
	return nil
}

func (r *retry) send(ctx context.Context, l *letter, rec *wire.Record) error {
	p, err := r.producer(ctx, l.Source.Topic)
	if err != nil {
		return err
	}
	from := fmt.Sprintf("%s/%d/%d", r.setup.config.Topics.DeadLetter, l.Partition, l.Offset)
	err = p.add(rec.Key, rec.Value, wire.Header{Key: "retried_from", Value: []byte(from)})
	if tooLarge, ok := errors.AsType[*tooLargeError](err); ok {
		r.counts.Cannot++
		return &unsendableError{"large", tooLarge.Error()}
	}
	return err
}

func (r *retry) producer(ctx context.Context, topic string) (*producer, error) {
	if p := r.producers[topic]; p != nil {
		return p, nil
	}
	p, err := newProducer(ctx, r.client, topic, r.setup)
	if err == nil {
		r.producers[topic] = p
	}
	return p, err
}

// flush waits until all sent records are acknowledged or have failed.
func (r *retry) flush() (err error) {
	for topic, p := range r.producers {
		err = cmp.Or(p.close(), err)
		delete(r.producers, topic)
	}
	return err
}

// mark writes the marks of the letters sent, once all of these are acknowledged: a retry
// that ends in between sends them again.
func (r *retry) mark(ctx context.Context) error {
	if len(r.sent) == 0 {
		return nil
	}
	p, err := r.producer(ctx, r.setup.config.Topics.DeadLetter)
	for i := 0; err == nil && i < len(r.sent); i++ {
		err = p.add(nil, nil, wire.Header{Key: retriedPartition, Value: strconv.AppendInt(nil, int64(r.sent[i].partition), 10)},
			wire.Header{Key: retriedOffset, Value: strconv.AppendInt(nil, r.sent[i].offset, 10)})
	}
	if err = cmp.Or(err, r.flush()); err != nil {
		return fmt.Errorf("%d dead letters were sent again, and could not be marked as sent in topic %s: %w", len(r.sent), r.setup.config.Topics.DeadLetter, err)
	}
	return nil
}
