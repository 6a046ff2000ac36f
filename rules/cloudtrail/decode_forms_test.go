package cloudtrail

import (
	"slices"
	"strconv"
	"testing"
)

// Exports of tables have objects as strings of JSON, at any level, and tools that join
// such exports quote them once more.
func TestDecodeIdentityText(t *testing.T) {
	const identity = `{"type":"AssumedRole","arn":"arn:1","principalId":"AROA:s","accountId":"1","invokedBy":"x.amazonaws.com",` +
		`"sessionContext":{"sessionIssuer":{"arn":"arn:2"},"sourceIdentity":"alice"},"onBehalfOf":{"userId":"u","identityStoreArn":"arn:3"}}`
	want := Identity{Type: "AssumedRole", ARN: "arn:1", PrincipalID: "AROA:s", AccountID: "1", InvokedBy: "x.amazonaws.com", IssuerARN: "arn:2"}
	text := strconv.Quote
	for _, c := range []struct {
		name, member string
		want         Identity
	}{
		{"object", `"userIdentity":` + identity, want},
		{"string", `"userIdentity":` + text(identity), want},
		{"string, spread out", `"userIdentity" : ` + text(" \n"+identity+"\t"), want},
		{"string, letters escaped", `"user\u0049dentity":"\u007b\u0022type\u0022:\u0022AssumedRole\u0022` + text(identity[len(`{"type":"AssumedRole"`):])[1:], want},
		{"string behind an object", `"userIdentity":{"type":"x","invokedBy":"y"},"userIdentity":` + text(identity), want},
		{"object behind a string", `"userIdentity":"{\"type\":\"x\",\"invokedBy\":\"y\"}","userIdentity":` + identity, want},
		{"session context as a string", `"userIdentity":{"arn":"arn:1","sessionContext":` + text(`{"sessionIssuer":{"arn":"arn:2"}}`) + `}`, Identity{ARN: "arn:1", IssuerARN: "arn:2"}},
		{"issuer as a string", `"userIdentity":{"sessionContext":{"sessionIssuer":` + text(`{"arn":"arn:2"}`) + `},"arn":"arn:1"}`, Identity{ARN: "arn:1", IssuerARN: "arn:2"}},
		{"strings in one another", `"userIdentity":` + text(`{"arn":"arn:1","sessionContext":`+text(`{"sessionIssuer":{"arn":"arn:2"}}`)+`}`), Identity{ARN: "arn:1", IssuerARN: "arn:2"}},
		{"not UTF-8", `"userIdentity":"{\"arn\":\"` + "\xff" + `\"}"`, Identity{ARN: "\uFFFD"}},
		{"empty string", `"userIdentity":""`, Identity{}},
		{"string of something else", `"userIdentity":"root"`, Identity{}},
		{"string of an array", `"userIdentity":` + text("["+identity+"]"), Identity{}},
		{"string that is cut off", `"userIdentity":` + text(identity[:len(identity)-1]), Identity{}},
		{"null behind a string", `"userIdentity":` + text(identity) + `,"userIdentity":null`, Identity{}},
	} {
		// Several times: the prediction of one form must not be taken for another.
		var d Decoder
		plain := `{"userIdentity":{"type":"IAMUser","arn":"arn:9"},` + bare("a")[1:]
		record := []byte(plain + `{` + c.member + `,` + bare("a")[1:])
		for range 3 {
			var got []Identity
			d.Decode(slices.Concat(record, record, record), func(e *Event, err error) bool {
				if err != nil {
					t.Fatalf("%s: Decode(%s) = %v", c.name, record, err)
				}
				copied, _ := e.Copy(nil)
				got = append(got, copied.Identity)
				return true
			})
			for i := range got {
				want := c.want
				if i%2 == 0 {
					want = Identity{Type: "IAMUser", ARN: "arn:9"}
				}
				if got[i] != want {
					t.Errorf("%s: identity of event %d of %s = %+v; want %+v", c.name, i, record, got[i], want)
				}
			}
		}
	}
	Decode([]byte(`{"userIdentity":`+text(identity)+`,`+bare("a")[1:]), func(e *Event, _ error) bool {
		if got, want := e.PrincipalUser(), "arn:3/user/u"; got != want {
			t.Errorf("PrincipalUser() of an identity in a string = %q; want %q", got, want)
		}
		if got, ok := e.Lookup("userIdentity", "sessionContext", "sourceIdentity"); got != "alice" || !ok {
			t.Errorf("Lookup(userIdentity, sessionContext, sourceIdentity) in a string = %q, %v; want alice", got, ok)
		}
		return true
	})
}

