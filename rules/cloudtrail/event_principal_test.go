package cloudtrail

import (
	"fmt"
	"testing"
)

type identityCase struct {
	name, identity, source string
	principal, role, user  string
	aws                    bool
}

func (c *identityCase) address() string {
	if c.source != "" {
		return c.source
	}
	return "198.51.100.7"
}

// identityCases are all kinds of identity of AWS's reference, as events have them:
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html.
// The source is an address unless the case gives another. role and user are "" where
// they are the principal. aws: AWS did it by itself.
var identityCases = []identityCase{
	{name: "Root", identity: `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333"}`,
		principal: "arn:aws:iam::111122223333:root"},
	{name: "IAMUser", identity: `{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/team/ann","accountId":"111122223333","userName":"ann"}`,
		principal: "arn:aws:iam::111122223333:user/team/ann"},
	{name: "IAMUser with a session token", identity: `{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/ann","sessionContext":{"sessionIssuer":{},"attributes":{"mfaAuthenticated":"true"}}}`,
		principal: "arn:aws:iam::111122223333:user/ann"},
	{name: "AssumedRole", identity: `{"type":"AssumedRole","principalId":"AROAEXAMPLE:s1","arn":"arn:aws:sts::111122223333:assumed-role/ops/s1","accountId":"111122223333","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/path/ops"},"sourceIdentity":"ann"}}`,
		principal: "arn:aws:sts::111122223333:assumed-role/ops/s1", role: "arn:aws:iam::111122223333:role/path/ops", user: "source-identity/ann"},
	{name: "AssumedRole without an issuer", identity: `{"type":"AssumedRole","arn":"arn:aws-cn:sts::111122223333:assumed-role/ops/s1"}`,
		principal: "arn:aws-cn:sts::111122223333:assumed-role/ops/s1", role: "arn:aws-cn:iam::111122223333:role/ops"},
	{name: "AssumedRole without an ARN", identity: `{"type":"AssumedRole","principalId":"AROAEXAMPLE:s1"}`,
		principal: "AROAEXAMPLE:s1", role: "AROAEXAMPLE"},
	{name: "AssumedRole with an issuer alone", identity: `{"type":"AssumedRole","principalId":"AROAEXAMPLE:s1","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/ops"}}}`,
		principal: "arn:aws:iam::111122223333:role/ops", source: "ec2.amazonaws.com"},
	{name: "AssumedRole on behalf of a person", identity: `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/q/s1","onBehalfOf":{"userId":"u1","identityStoreArn":"arn:aws:identitystore::111122223333:identitystore/d-1"},"sessionContext":{"sourceIdentity":"ann"}}`,
		principal: "arn:aws:sts::111122223333:assumed-role/q/s1", role: "arn:aws:iam::111122223333:role/q", user: "arn:aws:identitystore::111122223333:identitystore/d-1/user/u1"},
	{name: "AssumedRole through a service", identity: `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/ops/s1","invokedBy":"athena.amazonaws.com"}`, source: "athena.amazonaws.com",
		principal: "arn:aws:sts::111122223333:assumed-role/ops/s1", role: "arn:aws:iam::111122223333:role/ops"},
	{name: "Role", identity: `{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/ops","accountId":"111122223333"}`,
		principal: "arn:aws:iam::111122223333:role/ops"},
	{name: "FederatedUser", identity: `{"type":"FederatedUser","principalId":"111122223333:bob","arn":"arn:aws:sts::111122223333:federated-user/bob","sessionContext":{"sessionIssuer":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/broker"}}}`,
		principal: "arn:aws:sts::111122223333:federated-user/bob", role: "arn:aws:iam::111122223333:user/broker"},
	{name: "FederatedUser without an issuer", identity: `{"type":"FederatedUser","arn":"arn:aws:sts::111122223333:federated-user/bob"}`,
		principal: "arn:aws:sts::111122223333:federated-user/bob"},
	{name: "Directory", identity: `{"type":"Directory","principalId":"d-90671:ann","accountId":"111122223333"}`,
		principal: "d-90671:ann"},
	{name: "AWSAccount", identity: `{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"444455556666"}`,
		principal: "AIDAEXAMPLE"},
	{name: "AWSAccount, a role's session", identity: `{"type":"AWSAccount","principalId":"AROAEXAMPLE:i-0123","accountId":"444455556666"}`,
		principal: "AROAEXAMPLE:i-0123", role: "AROAEXAMPLE"},
	{name: "AWSAccount alone", identity: `{"type":"AWSAccount","accountId":"444455556666"}`},
	{name: "AWSAccount alone, principalId empty", identity: `{"type":"AWSAccount","principalId":"","accountId":"444455556666"}`},
	{name: "AWSAccount through a service", identity: `{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"444455556666","invokedBy":"config.amazonaws.com"}`,
		principal: "AIDAEXAMPLE", aws: true},
	{name: "anonymous, S3", identity: `{"type":"AWSAccount","principalId":"","accountId":"ANONYMOUS_PRINCIPAL"}`, source: "2001:DB8::1",
		principal: "2001:db8::1"},
	{name: "anonymous, S3 of old", identity: `{"type":"AWSAccount","principalId":"","accountId":"anonymous"}`,
		principal: "198.51.100.7"},
	{name: "anonymous, by its principalId", identity: `{"type":"AWSAccount","principalId":"Anonymous","accountId":"444455556666"}`,
		principal: "198.51.100.7"},
	{name: "anonymous without a name", identity: `{"type":"AWSAccount"}`, principal: "198.51.100.7"},
	{name: "AWSService", identity: `{"type":"AWSService","invokedBy":"autoscaling.amazonaws.com"}`, source: "autoscaling.amazonaws.com",
		principal: "autoscaling.amazonaws.com", aws: true},
	{name: "AWSService, from an address", identity: `{"type":"AWSService","principalId":"internal","invokedBy":"x"}`, principal: "internal", aws: true},
	{name: "SAMLUser", identity: `{"type":"SAMLUser","principalId":"_exampleidp:ann@example.com","userName":"ann@example.com","identityProvider":"_exampleidp"}`,
		principal: "_exampleidp:ann@example.com"},
	{name: "WebIdentityUser", identity: `{"type":"WebIdentityUser","principalId":"accounts.google.com:app.example:user1","userName":"user1","identityProvider":"accounts.google.com"}`,
		principal: "accounts.google.com:app.example:user1"},
	{name: "IdentityCenterUser", identity: `{"type":"IdentityCenterUser","accountId":"111122223333","onBehalfOf":{"userId":"u1","identityStoreArn":"arn:aws:identitystore::111122223333:identitystore/d-1"},"credentialId":"c"}`,
		principal: "arn:aws:identitystore::111122223333:identitystore/d-1/user/u1"},
	{name: "IdentityCenterUser without a store", identity: `{"type":"IdentityCenterUser","principalId":"p","onBehalfOf":{"us\u0065rId":"u1"}}`, principal: "u1"},
	{name: "IdentityCenterUser without a user", identity: `{"type":"IdentityCenterUser","accountId":"111122223333","onBehalfOf":{"identityStoreArn":"arn:aws:identitystore::111122223333:identitystore/d-1"}}`},
	{name: "IdentityCenterUser through a service", identity: `{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u1"}}`, source: "glue.amazonaws.com", principal: "u1"},
	{name: "Unknown", identity: `{"type":"Unknown","accountId":"111122223333"}`},
	{name: "Unknown, with a service", identity: `{"type":"Unknown","invokedBy":"signin.amazonaws.com"}`, principal: "signin.amazonaws.com", aws: true},
	{name: "a type that is new", identity: `{"type":"Robot","principalId":"p"}`, principal: "p"},
	{name: "no type", identity: `{"principalId":"p"}`, principal: "p"},
	{name: "empty", identity: `{}`},
	{name: "null", identity: `null`},
	{name: "missing", identity: ``},
	{name: "missing, from AWS Internal", identity: ``, source: "AWS Internal", aws: true},
	{name: "not an object", identity: `"ann"`},
	{name: "values of other types", identity: `{"type":7,"arn":["a"],"principalId":{},"onBehalfOf":"u1","invokedBy":null}`},
}

