package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The oracle implements the product's documentation a second time, in maps and loops, for
// the workload's events. It shares no code with the product. Left out, because the workload
// has none of them: values that expire (90 days of event time), eventIDs that are forgotten
// (24 h), suppression, and alerts too large for their topic.

// oracleSettings are the settings of the product that decide about answers. A zero field is the product's default.
type oracleSettings struct {
	Threshold   int           // rules.access_denied.threshold
	Window      time.Duration // rules.access_denied.window
	Remember    bool          // rules.assume_role_unique_ip.remember
	MaxLateness time.Duration // events.max_lateness
	MaxAhead    time.Duration // events.max_ahead
}

func (s oracleSettings) orDefaults() oracleSettings {
	s.Threshold = cmp.Or(s.Threshold, 10)
	s.Window = cmp.Or(s.Window, time.Hour)
	s.MaxLateness = cmp.Or(s.MaxLateness, 7*24*time.Hour)
	s.MaxAhead = cmp.Or(s.MaxAhead, time.Hour)
	return s
}

const (
	mostKeyBytes = 2048
	mostIDBytes  = 512
	mostEvidence = 100

	ruleDenied = "access_denied"
	ruleAssume = "assume_role_unique_ip"
)

// place is where an event stands in the input.
type place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Index     int    `json:"index"`
}

