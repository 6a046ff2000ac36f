package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trailhound/config/duration"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Event is the event that rules look at.
type Event = cloudtrail.Event

// A Rule looks for one kind of behaviour in events.
//
// A rule is a pointer to a struct that has its parameters as fields (see [Spec]). It keeps
// nothing else: one value is used by many goroutines at once, and state between events is
// kept in the [state.Scope] that Evaluate is given. It reads no clock: time is the event's
// own.
//
// A rule may also have
//
//	Validate() error                 // says in a sentence, which begins with the parameter's name, the fault and the values allowed
//	ValidateLimits(l Limits) error   // the same of a parameter for which a limit is too small, and the way out
//	Unkeyed(e *Event) bool           // asked when Key is "": is e an event that the rule looks for, with nothing to key it by?
//	EventID(e *Event) string         // the id by which duplicates are known, of events with one key; without it, Event.Identifier
//	Resume(p *Past, at func(state.Ref) *state.Scope) error // brings the state from before an alert back, for trailhound explain
//
// Resume writes the state before an alert into scopes: at returns the scope of an event, valid
// until the next call of at. An error comes before the first write: the play of the alert then
// begins without state, as it does for a rule without the method.
//
// An unkeyed event is not evaluated, but counted, so that "could not look" is not mistaken
// for "found nothing".
type Rule interface {
	// Info describes the rule. It is the same at every call.
	Info() Info
	// Key is the rule's filter and its grouping: "" means that the event is
	// not for this rule; events with the same key share state and are
	// evaluated in order of arrival. The key may alias the event's strings.
	Key(e *Event) string
	// Evaluate looks at one event with the state of its key. It returns nil when there is
	// nothing to report. Its writes to the scope are kept either way, unless it panics or
	// meets a limit.
	Evaluate(e *Event, s *state.Scope) *Finding
}

type validator interface{ Validate() error }

type limitValidator interface{ ValidateLimits(l Limits) error }

type unkeyer interface{ Unkeyed(e *Event) bool }

type identifier interface{ EventID(e *Event) string }

type resumer interface {
	Resume(p *Past, at func(state.Ref) *state.Scope) error
}

// Info describes a rule to people and to the programs that read its alerts.
type Info struct {
	ID          string   // a-z, 0-9 and _; unique; stays the same for ever, because state is stored under it
	Title       string   // one line
	Description string   // a few sentences: the events that make it fire, and those that do not
	Severity    Severity // how urgent an alert is
	GroupedBy   string   // the kind of the keys, in a few words, such as "principal"; "": not said
	Techniques  []string // MITRE ATT&CK technique IDs, such as T1078.004; see https://attack.mitre.org/techniques/
}

// Severity says how urgent an alert is.
type Severity string

// The severities, from the least urgent.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

func (s Severity) known() bool {
	switch s {
	case SeverityInfo, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical:
		return true
	}
	return false
}

// A Finding is the report of a rule about an event. The engine makes an [Alert] of it and
// adds the parts that it knows itself: event, evidence, parameters.
type Finding struct {
	// Title is one line for people. The engine makes control characters
	// visible and cuts it at 1 KiB; put values from the event through [Clip]
	// so that a long one cannot push the rest of the sentence out. "" stands
	// for the rule's own title.
	Title string
	// Dedup narrows the alert's dedup string, which is rule:key, to
	// rule:key:Dedup. "" leaves it as it is.
	Dedup string
	// Context is shown in the alert, in this order.
	Context Context
}

// Context is an ordered list of named values.
type Context []Detail

// Detail is one named value. Value is a string, bool, int, int64, time.Time
// (shown in RFC 3339), time.Duration (shown as 1h30m, and as a number in NAME_seconds)
// or []string; any other is shown as the text that fmt.Sprint makes of it.
type Detail struct {
	Name  string
	Value any
}

// Options are the parameters that every rule has; the engine applies them.
type Options struct {
	// Suppress is a span of event time in which a dedup string gets one alert;
	// the next alert says how many were held back. 0: every alert is sent.
	Suppress time.Duration `param:"suppress" help:"send one alert per dedup string in this span of event time; 0 sends all"`
	// IgnoreAWSServices leaves out calls that AWS made by itself. Calls of a user or role
	// through a service are evaluated.
	IgnoreAWSServices bool `param:"ignore_aws_services" help:"skip what AWS services do by themselves; what a user or role does through one is evaluated"`
}

// DefaultOptions are the options of a rule for which the configuration says nothing.
func DefaultOptions() Options { return Options{IgnoreAWSServices: true} }

// Validate refuses options out of their bounds.
func (o Options) Validate() error {
	if o.Suppress < 0 {
		return fmt.Errorf("suppress is %s; it must be 0 (send every alert) or longer", duration.Format(o.Suppress))
	}
	return nil
}

// Active is a rule that is on, with its options.
type Active struct {
	Rule    Rule
	Options Options
}

// Limits bound the events that the engine accepts, and its state and alerts. A zero field,
// unless it says otherwise: no limit.
type Limits struct {
	// DuplicatesWithin is how long, in event time, an eventID is remembered
	// for a rule and key, from the later of its own time and the newest of its shard
	// on: an event already evaluated is not evaluated again.
	DuplicatesWithin time.Duration
	// MaxLateness is how far an event may lie behind the newest event of its own input
	// partition. A later one is rejected: the state that it would need may have been swept.
	MaxLateness time.Duration
	// MaxAhead is how far an event may lie ahead of the timestamp of its Kafka record
	// and of the clock; see [Engine.Ahead].
	MaxAhead time.Duration
	// MaxSetMembers is that of the state the engine works on (state.Options), for rules
	// with parameters that ask for room in it. 0: state.DefaultMaxSetMembers.
	MaxSetMembers int
	// MaxAlertBytes bounds the payload and the dedup string of an alert together, because
	// both travel in one Kafka record. The headers and Kafka's own framing come on top;
	// leave 1 KiB for them. [Alert] says how an alert that would be larger is cut.
	MaxAlertBytes int
}

// setMembers is the limit of members in force.
func (l Limits) setMembers() int64 {
	if l.MaxSetMembers == 0 {
		return state.DefaultMaxSetMembers
	}
	return int64(l.MaxSetMembers)
}

func (l Limits) validate() error {
	if l.DuplicatesWithin < 0 || l.MaxLateness < 0 || l.MaxAhead < 0 || l.MaxSetMembers < 0 || l.MaxAlertBytes < 0 {
		return errors.New("a limit is negative; it must be 0 (no limit) or more")
	}
	return nil
}

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
