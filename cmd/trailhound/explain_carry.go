package main

import (
	"encoding/json"
	"errors"
	"time"

	"trailhound/rules"
	"trailhound/state"
)

// carryOver puts into the state what the rule remembered before the first event that is played, as far as the alert
// tells, and notes what of the time-line rests on that.
func (x *explainer) carryOver(e *explanation, rule rules.Rule, tx *state.Tx, from int) {
	var err error
	switch r := rule.(type) {
	case *rules.AccessDenied:
		if r.WindowKind == "sliding" {
			x.carryTimeline(e, r, tx, from)
		} else {
			err = x.carryDenials(e, r, tx, from)
		}
	case *rules.AssumeRoleUniqueIP:
		err = x.carryAddresses(e, tx)
	default:
		if len(x.alert.Evidence.Events) == 0 || from > 0 || x.alert.Evidence.Total > int64(len(x.alert.Evidence.Events)) {
			e.note("what the rule remembered before the first event that is played is not known; the play begins with nothing")
		}
	}
	if err != nil {
		e.note("what the rule remembered before cannot be taken from the alert: %v; the play begins with nothing", err)
	}
}

// carryDenials counts those denials that are not there to be played: of each that the alert names its time is known,
// of older ones that they lie in the window.
func (x *explainer) carryDenials(e *explanation, r *rules.AccessDenied, tx *state.Tx, from int) error {
	older := x.alert.Evidence.Total - x.alert.counted(x.slots[from:])
	if older <= 0 {
		return nil
	}
	var context struct {
		Start time.Time `json:"window_start"`
	}
	if err := json.Unmarshal(x.alert.Context, &context); err != nil || context.Start.IsZero() {
		return errors.New("its context has no window_start")
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
		count(state.Ref{Time: context.Start}, unnamed)
	}
	for _, s := range x.slots[:from] {
		count(state.Ref{ID: s.EventID, Time: s.EventTime}, 1)
	}
	e.note("older denials that are not played: %d; the count begins with them, as the alert names them", older)
	return nil
}

// carryTimeline observes those denials that are not there to be played.
func (x *explainer) carryTimeline(e *explanation, r *rules.AccessDenied, tx *state.Tx, from int) {
	for _, slot := range x.slots[:from] {
		s := tx.Scope(x.alert.RuleID, x.alert.Key, state.Ref{ID: slot.EventID, Time: slot.EventTime})
		s.Observe("denials", "")
		s.Within("denials", r.Window)
		s.Commit()
	}
	if from > 0 {
		e.note("older denials that are not played: %d; the timeline begins with them, as the alert names them", from)
	}
}

// carryAddresses makes the addresses known that the alert names as known.
func (x *explainer) carryAddresses(e *explanation, tx *state.Tx) error {
	var context struct {
		Known []string `json:"known_ips"`
		Total int      `json:"known_total"`
	}
	if err := json.Unmarshal(x.alert.Context, &context); err != nil || len(context.Known) == 0 {
		return errors.New("its context has no known_ips")
	}
	s := tx.Scope(x.alert.RuleID, x.alert.Key, state.Ref{Time: x.alert.EventTime})
	for _, address := range context.Known {
		s.AddToStringSet("addresses", address)
	}
	s.Commit()
	e.note("the addresses known before are those that the alert carries (known_ips); the events that made them known are not part of an alert")
	if context.Total > len(context.Known) {
		e.note("%d addresses were known; the alert names %d of them", context.Total, len(context.Known))
	}
	return nil
}