// alertBody is the value of an alert's record. Times are compared as they are written.
type alertBody struct {
	Schema     string          `json:"schema"`
	ID         string          `json:"id"`
	Rule       string          `json:"rule_id"`
	Severity   string          `json:"severity"`
	Title      string          `json:"title"`
	Key        string          `json:"key"`
	Dedup      string          `json:"dedup"`
	Suppressed int             `json:"suppressed"`
	EventID    string          `json:"event_id"`
	EventTime  string          `json:"event_time"`
	Principal  string          `json:"principal"`
	IP         string          `json:"source_ip"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Name       string          `json:"event_name"`
	Service    string          `json:"event_source"`
	ErrorCode  string          `json:"error_code"`
	Agent      string          `json:"user_agent"`
	AccessKey  string          `json:"access_key_id"`
	Techniques []string        `json:"techniques"`
	Parameters map[string]any  `json:"parameters"`
	Context    map[string]any  `json:"context"`
	Evidence   evidence        `json:"evidence"`
	Source     place           `json:"source"`
	Event      json.RawMessage `json:"event"` // byte for byte, without white space
	Omitted    string          `json:"event_omitted,omitempty"`
}

type evidence struct {
	Total  int       `json:"total"`
	Events []counted `json:"events"`
}

// counted is one event that a window has counted.
type counted struct {
	ID   string `json:"event_id"`
	Time string `json:"event_time"`
	place
}

// compare orders events by time, then by place.
func (c counted) compare(d counted) int {
	at, _ := time.Parse(time.RFC3339, c.Time) // written by the oracle
	other, _ := time.Parse(time.RFC3339, d.Time)
	return cmp.Or(at.Compare(other), cmp.Compare(c.Partition, d.Partition), cmp.Compare(c.Offset, d.Offset), cmp.Compare(c.Index, d.Index))
}

// letter is a dead letter without its detail, a sentence for people.
type letter struct {
	Stage, Reason, Rule string
	place               // Index is -1 for a record as a whole
	Timestamp           int64
	Errors              string // of a record with several: the JSON that lists them
	Key, Value          [sha256.Size]byte
}

// oracle is the state of one input partition. Partitions share nothing, as the workload's
// keys do not.
type oracle struct {
	oracleSettings
	events       int // good ones so far
	seen, before map[string]bool
	newest       map[string]time.Time        // by rule and key: a lower bound of the partition's newest event
	windows      map[string]*windows         // by principal
	uses         map[string]map[counted]bool // successful calls by role: an alert may name those from known addresses
	addresses    map[string]map[string]bool  // known ones by role
}

// rememberedEvents is how many eventIDs are remembered, at least: duplicates come within
// far fewer.
const rememberedEvents = 50_000

func newOracle(s oracleSettings) *oracle {
	return &oracle{
		oracleSettings: s.orDefaults(), seen: make(map[string]bool), uses: make(map[string]map[counted]bool), newest: make(map[string]time.Time),
		windows: make(map[string]*windows), addresses: make(map[string]map[string]bool),
	}
}

// trailEvent is an event, and where it stands.
type trailEvent struct {
	*thing
	at   time.Time
	from place
	raw  json.RawMessage
}

// record returns the alerts and dead letters due for a record. Records of a partition come
// in the order of their offsets.
func (o *oracle) record(rec *kgo.Record) (alerts []alertBody, letters []letter) {
	parts := unwrap(rec.Value)
	var bad []badPart
	for i := range parts {
		p := &parts[i]
		if p.bad == "" {
			a, l := o.part(rec, i, p)
			alerts, letters = append(alerts, a...), append(letters, l...)
		}
		if p.bad != "" {
			bad = append(bad, badPart{Index: i, Reason: p.bad})
		}
	}
	if len(bad) == 0 {
		return alerts, letters
	}
	if len(parts) == 1 && parts[0].event == nil {
		bad[0].Index = -1 // the record as a whole
	}
	l := letter{
		Stage: "router", Reason: bad[0].Reason, place: place{rec.Topic, rec.Partition, rec.Offset, bad[0].Index},
		Timestamp: rec.Timestamp.UnixMilli(), Key: sha256.Sum256(rec.Key), Value: sha256.Sum256(rec.Value),
	}
	if len(bad) > 1 {
		l.Errors = string(mustJSON(bad))
	}
	return alerts, append(letters, l)
}

type badPart struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

// part evaluates one event of a record, or gives in p the reason why it cannot.
func (o *oracle) part(rec *kgo.Record, index int, p *part) (alerts []alertBody, letters []letter) {
	if p.event.Time == "" {
		p.bad = "no_event_time"
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, p.event.Time)
	if err != nil {
		p.bad = "bad_event_time"
		return nil, nil
	}
	o.events++
	e := &trailEvent{p.event, at, place{rec.Topic, rec.Partition, rec.Offset, index}, p.raw}
	if at.Sub(rec.Timestamp) > o.MaxAhead { // the router refuses it, before it moves any time
		if len(e.keys()) > 0 {
			p.bad = "too_far_ahead"
		}
		return nil, nil
	}
	return o.evaluate(e, rec.Timestamp)
}

// evaluate applies both rules to an event.
func (o *oracle) evaluate(e *trailEvent, recordTime time.Time) (alerts []alertBody, letters []letter) {
	reject := func(reason, rule string) {
		letters = append(letters, letter{
			Stage: "detector", Reason: reason, Rule: rule, place: e.from,
			Timestamp: recordTime.UnixMilli(), Key: sha256.Sum256(nil), Value: sha256.Sum256(e.raw),
		})
	}
	keys := e.keys()
	for _, rule := range slices.Sorted(maps.Keys(keys)) {
		key := keys[rule]
		scope := rule + " " + key
		if o.newest[scope].Sub(e.at) > o.MaxLateness { // the shard has seen at least this one, of this partition
			reject("too_late", "")
			break
		}
		if e.at.After(o.newest[scope]) {
			o.newest[scope] = e.at
		}
		id := (&call{thing: e.thing, place: e.from}).identity(rule)
		switch {
		case len(key) > mostKeyBytes:
			reject("key_too_long", rule)
		case rule == ruleDenied && len(e.ID) > mostIDBytes:
			reject("value_too_large", rule) // the id is not remembered
		case e.ID != "" && o.again(scope+" "+id):
		case rule == ruleDenied:
			alerts = append(alerts, o.denied(e, key)...)
		default:
			alerts = append(alerts, o.assumed(e, key)...)
		}
	}
	return alerts, letters
}

// keys returns the rules that the event is for, with the key for each.
func (e *trailEvent) keys() map[string]string {
	keys := make(map[string]string)
	if e.fromAWS() {
		return keys // ignore_aws_services
	}
	if who := e.principal("session"); e.ErrorCode == "AccessDenied" && who != "" {
		keys[ruleDenied] = who
	}
	if e.Name == "AssumeRole" && e.IP != "" && e.Request.Role != "" {
		keys[ruleAssume] = e.Request.Role
	}
	return keys
}

// again tells whether this event was evaluated before, and remembers it.
func (o *oracle) again(event string) bool {
	if o.seen[event] || o.before[event] {
		return true
	}
	if len(o.seen) >= rememberedEvents {
		o.before, o.seen = o.seen, make(map[string]bool)
	}
	o.seen[event] = true
	return false
}

// denied is the rule access_denied.
func (o *oracle) denied(e *trailEvent, who string) []alertBody {
	if o.windows[who] == nil {
		o.windows[who] = new(windows)
	}
	w := o.windows[who].count(counted{e.ID, written(e.at), e.from}, e.at, o.Window, o.Threshold)
	if w == nil {
		return nil
	}
	n := len(w.events)
	slices.SortStableFunc(w.events, counted.compare)
	times := fmt.Sprintf("%d times in %s", n, spoken(w.newest.Sub(w.first)))
	if n == 1 {
		times = "once"
	}
	a := e.alert(ruleDenied, who, "")
	a.Severity, a.Techniques = "medium", []string{"T1580", "T1087"}
	a.Title = fmt.Sprintf("%s was denied %s", who, times)
	a.Parameters = map[string]any{"threshold": float64(o.Threshold), "window": spoken(o.Window), "window_seconds": o.Window.Seconds()}
	a.Context = map[string]any{"count": float64(n), "window_start": written(w.first)}
	a.Evidence = evidence{Total: n, Events: w.events[max(0, n-mostEvidence):]}
	return []alertBody{a}
}

// assumed is the rule assume_role_unique_ip.
func (o *oracle) assumed(e *trailEvent, role string) []alertBody {
	known := o.addresses[role]
	c := &call{thing: e.thing}
	from := c.origin()
	if !c.failed() && (known == nil || known[from] || o.Remember) {
		if o.uses[role] == nil {
			o.uses[role] = make(map[counted]bool)
		}
		o.uses[role][counted{e.ID, written(e.at), e.from}] = true
	}
	switch {
	case known[from]:
		return nil
	case known == nil && !c.failed(): // a failed call makes no address known
		o.addresses[role] = map[string]bool{from: true}
		return nil
	case known == nil:
		return nil
	}
	was := "assumed"
	if c.failed() {
		was = "asked for, but not assumed,"
	}
	shown := []any{}
	for _, ip := range slices.Sorted(maps.Keys(known)) {
		shown = append(shown, ip)
	}
	a := e.alert(ruleAssume, role, ":"+from)
	a.Severity, a.Techniques = "high", []string{"T1078.004"}
	a.Title = fmt.Sprintf("%s was %s from %s, an address never seen for it (%d known)", role[strings.LastIndex(role, ":")+1:], was, from, len(known))
	a.Parameters = map[string]any{"remember": o.Remember}
	a.Context = map[string]any{"source_ip": canonical(e.IP), "known_ips": shown[:min(len(shown), 100)], "known_total": float64(len(known))}
	a.Evidence = evidence{Events: []counted{}}
	if o.Remember && !c.failed() {
		known[from] = true
	}
	return []alertBody{a}
}

// alert begins an alert with the members that all rules have in common.
func (e *trailEvent) alert(rule, key, more string) alertBody {
	var event bytes.Buffer
	if err := json.Compact(&event, e.raw); err != nil {
		panic("oracle: an event that is no JSON: " + err.Error())
	}
	return alertBody{
		Schema: "trailhound.alert.v1", ID: alertID(rule, key, e), Rule: rule, Key: key, Dedup: rule + ":" + key + more,
		EventID: e.ID, EventTime: written(e.at), Principal: e.principal("session"), IP: e.IP, Account: e.Account, Region: e.Region,
		Name: e.Name, Service: e.Source, ErrorCode: e.ErrorCode, Agent: e.Agent, AccessKey: e.Identity.AccessKey,
		Source: e.from, Event: event.Bytes(),
	}
}

var alertSpace = uuid.MustParse("5e0b3c1a-8f4d-4b62-9c57-2e91d670a413")

// alertID is the id of an alert: the UUID (version 5) of rule, key and eventID, or place if
// the event has no id.
func alertID(rule, key string, e *trailEvent) string {
	event := e.ID
	if event == "" {
		event = fmt.Sprintf("%s\x00%d\x00%d\x00%d", e.from.Topic, e.from.Partition, e.from.Offset, e.from.Index)
	}
	return uuid.NewSHA1(alertSpace, []byte(rule+"\x00"+key+"\x00"+event)).String()
}

// spoken is a duration as alerts have it: 1h, not 1h0m0s.
func spoken(d time.Duration) string {
	s := d.String()
	if rest, ok := strings.CutSuffix(s, "m0s"); ok {
		s = rest + "m"
	}
	if rest, ok := strings.CutSuffix(s, "h0m"); ok {
		s = rest + "h"
	}
	return s
}

func written(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
