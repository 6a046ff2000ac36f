package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules"
	"trailhound/state"
)

// play evaluates the events behind the last missing one, one by one. The rule's memory from
// before them comes from the alert, as far as the alert tells.
func (x *Explainer) play(e *Explanation) (err error) {
	steps, past := e.Timeline, x.Alert.past
	from := 0
	for i, s := range steps {
		if s.From == Nowhere {
			from = i + 1
		} else if i < len(past.Events) {
			past.Events[i].Event = &s.event
		}
	}
	if shown, total := int64(len(x.Alert.Evidence.Events)), x.Alert.Evidence.Total; total > shown {
		e.note("the evidence is %d events; the alert names the newest %d of them", total, shown)
	}
	if from == len(steps) {
		e.note("nothing could be played: the event that completed the alert is not there; this is what the alert carries")
		return nil
	}
	engine, err := x.engine(e)
	if err != nil {
		e.note("nothing could be played: %v", err)
		return nil
	}
	o := x.State
	o.Dir, o.FS, o.NoHorizon = "explain", vfs.NewMem(), true
	store, err := state.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	shard, err := store.Shard(0)
	if err != nil {
		return err
	}
	tx := shard.Begin()
	defer func() { tx.Discard() }()
	past.From, past.Event = from, &steps[len(steps)-1].event
	if !x.resume(e, engine, tx) {
		tx.Discard()
		tx = shard.Begin()
	}
	for _, s := range steps[past.From:] {
		x.evaluate(s, engine, tx)
	}
	x.compare(e)
	return tx.Err()
}

// engine returns the alert's rule with the parameters that the alert names, and notes where
// the configuration differs now. Suppression is off: it depends on alerts before this one.
func (x *Explainer) engine(e *Explanation) (*rules.Engine, error) {
	if x.Rule == nil {
		return nil, fmt.Errorf("this build has no rule %s", x.Alert.RuleID)
	}
	now := rules.Parameters(x.Rule)
	if len(x.Alert.Parameters) > 0 {
		if err := x.Decode(configured(x.Alert.Parameters), x.Rule); err != nil {
			return nil, fmt.Errorf("rule %s of this build does not take the alert's parameters: %w", x.Alert.RuleID, err)
		}
	}
	for i, then := range rules.Parameters(x.Rule) {
		if then.Default != now[i].Default {
			e.note("%s was %s when the alert was made; the configuration says %s now", then.Name, then.Default, now[i].Default)
		}
	}
	if x.Off {
		e.note("rule %s is off in the configuration now", x.Alert.RuleID)
	}
	return rules.NewEngine([]rules.Active{{Rule: x.Rule, Options: rules.DefaultOptions()}}, x.Limits)
}

// configured returns an alert's parameters in the form of the configuration: without the
// seconds that alerts give beside each duration. A value that is no object is left to
// Decode to refuse.
func configured(parameters json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(parameters, &all) != nil {
		return parameters
	}
	for name := range all {
		if of, ok := strings.CutSuffix(name, "_seconds"); ok && all[of] != nil {
			delete(all, name)
		}
	}
	left, err := json.Marshal(all)
	if err != nil {
		return parameters
	}
	return left
}

// resume fills tx with the rule's memory from before the first event that is played, as far
// as the alert tells, and notes how the play begins; false: it begins with nothing.
func (x *Explainer) resume(e *Explanation, engine *rules.Engine, tx *state.Tx) bool {
	p, total, named := x.Alert.past, x.Alert.Evidence.Total, len(x.Alert.Evidence.Events)
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
func (x *Explainer) match() rules.Match { return rules.Match{Rule: x.Alert.RuleID, Key: x.Alert.Key} }

func (e *Explanation) note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// evaluate plays one event under the alert's key, as the owner of the shard did: the event
// had been matched to the rule and the key before.
func (x *Explainer) evaluate(s *Step, engine *rules.Engine, tx *state.Tx) {
	s.Before = x.values(tx, s.event.Time)
	out := engine.Evaluate(&s.event, []rules.Match{x.match()}, tx)
	for _, v := range out.Verdicts {
		if s.Verdict = v.Kind; v.Kind == rules.VerdictDuplicate {
			s.Detail = "the eventID was evaluated before, and counts once"
		}
	}
	for _, r := range out.Rejected {
		s.Detail = fmt.Sprintf("%s: %s", r.Reason, r.Detail)
	}
	for i := range out.Alerts {
		s.Alert = bytes.Clone(out.Alerts[i].Payload)
	}
	s.After = x.values(tx, s.event.Time)
}

// shownMembers bounds how many members of a set are shown.
const shownMembers = 100

// values lists the values that an event of this time finds.
func (x *Explainer) values(tx *state.Tx, at time.Time) []Value {
	list := []Value{}
	for _, v := range tx.ValuesAt(x.Alert.RuleID, x.Alert.Key, at) {
		s := Value{Kind: v.Kind, Name: v.Name, Count: v.Count, Expiry: v.Expiry, Members: tx.MembersOf(v, shownMembers)}
		if !v.First.IsZero() {
			s.First = &v.First
		}
		list = append(list, s)
	}
	return list
}

// compare says whether the play of the last event led to the alert.
func (x *Explainer) compare(e *Explanation) {
	last := e.Timeline[len(e.Timeline)-1]
	if last.Alert == nil {
		e.Result = None
		return
	}
	var got Alert
	if err := json.Unmarshal(last.Alert, &got); err != nil {
		e.note("the alert of the play cannot be read: %v", err)
	}
	e.Result = Differs
	switch {
	case got.ID != x.Alert.ID:
		e.note("the play comes to alert %s: the alert was made by another build, or of an event at another position", got.ID)
	case got.Title != x.Alert.Title || !bytes.Equal(Compact(got.Context), Compact(x.Alert.Context)):
		e.note("the play comes to this alert with another title or context: %s, %s", got.Title, got.Context)
	default:
		e.Result = Same
	}
}

// Compact returns a JSON text without its blanks, or as it is if it is none.
func Compact(text json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}
