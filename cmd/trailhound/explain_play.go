package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/state"
)

// explanation is the output of explain.
type explanation struct {
	Alert    json.RawMessage `json:"alert"`
	Timeline []*moment       `json:"timeline"`
	// Result is the outcome of the play: "same", "differs", "none" or, when nothing could
	// be played, "not_played".
	Result string   `json:"result"`
	Notes  []string `json:"notes"` // caveats for a reader of the time-line
}

// The results of a play.
const (
	playedSame    = "same"
	playedDiffers = "differs"
	playedNone    = "none"
	notPlayed     = "not_played"
)

// moment is one event of the time-line.
type moment struct {
	EventID   string    `json:"event_id"`
	EventTime time.Time `json:"event_time"`
	position
	From    string            `json:"from"`            // "input", "alert", or "nowhere"
	Known   string            `json:"known,omitempty"` // address learned from this event, which is not played
	Missing string            `json:"missing,omitempty"`
	Event   *shownEvent       `json:"event,omitempty"`
	Before  []shownValue      `json:"before,omitempty"`
	After   []shownValue      `json:"after,omitempty"`
	Verdict rules.VerdictKind `json:"verdict,omitempty"` // absent: it was not played
	Detail  string            `json:"detail,omitempty"`  // of a rejection or a duplicate
	Alert   json.RawMessage   `json:"alert,omitempty"`   // completed by this event in the play
}

// shownEvent holds the fields of an event that people see.
type shownEvent struct {
	Name      string `json:"name"`
	Source    string `json:"source"`
	Principal string `json:"principal"`
	SourceIP  string `json:"source_ip"`
	ErrorCode string `json:"error_code,omitempty"`
}

// shownValue is a value of the rule and key at the time of an event.
type shownValue struct {
	Kind    state.ValueKind `json:"kind"`
	Name    string          `json:"name"`
	Count   int64           `json:"count"`
	Members []string        `json:"members,omitempty"` // of a set, the first ones
	First   *time.Time      `json:"first,omitempty"`
	Expiry  time.Time       `json:"expiry"`
}

// play evaluates the events behind the last missing one, one by one. The rule's memory from
// before them comes from the alert, as far as the alert tells.
func (x *explainer) play() (_ *explanation, err error) {
	e := &explanation{Alert: x.alert.payload, Result: notPlayed, Notes: []string{}}
	from := 0
	for i, s := range x.slots {
		e.Timeline = append(e.Timeline, newMoment(s))
		if !s.ok {
			from = i + 1
		} else if i < len(x.past.Events) {
			x.past.Events[i].Event = &s.event
		}
	}
	if shown, total := int64(len(x.alert.Evidence.Events)), x.alert.Evidence.Total; total > shown {
		e.note("the evidence is %d events; the alert names the newest %d of them", total, shown)
	}
	if from == len(x.slots) {
		e.note("nothing could be played: the event that completed the alert is not there; this is what the alert carries")
		return e, nil
	}
	engine, err := x.engine(e)
	if err != nil {
		e.note("nothing could be played: %v", err)
		return e, nil
	}
	limits := x.settings.pastLimits()
	limits.MaxLateness = 0
	o := x.settings.stateOptions(limits)
	o.Dir, o.FS, o.NoHorizon = "explain", vfs.NewMem(), true
	store, err := state.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	shard, err := store.Shard(0)
	if err != nil {
		return nil, err
	}
	tx := shard.Begin()
	defer func() { tx.Discard() }()
	x.past.From, x.past.Event = from, &x.slots[len(x.slots)-1].event
	if !x.resume(e, engine, tx) {
		tx.Discard()
		tx = shard.Begin()
	}
	for i := x.past.From; i < len(x.slots); i++ {
		x.evaluate(e.Timeline[i], &x.slots[i].event, engine, tx)
	}
	x.compare(e)
	return e, tx.Err()
}

// resume fills tx with the rule's memory from before the first event that is played, as far
// as the alert tells, and notes how the play begins; false: it begins with nothing.
func (x *explainer) resume(e *explanation, engine *rules.Engine, tx *state.Tx) bool {
	p, total, named := x.past, x.alert.Evidence.Total, len(x.alert.Evidence.Events)
	ok, err := engine.Resume(x.match(), p, tx)
	for i := range p.Events {
		e.Timeline[i].Known = p.Events[i].Known
	}
	e.Notes = append(e.Notes, p.Notes...)
	if err != nil {
		e.note("what the rule remembered before cannot be taken from the alert: %v; the play begins with nothing", err)
		return false
	}
	if !ok && (named == 0 || p.From > 0 || total > int64(named)) {
		e.note("what the rule remembered before the first event that is played is not known; the play begins with nothing")
	}
	return ok
}

