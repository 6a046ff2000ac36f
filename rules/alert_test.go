package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

func TestAlertID(t *testing.T) {
	ev := &Event{ID: "e-1", At: state.Source{Topic: "t", Partition: 3, Offset: 42, Index: 1}}
	space := uuid.UUID(alertNamespace)
	if got, want := alertID("r", "k", ev), uuid.NewSHA1(space, []byte("r\x00k\x00e-1")).String(); got != want {
		t.Errorf("alertID(r, k, e-1) = %s; want %s", got, want)
	}
	if got, want := alertID("access_denied", "k", ev), "8433fb4a-a02b-5f59-bd24-766b9c78c746"; got != want {
		t.Errorf("alertID(access_denied, k, e-1) = %s; want %s, as ever", got, want)
	}
	ids := map[string]string{}
	note := func(what string, rule, key string, ev *Event) {
		id := alertID(rule, key, ev)
		if ids[id] != "" {
			t.Errorf("alertID(%s) = %s, as that of %s; want another", what, id, ids[id])
		}
		ids[id] = what
	}
	note("with ID", "r", "k", ev)
	note("other rule", "r2", "k", ev)
	note("other key", "r", "k2", ev)
	for _, at := range []state.Source{{Topic: "t"}, {Topic: "u"}, {Topic: "t", Partition: 1}, {Topic: "t", Offset: 1}, {Topic: "t", Index: 1}, {Topic: "t", Partition: 11}, {Topic: "t", Partition: 1, Offset: 1}} {
		note(fmt.Sprintf("at %+v", at), "r", "k", &Event{At: at})
	}
}

// The position of an event that has an ID must not change its alert's ID:
// detect, replay and a second delivery see it elsewhere.
func TestAlertIDIgnoresPosition(t *testing.T) {
	a := alertID("r", "k", &Event{ID: "e", At: state.Source{Topic: "t", Offset: 1}})
	if b := alertID("r", "k", &Event{ID: "e", At: state.Source{Topic: "file", Offset: 2}}); a != b {
		t.Errorf("alertID = %s and %s for one event at two positions; want the same", a, b)
	}
}

// largeDraft is an alert with an event, evidence of 20 events and a list.
func largeDraft(t *testing.T) *alertDraft {
	t.Helper()
	ev := eventAt("event-19", 19*time.Second)
	ev.Raw = []byte(`{ "eventID": "event-19", "padding": "` + strings.Repeat("x", 500) + `" }`)
	a := &alertDraft{
		rule: mustEngine(t, newProbe("large", never)).rules[0], event: ev, key: "k", dedup: "large:k", counted: 20,
		finding: &Finding{Title: "Large", Context: Context{{"list", []string{"one", "two"}}, {"total", 2}}},
	}
	a.id = alertID("large", a.key, ev)
	for i := range 20 {
		a.refs = append(a.refs, state.Ref{ID: fmt.Sprintf("event-%02d", i), Time: noon.Add(time.Duration(i) * time.Second)})
	}
	return a
}

// left is the rest of a largeDraft in its payload.
type left struct {
	event    bool
	evidence int // of 20
	list     int // of 2
}

// reduce encodes a largeDraft for a payload of at most room bytes.
func reduce(t *testing.T, room int) (payload []byte, l left, ok bool) {
	t.Helper()
	a := largeDraft(t)
	payload, ok = a.encode(nil, room)
	if !ok {
		return payload, left{}, false
	}
	if len(payload) > room {
		t.Fatalf("encode(room %d) = %d bytes; want at most those", room, len(payload))
	}
	checkAlert(t, Alert{ID: a.id, RuleID: "large", Severity: "low", Dedup: a.dedup, Time: a.event.Time, Payload: payload})
	p := decodeAlert(t, payload)
	if p.Evidence.Total != 20 || p.Context["total"] != 2.0 {
		t.Fatalf("encode(room %d) has totals %d and %v; want 20 and 2", room, p.Evidence.Total, p.Context["total"])
	}
	events := p.Evidence.Events
	if len(events) > 0 && events[len(events)-1].EventID != "event-19" {
		t.Fatalf("evidence of encode(room %d) ends with %s; want the newest", room, events[len(events)-1].EventID)
	}
	if omitted := p.EventOmitted == "too_large"; omitted == (p.Event != nil) {
		t.Fatalf("encode(room %d) has an event: %v, event_omitted: %q", room, p.Event != nil, p.EventOmitted)
	}
	return payload, left{p.Event != nil, len(events), len(p.Context["list"].([]any))}, true
}

