// Package explain plays the events of an alert again, to show how it came about: the state
// that the rule found at each event and the state that it left.
//
// [ReadAlert] reads an alert, an [Explainer] looks up its events in the input and plays
// them, and an [Explanation] has the time-line, a [Step] for each event, and the outcome.
//
// Its one guarantee: an event is played only if it is the event of the alert, by its id and
// time; the place of any other, or of none, is named as missing.
package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Explainer explains one alert.
type Explainer struct {
	Alert   *Alert
	Decoder cloudtrail.Decoder
	Limits  rules.Limits  // the engine's
	State   state.Options // bounds of the state, which is in memory

	// Rule is the alert's, with the parameters of the configuration; nil: there is none.
	// Parameters that alerts do not show are these. Off: it is off in the configuration.
	Rule rules.Rule
	Off  bool
	// Decode sets the parameters of a rule. They are in the form of the configuration.
	Decode func(parameters json.RawMessage, rule rules.Rule) error

	// Read looks up the events of steps, all of one partition or one file, in ascending
	// order of their offsets. It gives take the record at each offset, and its timestamp,
	// or sets Missing.
	Read func(ctx context.Context, steps []*Step, take func(s *Step, record []byte, timestamp time.Time)) error
}

// Explanation is how an alert came about.
type Explanation struct {
	Alert    json.RawMessage `json:"alert"`
	Timeline []*Step         `json:"timeline"`
	Result   Result          `json:"result"`
	Notes    []string        `json:"notes"` // caveats for a reader of the time-line
}

// Result is the outcome of a play.
type Result string

// The outcomes of a play: the same alert, another one, none, or no play at all.
const (
	Same      Result = "same"
	Differs   Result = "differs"
	None      Result = "none"
	NotPlayed Result = "not_played"
)

// Step is one event of the time-line.
type Step struct {
	EventID   string    `json:"event_id"`
	EventTime time.Time `json:"event_time"`
	rules.Position
	From    Origin            `json:"from"`
	Known   string            `json:"known,omitempty"`   // address learned from this event, which is not played
	Missing string            `json:"missing,omitempty"` // why the input does not hold the event
	Event   *Event            `json:"event,omitempty"`
	Before  []Value           `json:"before,omitempty"`
	After   []Value           `json:"after,omitempty"`
	Verdict rules.VerdictKind `json:"verdict,omitempty"` // absent: it was not played
	Detail  string            `json:"detail,omitempty"`  // of a rejection or a duplicate
	Alert   json.RawMessage   `json:"alert,omitempty"`   // completed by this event in the play

	event rules.Event
}

// Origin is the place from which the event of a step was taken.
type Origin string

// The origins of events.
const (
	FromInput Origin = "input"
	FromAlert Origin = "alert" // which carries the event that completed it
	Nowhere   Origin = "nowhere"
)

// Event holds the fields of an event that people see.
type Event struct {
	Name      string `json:"name"`
	Source    string `json:"source"`
	Principal string `json:"principal"`
	SourceIP  string `json:"source_ip"`
	ErrorCode string `json:"error_code,omitempty"`
}

// Value is a value of the rule and key at the time of an event.
type Value struct {
	Kind    state.ValueKind `json:"kind"`
	Name    string          `json:"name"`
	Count   int64           `json:"count"`
	Members []string        `json:"members,omitempty"` // of a set, the first ones
	First   *time.Time      `json:"first,omitempty"`
	Expiry  time.Time       `json:"expiry"`
}

// Explain looks up the events of the alert, and plays them.
func (x *Explainer) Explain(ctx context.Context) (*Explanation, error) {
	e := &Explanation{Alert: x.Alert.Payload, Timeline: x.Alert.timeline(), Result: NotPlayed, Notes: []string{}}
	if err := x.gather(ctx, e.Timeline); err != nil {
		return nil, err
	}
	return e, x.play(e)
}

// gather looks up the events of the steps, a partition or a file at a time. A step whose
// event is not found says why.
func (x *Explainer) gather(ctx context.Context, steps []*Step) error {
	logs := map[rules.Position][]*Step{}
	for _, s := range steps {
		of := rules.Position{Topic: s.Topic, Partition: s.Partition}
		logs[of] = append(logs[of], s)
	}
	for _, steps := range logs {
		slices.SortFunc(steps, func(a, b *Step) int { return cmp.Compare(a.Offset, b.Offset) })
		err := x.Read(ctx, steps, func(s *Step, record []byte, timestamp time.Time) {
			if x.take(s, record, s.Index, timestamp) {
				s.From, s.Missing = FromInput, ""
			}
		})
		if err != nil {
			return err
		}
	}
	if last := steps[len(steps)-1]; last.From == Nowhere && len(x.Alert.Event) > 0 {
		why := last.Missing
		if x.take(last, x.Alert.Event, 0, time.Time{}) {
			last.From = FromAlert
		}
		last.Missing = why
	}
	return nil
}

// shownID bounds how many bytes of the id of another event are shown.
const shownID = 512

// take puts the event of this index in a record into the step, if it is the event of the
// alert: a topic that was made again may hold another event at its position.
func (x *Explainer) take(s *Step, record []byte, index int32, timestamp time.Time) (taken bool) {
	s.Missing = "the record at its position does not hold it any more: the topic or the file was made again"
	x.Decoder.Decode(record, func(ev *rules.Event, err error) bool {
		if err != nil || ev.At.Index < index {
			return true
		}
		if ev.At.Index > index {
			return false
		}
		if ev.ID != s.EventID || !ev.Time.Equal(s.EventTime) {
			s.Missing = fmt.Sprintf("at its position there is another event now (%q of %s): the topic or the file was made again", cloudtrail.Clip(ev.ID, shownID), ev.Time.UTC().Format(time.RFC3339))
			return false
		}
		ev.At = s.Source()
		ev.RecordTime = timestamp
		s.event, _ = ev.Copy(nil)
		s.Event = &Event{Name: s.event.Name, Source: s.event.Source, Principal: s.event.Principal(), SourceIP: s.event.SourceIP, ErrorCode: s.event.ErrorCode}
		taken = true
		return false
	})
	return taken
}
