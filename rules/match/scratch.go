package match

import (
	"bytes"
	"strings"

	"trailhound/rules/cloudtrail"
)

// Scratch is the working memory of one goroutine: what was read of the event at hand. The
// zero value is ready. It may be used with one [Index] after another.
type Scratch struct {
	event *cloudtrail.Event
	round uint64           // counts events
	read  map[string]*read // by field
	text  []byte           // a value folded

	candidates []int
	asked      []uint64 // by expression: the round in which it became a candidate
}

// read is the values of a field, as they were in a round.
type read struct {
	round   uint64
	values  []cloudtrail.Value
	present bool
}

func (s *Scratch) begin(e *cloudtrail.Event) {
	s.event = e
	s.round++
}

// values returns the values of a field of the event at hand; of nil, the strings of the
// whole event. They are valid until the next event.
func (s *Scratch) values(f *field) (values []cloudtrail.Value, present bool) {
	name := ""
	if f != nil {
		name = f.name
	}
	r := s.read[name]
	if r == nil {
		if s.read == nil {
			s.read = make(map[string]*read)
		}
		r = &read{}
		s.read[name] = r
	}
	if r.round == s.round {
		return r.values, r.present
	}
	if cap(r.values) > keptValues {
		r.values = nil
	}
	r.round = s.round
	r.values, r.present = r.values[:0], true
	if f == nil {
		r.values, r.present = s.event.AppendValues(r.values)
		return r.values, r.present
	}
	if text := f.decodedIn(s.event); text != "" {
		r.values = append(r.values, cloudtrail.Value{Kind: cloudtrail.StringValue, Text: text})
		return r.values, true
	}
	if f.mayBeIn(s.event.Raw) {
		r.values, r.present = s.event.AppendValues(r.values, f.path...)
	} else {
		r.present = false
	}
	return r.values, r.present
}

// fold returns text folded for comparison, or as it is if case counts. It is valid until the
// next call.
func (s *Scratch) fold(text string, cased bool) []byte {
	if cap(s.text) > keptText {
		s.text = nil
	}
	if cased {
		s.text = append(s.text[:0], text...)
	} else {
		s.text = appendFolded(s.text[:0], text)
	}
	return s.text
}

// Memory that a Scratch keeps from one event to the next: the values of a field, and the
// bytes of a text. An event with more of them than usual leaves nothing behind.
const (
	keptValues = 1 << 10
	keptText   = 64 << 10
)

// field is a path in an event.
type field struct {
	name    string   // as it is written
	path    []string // name, taken apart at its dots
	last    []byte   // the last name of path if it is of letters and digits, and no index
	decoded func(e *cloudtrail.Event) string
}

func newField(name string) *field {
	f := &field{name: name, path: strings.Split(name, "."), decoded: decodedFields[name]}
	last := f.path[len(f.path)-1]
	if strings.Trim(last, digits) != "" && strings.Trim(last, digits+letters) == "" {
		f.last = []byte(last)
	}
	return f
}

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// escapedCharacter begins the one escape that a letter or digit may be written as.
var escapedCharacter = []byte(`\u`)

// mayBeIn reports whether the field may be in an event. Most fields that a rule asks for are
// absent, such as errorCode, and to search for the bytes of the name costs a tenth of reading
// the event.
func (f *field) mayBeIn(raw []byte) bool {
	return f.last == nil || bytes.Contains(raw, f.last) || bytes.Contains(raw, escapedCharacter)
}

// decodedIn returns the field's string as the decoder found it. "" says nothing: the event
// may have none, an empty one, or a value of another type.
func (f *field) decodedIn(e *cloudtrail.Event) string {
	if f.decoded == nil {
		return ""
	}
	return f.decoded(e)
}

// decodedFields are the fields that the decoder reads in any case. Those that it takes from
// another member where the usual one is absent (eventID, eventTime) are not among them.
var decodedFields = map[string]func(e *cloudtrail.Event) string{
	"eventName":                func(e *cloudtrail.Event) string { return e.Name },
	"eventSource":              func(e *cloudtrail.Event) string { return e.Source },
	"errorCode":                func(e *cloudtrail.Event) string { return e.ErrorCode },
	"errorMessage":             func(e *cloudtrail.Event) string { return e.ErrorMessage },
	"userIdentity.type":        func(e *cloudtrail.Event) string { return e.Identity.Type },
	"userIdentity.arn":         func(e *cloudtrail.Event) string { return e.Identity.ARN },
	"userIdentity.principalId": func(e *cloudtrail.Event) string { return e.Identity.PrincipalID },
	"userIdentity.accountId":   func(e *cloudtrail.Event) string { return e.Identity.AccountID },
	"userIdentity.invokedBy":   func(e *cloudtrail.Event) string { return e.Identity.InvokedBy },
	"sourceIPAddress":          func(e *cloudtrail.Event) string { return e.SourceIP },
	"awsRegion":                func(e *cloudtrail.Event) string { return e.Region },
	"recipientAccountId":       func(e *cloudtrail.Event) string { return e.Account },
	"eventType":                func(e *cloudtrail.Event) string { return e.Type },
	"eventCategory":            func(e *cloudtrail.Event) string { return e.Category },
	"eventVersion":             func(e *cloudtrail.Event) string { return e.Version },
}