// For every size the alert is the largest of the documented steps that fits.
func TestAlertReduction(t *testing.T) {
	steps := []left{{true, 20, 2}}
	for n := 20; n >= 0; n-- {
		steps = append(steps, left{false, n, 2})
	}
	steps = append(steps, left{false, 0, 0})

	whole, got, _ := reduce(t, 1<<20)
	for i, want := range steps {
		if got != want {
			t.Fatalf("step %d leaves %+v; want %+v", i, got, want)
		}
		payload, same, ok := reduce(t, len(whole))
		if !ok || same != want || len(payload) != len(whole) {
			t.Fatalf("encode(room %d) = %d bytes, %+v; want %+v, which has just as many", len(whole), len(payload), same, want)
		}
		smaller, next, ok := reduce(t, len(whole)-1)
		if ok != (i+1 < len(steps)) {
			t.Fatalf("encode(room %d) = %d bytes, %v; want true after step %d of %d", len(whole)-1, len(smaller), ok, i, len(steps))
		}
		whole, got = smaller, next
	}
}

// An event cannot hide its own alert by nesting: many JSON readers give up long before Go
// does.
func TestAlertOfADeepEvent(t *testing.T) {
	for depth, want := range map[int]string{mostAlertDepth: "", mostAlertDepth + 1: "too_deep", 9_999: "too_deep"} {
		f := newFeeder(t, Limits{}, newProbe("count", counting))
		ev := eventAt("a", 0)
		ev.Raw = []byte(`{"eventID":"a]]}}","deep":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `,"x":"\\\"[["}`)
		_, out := f.event(ev)
		payload := out.Alerts[0].Payload
		if p := decodeAlert(t, payload); p.EventOmitted != want || (p.Event != nil) != (want == "") {
			t.Errorf("the alert of an event %d deep has event %t, event_omitted %q; want %q", depth, p.Event != nil, p.EventOmitted, want)
		}
	}
}

// Members of the alert that are copied from the event are there when the event is left out,
// and bounded: the caller of AWS chooses the user agent, and one of a megabyte must not
// make an alert that nothing can make smaller.
func TestAlertMembersOfEvent(t *testing.T) {
	long := strings.Repeat("<\\\"\u00e4\\u0001", 30_000)
	for name, raw := range map[string]string{
		"small": `{"eventID":"a","eventTime":"2026-03-01T12:00:00Z","eventName":"GetObject","eventSource":"s3.amazonaws.com","errorCode":"AccessDenied","userAgent":"cli","userIdentity":{"accessKeyId":"AKIA"}}`,
		"large": `{"eventID":"a","eventTime":"2026-03-01T12:00:00Z","eventName":"` + long + `","eventSource":"` + long + `","errorCode":"` + long + `","userAgent":"` + long + `","userIdentity":{"accessKeyId":"` + long + `"}}`,
		"none":  `{"eventVersion":"1.08","eventName":"","eventSource":"","eventID":"a","eventTime":"2026-03-01T12:00:00Z","userAgent":null,"userIdentity":null}`,
		"wrong": `{"eventVersion":"1.08","eventName":"","eventSource":"","eventID":"a","eventTime":"2026-03-01T12:00:00Z","userAgent":{"a":1},"userIdentity":{"accessKeyId":["x"]}}`,
	} {
		f := newFeeder(t, Limits{MaxAlertBytes: 64 << 10}, newProbe("count", counting))
		var alerts [][]byte
		(&cloudtrail.Decoder{}).Decode([]byte(raw), func(ev *Event, err error) bool {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, out := f.event(ev)
			for _, a := range out.Alerts {
				alerts = append(alerts, slices.Clone(a.Payload))
			}
			return true
		})
		if len(alerts) != 1 {
			t.Fatalf("%s: %d alerts; want 1", name, len(alerts))
		}
		var got struct {
			Name    string `json:"event_name"`
			Source  string `json:"event_source"`
			Code    string `json:"error_code"`
			Agent   string `json:"user_agent"`
			Key     string `json:"access_key_id"`
			Omitted string `json:"event_omitted"`
		}
		if err := json.Unmarshal(alerts[0], &got); err != nil {
			t.Fatal(err)
		}
		all := []string{got.Name, got.Source, got.Code, got.Agent, got.Key, got.Omitted}
		want := map[string][]string{"small": {"GetObject", "s3.amazonaws.com", "AccessDenied", "cli", "AKIA", ""}, "none": {"", "", "", "", "", ""}, "wrong": {"", "", "", "", "", ""}}[name]
		if name != "large" && !slices.Equal(all, want) {
			t.Errorf("%s: members %q; want %q", name, all, want)
		}
		for _, s := range all[:5] {
			if name == "large" && (len(s) > mostOfEvent+len("…") || !strings.HasSuffix(s, "…") || !utf8.ValidString(s) || got.Omitted != "too_large") {
				t.Errorf("large: a member of %d bytes, %q…, event_omitted %q; want one cut at %d, and the event left out", len(s), s[:20], got.Omitted, mostOfEvent)
			}
		}
	}
}

// A parameter must not have the name of another's number of seconds in alerts.
func TestSecondsOfParameters(t *testing.T) {
	type clash struct {
		probe
		Span    time.Duration `param:"span,alert"`
		Seconds int           `param:"span_seconds"`
	}
	_, err := NewEngine([]Active{{Rule: &clash{probe: probe{id: "clash", key: always("k"), evaluate: never}}}}, defaultLimits)
	if err == nil || !strings.Contains(err.Error(), "span_seconds") {
		t.Errorf("NewEngine with span and span_seconds = %v; want an error", err)
	}
}

// The limit holds for payload and dedup string together.
func TestMaxAlertBytes(t *testing.T) {
	alert := func(limit int) Outcome {
		f := newFeeder(t, Limits{MaxAlertBytes: limit}, newProbe("count", counting))
		ev := eventAt("a", 0)
		ev.Raw = []byte(`{"eventID":"a","padding":"0123456789012345678901234567890123456789"}`)
		_, out := f.event(ev)
		return out
	}
	a := alert(0).Alerts[0]
	full := len(a.Payload) + len(a.Dedup)
	for limit, event := range map[int]bool{full: true, full - 1: false} {
		if p := decodeAlert(t, alert(limit).Alerts[0].Payload); (p.Event != nil) != event {
			t.Errorf("alert with MaxAlertBytes %d of %d has its event: %v; want %v", limit, full, p.Event != nil, event)
		}
	}
	if got, want := summary(t, alert(100)), "count rejected (count alert_too_large)"; got != want {
		t.Errorf("Evaluate with MaxAlertBytes 100 = %s; want %s", got, want)
	}
}

// An alert that is rejected takes its writes with it, and not the stream.
func TestAlertTooLargeKeepsState(t *testing.T) {
	f := newFeeder(t, Limits{MaxAlertBytes: 700, DuplicatesWithin: time.Hour}, newProbe("count", counting))
	big := eventAt("big", 0)
	big.Region = strings.Repeat("r", 1000)
	f.want(big, "count rejected (count alert_too_large)")
	f.want(big, "count rejected (count alert_too_large)") // its id is free again
	f.want(eventAt("small", 0), `count alerted "1"`)
}

func TestSeveralAlertsOfOneEvent(t *testing.T) {
	f := newFeeder(t, defaultLimits, newProbe("one", counting), newProbe("two", counting), newProbe("three", counting))
	ev := eventAt("a", 0)
	ev.Raw = []byte(`{"x":"` + strings.Repeat("y", 5000) + `"}`)
	out := f.want(ev, `one alerted two alerted three alerted "1" "1" "1"`)
	for i, id := range []string{"one", "two", "three"} {
		if got := decodeAlert(t, out.Alerts[i].Payload).RuleID; got != id {
			t.Errorf("payload %d is of rule %s; want %s", i, got, id)
		}
	}
}

// FuzzAppendString compares with encoding/json, which escapes more but says
// the same.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "é\u2028\u2029", "<&>", "\x00\x01\x1f\x7f\u009b", `"\/`, "\xff\xc3(\xed\xa0\x80", "\n\r\t\b\f", "\U0001f600", "x\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data := appendString(nil, s)
		if !utf8.Valid(data) {
			t.Errorf("appendString(%q) = %q, which is not UTF-8", s, data)
		}
		var got string
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("json.Unmarshal(appendString(%q)) = %v; data %q", s, err, data)
		}
		if want := string([]rune(s)); got != want {
			t.Errorf("appendString(%q) reads back as %q; want %q", s, got, want)
		}
		if strings.ContainsAny(string(data), "\n\r\x00\x1b") {
			t.Errorf("appendString(%q) = %q; want no control characters", s, data)
		}
	})
}