func TestIdentities(t *testing.T) {
	for _, c := range identityCases {
		event := fmt.Sprintf(`{%s,"sourceIPAddress":%q,"userIdentity":%s}`, stamp, c.address(), c.identity)
		if c.identity == "" {
			event = fmt.Sprintf(`{%s,"sourceIPAddress":%q}`, stamp, c.address())
		}
		Decode([]byte(event), func(e *Event, err error) bool {
			if err != nil {
				t.Fatalf("Decode(%q): %v", event, err)
			}
			role, user := c.role, c.user
			if role == "" {
				role = c.principal
			}
			if user == "" {
				user = c.principal
			}
			got := [3]string{e.Principal(), e.PrincipalRole(), e.PrincipalUser()}
			if want := [3]string{c.principal, role, user}; got != want {
				t.Errorf("%s: principal, role and user of %s = %q; want %q", c.name, event, got, want)
			}
			if got := e.FromAWSService(); got != c.aws {
				t.Errorf("%s: FromAWSService of %s = %v; want %v", c.name, event, got, c.aws)
			}
			return true
		})
	}
}

// An Insights event has neither identity nor address.
func TestIdentityOfInsights(t *testing.T) {
	e := Event{Type: "AwsCloudTrailInsight", Category: "Insight"}
	if got := e.Principal() + e.PrincipalRole() + e.PrincipalUser(); got != "" || e.FromAWSService() {
		t.Errorf("principal, role and user of an Insights event = %q, of a service: %v; want none, false", got, e.FromAWSService())
	}
}

