package rules

import (
	"encoding/json"
	"fmt"
	"time"

	"trailhound/state"
)

// Past is the time before an alert's event, as far as the alert and its evidence tell of
// it. A rule with a method Resume makes state of it again.
type Past struct {
	Context json.RawMessage // the alert's
	Event   *Event          // the alert's, set before Resume
	Events  []PastEvent     // the evidence that the alert names, oldest first, without the alert's event
	Total   int64           // number of events of the evidence
	Unnamed int64           // those of them that the alert does not name: they are older
	Limits  Limits          // the engine's

	// From says that Events[From:] are evaluated again after Resume, and then the alert's
	// event. A rule that resumes from the state right before the alert's event sets it to
	// the number of Events.
	From    int
	Notes   []string // added by the rule: caveats, each a sentence without its full stop
	Partial bool     // set by the rule: the alert does not tell all that the rule remembered
}

// PastEvent is an event of the evidence.
type PastEvent struct {
	Ref   state.Ref
	Event *Event // nil: only the Ref is known
	Known string // set by the rule: a value known by this event, which is not evaluated again
}

// Note adds a caveat.
func (p *Past) Note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// Position is the place of an event in the input, as alerts write it.
type Position struct {
	Topic     string `json:"topic"` // of an alert of trailhound detect: a file
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Index     int32  `json:"index"`
}

// Source returns the position in the form of an event's.
func (p Position) Source() state.Source {
	return state.Source{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset, Index: p.Index}
}

// ReadPast reads the payload of an alert. Only the Refs of its events are in it. From is
// behind all of them.
func ReadPast(payload []byte) (*Past, error) {
	var a struct {
		Context  json.RawMessage `json:"context"`
		Source   Position        `json:"source"`
		Evidence struct {
			Total  int64 `json:"total"`
			Events []struct {
				EventID   string    `json:"event_id"`
				EventTime time.Time `json:"event_time"`
				Position
			} `json:"events"`
		} `json:"evidence"`
	}
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, err
	}
	p := &Past{Context: a.Context, Total: a.Evidence.Total}
	completed := int64(0)
	for _, e := range a.Evidence.Events {
		if e.Position == a.Source {
			completed = 1
			continue
		}
		p.Events = append(p.Events, PastEvent{Ref: state.Ref{ID: e.EventID, Time: e.EventTime, Source: e.Source()}})
	}
	p.From = len(p.Events)
	p.Unnamed = p.Total - int64(p.From) - completed
	return p, nil
}

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
