package rules

import (
	"errors"
	"fmt"

	"trailhound/config/duration"
	"trailhound/state"
)

// Evaluate runs the matched rules on the event, with the state in tx, and moves
// the time of the event's input partition. Of a rejected evaluation nothing is kept, not
// even the eventID: the event can be sent again once its rule or limit is mended
// (PROTOCOL D12). An event without matches leaves no trace.
func (e *Engine) Evaluate(ev *Event, matches []Match, tx *state.Tx) Outcome {
	e.out.Alerts, e.out.Rejected, e.out.Verdicts = e.out.Alerts[:0], e.out.Rejected[:0], e.out.Verdicts[:0]
	if e.buf = e.buf[:0]; cap(e.buf) > keptBuffer {
		e.buf = nil
	}
	if len(matches) == 0 {
		return e.out
	}
	if rejection, ok := e.limits.admit(ev, tx); !ok {
		e.out.Rejected = append(e.out.Rejected, rejection)
		e.out.Verdicts = append(e.out.Verdicts, Verdict{Kind: VerdictRejected})
		return e.out
	}
	for _, m := range matches {
		v := Verdict{Rule: m.Rule}
		v.Kind = e.evaluate(ev, m, tx, &v)
		e.out.Verdicts = append(e.out.Verdicts, v)
	}
	return e.out
}

// admit moves the time of the event's input partition, and rejects an event that lies too
// far behind it.
func (l Limits) admit(ev *Event, tx *state.Tx) (Rejection, bool) {
	tx.Observe(ev.At, ev.Time)
	if newest := tx.NewestOf(ev.At); l.MaxLateness > 0 && newest.Sub(ev.Time) > l.MaxLateness {
		return Rejection{Reason: ReasonTooLate, Detail: fmt.Sprintf("the event's time %s is more than %s behind %s, the newest of its partition; replay evaluates such events",
			rfc3339(ev.Time), duration.Format(l.MaxLateness), rfc3339(newest))}, false
	}
	return Rejection{}, true
}

// evaluate runs one rule on the event, and keeps its writes unless the verdict is a
// rejection.
func (e *Engine) evaluate(ev *Event, m Match, tx *state.Tx, v *Verdict) VerdictKind {
	r, ok := e.byID[m.Rule]
	if !ok {
		return VerdictUnknownRule
	}
	self := ev.Identifier()
	id, err := r.eventID(ev, self)
	if err != nil {
		e.out.Rejected = append(e.out.Rejected, *err)
		return VerdictRejected
	}
	var known state.EventKey
	remembers := e.limits.DuplicatesWithin > 0 && id != ""
	if remembers {
		if known = tx.EventKey(m.Rule, m.Key, id); tx.Seen(known) {
			return VerdictDuplicate
		}
	}
	scope := tx.Scope(m.Rule, m.Key, state.Ref{ID: self, Time: ev.Time, Source: ev.At})
	verdict, err := e.judge(r, ev, m.Key, scope)
	if err != nil {
		e.out.Rejected = append(e.out.Rejected, *err)
		return VerdictRejected
	}
	v.Evicted = scope.Evicted()
	scope.Commit()
	if remembers {
		tx.Remember(known, ev.Time, e.limits.DuplicatesWithin)
	}
	return verdict
}

// eventID is the id by which the rule's duplicates of the event are known, self
// unless the rule says otherwise; "" if there is none.
func (r *boundRule) eventID(ev *Event, self string) (id string, rejected *Rejection) {
	if r.identifier == nil {
		return self, nil
	}
	defer func() {
		if v := recover(); v != nil {
			p := panicked(r.info.ID, "EventID", v)
			rejected = &p
		}
	}()
	return r.identifier.EventID(ev), nil
}

// judge calls the rule's Evaluate and makes the alert of its finding. A panic of the rule,
// or of a value in its finding, ends here.
func (e *Engine) judge(r *boundRule, ev *Event, key string, s *state.Scope) (verdict VerdictKind, rejected *Rejection) {
	defer func() {
		if v := recover(); v != nil {
			p := panicked(r.info.ID, "Evaluate", v)
			rejected = &p
		}
	}()
	finding := r.rule.Evaluate(ev, s)
	if rejected = r.overLimit(s); rejected != nil || finding == nil {
		return VerdictEvaluated, rejected
	}
	a := alertDraft{rule: r, event: ev, key: key, finding: finding, dedup: dedupString(r.info.ID, key, finding.Dedup)}
	if span := r.options.Suppress; span > 0 {
		held, suppressed := s.Suppress(a.dedup, span)
		if rejected = r.overLimit(s); rejected != nil || suppressed {
			return VerdictSuppressed, rejected
		}
		a.held = held
	}
	a.counted, a.refs = s.Evidence()
	return VerdictAlerted, e.alert(&a)
}

// overLimit is the rejection for the bound of the state that the scope has met.
func (r *boundRule) overLimit(s *state.Scope) *Rejection {
	limit, ok := errors.AsType[*state.LimitError](s.Err())
	if !ok {
		return nil // a failing store is the batch's error, not this event's
	}
	return &Rejection{Rule: r.info.ID, Reason: Reason(limit.Reason), Detail: limit.Detail}
}

func dedupString(rule, key, more string) string {
	if more == "" {
		return rule + ":" + key
	}
	return rule + ":" + key + ":" + more
}

// alert adds the alert to the outcome, or returns why it cannot.
func (e *Engine) alert(a *alertDraft) *Rejection {
	a.id = alertID(a.rule.info.ID, a.key, a.event)
	start := len(e.buf)
	limit := e.maxAlertBytes()
	buf, ok := a.encode(e.buf, a.room(limit))
	if !ok {
		return &Rejection{Rule: a.rule.info.ID, Reason: ReasonAlertTooLarge, Detail: fmt.Sprintf(
			"the alert has %d bytes with all that can be left out; the limit is %d with its key of %d bytes",
			len(buf)-start, limit, len(a.dedup))}
	}
	e.buf = buf
	e.out.Alerts = append(e.out.Alerts, Alert{
		ID:       a.id,
		RuleID:   a.rule.info.ID,
		Severity: string(a.rule.info.Severity),
		Dedup:    a.dedup,
		Time:     a.event.Time,
		Payload:  buf[start:len(buf):len(buf)],
	})
	return nil
}
