package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"

	"github.com/spf13/cobra"
)

// knownReason refuses a reason that no dead letter has, and names those that there are.
func knownReason(reason string) error {
	if slices.Contains(consumer.DeadLetterReasons(), rules.Reason(reason)) {
		return nil
	}
	return usagef("unknown reason %q; there are %s", reason, strings.Join(reasonNames(), ", "))
}

func reasonNames() (names []string) {
	for _, reason := range consumer.DeadLetterReasons() {
		names = append(names, string(reason))
	}
	return names
}

// letterEvent is the event of a dead letter, as far as it can be decoded.
type letterEvent struct {
	ID        string      `json:"event_id,omitempty"`
	Name      string      `json:"event_name,omitempty"`
	Time      string      `json:"event_time,omitempty"`
	Principal string      `json:"principal,omitempty"`
	Matches   []letterKey `json:"matches,omitempty"`
}

// letterKey is a rule that the event is for, and its key there.
type letterKey struct {
	Rule string `json:"rule"`
	Key  string `json:"key"`
}

// letterDecoder decodes the values of dead letters as a service of this build and this
// configuration would.
type letterDecoder struct {
	decoder cloudtrail.Decoder
	engine  *rules.Engine
	matches []rules.Match
}

func newLetterDecoder(s *setup) (*letterDecoder, error) {
	engine, err := s.engine(s.limits())
	return &letterDecoder{decoder: s.decoder(), engine: engine}, err
}

// decode fills in the event of a dead letter. It returns the refusal of the decoder; nil
// also for a letter with bytes cut.
func (d *letterDecoder) decode(l *letter, value []byte) (refused *cloudtrail.DecodeError) {
	if l.Truncated > 0 || value == nil {
		return nil
	}
	index := int32(0) // the detector's dead letters hold the event alone
	if l.Stage != "detector" && l.Source.Index != nil {
		index = int32(*l.Source.Index)
	}
	d.decoder.Decode(value, func(ev *rules.Event, err error) bool {
		if bad, ok := errors.AsType[*cloudtrail.DecodeError](err); ok {
			if refused == nil && (bad.Index == int(index) || bad.Index < 0) {
				refused = bad
			}
			return refused == nil
		}
		if err != nil || ev.At.Index != index {
			return err == nil && ev.At.Index < index
		}
		ev.At = state.Source{Topic: l.Source.Topic, Partition: int32(l.Source.Partition), Offset: l.Source.Offset, Index: index}
		l.Event = d.event(ev)
		return false
	})
	return refused
}

func (d *letterDecoder) event(ev *rules.Event) *letterEvent {
	e := &letterEvent{ID: strings.Clone(ev.ID), Name: strings.Clone(ev.Name), Principal: strings.Clone(ev.Principal())}
	if !ev.Time.IsZero() {
		e.Time = ev.Time.UTC().Format(time.RFC3339Nano)
	}
	d.matches, _ = d.engine.Match(ev, d.matches[:0]) // a rule's refusal is for the service to report
	for _, m := range d.matches {
		e.Matches = append(e.Matches, letterKey{m.Rule, strings.Clone(m.Key)})
	}
	return e
}

// letter is a dead letter as its headers describe it.
type letter struct {
	Reason    string       `json:"reason"`
	Detail    string       `json:"detail,omitempty"`
	Stage     string       `json:"stage"`
	Rule      string       `json:"rule,omitempty"`
	Source    letterSource `json:"source"`
	Time      string       `json:"time"` // when the service gave it up
	Bytes     int          `json:"bytes"`
	Truncated int          `json:"truncated_from,omitempty"`
	Partition int32        `json:"partition"` // in the dead-letter topic
	Offset    int64        `json:"offset"`    // in the dead-letter topic
	Event     *letterEvent `json:"event,omitempty"`
	Retried   bool         `json:"retried,omitempty"` // it was sent again
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

// letterFilter chooses dead letters by their reasons and by when they were given up; the zero value takes all.
type letterFilter struct {
	reasons []string
	since   string
}

func (f *letterFilter) flags(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.reasons, "reason", nil, "only those with this `REASON`; may be given often")
	c.Flags().StringVar(&f.since, "since", "", "only those given up at this `TIME` or later, as in 24h, 7d or 2026-03-01T00:00Z")
	_ = c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasonNames(), cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
}

// check checks the flags before anything is asked of Kafka, and returns the time of --since.
func (f *letterFilter) check(now time.Time) (time.Time, error) {
	for _, reason := range f.reasons {
		if err := knownReason(reason); err != nil {
			return time.Time{}, err
		}
	}
	return rangeTime("--since", f.since, now)
}

func (f *letterFilter) takes(l *letter) bool {
	return len(f.reasons) == 0 || slices.Contains(f.reasons, l.Reason)
}

// letterPlace is where a dead letter is in its topic.
type letterPlace struct {
	partition int32
	offset    int64
}

// Headers of the mark that a retry leaves in the dead-letter topic for each letter sent: a
// later retry knows by it that the letter was sent. The mark has no other headers.
const (
	retriedPartition = "retried_partition"
	retriedOffset    = "retried_offset"
)

// retriedPlace reads the mark of a retry.
func retriedPlace(rec *wire.Record) (p letterPlace, ok bool) {
	partition, ok := rec.Header(retriedPartition)
	if !ok {
		return p, false
	}
	offset, _ := rec.Header(retriedOffset)
	n, err := strconv.ParseInt(string(partition), 10, 32)
	if p.partition = int32(n); err == nil {
		p.offset, err = strconv.ParseInt(string(offset), 10, 64)
	}
	return p, err == nil
}

// letters reads the dead letters that the topic holds.
type letters struct {
	tail    consumer.Tail
	filter  *letterFilter
	retried map[letterPlace]bool
	decoder *letterDecoder
}

func newLetters(a *app, s *setup, client *wire.Client, f *letterFilter, since time.Time) (*letters, error) {
	log, err := a.logger(s)
	if err != nil {
		return nil, err
	}
	decoder, err := newLetterDecoder(s)
	return &letters{
		tail: consumer.Tail{Client: client, Topic: s.config.Topics.DeadLetter, Since: since, Log: log}, filter: f, decoder: decoder,
	}, err
}

// each calls yield for the dead letters that the filter takes. The topic is read twice,
// because the mark of a retry comes after its letter and may be in another partition.
func (r *letters) each(ctx context.Context, yield func(*letter, *wire.Record) error) error {
	r.retried = map[letterPlace]bool{}
	err := r.tail.Run(ctx, func(_ int32, rec *wire.Record) error {
		if place, ok := retriedPlace(rec); ok {
			r.retried[place] = true
		}
		return nil
	})
	if err == nil {
		err = r.tail.Run(ctx, func(partition int32, rec *wire.Record) error {
			if _, mark := retriedPlace(rec); mark {
				return nil
			}
			l := readLetter(partition, rec)
			if !r.filter.takes(&l) {
				return nil
			}
			l.Retried = r.retried[letterPlace{partition, rec.Offset}]
			return yield(&l, rec)
		})
	}
	return noTopic(err, "topics.dead_letter", r.tail.Topic)
}