func TestDecodeParametersText(t *testing.T) {
	const parameters = `{"roleArn":"arn:r","targetPrincipal":"111122223333","tags":[{"key":"k"}]}`
	text := strconv.Quote
	for name, member := range map[string]string{
		"object":                  parameters,
		"string":                  text(parameters),
		"string, spread out":      text("\n " + parameters + " "),
		"string, letters escaped": `"\u007b\u0022roleArn\u0022:\u0022arn:r\u0022` + text(parameters[len(`{"roleArn":"arn:r"`):])[1:],
	} {
		for call, want := range map[string]string{"AssumeRole": "arn:r", "AssumeRoleWithSAML": "arn:r", "AssumeRoot": "arn:aws:iam::111122223333:root"} {
			Decode([]byte(`{"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z","eventName":"`+call+`","requestParameters":`+member+`}`), func(e *Event, err error) bool {
				if got := e.AssumedRole(); got != want {
					t.Errorf("%s: role of %s = %q; want %q", name, e.Raw, got, want)
				}
				if got, _ := e.Lookup("requestParameters", "tags", "0", "key"); got != "k" {
					t.Errorf("%s: Lookup(requestParameters, tags, 0, key) in %s = %q; want k", name, e.Raw, got)
				}
				return true
			})
		}
	}
}

// EventBridge brings the notifications of S3 in a form of its own:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html.
func TestDecodeObjectEvents(t *testing.T) {
	const detail = `{"version":"0","bucket":{"name":"trail"},"object":{"key":"AWSLogs/1/CloudTrail/x.json.gz","size":5,"etag":"e","sequencer":"0"},"request-id":"r","requester":"cloudtrail.amazonaws.com","reason":"PutObject"}`
	event := func(kind, source, detail string) string {
		return `{"version":"0","id":"x","detail-type":"` + kind + `","source":"` + source + `","account":"1","time":"2026-03-01T10:00:00Z","region":"us-east-1","resources":["arn:aws:s3:::trail"],"detail":` + detail + `}`
	}
	created := event("Object Created", "aws.s3", detail)
	for _, c := range []struct{ name, record, want string }{
		{"created", created, "-1 s3_notification"},
		{"deleted", event("Object Deleted", "aws.s3", detail), "-1 s3_notification"},
		{"restored", event("Object Restore Completed", "aws.s3", detail), "-1 s3_notification"},
		{"spread out", "{ \"detail\" : {\n\"object\": { \"key\" :\"k\" } , \"bucket\":{\"name\":\"b\"} },\n\"source\":\"aws.s3\", \"detail-type\" : \"Object Created\" }", "-1 s3_notification"},
		{"names escaped", event("Object Created", `\u0061ws.s3`, `{"\u0062ucket":{"name":"b"},"object":{"k\u0065y":"k"}}`), "-1 s3_notification"},
		{"in SQS", `{"Records":[{"messageId":"x","body":` + strconv.Quote(created) + `,"eventSource":"aws:sqs"}]}`, "-1 s3_notification"},
		{"in SNS", `{"Type":"Notification","Message":` + strconv.Quote(created) + `}`, "-1 s3_notification"},
		{"in gzip", zipped(created), "-1 s3_notification"},
		{"a call of S3", event("AWS API Call via CloudTrail", "aws.s3", bare("a")), "a"},
		{"of another source", event("Object Created", "com.example.app", detail), "-1 unknown_shape"},
		{"of another service", event("Object Created", "aws.glacier", detail), "-1 unknown_shape"},
		{"without an object", event("Object Created", "aws.s3", `{"bucket":{"name":"b"}}`), "-1 unknown_shape"},
	} {
		var got []string
		Decode([]byte(c.record), func(e *Event, err error) bool {
			got = append(got, brief(e, err))
			return true
		})
		if !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: Decode(%s) = %q; want %q", c.name, c.record, got, c.want)
		}
	}
}
