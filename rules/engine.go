package rules

import (
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"trailhound/config/duration"
	"trailhound/state"
)

// An Engine runs rules. A router calls Match for an event, the owner of the shard Evaluate.
//
// Match may be called by many goroutines at once. Evaluate uses scratch memory
// of its engine: give each goroutine its own with [Engine.Clone].
type Engine struct {
	*ruleSet // shared by all clones, never changed

	out       Outcome
	buf       []byte // payloads of the latest call's alerts
	published int    // see LimitAlerts
}

// keptBuffer is how many bytes an engine keeps for the payloads of its next alerts.
const keptBuffer = 512 << 10

// Match is a rule that an event is for, and the key to evaluate it under.
type Match struct {
	Rule string // rule ID
	Key  string // never ""; aliases the event's strings
}

// Outcome is the result of one event: its alerts, rejections and verdicts. It and all that
// it holds is valid until the next Evaluate of the same engine.
type Outcome struct {
	Alerts   []Alert
	Rejected []Rejection
	Verdicts []Verdict // one per match, in their order; a single one without a rule when the event as a whole was rejected
}

// Verdict is the result of one match.
type Verdict struct {
	Rule string // as in the match; "" for the event as a whole
	Kind VerdictKind

	Evicted int // members that gave way to others in full sets and timelines
}

// VerdictKind is a kind of [Verdict]. Each match has exactly one.
type VerdictKind string

// The kinds of verdict.
const (
	VerdictEvaluated   VerdictKind = "evaluated"    // the rule looked, and found nothing
	VerdictAlerted     VerdictKind = "alerted"      // the rule made a finding
	VerdictSuppressed  VerdictKind = "suppressed"   // the rule made a finding; Options.Suppress held the alert back
	VerdictDuplicate   VerdictKind = "duplicate"    // this event was evaluated before, for the same rule and key
	VerdictUnknownRule VerdictKind = "unknown_rule" // the rule is off, or not in this build
	VerdictRejected    VerdictKind = "rejected"     // see Outcome.Rejected
)

// VerdictKinds are the kinds of verdict.
func VerdictKinds() []VerdictKind {
	return []VerdictKind{VerdictEvaluated, VerdictAlerted, VerdictSuppressed, VerdictDuplicate, VerdictUnknownRule, VerdictRejected}
}

// ShardOf returns the shard, from 0 to shards−1, that owns a key, of whatever rule: an
// event travels once for all rules that group it by the same key. It is part of the format
// of the stored state: it never changes.
func ShardOf(key string, shards int) int {
	return int(xxhash.Sum64String(key) % uint64(shards))
}

// NewEngine returns an engine for the rules that are on. It checks their Info and their
// parameters.
func NewEngine(active []Active, limits Limits) (*Engine, error) {
	set, err := newRuleSet(active, limits)
	if err != nil {
		return nil, err
	}
	return &Engine{ruleSet: set}, nil
}

// Clone returns an engine with the same rules for another goroutine.
func (e *Engine) Clone() *Engine { return &Engine{ruleSet: e.ruleSet, published: e.published} }

// LimitAlerts lowers Limits.MaxAlertBytes to the size that the alerts topic takes, for this
// engine and for clones made later; 0: it is as configured. The parts left out of an alert
// are then a function of the events, the configuration and that limit.
func (e *Engine) LimitAlerts(most int) { e.published = most }

// maxAlertBytes is the limit in force; 0: none.
func (e *Engine) maxAlertBytes() int {
	if e.published > 0 && (e.limits.MaxAlertBytes == 0 || e.published < e.limits.MaxAlertBytes) {
		return e.published
	}
	return e.limits.MaxAlertBytes
}

// Fingerprint identifies the rules that are on and all their parameters, independent of the
// order in which they were given.
func (e *Engine) Fingerprint() []byte { return append([]byte(nil), e.fingerprint...) }

// Rules returns the ids of the rules that are on, in their order.
func (e *Engine) Rules() []string {
	ids := make([]string, len(e.rules))
	for i, r := range e.rules {
		ids[i] = r.info.ID
	}
	return ids
}

// DuplicatesWithin is that of the engine's Limits.
func (e *Engine) DuplicatesWithin() time.Duration { return e.limits.DuplicatesWithin }

// Match appends to into the rules that the event is for, in the order in which
// they were given to [NewEngine]. Rejections are rare: a rule that panicked,
// or one with nothing to key the event by (a reason to skip).
func (e *Engine) Match(ev *Event, into []Match) ([]Match, []Rejection) {
	var rejected []Rejection
	for next := 0; next < len(e.rules); next++ {
		into, next, rejected = e.matchFrom(next, ev, into, rejected)
	}
	return into, rejected
}

// matchFrom matches the rules from next on until one of them panics, and
// returns the index of the last one it has asked: one deferred function per
// event instead of one per rule.
func (e *Engine) matchFrom(next int, ev *Event, into []Match, rejected []Rejection) (matches []Match, at int, rejections []Rejection) {
	matches, at, rejections = into, next, rejected
	defer func() {
		if v := recover(); v != nil {
			rejections = append(rejections, panicked(e.rules[at].info.ID, "Key", v))
		}
	}()
	for ; at < len(e.rules); at++ {
		r := e.rules[at]
		if r.options.IgnoreAWSServices && ev.FromAWSService() {
			continue
		}
		if key := r.rule.Key(ev); key != "" {
			matches = append(matches, Match{Rule: r.info.ID, Key: key})
		} else if r.unkeyed != nil && r.unkeyed.Unkeyed(ev) {
			rejections = append(rejections, noKey(r.info.ID))
		}
	}
	return matches, at, rejections
}

func noKey(rule string) Rejection {
	return Rejection{Rule: rule, Reason: ReasonNoKey, Detail: "the event has nothing that rule " + rule + " can key it by"}
}

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

// Ahead tells whether an event's time lies more than Limits.MaxAhead ahead of the earlier
// of its record's timestamp and now (either may be zero: not known), and gives the
// rejection. A router, which may read a clock, asks it before it uses the event's time: one
// absurd time must not move the time of all.
func (e *Engine) Ahead(ev *Event, now time.Time) (Rejection, bool) {
	if e.limits.MaxAhead <= 0 || !ev.Time.After(ev.RecordTime) && !ev.Time.After(now) { // of either, times in the past
		return Rejection{}, false
	}
	from, what := ev.RecordTime, "its record's timestamp"
	if from.IsZero() || !now.IsZero() && now.Before(from) {
		from, what = now, "the clock"
	}
	if from.IsZero() || ev.Time.Sub(from) <= e.limits.MaxAhead {
		return Rejection{}, false
	}
	return Rejection{Reason: ReasonTooFarAhead, Detail: fmt.Sprintf("the event's time %s is more than %s ahead of %s %s",
		rfc3339(ev.Time), duration.Format(e.limits.MaxAhead), what, rfc3339(from))}, true
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

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

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
