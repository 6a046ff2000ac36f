package cloudtrail

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail/internal/jsontest"
)

// TestDecodeModel compares Decode with the reference on records made of the
// names that Decode knows, in any order and nesting, whole and damaged.
func TestDecodeModel(t *testing.T) {
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		record := drawRecord(t)
		got, want := outcomes(&d, record), referenceOutcomes(record)
		for i := range got {
			if got[i].Reason == ReasonCutOff {
				got[i].Reason = ReasonNotJSON
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Decode(%q)\n     = %v\nwant %v", record, got, want)
		}
	})
}

// TestLookupModel compares Lookup with encoding/json.
func TestLookupModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := draw.Object(t, 3)
		path := rapid.SliceOfN(rapid.SampledFrom(memberNames), 1, 3).Draw(t, "path")
		got, ok := (&Event{Raw: []byte(raw)}).Lookup(path...)
		if want := newObject([]byte(raw)).string(path...); got != want || ok && got == "" && want != "" {
			t.Fatalf("Lookup(%q) in %q = %q, %v; want %q", path, raw, got, ok, want)
		}
	})
}

var memberNames = []string{
	"eventID", "eventId", "eventName", "eventSource", "awsRegion", "sourceIPAddress", "errorCode", "errorMessage",
	"recipientAccountId", "eventVersion", "eventType", "eventCategory", "eventTime", "@timestamp", "requestParameters",
	"userIdentity", "userIdentity", "userIdentity", "type", "arn", "arn", "principalId", "accountId", "invokedBy",
	"sessionContext", "sessionContext", "sessionIssuer", "sessionIssuer",
	"Records", "Records", "detail-type", "detail", "source", "messageType", "logEvents", "message", "digestStartTime",
	"Type", "Message", "Sns", "body", "s3", "s3ObjectKey", "Event", "Events", "CloudTrailEvent", "bucket", "object", "name", "key",
	"", "x", "Eventid", "roleArn", "é",
}

var stringValues = []string{
	"", "a", "arn:aws:iam::111122223333:user/alice", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.5+02:00", "1.08",
	"aws:sqs", "aws:s3", "aws.sts", "aws.s3", "com.example.app", "AWS API Call via CloudTrail", "AWS API Call via CloudTrail", `{"roleArn":"a"}`, `{"x":{"x":"a"}}`, `{"arn":"a","type":"b","sessionContext":{"sessionIssuer":{"arn":"c"}}}`, `{"sessionIssuer":{"arn":"d"}}`,
	"DATA_MESSAGE", "CONTROL_MESSAGE", "Notification", "SubscriptionConfirmation", "s3:TestEvent",
	"CloudTrail validation message.", "1234567", "12345678", "123456789", "junk \"\\\n", "é😀", "\x7f",
}

var draw = jsontest.Generator{Names: memberNames, Strings: stringValues}

// drawRecord draws a record that is not packed, valid or damaged.
func drawRecord(t *rapid.T) []byte {
	var b strings.Builder
	for range rapid.IntRange(0, 4).Draw(t, "values") {
		b.WriteString(jsontest.Space(t))
		if rapid.IntRange(0, 3).Draw(t, "document") > 0 {
			b.WriteString(draw.Object(t, 5))
		} else {
			b.WriteString(draw.Value(t, 5))
		}
		b.WriteString(rapid.SampledFrom([]string{"", " ", "\n", "\r\n", "\n\uFEFF"}).Draw(t, "separator"))
	}
	record := []byte(b.String())
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "damages") {
		if len(record) == 0 {
			break
		}
		at := rapid.IntRange(0, len(record)-1).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			record = slices.Insert(record, at, '\n')
		case 1:
			record = record[:at]
		default:
			record[at] = rapid.SampledFrom([]byte("{}[]\",:\\\n x0.\x00\xff")).Draw(t, "byte")
		}
	}
	return record
}
