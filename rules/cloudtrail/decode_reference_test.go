package cloudtrail

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// outcome is one call of Decode's callback.
type outcome struct {
	Index  int
	Reason Reason // "": an event
	Event  string // the event's fields, from dump
}

// outcomes decodes a record.
func outcomes(d *Decoder, record []byte) []outcome {
	var all []outcome
	d.Decode(record, func(e *Event, err error) bool {
		if err != nil {
			all = append(all, outcome{Index: err.(*DecodeError).Index, Reason: err.(*DecodeError).Reason})
		} else {
			all = append(all, outcome{Index: int(e.At.Index), Event: dump(e, e.requestParameters, e.Raw)})
		}
		return true
	})
	return all
}

func dump(e *Event, requestParameters, raw []byte) string {
	return fmt.Sprintf("%q", []string{e.ID, e.Name, e.Source, e.Region, e.SourceIP, e.ErrorCode, e.ErrorMessage,
		e.Account, e.Version, e.Type, e.Category, e.Time.Format(time.RFC3339Nano), e.Identity.Type, e.Identity.ARN,
		e.Identity.PrincipalID, e.Identity.AccountID, e.Identity.InvokedBy, e.Identity.IssuerARN,
		string(requestParameters), string(raw)})
}

// reference decodes as Decode promises in the plainest way, on encoding/json. It knows no
// gzip and goes over bad input once a line.
type reference struct {
	all  []outcome
	held bool // the last of them may concern the whole record
}

func referenceOutcomes(record []byte) []outcome {
	var r reference
	r.stream(record, 0)
	if len(r.all) == 1 && r.held {
		r.all[0].Index = -1
	}
	return r.all
}

func (r *reference) hold(reason Reason) {
	r.held = true
	r.all = append(r.all, outcome{Index: len(r.all), Reason: reason})
}

func (r *reference) add(o outcome) {
	r.held = false
	o.Index = len(r.all)
	r.all = append(r.all, o)
}

func (r *reference) stream(b []byte, depth int) {
	before := len(r.all)
	for {
		b = bytes.TrimLeft(b, " \t\r\n")
		for bytes.HasPrefix(b, []byte(byteOrderMark)) {
			b = bytes.TrimLeft(b[len(byteOrderMark):], " \t\r\n")
		}
		if len(b) == 0 {
			break
		}
		if m := listStart.FindSubmatch(b); m != nil {
			b = r.list(b[len(m[0])-1:], string(m[1]), depth)
			continue
		}
		raw, rest, ok := firstValue(b)
		if !ok {
			b = r.bad(b)
			continue
		}
		r.value(raw, depth)
		b = rest
	}
	if len(r.all) == before {
		r.hold(ReasonEmpty)
	}
}

var listStart = regexp.MustCompile(`^(?:\[|\{[ \t\r\n]*("Records"|"Events")[ \t\r\n]*:[ \t\r\n]*\[)[ \t\r\n]*[^] \t\r\n]`)

// firstValue returns the value that b begins with, and the bytes behind it.
func firstValue(b []byte) (raw, rest []byte, ok bool) {
	in := json.NewDecoder(bytes.NewReader(b))
	var m json.RawMessage
	if in.Decode(&m) != nil {
		return nil, nil, false
	}
	return bytes.TrimSpace(m), b[in.InputOffset():], true
}

// bad notes the damage at the front of b, and returns the next line.
func (r *reference) bad(b []byte) []byte {
	r.hold(ReasonNotJSON)
	_, b, _ = bytes.Cut(b, []byte("\n"))
	return b
}

// unexpected leaves a list for the bytes at the front of b.
func (r *reference) unexpected(b []byte) []byte {
	if len(b) > 0 && strings.IndexByte("{[\"-0123456789tfnH\xef", b[0]) < 0 {
		return r.bad(b)
	}
	r.hold(ReasonNotJSON)
	return b
}

