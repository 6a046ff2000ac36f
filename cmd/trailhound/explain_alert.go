package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trailhound/rules"
)

// carriedAlert holds the fields of an alert from which explain plays it.
type carriedAlert struct {
	Schema     string          `json:"schema"`
	ID         string          `json:"id"`
	RuleID     string          `json:"rule_id"`
	Severity   string          `json:"severity"`
	Title      string          `json:"title"`
	Key        string          `json:"key"`
	EventID    string          `json:"event_id"`
	EventTime  time.Time       `json:"event_time"`
	Suppressed int64           `json:"suppressed"`
	Parameters json.RawMessage `json:"parameters"`
	Context    json.RawMessage `json:"context"`
	Evidence   struct {
		Total  int64        `json:"total"`
		Events []carriedRef `json:"events"`
	} `json:"evidence"`
	Source position        `json:"source"`
	Event  json.RawMessage `json:"event"` // absent where the alert would have been too large

	payload json.RawMessage
}

// carriedRef is an event of the evidence.
type carriedRef struct {
	EventID   string    `json:"event_id"`
	EventTime time.Time `json:"event_time"`
	position
}

// position is the place of an event, as alerts write it. The topic of an alert of detect is
// a file.
type position struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Index     int32  `json:"index"`
}

func (p position) String() string {
	return fmt.Sprintf("%s partition %d offset %d event %d", brief(p.Topic), p.Partition, p.Offset, p.Index)
}

// maxEvidence is more events than any alert has.
const maxEvidence = 10_000

func readAlert(payload []byte) (*carriedAlert, error) {
	var placed struct { // as alerts --with-record prints it
		Schema string          `json:"schema"`
		Alert  json.RawMessage `json:"alert"`
	}
	if json.Unmarshal(payload, &placed) == nil && placed.Schema == "" && len(placed.Alert) > 0 {
		payload = placed.Alert
	}
	al := &carriedAlert{payload: payload}
	err := json.Unmarshal(payload, al)
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

// places gives the slots of the time-line: the evidence in the order of its times, then the
// event that completed the alert, even if it came late and stands earlier in the evidence.
func (al *carriedAlert) places(past *rules.Past) []*slot {
	slots := make([]*slot, 0, len(past.Events)+1)
	for _, e := range past.Events {
		at := e.Ref.Source
		slots = append(slots, &slot{carriedRef: carriedRef{EventID: e.Ref.ID, EventTime: e.Ref.Time, position: position{at.Topic, at.Partition, at.Offset, at.Index}}})
	}
	return append(slots, &slot{carriedRef: carriedRef{EventID: al.EventID, EventTime: al.EventTime, position: al.Source}})
}
