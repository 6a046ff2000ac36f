package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"trailhound/state"
)

// AssumeRoleUniqueIPID is the rule ID of [AssumeRoleUniqueIP].
const AssumeRoleUniqueIPID = "assume_role_unique_ip"

// AssumeRoleUniqueIP alerts when a role is assumed from an address that was
// never seen for it. The first address from which it was assumed is trusted. A call
// that failed teaches no address.
type AssumeRoleUniqueIP struct {
	EventNames []string `param:"event_names" help:"API calls that assume a role; AssumeRoot, AssumeRoleWithSAML and AssumeRoleWithWebIdentity can be added"`
	Remember   bool     `param:"remember,alert" help:"trust an address from its first alert on, instead of alerting at every use"`
}

const (
	// A role in use must not fall back to trusting the next comer, so each use of a known
	// address renews the lifetime of the set, and in a full set an address in use does not
	// give way. A renewal once a day for an address is exact enough for a lifetime of
	// months, and cheap.
	renewAddresses = 24 * time.Hour

	maxKnownShown = 100 // addresses listed in an alert
)

// NewAssumeRoleUniqueIP returns the rule with its defaults: AssumeRole, with an
// alert at every use of an unknown address.
func NewAssumeRoleUniqueIP() *AssumeRoleUniqueIP {
	return &AssumeRoleUniqueIP{EventNames: []string{"AssumeRole"}}
}

// Info implements [Rule].
func (r *AssumeRoleUniqueIP) Info() Info {
	return Info{
		ID:    AssumeRoleUniqueIPID,
		Title: "Role assumed from an unknown address",
		Description: "A role was assumed from an address that was never seen for it, as when its credentials are used by somebody else. " +
			"The first address from which a call succeeded is trusted; a call that failed teaches nothing. " +
			"An address behind another VPC endpoint is another address.",
		GroupedBy:  "ARN of the role",
		Severity:   SeverityHigh,
		Techniques: []string{"T1078.004"},
	}
}

// Validate says which parameter is wrong.
func (r *AssumeRoleUniqueIP) Validate() error {
	if len(r.EventNames) == 0 || slices.Contains(r.EventNames, "") {
		return errors.New("event_names is empty or contains an empty name; it must name API calls, such as AssumeRole")
	}
	return nil
}

// Key implements [Rule]: the ARN of the role.
func (r *AssumeRoleUniqueIP) Key(e *Event) string {
	if !r.assumes(e) {
		return ""
	}
	return e.AssumedRole()
}

// Unkeyed reports a call that assumes a role without saying which one, as denied
// calls often do.
func (r *AssumeRoleUniqueIP) Unkeyed(e *Event) bool {
	return r.assumes(e) && e.AssumedRole() == ""
}

func (r *AssumeRoleUniqueIP) assumes(e *Event) bool {
	return e.SourceIP != "" && slices.Contains(r.EventNames, e.Name)
}

// EventID makes one call out of the two events that the accounts of caller and role have of
// it.
func (r *AssumeRoleUniqueIP) EventID(e *Event) string {
	if id := e.SharedID(); id != "" {
		return id
	}
	return e.Identifier()
}

// Evaluate implements [Rule].
func (r *AssumeRoleUniqueIP) Evaluate(e *Event, s *state.Scope) *Finding {
	known, from, failed := s.GetStringSet("addresses"), address(e), failed(e)
	switch {
	case known.Len() == 0:
		if !failed {
			s.AddToStringSet("addresses", from) // trust on first use
		}
		return nil
	case known.Has(from):
		if !failed {
			s.RenewStringSet("addresses", renewAddresses, from)
		}
		return nil
	}
	finding := &Finding{
		Title: assumedTitle(e, from, known.Len()),
		Dedup: from,
		Context: Context{
			{"source_ip", e.SourceAddress()},
			{"known_ips", known.First(maxKnownShown)},
			{"known_total", known.Len()},
		},
	}
	if r.Remember && !failed {
		s.AddToStringSetEvicting("addresses", from) // a full set must not hide a finding
	}
	return finding
}

// Resume knows the addresses that the alert lists as known, each by its event where the
// evidence has it. No event but the alert's is evaluated again, because the alert does not
// tell which addresses were known before the others.
func (r *AssumeRoleUniqueIP) Resume(p *Past, at func(state.Ref) *state.Scope) error {
	p.From = len(p.Events)
	var context struct {
		Known []string `json:"known_ips"`
		Total int      `json:"known_total"`
	}
	if err := json.Unmarshal(p.Context, &context); err != nil || len(context.Known) == 0 {
		return errors.New("its context has no known_ips")
	}
	for i := range p.Events {
		e := &p.Events[i]
		if e.Event == nil {
			continue
		}
		if from := address(e.Event); slices.Contains(context.Known, from) {
			at(e.Ref).AddToStringSet("addresses", from)
			e.Known = from
		}
	}
	for _, from := range context.Known {
		at(state.Ref{Time: p.Event.Time}).AddToStringSet("addresses", from) // no effect on an address that is known
	}
	p.Note("the addresses known before are those that the alert carries (known_ips)")
	if p.Partial = context.Total > len(context.Known); p.Partial {
		p.Note("%d addresses were known; the alert names %d of them", context.Total, len(context.Known))
	}
	return nil
}

// address is the origin of a call as the rule remembers it: the address, with the VPC
// endpoint that the call passed, since a private address belongs to the network behind the
// endpoint alone: 10.0.0.5 via vpce-0123456789abcdef0.
func address(e *Event) string {
	from := e.SourceAddress()
	if endpoint := e.VPCEndpoint(); endpoint != "" {
		return from + " via " + endpoint
	}
	return from
}

// failed reports a call that was refused or failed.
func failed(e *Event) bool { return e.ErrorCode != "" || e.ErrorMessage != "" }

func assumedTitle(e *Event, from string, known int) string {
	was := "assumed"
	if failed(e) {
		was = "asked for, but not assumed,"
	}
	return fmt.Sprintf("%s was %s from %s, an address never seen for it (%d known)",
		Clip(roleName(e.AssumedRole())), was, Clip(from), known)
}

// roleName is the last part of an ARN, such as role/admin, with the account of a root user;
// a text that is not an ARN is itself. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html.
func roleName(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	switch {
	case len(parts) != 6 || parts[0] != "arn" || parts[5] == "":
		return arn
	case parts[5] == "root":
		return "root of account " + parts[4]
	}
	return parts[5]
}