// FuzzAlert puts hostile values everywhere that an event's value can go.
func FuzzAlert(f *testing.F) {
	for _, s := range []string{"a", "\x00", "\x1b[2J\u202e\"\\\n", "\xff\xfe", strings.Repeat("é", 2000), "</script>", "{{7*7}}", "%s%n"} {
		f.Add(s, 0)
		f.Add(s, 1200)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		found := func(e *Event, st *state.Scope) *Finding {
			st.IncrementCounter("n")
			return &Finding{Title: s, Dedup: s, Context: Context{{"s", s}, {"list", []string{s, s}}}}
		}
		rule := &probe{id: "hostile", key: always("k" + s), evaluate: found}
		f := newFeeder(t, Limits{MaxAlertBytes: max(limit, 0)}, Active{Rule: rule})
		ev := &Event{ID: s, Time: noon, SourceIP: s, Region: s, Account: s, Identity: cloudtrail.Identity{ARN: s}}
		ev.At = state.Source{Topic: s}
		_, out := f.event(ev) // checks the payload
		for _, a := range out.Alerts {
			p := decodeAlert(t, a.Payload)
			if want := string([]rune("k" + s)); p.Key != want {
				t.Errorf("key = %q; want %q", p.Key, want)
			}
			if strings.ContainsFunc(p.Title, unprintable) || p.Title == "" {
				t.Errorf("title = %q; want one that can be printed", p.Title)
			}
		}
	})
}