// list reads a list from its first element, at the front of b, and returns the bytes behind
// it.
func (r *reference) list(b []byte, name string, depth int) []byte {
	blank := func(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }
	begins := func(c string) bool { return strings.HasPrefix(string(b), c) }
	for {
		raw, rest, ok := firstValue(b)
		if b = blank(b); !ok && len(b) > 0 {
			return r.bad(b)
		} else if !ok {
			return r.unexpected(nil)
		}
		r.value(raw, depth)
		b = blank(rest)
		if begins(",") {
			b = blank(b[1:])
			continue
		}
		if !begins("]") {
			return r.unexpected(b)
		}
		if b = b[1:]; name == "" {
			return b
		}
		for again := false; !again; { // members behind the array
			if b = blank(b); begins("}") {
				return b[1:]
			}
			if !begins(",") {
				return r.unexpected(b)
			}
			if b = blank(b[1:]); !begins(`"`) {
				return r.unexpected(b)
			}
			key, rest, ok := firstValue(b)
			if !ok {
				return r.bad(b)
			}
			if b = blank(rest); !begins(":") {
				return r.unexpected(b)
			}
			b = blank(b[1:])
			if elements := blank(b[min(1, len(b)):]); string(key) == name && begins("[") && len(elements) > 0 && elements[0] != ']' {
				b, again = elements, true
				continue
			}
			if _, rest, ok = firstValue(b); !ok && len(b) > 0 {
				return r.bad(b)
			} else if !ok {
				return r.unexpected(nil)
			}
			b = rest
		}
	}
}

func (r *reference) value(raw []byte, depth int) {
	switch {
	case raw[0] == '{':
		r.object(raw, depth)
	case raw[0] == '[' && depth < maxEnvelopes:
		r.each(raw, depth, r.value)
	case raw[0] == '"' && depth < maxEnvelopes:
		var s string
		must(json.Unmarshal(raw, &s))
		r.stream([]byte(s), depth+1)
	case raw[0] == '[' || raw[0] == '"':
		r.hold(ReasonTooDeep)
	default:
		r.hold(ReasonUnknownShape)
	}
}

func (r *reference) each(raw []byte, depth int, read func(raw []byte, depth int)) {
	if depth == maxEnvelopes {
		r.hold(ReasonTooDeep)
		return
	}
	var elements []json.RawMessage
	must(json.Unmarshal(raw, &elements))
	for _, e := range elements {
		read(bytes.TrimSpace(e), depth+1)
	}
	if len(elements) == 0 {
		r.hold(ReasonEmpty)
	}
}

// object is a JSON object in two forms.
type object struct {
	raw map[string]json.RawMessage
	any map[string]any
}

func newObject(b []byte) (o object) {
	in := json.NewDecoder(bytes.NewReader(b))
	in.UseNumber()
	must(in.Decode(&o.any))
	must(json.Unmarshal(b, &o.raw))
	return o
}

