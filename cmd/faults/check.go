package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The check judges alerts by the events of the input alone, and does not assume an order in
// which they were evaluated. Its demands on an alert hold for every order of arrival:
//
//   - the events named as evidence are distinct, stand in the input where the alert says, match the rule and have its
//     key, lie within one window, and are in no other alert of the rule and key;
//   - title, count and window_start follow from the evidence, the other members from the event that completed it;
//   - an address said to be known was used by a successful call for that role, and the alert's own is not among them.
//
// The alerts that must be there depend on the rule:
//
//   - window_kind sliding: the events that no alert has consumed leave no interval of the window's length with as many
//     as the threshold;
//   - window_kind fixed: denials of a key that all lie within less than a window, and a window or more apart from any
//     others of the key, share one window in every order, and give as many alerts as the threshold fits into them.
//     Longer runs depend on the order. Where it is known, because all denials of the key stand in one partition, the
//     windows are counted through, and the alerts must be exactly those;
//   - assume_role_unique_ip: there is an address that every alert of the role has as known, such that each successful
//     call from another one gave an alert (with remember: each other address).
//
// Events that were dead-lettered need not have an effect. With suppression, an alert may be
// missing within that span of another one with the same deduplication string.

// checkSettings are the parameters that the alerts were made with.
type checkSettings struct {
	Threshold    int
	Window       time.Duration
	Sliding      bool
	DeniedFamily bool
	Principal    string // session, role or user
	Services     bool   // calls by AWS services are evaluated: ignore_aws_services false
	EventNames   []string
	Remember     bool
	Suppress     time.Duration
}

// family are the codes of denied_family.
var family = []string{
	"AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation", "UnauthorizedOperation", "UnauthorizedException", "VpceAccessDenied",
}

// lifetimeOfSets is how long a role's addresses are known without use, less the day by which their renewal may be late.
const lifetimeOfSets = 89 * 24 * time.Hour

// judgement is the result of a check.
type judgement struct {
	Events    int            `json:"events"` // those that a rule looks at, duplicates included
	Copies    int            `json:"duplicates"`
	Alerts    map[string]int `json:"alerts"`
	Untrue    int            `json:"untrue"`
	Missed    int            `json:"missed"`
	Doubled   int            `json:"doubled"`
	TooLate   int            `json:"too_late"`
	Rejected  int            `json:"dead_letters"`
	Unchecked int            `json:"keys_not_checked_for_missed"`
	Examples  []string       `json:"examples,omitempty"`
}

func (v *judgement) passed() bool { return v.Untrue+v.Missed+v.Doubled+v.TooLate == 0 }

// example keeps a sentence that begins with its kind and a colon: some of each kind.
func (v *judgement) example(format string, args ...any) {
	kind, _, _ := strings.Cut(format, ":")
	same := 0
	for _, e := range v.Examples {
		if strings.HasPrefix(e, kind+":") {
			same++
		}
	}
	if same < mostExamples/2 {
		v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
	}
}

// subject is a rule and a key.
type subject struct{ rule, key string }

// check gathers input, alerts and dead letters, in any order, and judges them at the end.
type check struct {
	checkSettings
	calls     map[place]*call
	keyed     map[subject][]*call // in order of reading: by partition and offset
	alerts    map[subject][]*alertBody
	ids       map[string]bool   // of alerts
	spent     map[string]string // identity by subject: the alert that has it as evidence
	completed map[string]string // likewise: the alert that it has led to
	dead      map[place][]string
	judgement
}

func newCheck(s checkSettings) *check {
	s.Threshold = cmp.Or(s.Threshold, 10)
	s.Window = cmp.Or(s.Window, time.Hour)
	s.Principal = cmp.Or(s.Principal, "session")
	if s.EventNames == nil {
		s.EventNames = []string{"AssumeRole"}
	}
	return &check{
		checkSettings: s, calls: make(map[place]*call), keyed: make(map[subject][]*call), alerts: make(map[subject][]*alertBody),
		ids: make(map[string]bool), spent: make(map[string]string), completed: make(map[string]string), dead: make(map[place][]string), judgement: judgement{Alerts: make(map[string]int)},
	}
}

// codes are the error codes of a denial.
func (c *check) codes() []string {
	if c.DeniedFamily {
		return family
	}
	return family[:1]
}

// matters tells by the bytes of a plain record whether a rule may look at an event in it.
func (c *check) matters(value []byte) bool {
	for _, word := range slices.Concat(c.codes(), c.EventNames) {
		if bytes.Contains(value, []byte(word)) {
			return true
		}
	}
	return false
}

// subjects are the rules that look at a call, with the key for each.
func (c *check) subjects(e *call) (all []subject) {
	if !c.Services && e.fromAWS() {
		return nil
	}
	if who := e.principal(c.Principal); who != "" && slices.Contains(c.codes(), e.ErrorCode) {
		all = append(all, subject{ruleDenied, who})
	}
	if role := e.role(); role != "" && e.IP != "" && slices.Contains(c.EventNames, e.Name) {
		all = append(all, subject{ruleAssume, role})
	}
	return all
}

// input takes in a record. Records of a partition come in the order of their offsets.
func (c *check) input(value []byte, at place) {
	for _, e := range readCalls(value, at, c.matters) {
		if all := c.subjects(e); len(all) > 0 {
			c.Events++
			c.calls[e.place] = e
			for _, s := range all {
				c.keyed[s] = append(c.keyed[s], e)
			}
		}
	}
}

