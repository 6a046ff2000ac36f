package explain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trailhound/rules"
)

// Alert holds the fields of an alert from which it is played.
type Alert struct {
	Schema     string          `json:"schema"`
	ID         string          `json:"id"`
	RuleID     string          `json:"rule_id"`
	Title      string          `json:"title"`
	Key        string          `json:"key"`
	EventID    string          `json:"event_id"`
	EventTime  time.Time       `json:"event_time"`
	Parameters json.RawMessage `json:"parameters"`
	Context    json.RawMessage `json:"context"`
	Evidence   struct {
		Total  int64 `json:"total"`
		Events []struct {
			EventID string `json:"event_id"`
		} `json:"events"`
	} `json:"evidence"`
	Source rules.Position  `json:"source"`
	Event  json.RawMessage `json:"event"` // absent where the alert would have been too large

	Payload json.RawMessage `json:"-"`

	past *rules.Past
}

// maxEvidence is more events than any alert has.
const maxEvidence = 10_000

// ReadAlert reads the JSON of an alert, also in the form in which trailhound alerts
// --with-record prints it.
func ReadAlert(payload []byte) (*Alert, error) {
	var placed struct {
		Schema string          `json:"schema"`
		Alert  json.RawMessage `json:"alert"`
	}
	if json.Unmarshal(payload, &placed) == nil && placed.Schema == "" && len(placed.Alert) > 0 {
		payload = placed.Alert
	}
	al := &Alert{Payload: payload}
	err := json.Unmarshal(payload, al)
	if err == nil {
		al.past, err = rules.ReadPast(payload)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("what was given is no alert: %s is a JSON %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("what was given is no alert: %w", err)
	}
	switch {
	case al.Schema != rules.AlertSchema:
		return nil, fmt.Errorf("what was given is no alert that this build knows: its schema is %q, not %q", al.Schema, rules.AlertSchema)
	case al.RuleID == "" || al.Key == "" || al.Source.Topic == "":
		return nil, fmt.Errorf("the alert is incomplete: rule_id, key or source is missing")
	case len(al.Evidence.Events) > maxEvidence:
		return nil, fmt.Errorf("the alert lists %d events as evidence, which no build does", len(al.Evidence.Events))
	}
	return al, nil
}

// timeline gives the steps of the time-line: the evidence in the order of its times, then
// the event that completed the alert, even if it came late and stands earlier in the
// evidence.
func (al *Alert) timeline() []*Step {
	steps := make([]*Step, 0, len(al.past.Events)+1)
	for _, e := range al.past.Events {
		at := e.Ref.Source
		steps = append(steps, &Step{EventID: e.Ref.ID, EventTime: e.Ref.Time, Position: rules.Position{Topic: at.Topic, Partition: at.Partition, Offset: at.Offset, Index: at.Index}, From: Nowhere})
	}
	return append(steps, &Step{EventID: al.EventID, EventTime: al.EventTime, Position: al.Source, From: Nowhere})
}

// Is tells whether payload is the JSON of the alert with this id.
func Is(payload []byte, id string) bool {
	var al struct {
		ID string `json:"id"`
	}
	return bytes.Contains(payload, []byte(id)) && json.Unmarshal(payload, &al) == nil && al.ID == id
}

// AlertOf returns the id of the alert in payload that the event with this id completed, or
// is evidence in; "" if it is in none.
func AlertOf(payload []byte, event string) string {
	var al Alert
	if !bytes.Contains(payload, []byte(event)) || json.Unmarshal(payload, &al) != nil {
		return ""
	}
	involved := al.EventID == event
	for _, e := range al.Evidence.Events {
		involved = involved || e.EventID == event
	}
	if !involved {
		return ""
	}
	return al.ID
}
