package cloudtrail

import "bytes"

// Identifier is the id under which the event is counted and its duplicates are known: its
// own, or that of the event which it replaces. CloudTrail completes the data of some events
// later and delivers them once more, with another eventID and an addendum of reason
// UPDATED_DATA that names the first; the other reasons are those of a late first delivery.
// See "addendum" in
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
func (e *Event) Identifier() string {
	if e.scanned && !e.addendum {
		return e.ID // as nearly always
	}
	if e.rare("addendum", "reason") == "UPDATED_DATA" {
		if id := e.rare("addendum", "originalEventID"); id != "" {
			return id
		}
	}
	return e.ID
}

// SharedID is sharedEventID, "" if there is none: events of several accounts with
// the same one report one call.
func (e *Event) SharedID() string {
	if e.scanned {
		return e.sharedID
	}
	return e.rare("sharedEventID")
}

// VPCEndpoint is vpcEndpointId, "" if there is none.
func (e *Event) VPCEndpoint() string {
	if e.scanned {
		return e.vpcEndpoint
	}
	return e.rare("vpcEndpointId")
}

// rare is Lookup for a member that most events do not have: of such an event it
// costs a search for the bytes of the names, which are of ASCII letters.
func (e *Event) rare(path ...string) string {
	for _, name := range path {
		if !bytes.Contains(e.Raw, []byte(name)) && !bytes.Contains(e.Raw, []byte(`\u`)) {
			return "" // a letter has no other escape
		}
	}
	s, _ := e.Lookup(path...)
	return s
}