// match returns the rule and the key of the alert.
func (x *explainer) match() rules.Match { return rules.Match{Rule: x.alert.RuleID, Key: x.alert.Key} }

func (e *explanation) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

func newMoment(s *slot) *moment {
	m := &moment{EventID: s.EventID, EventTime: s.EventTime, position: s.position, From: "nowhere", Missing: s.missing}
	if s.ok {
		m.From = "input"
		m.Event = &shownEvent{Name: s.event.Name, Source: s.event.Source, Principal: s.event.Principal(), SourceIP: s.event.SourceIP, ErrorCode: s.event.ErrorCode}
	}
	if s.carried {
		m.From = "alert"
	}
	return m
}

// engine returns the alert's rule with the parameters that the alert names, and notes where
// the configuration differs now. Parameters that alerts do not show are those of the
// configuration. Suppression is off: it depends on alerts before this one.
func (x *explainer) engine(e *explanation) (*rules.Engine, error) {
	for _, k := range x.settings.known {
		if k.spec.ID != x.alert.RuleID {
			continue
		}
		now := rules.Parameters(k.rule)
		if len(x.alert.Parameters) > 0 {
			node, err := config.ParseYAML("parameters", configured(x.alert.Parameters))
			if err == nil {
				err = config.DecodeParams("parameters", node, k.rule)
			}
			if err != nil {
				return nil, fmt.Errorf("rule %s of this build does not take the alert's parameters: %w", k.spec.ID, err)
			}
		}
		for i, then := range rules.Parameters(k.rule) {
			if then.Default != now[i].Default {
				e.note("%s was %s when the alert was made; the configuration says %s now", then.Name, then.Default, now[i].Default)
			}
		}
		if !x.settings.Rules[k.spec.ID] {
			e.note("rule %s is off in the configuration now", k.spec.ID)
		}
		limits := rules.Limits{DuplicatesWithin: x.settings.Events.DuplicatesWithin, MaxSetMembers: x.settings.Limits.MaxSetMembers, MaxAlertBytes: int(x.settings.Limits.MaxAlertBytes)}
		return rules.NewEngine([]rules.Active{{Rule: k.rule, Options: rules.DefaultOptions()}}, limits)
	}
	return nil, fmt.Errorf("this build has no rule %s", x.alert.RuleID)
}

// evaluate plays one event under the alert's key, as the owner of the shard did: the event
// had been matched to the rule and the key before.
func (x *explainer) evaluate(m *moment, ev *rules.Event, engine *rules.Engine, tx *state.Tx) {
	m.Before = x.values(tx, ev.Time)
	out := engine.Evaluate(ev, []rules.Match{x.match()}, tx)
	for _, v := range out.Verdicts {
		if m.Verdict = v.Kind; v.Kind == rules.VerdictDuplicate {
			m.Detail = "the eventID was evaluated before, and counts once"
		}
	}
	for _, r := range out.Rejected {
		m.Detail = fmt.Sprintf("%s: %s", r.Reason, r.Detail)
	}
	for i := range out.Alerts {
		m.Alert = bytes.Clone(out.Alerts[i].Payload)
	}
	m.After = x.values(tx, ev.Time)
}

// shownMembers bounds how many members of a set are shown.
const shownMembers = 100

// values lists the values that an event of this time finds.
func (x *explainer) values(tx *state.Tx, at time.Time) []shownValue {
	list := []shownValue{}
	for _, v := range tx.ValuesAt(x.alert.RuleID, x.alert.Key, at) {
		s := shownValue{Kind: v.Kind, Name: v.Name, Count: v.Count, Expiry: v.Expiry, Members: tx.MembersOf(v, shownMembers)}
		if !v.First.IsZero() {
			s.First = &v.First
		}
		list = append(list, s)
	}
	return list
}

// compare says whether the play of the last event led to the alert.
func (x *explainer) compare(e *explanation) {
	last := e.Timeline[len(e.Timeline)-1]
	if last.Alert == nil {
		e.Result = playedNone
		return
	}
	var got carriedAlert
	if err := json.Unmarshal(last.Alert, &got); err != nil {
		e.note("the alert of the play cannot be read: %v", err)
	}
	e.Result = playedDiffers
	switch {
	case got.ID != x.alert.ID:
		e.note("the play comes to alert %s: the alert was made by another build, or of an event at another position", got.ID)
	case got.Title != x.alert.Title || !bytes.Equal(compact(got.Context), compact(x.alert.Context)):
		e.note("the play comes to this alert with another title or context: %s, %s", got.Title, got.Context)
	default:
		e.Result = playedSame
	}
}

func compact(text json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}
