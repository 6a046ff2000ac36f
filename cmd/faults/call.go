package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"strings"
	"time"
)

// call is an event of the input that a rule looks at, read without the product's code.
type call struct {
	*thing
	place
	at  time.Time
	raw json.RawMessage
}

// identity is the id by which duplicates are known: the eventID, of an addendum
// UPDATED_DATA the original one; for assume_role_unique_ip the sharedEventID, if there is
// one. A call without an id is known by its place.
func (c *call) identity(rule string) string {
	if rule == ruleAssume && c.Shared != "" {
		return c.Shared
	}
	if c.Addendum.Reason == "UPDATED_DATA" && c.Addendum.Original != "" {
		return c.Addendum.Original
	}
	return cmp.Or(c.ID, c.place.text())
}

// behind tells whether a call is certain to have been evaluated after another one: both stand in one partition.
func (c *call) behind(o *call) bool {
	return c.Topic == o.Topic && c.Partition == o.Partition && (c.Offset > o.Offset || c.Offset == o.Offset && c.Index > o.Index)
}

// failed tells whether the call was refused.
func (c *call) failed() bool { return c.ErrorCode != "" || c.ErrorText != "" }

// onBehalfOf is the user of an identity centre.
func (t *thing) onBehalfOf() string {
	b := &t.Identity.OnBehalfOf
	if b.User != "" && b.Store != "" {
		return b.Store + "/user/" + b.User
	}
	return b.User
}

// anonymous tells whether the caller had no credentials.
func (t *thing) anonymous() bool {
	i := &t.Identity
	for _, name := range []string{i.Account, i.Principal} {
		if n := strings.ToLower(name); n == "anonymous" || n == "anonymous_principal" {
			return true
		}
	}
	return i.Type == "AWSAccount" && i.Account == "" && i.Principal == ""
}

// principal is the actor by which denials are counted; kind is session, role or user.
func (t *thing) principal(kind string) string {
	i := &t.Identity
	switch {
	case kind == "role" && i.Session.Issuer.ARN != "":
		return i.Session.Issuer.ARN
	case kind == "user" && t.onBehalfOf() != "":
		return t.onBehalfOf()
	case kind == "user" && i.Session.Source != "":
		return "source-identity/" + i.Session.Source
	}
	id := i.Principal
	if t.anonymous() {
		id = ""
	}
	name := cmp.Or(i.ARN, i.Session.Issuer.ARN, t.onBehalfOf(), id, i.InvokedBy)
	if name == "" && t.anonymous() {
		name = canonical(t.IP)
	}
	if kind != "role" {
		return name
	}
	// arn:aws:sts::111122223333:assumed-role/NAME/SESSION
	if f := strings.SplitN(name, ":", 6); len(f) == 6 && f[2] == "sts" && strings.HasPrefix(f[5], "assumed-role/") {
		return "arn:" + f[1] + ":iam::" + f[4] + ":role/" + strings.Split(f[5], "/")[1]
	}
	if role, _, ok := strings.Cut(name, ":"); ok && strings.HasPrefix(role, "AROA") {
		return role
	}
	return name
}

// fromAWS tells whether AWS made the call by itself: it has no ARN of a user or role, and a
// service acts.
func (t *thing) fromAWS() bool {
	i := &t.Identity
	switch {
	case i.Type == "AWSService":
		return true
	case i.ARN != "" || i.Session.Issuer.ARN != "" || t.onBehalfOf() != "":
		return false
	}
	return isAWS(i.InvokedBy) || isAWS(t.IP)
}

// isAWS tells whether a name is one of AWS's own.
func isAWS(name string) bool {
	name = strings.ToLower(name)
	if name == "aws internal" {
		return true
	}
	for _, end := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu", ".c2s.ic.gov", ".sc2s.sgov.gov", ".cloud.adc-e.uk", ".csp.hci.ic.gov"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// canonical is an address in its one spelling; any other text stays as it is.
func canonical(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return s
	}
	return a.Unmap().String()
}

// origin is where a call came from.
func (c *call) origin() string {
	if c.Endpoint != "" {
		return canonical(c.IP) + " via " + c.Endpoint
	}
	return canonical(c.IP)
}

// role is the role that the call asks for.
func (t *thing) role() string {
	switch session := t.Response.User.ARN; {
	case t.Name == "AssumeRoot":
		return t.Request.Target
	case t.Request.Role == "" && t.Name != "AssumeRole" && session != "":
		other := thing{}
		other.Identity.ARN = session
		return other.principal("role")
	}
	return t.Request.Role
}

// happened is the time of an event: eventTime, or @timestamp of one that came through Logstash.
func (t *thing) happened() (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, cmp.Or(t.Time, t.Stamp))
	return at, err == nil
}

// readCalls returns the events of a record that have a time. Filter tells by its bytes whether a plain value may hold one
// that matters.
func readCalls(value []byte, at place, filter func([]byte) bool) (calls []*call) {
	if len(value) > 0 && value[0] == '{' && !bytes.Contains(value, []byte("H4sI")) && !bytes.Contains(value, []byte(`\u`)) && !filter(value) {
		return nil
	}
	for i, p := range unwrap(value) {
		if p.event == nil {
			continue
		}
		if when, ok := p.event.happened(); ok {
			from := at
			from.Index = i
			calls = append(calls, &call{thing: p.event, place: from, at: when, raw: p.raw})
		}
	}
	return calls
}