// string returns the string at the end of path. A string on the way is read as JSON.
func (o object) string(path ...string) string {
	var v any = o.any
	for _, name := range path {
		if s, ok := v.(string); ok {
			v = nil
			if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{") {
				_ = json.NewDecoder(strings.NewReader(s)).Decode(&v)
			}
		}
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// whole returns a member's value if it begins with one of the bytes in kinds.
func (o object) whole(name, kinds string) []byte {
	if v := bytes.TrimSpace(o.raw[name]); len(v) > 0 && bytes.IndexByte([]byte(kinds), v[0]) >= 0 {
		return v
	}
	return nil
}

func (o object) isEvent() bool {
	return o.string("eventVersion") != "" || o.string("eventName") != "" && o.string("eventSource") != ""
}

func (r *reference) object(raw []byte, depth int) {
	o := newObject(raw)
	messageType, kind := o.string("messageType"), o.string("Type")
	switch {
	case o.isEvent():
		r.event(o, raw)
	case o.whole("Records", "[") != nil:
		r.each(o.whole("Records", "["), depth, r.value)
	case o.whole("Events", "[") != nil:
		r.each(o.whole("Events", "["), depth, r.value)
	case o.whole("CloudTrailEvent", `{["`) != nil:
		r.inside(o.whole("CloudTrailEvent", `{["`), depth)
	case o.string("detail-type") != "" && o.whole("detail", `{["`) != nil:
		detail, source := o.whole("detail", "{"), o.string("source")
		switch {
		case detail == nil:
			r.hold(ReasonUnknownShape)
		case !newObject(detail).isEvent() && (source == "" || source == "aws.s3") && newObject(detail).string("bucket", "name") != "" && newObject(detail).string("object", "key") != "":
			r.hold(ReasonS3Notification)
		case !newObject(detail).isEvent():
			r.hold(ReasonUnknownShape)
		case source != "" && !strings.HasPrefix(source, "aws."):
			r.hold(ReasonForeignSource)
		default:
			r.event(newObject(detail), detail)
		}
	case messageType == "DATA_MESSAGE" && o.whole("logEvents", "[") != nil:
		r.each(o.whole("logEvents", "["), depth, r.member("message"))
	case messageType == "CONTROL_MESSAGE":
		r.hold(ReasonControlMessage)
	case messageType != "":
		r.hold(ReasonUnknownShape)
	case o.string("digestStartTime") != "":
		r.hold(ReasonDigest)
	case o.whole("s3ObjectKey", `{["`) != nil:
		r.hold(ReasonS3Notification)
	case kind == "Notification" && bytes.HasPrefix(o.whole("Message", `"`), []byte(`"CloudTrail validation message`)):
		r.hold(ReasonControlMessage)
	case kind == "Notification" && o.whole("Message", `{["`) != nil:
		r.inside(o.whole("Message", `{["`), depth)
	case kind == "SubscriptionConfirmation", kind == "UnsubscribeConfirmation":
		r.hold(ReasonControlMessage)
	case o.whole("Sns", `{["`) != nil:
		r.inside(o.whole("Sns", `{["`), depth)
	case o.whole("body", `{["`) != nil && o.string("eventSource") == "aws:sqs":
		r.inside(o.whole("body", `{["`), depth)
	case o.string("Event") == "s3:TestEvent":
		r.hold(ReasonControlMessage)
	default:
		r.hold(ReasonUnknownShape)
	}
}

// member reads the member of an element that is an object.
func (r *reference) member(name string) func(raw []byte, depth int) {
	return func(raw []byte, depth int) {
		if raw[0] == '{' {
			if v := newObject(raw).whole(name, `{["`); v != nil {
				r.inside(v, depth)
				return
			}
		}
		r.hold(ReasonUnknownShape)
	}
}

func (r *reference) inside(raw []byte, depth int) {
	switch {
	case depth == maxEnvelopes:
		r.hold(ReasonTooDeep)
	case raw[0] == '"':
		r.value(raw, depth)
	default:
		r.value(raw, depth+1)
	}
}

func (r *reference) event(o object, raw []byte) {
	if o.string("eventSource") == "aws:s3" && o.whole("s3", `{["`) != nil {
		r.hold(ReasonS3Notification)
		return
	}
	when := o.string("eventTime")
	if when == "" {
		when = o.string("@timestamp")
	}
	if when == "" {
		r.add(outcome{Reason: ReasonNoEventTime})
		return
	}
	t, ok := referenceTime(when)
	if !ok {
		r.add(outcome{Reason: ReasonBadEventTime})
		return
	}
	id := o.string("eventID")
	if id == "" {
		id = o.string("eventId")
	}
	r.add(outcome{Event: dump(&Event{
		ID: id, Name: o.string("eventName"), Source: o.string("eventSource"), Region: o.string("awsRegion"),
		SourceIP: o.string("sourceIPAddress"), ErrorCode: o.string("errorCode"), ErrorMessage: o.string("errorMessage"),
		Account: o.string("recipientAccountId"), Version: o.string("eventVersion"), Type: o.string("eventType"),
		Category: o.string("eventCategory"), Time: t,
		Identity: Identity{
			Type: o.string("userIdentity", "type"), ARN: o.string("userIdentity", "arn"),
			PrincipalID: o.string("userIdentity", "principalId"), AccountID: o.string("userIdentity", "accountId"),
			InvokedBy: o.string("userIdentity", "invokedBy"),
			IssuerARN: o.string("userIdentity", "sessionContext", "sessionIssuer", "arn"),
		},
	}, o.whole("requestParameters", `{"`), raw)})
}

var timeGrammar = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?$`)

// referenceTime is parseTime by way of time.Parse.
func referenceTime(s string) (time.Time, bool) {
	m := timeGrammar.FindStringSubmatch(s)
	if m == nil || m[2] == "T" && m[4] == "" {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, m[1]+"T"+m[3]+cmp.Or(m[4], "Z"))
	if err != nil || t.Unix() < 0 || t.Unix() >= lastSecond {
		return time.Time{}, false
	}
	return t.UTC(), true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
