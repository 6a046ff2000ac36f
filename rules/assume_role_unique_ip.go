package rules

import (
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
// never seen for it. The first address of a role is trusted.
type AssumeRoleUniqueIP struct {
	EventNames []string `param:"event_names" help:"API calls that assume a role"`
	Remember   bool     `param:"remember,alert" help:"trust an address from its first alert on, instead of alerting at every use"`
}

const (
	// A role in use must not fall back to trusting the next comer, so each use
	// of a known address makes its addresses live on; writing that down once
	// a day is exact enough for a lifetime of months, and cheap.
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
			"The first address of a role is trusted. Addresses are compared as CloudTrail writes them.",
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
	if e.SourceIP == "" || !slices.Contains(r.EventNames, e.Name) {
		return ""
	}
	return e.RequestParameter("roleArn")
}

// Evaluate implements [Rule].
func (r *AssumeRoleUniqueIP) Evaluate(e *Event, s *state.Scope) *Finding {
	known := s.GetStringSet("addresses")
	if known.Len() == 0 {
		s.AddToStringSet("addresses", e.SourceIP) // trust on first use
		return nil
	}
	if known.Has(e.SourceIP) {
		s.RenewStringSet("addresses", renewAddresses)
		return nil
	}
	finding := &Finding{
		Title: assumedTitle(e, known.Len()),
		Dedup: e.SourceIP,
		Context: Context{
			{"source_ip", e.SourceIP},
			{"known_ips", known.First(maxKnownShown)},
			{"known_total", known.Len()},
		},
	}
	if r.Remember {
		s.AddToStringSet("addresses", e.SourceIP)
	}
	return finding
}

func assumedTitle(e *Event, known int) string {
	was := "assumed"
	if e.ErrorCode != "" {
		was = "asked for, but not assumed,"
	}
	return fmt.Sprintf("%s was %s from %s, an address never seen for it (%d known)",
		Clip(resource(e.RequestParameter("roleArn"))), was, Clip(e.SourceIP), known)
}

// resource is the last part of an ARN, such as role/admin; what is not an ARN
// is itself. See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html.
func resource(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" && parts[5] != "" {
		return parts[5]
	}
	return arn
}