func TestTitle(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain é 😀", "plain é 😀"},
		{"\x1b[2J\a\n\x7f\u009b", `\u001b[2J\u0007\u000a\u007f\u009b`},
		{"\u202eabc\u2066\u200f\u061c", `\u202eabc\u2066\u200f\u061c`},
		{"a\u2028b\u200bc\U000e0041", `a\u2028b\u200bc\U000e0041`},
		{"bad \xff utf-8", "bad \uFFFD utf-8"},
		{strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		{strings.Repeat("x", 1025), strings.Repeat("x", 1024) + "…"},
		{strings.Repeat("x", 1023) + "é", strings.Repeat("x", 1023) + "…"},
	} {
		if got := title(test.in); got != test.want {
			t.Errorf("title(%q) = %q; want %q", test.in, got, test.want)
		}
	}
	if got := Clip(strings.Repeat("\x80", 300)); len(got) > 256+len("…") {
		t.Errorf("Clip(300 continuation bytes) has %d bytes; want at most %d", len(got), 256+len("…"))
	}
}

func TestContextValues(t *testing.T) {
	f := newFeeder(t, defaultLimits, newProbe("ctx", func(e *Event, s *state.Scope) *Finding {
		return &Finding{Context: Context{
			{"string", "<s>"}, {"bool", true}, {"int", 1}, {"int64", int64(-1) << 62}, {"time", noon.Add(time.Millisecond)}, {"duration", time.Minute},
			{"strings", []string{"a", "b"}}, {"none", []string(nil)}, {"other", 1.5}, {"na\"me", ""},
		}}
	}))
	_, out := f.event(eventAt("a", 0))
	want := `"context":{"string":"<s>","bool":true,"int":1,"int64":-4611686018427387904,"time":"2026-03-01T12:00:00.001Z","duration":"1m","duration_seconds":60,` +
		`"strings":["a","b"],"none":[],"other":"1.5","na\"me":""},"evidence":{"total":0,"events":[]}`
	if payload := string(out.Alerts[0].Payload); !strings.Contains(payload, want) {
		t.Errorf("payload = %s; want %s in it", payload, want)
	}
}

