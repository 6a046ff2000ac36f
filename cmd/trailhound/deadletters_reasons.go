package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"trailhound/consumer"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
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