func TestIsService(t *testing.T) {
	for name, want := range map[string]bool{
		"ec2.amazonaws.com": true, "EC2.AmazonAWS.com": true, "ec2.amazonaws.com.": true, "support.amazonaws.com ": true, "a.b.amazonaws.com": true,
		"ec2.amazonaws.com.cn": true, "config.c2s.ic.gov": true, "lambda.sc2s.sgov.gov": true, "s3.cloud.adc-e.uk": true, "s3.csp.hci.ic.gov": true,
		"eks.api.aws": true, "sts.amazonaws.eu": true, "AWS Internal": true, "aws-internal": true,
		"": false, " ": false, ".": false, "amazonaws.com": false, ".amazonaws.com": false, "evilamazonaws.com": false, "ec2.amazonaws.com.example.net": false,
		"ec2.amazonaws.co": false, "198.51.100.7": false, "2001:db8::a": false, "AWS": false, "ic.gov": false,
	} {
		if got := isService(name); got != want {
			t.Errorf("isService(%q) = %v; want %v", name, got, want)
		}
	}
}

func TestRoleOfSession(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws:sts::1:assumed-role/r/s":            "arn:aws:iam::1:role/r",
		"arn:aws-us-gov:sts::1:assumed-role/r/s/t:u": "arn:aws-us-gov:iam::1:role/r",
		"arn:aws:sts::1:assumed-role/r":              "arn:aws:iam::1:role/r",
		"arn:aws:sts::1:assumed-role/":               "",
		"arn:aws:sts::1:assumed-role//s":             "",
		"arn:aws:sts::1:federated-user/assumed-role": "",
		"arn:aws:iam::1:assumed-role/r/s":            "",
		"x:aws:sts::1:assumed-role/r/s":              "",
		"arn:aws:sts::assumed-role/r/s":              "",
		"":                                           "",
	} {
		if got := roleOfSession(arn); got != want {
			t.Errorf("roleOfSession(%q) = %q; want %q", arn, got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	for s, want := range map[string]string{
		"198.51.100.7": "198.51.100.7", "::ffff:198.51.100.7": "198.51.100.7", "::FFFF:c633:6407": "198.51.100.7",
		"2001:DB8::A": "2001:db8::a", "2001:0db8:0:0:0:0:0:000a": "2001:db8::a", "2001:db8::0.0.0.10": "2001:db8::a",
		"fe80::1%Eth0": "fe80::1%Eth0", "FE80::1%eth0": "FE80::1%eth0",
		"255.18.064.253": "255.18.064.253", "300.1.1.1": "300.1.1.1", "2001:db8::a ": "2001:db8::a ", "AWS Internal": "AWS Internal", "": "",
	} {
		if got := (&Event{SourceIP: s}).SourceAddress(); got != want {
			t.Errorf("SourceAddress of %q = %q; want %q", s, got, want)
		}
	}
}

func TestIdentifier(t *testing.T) {
	for _, c := range []struct{ members, id, shared string }{
		{``, "own", ""},
		{`"addendum":{"reason":"UPDATED_DATA","originalEventID":"first"},`, "first", ""},
		{`"addendum":{"originalEventID":"first","reason":"UPDATED_DATA"},"sharedEventID":"s",`, "first", "s"},
		{`"\u0061ddendum":{"reason":"UPDATED\u005fDATA","originalEventI\u0044":"first"},`, "first", ""},
		{`"addendum":{"reason":"DELIVERY_DELAY","originalEventID":"first"},`, "own", ""},
		{`"addendum":{"reason":"UPDATED_DATA","originalEventID":7},`, "own", ""},
		{`"addendum":{"reason":"UPDATED_DATA"},"originalEventID":"first",`, "own", ""},
		{`"addendum":null,"x":{"addendum":{"reason":"UPDATED_DATA","originalEventID":"first"},"sharedEventID":"s"},`, "own", ""},
		{`"sharedEventID":null,`, "own", ""},
		{`"sh\u0061redEventID":"s",`, "own", "s"},
	} {
		event := `{` + c.members + `"eventID":"own",` + stamp + `}`
		Decode([]byte(event), func(e *Event, err error) bool {
			if err != nil || e.Identifier() != c.id || e.SharedID() != c.shared {
				t.Errorf("Decode(%q): %v, Identifier() = %q, SharedID() = %q; want no error, %q, %q", event, err, e.Identifier(), e.SharedID(), c.id, c.shared)
			}
			return true
		})
	}
}
