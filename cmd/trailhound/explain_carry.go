package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"trailhound/rules"
	"trailhound/state"
)

// carryOver fills the state with the rule's memory from before the first event played, as
// far as the alert tells, and notes how the play begins.
func (x *explainer) carryOver(e *explanation, rule rules.Rule, tx *state.Tx, from int) {
	var err error
	switch r := rule.(type) {
	case *rules.AccessDenied:
		if r.WindowKind == "sliding" {
			err = x.carryTimeline(e, r, tx, from)
		} else {
			err = x.carryDenials(e, r, tx, from)
		}
	case *rules.AssumeRoleUniqueIP:
		err = x.carryAddresses(e, r, tx)
	default:
		if len(x.alert.Evidence.Events) == 0 || from > 0 || x.alert.Evidence.Total > int64(len(x.alert.Evidence.Events)) {
			e.note("what the rule remembered before the first event that is played is not known; the play begins with nothing")
		}
	}
	if err != nil {
		e.note("what the rule remembered before cannot be taken from the alert: %v; the play begins with nothing", err)
	}
}

// carryDenials counts the denials that cannot be played. The alert gives the time of each
// one that it names; the older ones are known to lie in the window.
func (x *explainer) carryDenials(e *explanation, r *rules.AccessDenied, tx *state.Tx, from int) error {
	older := x.alert.Evidence.Total - x.alert.counted(x.slots[from:])
	if older <= 0 {
		return nil
	}
	start, err := x.windowStart()
	if err != nil {
		return err
	}
	count := func(ref state.Ref, n int64) {
		s := tx.Scope(x.alert.RuleID, x.alert.Key, ref)
		first := s.GetCounter("denied") == 0
		s.IncrementCounterBy("denied", n)
		if first {
			s.SetKeyTTL("denied", r.Window)
		}
		s.Commit()
	}
	if unnamed := older - x.alert.counted(x.slots[:from]); unnamed > 0 {
		count(state.Ref{Time: start}, unnamed)
	}
	for _, s := range x.slots[:from] {
		count(s.ref(), 1)
	}
	e.note("older denials that are not played: %d; the count begins with them, as the alert names them", older)
	return nil
}

// carryTimeline observes the denials that cannot be played. Those that the alert does not
// name are known to lie in the interval, which begins with the oldest of them.
func (x *explainer) carryTimeline(e *explanation, r *rules.AccessDenied, tx *state.Tx, from int) error {
	older := x.alert.Evidence.Total - x.alert.counted(x.slots[from:])
	if older <= 0 {
		return nil
	}
	observe := func(ref state.Ref) {
		s := tx.Scope(x.alert.RuleID, x.alert.Key, ref)
		s.Observe("denials", "")
		s.Within("denials", r.Window)
		s.Commit()
	}
	unnamed := older - x.alert.counted(x.slots[:from])
	if unnamed > 0 {
		start, err := x.windowStart()
		if err != nil {
			return err
		}
		if limit := int64(x.settings.Limits.MaxSetMembers); unnamed > limit {
			return fmt.Errorf("its evidence is %d events, and a timeline has at most %d (limits.max_set_members)", x.alert.Evidence.Total, limit)
		}
		for i := range unnamed { // an event without an id is known by its place
			observe(state.Ref{Time: start, Source: state.Source{Offset: i}})
		}
	}
	for _, slot := range x.slots[:from] {
		observe(slot.ref())
	}
	e.note("older denials that are not played: %d; the timeline begins with them, as the alert names them", older)
	return nil
}

// windowStart returns the start of the interval in which the alert has counted denials.
func (x *explainer) windowStart() (time.Time, error) {
	var context struct {
		Start time.Time `json:"window_start"`
	}
	if err := json.Unmarshal(x.alert.Context, &context); err != nil || context.Start.IsZero() {
		return context.Start, errors.New("its context has no window_start")
	}
	return context.Start, nil
}

// carryAddresses adds the addresses that the alert lists as known, each with its event
// where the evidence has it. These events are not played, because the alert does not hold
// the addresses known before each of them.
func (x *explainer) carryAddresses(e *explanation, r *rules.AssumeRoleUniqueIP, tx *state.Tx) error {
	var context struct {
		Known []string `json:"known_ips"`
		Total int      `json:"known_total"`
	}
	if err := json.Unmarshal(x.alert.Context, &context); err != nil || len(context.Known) == 0 {
		return errors.New("its context has no known_ips")
	}
	add := func(ref state.Ref, address string) {
		s := tx.Scope(x.alert.RuleID, x.alert.Key, ref)
		s.AddToStringSet("addresses", address)
		s.Commit()
	}
	for i, slot := range x.slots[:len(x.slots)-1] {
		if !slot.ok {
			continue
		}
		if address := r.Address(&slot.event); slices.Contains(context.Known, address) {
			add(slot.ref(), address)
			e.Timeline[i].Known = address
		}
	}
	for _, address := range context.Known {
		add(state.Ref{Time: x.alert.EventTime}, address) // no effect on an address that is known
	}
	e.note("the addresses known before are those that the alert carries (known_ips)")
	if context.Total > len(context.Known) {
		e.note("%d addresses were known; the alert names %d of them", context.Total, len(context.Known))
	}
	return nil
}

// ref returns the event as evidence.
func (s *slot) ref() state.Ref {
	return state.Ref{ID: s.EventID, Time: s.EventTime, Source: state.Source{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Index: s.Index}}
}
