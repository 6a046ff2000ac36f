package cloudtrail

import (
	"net/netip"
	"strings"
)

// Principal names the caller: the first non-empty of the identity's ARN, the ARN of the
// session's issuer, the IAM Identity Center user that the caller acts on behalf of
// (STORE-ARN/user/USER-ID), the principal id and the invoking service. An anonymous caller
// is its address. Principal is "" for an event that names no actor: Insights events have no
// identity, and an account alone may be any principal in it. The kinds of identity are
// those of
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html.
func (e *Event) Principal() string {
	id := &e.Identity
	switch {
	case id.ARN != "":
		return id.ARN
	case id.IssuerARN != "":
		return id.IssuerARN
	}
	if user := e.onBehalfOf(); user != "" {
		return user
	}
	switch anonymous := id.anonymous(); {
	case id.PrincipalID != "" && !anonymous:
		return id.PrincipalID
	case id.InvokedBy != "":
		return id.InvokedBy
	case anonymous:
		return e.SourceAddress()
	}
	return ""
}

// PrincipalRole names the caller without the name of its session, which the caller of
// AssumeRole chooses: the ARN of the session's issuer; else the role of an
// assumed role's ARN, without its path, which that ARN does not have; else the
// role's id of a principal id such as AROAEXAMPLE:session. Any other caller is
// its Principal.
func (e *Event) PrincipalRole() string {
	if e.Identity.IssuerARN != "" {
		return e.Identity.IssuerARN
	}
	principal := e.Principal()
	if role := roleOfSession(principal); role != "" {
		return role
	}
	if id, _, ok := strings.Cut(principal, ":"); ok && strings.HasPrefix(id, "AROA") {
		return id
	}
	return principal
}

// PrincipalUser names the person behind the caller, where CloudTrail knows of one: the IAM
// Identity Center user that the caller acts on behalf of, else source-identity/NAME, the
// source identity that a chain of role sessions was begun with and cannot change. Any other
// caller is its Principal. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html.
func (e *Event) PrincipalUser() string {
	if user := e.onBehalfOf(); user != "" {
		return user
	}
	if name := e.rare("userIdentity", "sessionContext", "sourceIdentity"); name != "" {
		return "source-identity/" + name
	}
	return e.Principal()
}

// onBehalfOf is the IAM Identity Center user that the caller acts on behalf of, "" if there
// is none. A user id is unique in its identity store.
func (e *Event) onBehalfOf() string {
	user := e.rare("userIdentity", "onBehalfOf", "userId")
	if user == "" {
		return ""
	}
	if store := e.rare("userIdentity", "onBehalfOf", "identityStoreArn"); store != "" {
		return store + "/user/" + user
	}
	return user
}

// anonymous reports a caller without credentials. Services write that in several
// ways, all of type AWSAccount: accountId ANONYMOUS_PRINCIPAL or anonymous with an
// empty principalId (Amazon S3), either of them as the principalId, or no name at all.
func (id *Identity) anonymous() bool {
	return anonymousName(id.AccountID) || anonymousName(id.PrincipalID) ||
		id.Type == "AWSAccount" && id.AccountID == "" && id.PrincipalID == ""
}

func anonymousName(s string) bool {
	return strings.EqualFold(s, "ANONYMOUS_PRINCIPAL") || strings.EqualFold(s, "anonymous")
}

// roleOfSession is the ARN, in the same partition, of the role of the session that arn
// names, "" if it does not name one: arn:aws:sts::111122223333:assumed-role/NAME/SESSION.
func roleOfSession(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sts" {
		return ""
	}
	name, ok := strings.CutPrefix(parts[5], "assumed-role/")
	if name, _, _ = strings.Cut(name, "/"); !ok || name == "" {
		return ""
	}
	return "arn:" + parts[1] + ":iam::" + parts[4] + ":role/" + name
}

// SourceAddress is SourceIP in the canonical form of an IP address: RFC 5952, an IPv4-mapped one
// as IPv4. Anything else, an address with a zone included, is itself.
func (e *Event) SourceAddress() string {
	a, err := netip.ParseAddr(e.SourceIP)
	if err != nil || a.Is4() || a.Zone() != "" {
		return e.SourceIP
	}
	return a.Unmap().String()
}

// FromAWSService reports a call that AWS made by itself: the identity is of type
// AWSService, or there is no user or role and a service has made the call. A user or role
// that acts through a service has an ARN, or is acted for. See
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
func (e *Event) FromAWSService() bool {
	id := &e.Identity
	switch {
	case id.Type == "AWSService":
		return true
	case id.ARN != "" || id.IssuerARN != "":
		return false
	case !isService(id.InvokedBy) && !isService(e.SourceIP):
		return false
	}
	return e.onBehalfOf() == ""
}

// serviceDomains are the domains of services' names in the partitions of AWS, for
// IPv4 alone and for both versions of IP:
// https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json.
var serviceDomains = []string{
	".amazonaws.com", ".api.aws",
	".amazonaws.com.cn", ".api.amazonwebservices.com.cn",
	".amazonaws.eu", ".api.amazonwebservices.eu",
	".c2s.ic.gov", ".api.aws.ic.gov",
	".sc2s.sgov.gov", ".api.aws.scloud",
	".cloud.adc-e.uk", ".api.cloud-aws.adc-e.uk",
	".csp.hci.ic.gov", ".api.aws.hci.ic.gov",
}

// isService reports the name of an AWS service, such as ec2.amazonaws.com, or
// AWS Internal.
func isService(name string) bool {
	if name == "" || name[len(name)-1]-'0' <= 9 {
		return false // absent, or an IPv4 address: the usual case; no name of a service ends in a digit
	}
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
	if name == "aws internal" || name == "aws-internal" {
		return true
	}
	for _, domain := range serviceDomains {
		if len(name) > len(domain) && strings.HasSuffix(name, domain) {
			return true
		}
	}
	return false
}
