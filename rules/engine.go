package rules

import (
	"fmt"
	"slices"
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
	set.description = describe(set.rules)
	set.fingerprint = fingerprint(set.description)
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

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Description is one JSON object with the rules that are on, by ID, and all their
// parameters, independent of the order in which they were given. [Changes] compares two of
// them.
func (e *Engine) Description() []byte { return slices.Clone(e.description) }

// Resume brings the state of m's rule and key from before an alert back into tx, by the
// rule's own method; ok is false where it has none. After an error, a half sentence about
// the alert, tx is to be discarded.
func (e *Engine) Resume(m Match, p *Past, tx *state.Tx) (ok bool, err error) {
	r := e.byID[m.Rule]
	if r == nil || r.resumer == nil {
		return false, nil
	}
	defer func() { // an alert may come from anywhere
		if v := recover(); v != nil {
			ok, err = true, fmt.Errorf("rule %s panicked in Resume: %s", m.Rule, Clip(fmt.Sprint(v)))
		}
	}()
	p.Limits = e.limits
	from := p.From
	var s *state.Scope
	err = r.resumer.Resume(p, func(at state.Ref) *state.Scope {
		if s != nil {
			s.Commit()
		}
		s = tx.Scope(m.Rule, m.Key, at)
		return s
	})
	if s != nil {
		s.Commit()
	}
	p.From = min(max(p.From, from), len(p.Events)) // the events from there on are at hand
	return true, err
}