// letter takes in a dead letter. One without a rule counts for all rules.
func (c *check) letter(reason, rule string, at place) {
	c.Rejected++
	c.dead[at] = append(c.dead[at], rule)
	if reason == "too_late" {
		c.TooLate++
		c.example("too late: %s", at.text())
	}
}

// alert takes in an alert.
func (c *check) alert(value []byte) {
	a := new(alertBody)
	if err := json.Unmarshal(value, a); err != nil {
		c.Untrue++
		c.example("untrue: an alert that is not readable: %v", err)
		return
	}
	c.Alerts[a.Rule]++
	if c.ids[a.ID] {
		c.Doubled++
		c.example("doubled: alert %s of %s, %s", a.ID, a.Rule, a.Key)
		return
	}
	c.ids[a.ID] = true
	s := subject{a.Rule, a.Key}
	c.alerts[s] = append(c.alerts[s], a)
}

// judge compares the alerts with the events taken in.
func (c *check) judge() *judgement {
	for _, s := range sortedSubjects(c.alerts) {
		for _, a := range c.alerts[s] {
			if faults := c.faults(s, a); len(faults) > 0 {
				c.Untrue++
				c.example("untrue: alert %s of %s, %s: %s", a.ID, a.Rule, a.Key, strings.Join(faults, "; "))
			}
		}
	}
	for _, s := range sortedSubjects(c.keyed) {
		if s.rule == ruleDenied {
			c.missedDenials(s)
		} else {
			c.missedAddresses(s)
		}
	}
	return &c.judgement
}

func sortedSubjects[V any](m map[subject]V) []subject {
	return slices.SortedFunc(maps.Keys(m), func(a, b subject) int {
		return cmp.Or(strings.Compare(a.rule, b.rule), strings.Compare(a.key, b.key))
	})
}

// miss counts n alerts that are due and not there.
func (c *check) miss(s subject, n int, format string, args ...any) {
	c.Missed += n
	c.example("missed: %d of %s, %s: %s", n, s.rule, s.key, fmt.Sprintf(format, args...))
}

// faults are the untrue statements of an alert.
func (c *check) faults(s subject, a *alertBody) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	e := c.calls[a.Source]
	switch {
	case e == nil || !slices.Contains(c.subjects(e), s):
		wrong("at its source, %s, stands no event that the rule looks at under this key", a.Source.text())
		return faults
	case e.ID != a.EventID:
		wrong("the event at its source has the eventID %q, not %q", e.ID, a.EventID)
	case written(e.at) != a.EventTime:
		wrong("event_time is %s, want %s", a.EventTime, written(e.at))
	}
	if c.isDead(e, s.rule) {
		wrong("its event was dead-lettered")
	}
	if scope := s.rule + "\x00" + s.key + "\x00" + e.identity(s.rule); c.completed[scope] != "" {
		c.Doubled++
		c.example("doubled: alerts %s and %s of %s, %s, are of one event, %s", a.ID, c.completed[scope], a.Rule, a.Key, e.identity(s.rule))
	} else {
		c.completed[scope] = a.ID
	}
	var event bytes.Buffer
	if err := json.Compact(&event, e.raw); a.Omitted == "" && (err != nil || !bytes.Equal(bytes.ToValidUTF8(event.Bytes(), []byte("\uFFFD")), a.Event)) {
		wrong("event is not the one in the input")
	}
	if want := alertID(s.rule, s.key, &trailEvent{thing: e.thing, from: e.place}); a.ID != want {
		wrong("id is not %s, which rule, key and event give", want)
	}
	if a.Account != e.Account || a.Region != e.Region {
		wrong("account or region is not that of the event")
	}
	if a.Name != e.Name || a.Service != e.Source || a.ErrorCode != e.ErrorCode || a.Agent != e.Agent || a.AccessKey != e.Identity.AccessKey {
		wrong("event_name, event_source, error_code, user_agent or access_key_id is not that of the event")
	}
	if s.rule == ruleDenied {
		return append(faults, c.deniedFaults(s, a)...)
	}
	return append(faults, c.assumedFaults(s, a, e)...)
}

// isDead tells whether a delivery was dead-lettered, and so had no effect in the rule.
func (c *check) isDead(e *call, rule string) bool {
	for _, r := range c.dead[e.place] {
		if r == "" || r == rule {
			return true
		}
	}
	return false
}

// distinct are the calls of a subject, each by its first delivery that was not dead-lettered.
func (c *check) distinct(s subject) (calls []*call) {
	seen := make(map[string]bool)
	for _, e := range c.keyed[s] {
		switch id := e.identity(s.rule); {
		case len(s.key) > mostKeyBytes || s.rule == ruleDenied && len(id) > mostIDBytes && e.ID != "":
		case c.isDead(e, s.rule):
		case seen[id]:
			c.Copies++
		default:
			seen[id] = true
			calls = append(calls, e)
		}
	}
	return calls
}

// inOnePartition tells whether the order in which the calls were evaluated is known.
func inOnePartition(calls []*call) bool {
	for _, e := range calls {
		if e.Topic != calls[0].Topic || e.Partition != calls[0].Partition {
			return false
		}
	}
	return true
}

// explained tells whether suppression can be why there is no alert with this deduplication string at a time.
func (c *check) explained(s subject, dedup string, from, to time.Time) bool {
	for _, a := range c.alerts[s] {
		at, err := time.Parse(time.RFC3339, a.EventTime)
		if c.Suppress > 0 && err == nil && a.Dedup == dedup && at.After(from.Add(-c.Suppress)) && at.Before(to.Add(c.Suppress)) {
			return true
		}
	}
	return false
}
