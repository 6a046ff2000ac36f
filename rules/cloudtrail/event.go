package cloudtrail

import (
	"time"

	"trailhound/rules/cloudtrail/internal/jsonscan"
	"trailhound/state"
)

// Event is one CloudTrail event as the rules see it. The zero value of a field
// means that the event does not carry it, carries null, or carries a value of
// another type. Field names and meanings are those of the CloudTrail record
// contents reference (docs.aws.amazonaws.com, "CloudTrail record contents").
//
// An Event that Decode yields is reused: it, its strings and Raw are valid until the
// callback returns. Use strings.Clone for a string that must live longer.
type Event struct {
	ID           string // eventID; eventId where eventID is absent
	Name         string // eventName
	Source       string // eventSource, as in "sts.amazonaws.com"
	Region       string // awsRegion
	SourceIP     string // sourceIPAddress: an address, a service's DNS name or "AWS Internal"
	ErrorCode    string // errorCode
	ErrorMessage string // errorMessage
	Account      string // recipientAccountId
	Version      string // eventVersion, as in "1.08"
	Type         string // eventType
	Category     string // eventCategory

	Time     time.Time // eventTime in UTC; @timestamp where eventTime is absent
	Identity Identity  // userIdentity

	Raw []byte // the event's JSON object, byte for byte as it came

	At         state.Source // where the event stands in the input; Index is set by Decode, the rest by the feeder
	RecordTime time.Time    // timestamp of the Kafka record that carried the event; zero: none

	// Of an event that Decode has not made, Raw alone tells the rest.
	scanned           bool
	requestParameters []byte // raw JSON object, or string that may hold one; nil if absent or another value

	addendum    bool   // it has one: an object, an array or a string
	sharedID    string // sharedEventID
	vpcEndpoint string // vpcEndpointId
}

// Identity is the part of userIdentity that names the caller. A string that holds the
// object is read like the object: exports of tables have userIdentity in that form.
type Identity struct {
	Type        string // type, as in "AssumedRole"
	ARN         string // arn
	PrincipalID string // principalId
	AccountID   string // accountId
	InvokedBy   string // invokedBy
	IssuerARN   string // sessionContext.sessionIssuer.arn
}

// identityIn reads the userIdentity of an event with a string in the place of an object.
func identityIn(event []byte) (id Identity) {
	in := jsonscan.Unquoted(jsonscan.Member(event, "userIdentity"))
	id.Type, _ = lookup(in, "type")
	id.ARN, _ = lookup(in, "arn")
	id.PrincipalID, _ = lookup(in, "principalId")
	id.AccountID, _ = lookup(in, "accountId")
	id.InvokedBy, _ = lookup(in, "invokedBy")
	id.IssuerARN, _ = lookup(in, "sessionContext", "sessionIssuer", "arn")
	return id
}

// RequestParameter returns the string member of requestParameters with that
// name, or "" if there is none or it is not a string. Of members of the same
// name the last one counts. A string that holds an object is read like the
// object: tables of Athena have requestParameters in that form,
// https://docs.aws.amazon.com/athena/latest/ug/cloudtrail-logs.html.
func (e *Event) RequestParameter(name string) string {
	if !e.scanned {
		s, _ := e.Lookup("requestParameters", name)
		return s
	}
	s, _ := jsonscan.Text(jsonscan.Member(jsonscan.Unquoted(e.requestParameters), name))
	return s
}

// Lookup returns the string at the end of path, a list of member names from the event
// inwards; an element of an array is named by its index. It reports false if there is no
// such value or it is not a string. A string on the way that holds an object or array is
// read like that object or array. Each call reads the event anew: a value that many rules
// need belongs into a field.
//
//	key, ok := e.Lookup("userIdentity", "accessKeyId")
//	arn, ok := e.Lookup("resources", "0", "ARN")
func (e *Event) Lookup(path ...string) (string, bool) {
	return lookup(e.Raw, path...)
}

// AppendCompact appends Raw without its insignificant white space and with U+FFFD in place
// of each byte that is not UTF-8; all other bytes stay as they are. Raw must be valid JSON.
func (e *Event) AppendCompact(dst []byte) []byte { return jsonscan.AppendCompact(dst, e.Raw) }

// LookupScalar is Lookup that also returns a boolean or a number at the end of path, as
// it is written in JSON: true, 42, 1.5e3. Some values come either way, such as
// mfaAuthenticated, which is "true" in one kind of event and true in another.
//
//	mfa, _ := e.LookupScalar("additionalEventData", "mfaAuthenticated")
func (e *Event) LookupScalar(path ...string) (string, bool) {
	v := valueAt(e.Raw, path...)
	if len(v) > 0 && (v[0] == 't' || v[0] == 'f' || v[0] == '-' || v[0] >= '0' && v[0] <= '9') {
		return string(v), true
	}
	return jsonscan.Text(v)
}

// lookup is [Event.Lookup] in any JSON text.
func lookup(v []byte, path ...string) (string, bool) { return jsonscan.Text(valueAt(v, path...)) }

// valueAt returns the JSON of the value at the end of path, without blanks around it; nil: there is none.
func valueAt(v []byte, path ...string) []byte {
	for _, name := range path {
		v = jsonscan.Unquoted(v)
		if i := jsonscan.Space(v, 0); i < len(v) && v[i] == '[' {
			v = jsonscan.Element(v, name)
		} else {
			v = jsonscan.Member(v, name)
		}
	}
	return v
}