// The schema must be as strict as it says: a payload that the engine never writes does not
// pass.
func TestSchemaIsStrict(t *testing.T) {
	f := newFeeder(t, defaultLimits, Active{Rule: &AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 1, Window: time.Hour}})
	ev := eventAt("a", 0)
	ev.ErrorCode, ev.Identity.ARN, ev.Raw = "AccessDenied", "arn", []byte(`{"eventID":"a"}`)
	_, out := f.event(ev)
	good := string(out.Alerts[0].Payload)
	for _, change := range [][2]string{
		{`{"schema"`, `{"more":1,"schema"`},
		{`trailhound.alert.v1`, `trailhound.alert.v2`},
		{`"id":"`, `"id":"x`},
		{`"event_time":"2026-03-01T12:00:00Z"`, `"event_time":"2026-13-01T12:00:00Z"`},
		{`"event_time":"2026-03-01T12:00:00Z"`, `"event_time":"2026-03-01T12:00:00+01:00"`},
		{`"severity":"medium"`, `"severity":"high"`},
		{`"suppressed":0`, `"suppressed":-1`},
		{`"region":"",`, ``},
		{`"count":1`, `"count":0`},
		{`"count":1,`, ``},
		{`"count":1`, `"count":1,"more":1`},
		{`"threshold":1`, `"threshold":"1"`},
		{`"window":"1h"`, `"window":"an hour"`},
		{`,"window_seconds":3600`, ``},
		{`"user_agent":"",`, ``},
		{`"techniques":["T1580"`, `"techniques":["x"`},
		{`"total":1`, `"total":1,"more":1`},
		{`"index":0}]`, `"index":0,"more":1}]`},
		{`"index":0},"event":`, `"index":-1},"event":`},
		{`"event":{"eventID":"a"}`, `"event":"a"`},
		{`,"event":{"eventID":"a"}`, ``},
		{`"event":{"eventID":"a"}`, `"event":{"eventID":"a"},"event_omitted":"too_large"`},
		{`"event":{"eventID":"a"}`, `"event_omitted":"lost"`},
		{`denied once`, `denied\u001b once`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("payload %s does not contain %s", good, change[0])
		}
		var value any
		if err := json.Unmarshal([]byte(bad), &value); err != nil {
			t.Fatal(err)
		}
		if alertSchema.Validate(value) == nil {
			t.Errorf("Validate(%s) = nil; want an error", bad)
		}
	}
}

// Members stand in the documented order.
func TestAlertOrder(t *testing.T) {
	payload, _, _ := reduce(t, 1<<20)
	d := json.NewDecoder(bytes.NewReader(payload))
	var names []string
	for depth, isName := 0, true; ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			isName = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			isName = depth == 1
			continue
		}
		if depth == 1 {
			if isName {
				names = append(names, token.(string))
			}
			isName = !isName
		}
	}
	want := []string{"schema", "id", "rule_id", "severity", "title", "key", "dedup", "suppressed", "event_id", "event_time", "principal",
		"source_ip", "account", "region", "event_name", "event_source", "error_code", "user_agent", "access_key_id", "techniques", "parameters", "context", "evidence", "source", "event"}
	if !slices.Equal(names, want) {
		t.Errorf("members of an alert = %v; want %v", names, want)
	}
}

// An alert of a role with many addresses names the first hundred, and says how many there are.
func TestKnownAddressesInAlert(t *testing.T) {
	rule := NewAssumeRoleUniqueIP()
	rule.Remember = true
	f := newFeeder(t, defaultLimits, Active{Rule: rule})
	var last struct {
		Context struct {
			Known []string `json:"known_ips"`
			Total int      `json:"known_total"`
		}
	}
	for i := range 103 {
		f.feed(fmt.Appendf(nil, `{"eventVersion":"1.11","eventTime":"2026-03-01T12:00:00Z","eventName":"AssumeRole","sourceIPAddress":"192.0.2.%d","requestParameters":{"roleArn":"r"}}`, i),
			func(_ *Event, _ []Rejection, out Outcome) {
				if len(out.Alerts) > 0 {
					if err := json.Unmarshal(out.Alerts[0].Payload, &last); err != nil {
						t.Fatal(err)
					}
				}
			})
	}
	if c := last.Context; len(c.Known) != 100 || c.Total != 102 {
		t.Errorf("the last alert names %d addresses of %d; want 100 of 102", len(c.Known), c.Total)
	}
}
