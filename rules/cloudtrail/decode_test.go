package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// bare returns an event with that ID.
func bare(id string) string {
	return `{"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z","eventName":"ListBuckets","eventID":"` + id + `"}`
}

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	must(err)
	must(w.Close())
	return b.String()
}

func base64ed(s string) string {
	return base64.StdEncoding.EncodeToString([]byte(s))
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// wrapped returns s as a JSON string in a JSON string, n deep.
func wrapped(s string, n int) string {
	for range n {
		s = strconv.Quote(s)
	}
	return s
}

type recordCase struct {
	name   string
	record string
	want   []string // IDs of events, and errors as "index reason"
}

// envelopes has a record of each form in which Decode finds events.
var envelopes = []recordCase{
	{"bare", bare("a"), []string{"a"}},
	{"bare, spread out", " \r\n{ \"eventTime\" : \"2026-03-01T10:00:00Z\" ,\n\t\"eventVersion\" : \"1.08\" , \"eventID\" : \"a\" } \n", []string{"a"}},
	{"bare, by name and source", `{"eventName":"x","eventSource":"y","eventTime":"2026-03-01T10:00:00Z","eventID":"a"}`, []string{"a"}},
	{"bare, before the names of envelopes", `{"Records":[],"detail-type":"x","detail":{},"messageType":"CONTROL_MESSAGE","digestStartTime":"x","s3ObjectKey":"x","Type":"Notification",` + bare("a")[1:], []string{"a"}},
	{"bare, behind a byte order mark", "\uFEFF" + bare("a"), []string{"a"}},
	{"bare, with what others add", `{"aws":{"function_name":"x"},"p_log_type":"AWS.CloudTrail",` + bare("a")[1:], []string{"a"}},
	{"bare, small d in eventId", `{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","eventId":"a"}`, []string{"a"}},
	{"bare, both spellings of eventID", `{"eventId":"b",` + bare("a")[1:], []string{"a"}},
	{"bare, by Logstash", `{"@timestamp":"2026-03-01T10:00:00.000Z","@version":"1","eventVersion":"1.05","eventID":"a"}`, []string{"a"}},
	{"bare, Insights", `{"eventVersion":"1.07","eventTime":"2026-03-01T10:00:00Z","eventType":"AwsCloudTrailInsight","eventID":"a","insightDetails":{"state":"Start"},"eventCategory":"Insight"}`, []string{"a"}},

	{"Records", `{"Records":[` + bare("a") + `,` + bare("b") + `]}`, []string{"a", "b"}},
	{"Records, spread out", "{ \"Records\" : [\n " + bare("a") + " ,\n " + bare("b") + " \n] }\n", []string{"a", "b"}},
	{"Records, several of them", `{"Records":[` + bare("a") + `],"x":{},"Records":[` + bare("b") + `]}`, []string{"a", "b"}},
	{"Records behind another member, the last of them counts", `{"x":0,"Records":[` + bare("a") + `],"Records":[` + bare("b") + `]}`, []string{"b"}},
	{"Records, name escaped", `{"\u0052ecords":[` + bare("a") + `]}`, []string{"a"}},
	{"Records, none", `{"Records":[]}`, []string{"-1 empty"}},
	{"array", `[` + bare("a") + `,` + bare("b") + `]`, []string{"a", "b"}},
	{"array of envelopes", `[{"Records":[` + bare("a") + `]},[` + bare("b") + `]]`, []string{"a", "b"}},
	{"array, empty", `[ ]`, []string{"-1 empty"}},
	{"JSON lines", bare("a") + "\n" + bare("b") + "\r\n\n" + bare("c") + "\n", []string{"a", "b", "c"}},
	{"concatenated", bare("a") + bare("b") + `{"Records":[` + bare("c") + `]}`, []string{"a", "b", "c"}},

	{"EventBridge", `{"version":"0","id":"x","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","account":"1","time":"2026-03-01T10:00:00Z","region":"us-east-1","resources":[],"detail":` + bare("a") + `}`, []string{"a"}},
	{"EventBridge, source left out", `{"detail-type":"AWS API Call via CloudTrail","detail":` + bare("a") + `}`, []string{"a"}},
	{"EventBridge, the source of the event is another thing", `{"detail-type":"AWS API Call via CloudTrail","source":"aws.sts","detail":{"source":"com.attacker.app",` + bare("a")[1:] + `}`, []string{"a"}},
	{"CloudWatch Logs", `{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1,"message":` + wrapped(bare("a"), 1) + `},{"id":"2","timestamp":2,"message":` + wrapped(bare("b"), 1) + `}]}`, []string{"a", "b"}},
	{"CloudWatch Logs, message decoded", `{"messageType":"DATA_MESSAGE","logEvents":[{"message":` + bare("a") + `}]}`, []string{"a"}},
	{"CloudWatch Logs, control message", `{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"CWL CONTROL MESSAGE: Checking health of destination"}]}`, []string{"-1 control_message"}},

	{"lookup-events", `{"Events":[{"EventId":"a","EventName":"GetObject","EventTime":"2026-03-01T10:00:00Z","EventSource":"s3.amazonaws.com","Resources":[],"CloudTrailEvent":` + wrapped(bare("a"), 1) + `},{"CloudTrailEvent":` + wrapped(bare("b"), 1) + `}],"NextToken":"t"}`, []string{"a", "b"}},
	{"lookup-events, one by one", `{"EventId":"a","CloudTrailEvent":` + wrapped(bare("a"), 1) + `}` + "\n" + `[{"CloudTrailEvent":` + wrapped(bare("b"), 1) + `}]`, []string{"a", "b"}},
	{"lookup-events, none", `{"Events":[]}`, []string{"-1 empty"}},

	{"gzip", zipped(bare("a")), []string{"a"}},
	{"gzip of lines", zipped(bare("a") + "\n" + bare("b")), []string{"a", "b"}},
	{"gzip of gzip", zipped(zipped(bare("a"))), []string{"a"}},
	{"gzip of several members", zipped(bare("a")) + zipped(bare("b")), []string{"a", "b"}},
	{"gzip of nothing", zipped(""), []string{"-1 empty"}},
	{"base64 of gzip", base64ed(zipped(bare("a"))), []string{"a"}},
	{"base64 of gzip, lines", base64ed(zipped(bare("a"))) + "\r\n" + base64ed(zipped(bare("b"))) + "\n", []string{"a", "b"}},
	{"base64 of gzip among JSON", bare("a") + "\n" + base64ed(zipped(bare("b"))) + "\n" + bare("c"), []string{"a", "b", "c"}},
	{"string of base64 of gzip", strconv.Quote(base64ed(zipped(bare("a")))), []string{"a"}},
	{"string", wrapped(bare("a"), 1), []string{"a"}},
	{"string in a string", wrapped(bare("a"), 2), []string{"a"}},
	{"string of lines", wrapped(bare("a")+"\n"+bare("b"), 1), []string{"a", "b"}},
	{"string, empty", `""`, []string{"-1 empty"}},

	{"SNS, points at S3", `{"Type":"Notification","MessageId":"x","TopicArn":"y","Message":"{\"s3Bucket\":\"b\",\"s3ObjectKey\":[\"k.json.gz\"]}"}`, []string{"-1 s3_notification"}},
	{"SNS, raw delivery", `{"s3Bucket":"b","s3ObjectKey":["k.json.gz"]}`, []string{"-1 s3_notification"}},
	{"SNS, holds an event", `{"Type":"Notification","Message":` + wrapped(bare("a"), 1) + `}`, []string{"a"}},
	{"SNS, subscription", `{"Type":"SubscriptionConfirmation","Message":"You have chosen to subscribe"}`, []string{"-1 control_message"}},
	{"SNS, subscription ends", `{"Type":"UnsubscribeConfirmation","Message":"You have chosen to deactivate"}`, []string{"-1 control_message"}},
	{"SNS, CloudTrail's test", `{"Type":"Notification","Message":"CloudTrail validation message."}`, []string{"-1 control_message"}},
	{"SNS, for Lambda", `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","Sns":{"Type":"Notification","Message":` + wrapped(bare("a"), 1) + `}}]}`, []string{"a"}},
	{"SQS", `{"Records":[{"messageId":"x","body":` + wrapped(`{"Type":"Notification","Message":"{\"s3Bucket\":\"b\",\"s3ObjectKey\":[\"k\"]}"}`, 1) + `,"eventSource":"aws:sqs"}]}`, []string{"-1 s3_notification"}},
	{"SQS, holds an event", `{"Records":[{"body":` + wrapped(bare("a"), 1) + `,"eventSource":"aws:sqs"}]}`, []string{"a"}},
	{"S3", `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2026-03-01T10:00:00Z","eventName":"ObjectCreated:Put","s3":{"object":{"key":"k"}}}]}`, []string{"-1 s3_notification"}},
	{"S3, test event", `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`, []string{"-1 control_message"}},
	{"digest", `{"awsAccountId":"1","digestStartTime":"2026-03-01T10:00:00Z","logFiles":[{"s3Bucket":"b"}]}`, []string{"-1 digest"}},
	{"empty", "", []string{"-1 empty"}},
	{"blank", " \n", []string{"-1 empty"}},
}

// poison has records without events, or with damage.
var poison = []recordCase{
	{"junk", "junk", []string{"-1 not_json"}},
	{"binary", "\x00\x01\x02\xff", []string{"-1 not_json"}},
	{"byte order mark and junk", "\uFEFFjunk", []string{"-1 not_json"}},
	{"cut off in an object", bare("a")[:60], []string{"-1 cut_off"}},
	{"cut off in a string", `{"eventVersion":"1.`, []string{"-1 cut_off"}},
	{"cut off in an escape", `{"eventVersion":"\u00`, []string{"-1 cut_off"}},
	{"cut off in a literal", `{"readOnly":tru`, []string{"-1 cut_off"}},
	{"cut off in a number", `{"x":-`, []string{"-1 cut_off"}},
	{"control character", "{\"eventVersion\":\"1.\t08\"}", []string{"-1 not_json"}},
	{"bad escape", `{"eventVersion":"\x"}`, []string{"-1 not_json"}},
	{"bad number", `{"x":01}`, []string{"-1 not_json"}},
	{"comma at the end", `{"eventVersion":"1.08",}`, []string{"-1 not_json"}},
	{"wrong bracket", `{"Records":[}`, []string{"-1 not_json"}},
	{"single quotes", `{'eventVersion':'1.08'}`, []string{"-1 not_json"}},
	{"junk behind an event", bare("a") + "junk", []string{"a", "1 not_json"}},
	{"bad line among good ones", bare("a") + "\n" + bare("b")[:60] + "\n" + bare("c") + "\n" + bare("d"), []string{"a", "1 not_json", "c", "d"}},
	{"bad line that swallows good ones", bare("a") + "\n{\"x\":[\n" + bare("b") + ",\n" + bare("c") + "\n" + bare("d"), []string{"a", "1 not_json", "b", "3 not_json", "c", "d"}},
	{"nothing from a bad object", `{"x":0,"Records":[` + bare("a") + `,` + bare("b")[:30], []string{"-1 cut_off"}},
	// A file that is cut off held a thousand good events.
	{"list cut off in an event", `{"Records":[` + bare("a") + `,` + bare("b")[:30], []string{"a", "1 cut_off"}},
	{"list cut off behind an event", `{"Records":[` + bare("a"), []string{"a", "1 cut_off"}},
	{"list cut off behind a comma", `[` + bare("a") + ",", []string{"a", "1 cut_off"}},
	{"list cut off behind the array", `{"Records":[` + bare("a") + "]", []string{"a", "1 cut_off"}},
	{"list cut off, then another", `{"Records":[` + bare("a") + "\n" + `{"Records":[` + bare("b") + `]}`, []string{"a", "1 not_json", "b"}},
	{"list without a comma", `{"Records":[` + bare("a") + "\n" + bare("b") + `]}`, []string{"a", "1 not_json", "b", "3 not_json"}},
	{"list with junk behind the array", `{"Records":[` + bare("a") + `]x}` + "\n" + bare("b"), []string{"a", "1 not_json", "b"}},
	{"list with a bad member", `{"Records":[` + bare("a") + `],"x":nul}` + "\n" + bare("b"), []string{"a", "1 not_json", "b"}},
	{"list with a bad name", `{"Records":[` + bare("a") + `],x:0}` + "\n" + bare("b"), []string{"a", "1 not_json", "b"}},

	{"number", "17", []string{"-1 unknown_shape"}},
	{"null", "null", []string{"-1 unknown_shape"}},
	{"numbers", "1 2", []string{"0 unknown_shape", "1 unknown_shape"}},
	{"string of junk", `"junk"`, []string{"-1 not_json"}},
	{"object", `{}`, []string{"-1 unknown_shape"}},
	{"another object", `{"level":"info","message":"` + `started"}`, []string{"-1 unknown_shape"}},
	{"Records is no array", `{"Records":{}}`, []string{"-1 unknown_shape"}},
	{"bad elements among good ones", `{"Records":[` + bare("a") + `,null,{},` + bare("b") + `,7]}`, []string{"a", "1 unknown_shape", "2 unknown_shape", "b", "4 unknown_shape"}},
	{"lookup-events without their events", `{"Events":[{"EventId":"a"},7,{"CloudTrailEvent":` + wrapped(bare("b"), 1) + `}]}`, []string{"0 unknown_shape", "1 unknown_shape", "b"}},
	{"EventBridge of another kind", `{"detail-type":"GuardDuty Finding","detail":{}}`, []string{"-1 unknown_shape"}},
	{"EventBridge, forged", `{"detail-type":"AWS API Call via CloudTrail","source":"com.attacker.app","detail":` + bare("a") + `}`, []string{"-1 foreign_source"}},
	{"EventBridge, forged among good ones", `[` + bare("a") + `,{"detail":` + bare("b") + `,"detail-type":"AWS Console Sign In via CloudTrail","source":"aws"},{"source":"awsx.sts","detail-type":"AWS Insight via CloudTrail","detail":` + bare("c") + `},` + bare("d") + `]`,
		[]string{"a", "1 foreign_source", "2 foreign_source", "d"}},
	{"EventBridge, forged, the source and its name escaped", `{"detail-type":"AWS API Call v\u0069a CloudTrail","s\u006furce":"\u0063om.aws.","detail":` + bare("a") + `}`, []string{"-1 foreign_source"}},
	{"EventBridge, the last source counts", `{"detail-type":"AWS API Call via CloudTrail","source":"aws.sts","source":"com.attacker.app","detail":` + bare("a") + `}`, []string{"-1 foreign_source"}},
	// The sender of PutEvents chooses the detail-type too.
	{"EventBridge, forged, of another kind", `{"detail-type":"x","source":"com.attacker.app","detail":` + bare("a") + `}`, []string{"-1 foreign_source"}},
	{"EventBridge, forged, a blank behind the kind", `{"detail-type":"AWS API Call via CloudTrail ","source":"com.attacker.app","detail":` + bare("a") + `}`, []string{"-1 foreign_source"}},
	{"EventBridge, forged, in a string", `{"Type":"Notification","Message":` + strconv.Quote(`{"detail-type":"x","source":"aws","detail":`+bare("a")+`}`) + `}`, []string{"-1 foreign_source"}},
	{"EventBridge, forged, without an event", `{"detail-type":"AWS API Call via CloudTrail","source":"com.attacker.app","detail":{"a":1}}`, []string{"-1 unknown_shape"}},
	{"EventBridge of AWS, another kind", `{"detail-type":"x","source":"aws.s3","detail":` + bare("a") + `}`, []string{"a"}},
	{"EventBridge without a source", `{"detail-type":"x","detail":` + bare("a") + `}`, []string{"a"}},
	{"EventBridge, a source that is no string", `{"detail-type":"x","source":null,"detail":` + bare("a") + `}`, []string{"a"}},
	{"an event with a detail of its own", `{"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z","eventID":"a","source":"app","detail-type":"x","detail":{"eventVersion":"1"}}`, []string{"a"}},
	{"EventBridge without an object", `{"detail-type":"x","detail":"y"}`, []string{"-1 unknown_shape"}},
	{"CloudWatch Logs of another kind", `{"messageType":"x"}`, []string{"-1 unknown_shape"}},
	{"CloudWatch Logs without events", `{"messageType":"DATA_MESSAGE","logEvents":null}`, []string{"-1 unknown_shape"}},
	{"CloudWatch Logs of other logs", `{"messageType":"DATA_MESSAGE","logEvents":[{"message":"started"},{"message":` + wrapped(bare("a"), 1) + `},{"message":7},8]}`, []string{"0 not_json", "a", "2 unknown_shape", "3 unknown_shape"}},

	{"no time", `{"eventVersion":"1.08"}`, []string{"0 no_event_time"}},
	{"time is null", `{"eventVersion":"1.08","eventTime":null}`, []string{"0 no_event_time"}},
	{"time is a number", `{"eventVersion":"1.08","eventTime":1772359200}`, []string{"0 no_event_time"}},
	{"time is no time", `{"eventVersion":"1.08","eventTime":"..."}`, []string{"0 bad_event_time"}},
	{"time is no time, @timestamp is", `{"eventVersion":"1.08","eventTime":"...","@timestamp":"2026-03-01T10:00:00Z"}`, []string{"0 bad_event_time"}},
	{"time too early", `{"eventVersion":"1.08","eventTime":"1969-12-31T23:59:59Z"}`, []string{"0 bad_event_time"}},
	{"time too late", `{"eventVersion":"1.08","eventTime":"2263-01-01T00:00:00Z"}`, []string{"0 bad_event_time"}},

	{"gzip, cut off behind an event", zipped(bare("a") + "\n" + bare("b"))[:105], []string{"a", "b", "2 bad_gzip"}},
	{"gzip, cut off", zipped(bare("a"))[:40], []string{"-1 bad_gzip"}},
	{"gzip, damaged", zipped(bare("a"))[:60] + "x" + zipped(bare("a"))[61:], []string{"-1 bad_gzip"}},
	// Members that end well count, with any bytes behind them: a joined or padded file that
	// was given to a topic lost all its events.
	{"gzip, junk behind", zipped(bare("a")) + "junk", []string{"a", "1 bad_gzip"}},
	{"gzip, a member that is cut off behind", zipped(bare("a")) + zipped(bare("b"))[:40], []string{"a", "1 bad_gzip"}},
	{"gzip, members and lines between", "\n" + zipped(bare("a")) + "\r\n" + zipped(bare("b")) + "\n", []string{"a", "b"}},
	{"gzip, padded with zeros", "\x00\x00" + zipped(bare("a")) + strings.Repeat("\x00", 512), []string{"a"}},
	{"gzip, one value in two members", zipped(bare("a")[:30]) + zipped(bare("a")[30:]), []string{"a"}},
	{"gzip, empty members", zipped("") + zipped(bare("a")) + zipped(""), []string{"a"}},
	{"gzip, larger than scratch, junk behind", zipped(strings.Repeat(" ", 3<<20)+bare("a")) + zipped(bare("b")) + "x", []string{"a", "b", "2 bad_gzip"}},
	{"gzip, only the magic number", "\x1f\x8b", []string{"-1 bad_gzip"}},
	{"base64 of gzip, damaged", base64ed(zipped(bare("a")))[:41], []string{"-1 bad_gzip"}},
	{"too many strings", wrapped(bare("a"), 9), []string{"-1 too_deep"}},
	{"too many arrays", repeat("[", 10) + bare("a") + repeat("]", 10), []string{"-1 too_deep"}},
	{"deepest arrays that are read", repeat("[", 9) + bare("a") + repeat("]", 9), []string{"a"}},
}

func TestDecode(t *testing.T) {
	for _, c := range slices.Concat(envelopes, poison) {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			Decode([]byte(c.record), func(e *Event, err error) bool {
				got = append(got, brief(e, err))
				return true
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("Decode(%q) = %q; want %q", c.record, got, c.want)
			}
		})
	}
}

// brief is an event's ID, or the error's index and reason.
func brief(e *Event, err error) string {
	if err != nil {
		return fmt.Sprintf("%d %s", err.(*DecodeError).Index, err.(*DecodeError).Reason)
	}
	return strings.Clone(e.ID)
}

func TestDecodeTombstone(t *testing.T) {
	var got []string
	Decode(nil, func(e *Event, err error) bool {
		got = append(got, brief(e, err))
		return true
	})
	if want := []string{"-1 tombstone"}; !slices.Equal(got, want) {
		t.Errorf("Decode(nil) = %q; want %q", got, want)
	}
}

// TestDecodeDepth stands on both sides of the limit of encoding/json.
func TestDecodeDepth(t *testing.T) {
	for _, c := range []struct {
		depth int
		want  []string
	}{
		{jsonscan.MaxDepth - 1, []string{"a", "b"}},
		{jsonscan.MaxDepth, []string{"0 too_deep", "b"}},
		{3 * jsonscan.MaxDepth, []string{"0 too_deep", "b"}},
	} {
		record := `{"x":` + repeat("[", c.depth) + repeat("]", c.depth) + "," + bare("a")[1:] + "\n" + bare("b")
		var got []string
		Decode([]byte(record), func(e *Event, err error) bool {
			got = append(got, brief(e, err))
			return true
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("Decode(event with arrays %d deep, good event) = %q; want %q", c.depth, got, c.want)
		}
	}
}

func TestDecodeMaxUnpacked(t *testing.T) {
	event := bare("a")
	packed := base64ed(zipped(event))
	record := zipped(packed) // each layer counts
	size := int64(len(packed) + base64.StdEncoding.DecodedLen(len(packed)) + len(event))
	for _, c := range []struct {
		max  int64
		want string
	}{
		{size, "a"},
		{size - 1, "-1 unpacked_too_large"},
		{0, "a"},
	} {
		d := Decoder{MaxUnpacked: c.max}
		d.Decode([]byte(event), func(*Event, error) bool { return true })
		for range 2 { // the limit left by one record is not added to that of the next
			d.Decode([]byte(record), func(e *Event, err error) bool {
				if got := brief(e, err); got != c.want {
					t.Errorf("Decode(event of %d bytes in gzip) with MaxUnpacked %d = %q; want %q", size, c.max, got, c.want)
				}
				return true
			})
		}
	}
}

// TestDecodeBomb shows that gzip that is too large is not unpacked to its end.
func TestDecodeBomb(t *testing.T) {
	const limit = 1 << 20
	d := Decoder{MaxUnpacked: limit}
	d.Decode([]byte(zipped(repeat(" ", 64*limit))), func(e *Event, err error) bool {
		if got := brief(e, err); got != "-1 unpacked_too_large" || cap(d.layers[0]) > 2*limit {
			t.Errorf("Decode(64 MiB in gzip) = %q after unpacking %d bytes; want unpacked_too_large after %d", got, cap(d.layers[0]), limit)
		}
		return true
	})
}

// TestDecodeScratch shows that strings of one event do not outlive it.
func TestDecodeScratch(t *testing.T) {
	event := `{"errorMessage":"` + repeat(`\n`, 1000) + `",` + bare("a")[1:]
	var d Decoder
	d.Decode([]byte(repeat(event, 100)), func(*Event, error) bool { return true })
	if got := cap(d.text); got < 1000 || got > 4000 {
		t.Errorf("after events with strings of 1,000 bytes the scratch has %d; want some thousands", got)
	}
}

func TestDecodeStops(t *testing.T) {
	for _, c := range slices.Concat(envelopes, poison) {
		for stop := range c.want {
			calls := 0
			Decode([]byte(c.record), func(*Event, error) bool {
				calls++
				return calls <= stop
			})
			if calls != stop+1 {
				t.Errorf("Decode(%s) went on for %d calls after yield %d returned false", c.name, calls-stop-1, stop)
			}
		}
	}
}

// TestDecodeTooManyErrors shows that a record of junk comes to an end.
func TestDecodeTooManyErrors(t *testing.T) {
	for _, junk := range []string{"x\n", "1 ", "[]", `{"eventVersion":"1"}`} {
		calls, last := 0, ""
		Decode([]byte(repeat(junk, 2*maxErrors)), func(e *Event, err error) bool {
			calls++
			last = brief(e, err)
			return true
		})
		if want := fmt.Sprintf("%d too_many_errors", maxErrors); calls != maxErrors+1 || last != want {
			t.Errorf("Decode(%q, %d times) = %d errors, the last %q; want %d, %q", junk, 2*maxErrors, calls, last, maxErrors+1, want)
		}
	}
}

// TestDecodeLinear shows that going back after a bad value does not cost a pass
// for every line, nor reading on a pass for every read. Each of these records
// would take thousands of passes if it did. The measure is one pass over a good
// record of the same length.
func TestDecodeLinear(t *testing.T) {
	const most = 500 // passes; a few dozen are the cost of so many errors
	long := repeat(bare("a")+",\n", 10_000)
	for name, record := range map[string]string{
		"many open brackets, then much, then an end": repeat("[\n", jsonscan.MaxDepth-1) + long,
		"many open brackets, then much, then junk":   repeat("[\n", jsonscan.MaxDepth-1) + long + "junk",
		"one large value":      "[" + repeat("1,", 2<<20) + "1]",
		"brackets without end": repeat("[\n", 500_000),
		"objects without end":  repeat("{\"a\":\n", 200_000),
	} {
		var s jsonscan.Scanner
		pass := elapsed(func() { s.Value([]byte("["+repeat("1,", len(record)/2)+"1]"), 0, false) })
		if took := elapsed(func() { Decode([]byte(record), func(*Event, error) bool { return true }) }); took > most*pass {
			t.Errorf("Decode(%s) took %v; want at most %d times %v", name, took, most, pass)
		}
		if took := elapsed(func() { split(t, &Splitter{Reader: trickle{strings.NewReader(record)}}) }); took > most*pass {
			t.Errorf("splitting %s took %v; want at most %d times %v", name, took, most, pass)
		}
	}
}

func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// trickle reads a little at a time.
type trickle struct{ io.Reader }

func (r trickle) Read(p []byte) (int, error) {
	return r.Reader.Read(p[:min(len(p), 512)])
}

func TestDecodeErrorText(t *testing.T) {
	for _, c := range []struct{ record, want string }{
		{`{"a":1]`, `decode record: not_json: unexpected ']' at byte 6, in the value that begins at byte 0`},
		{bare("a") + "\n{", `decode event 1 of the record: cut_off: the value that begins at byte 99 is cut off`},
		{"\nx", `decode record: not_json: no JSON value begins with 'x', at byte 1`},
		{`{"eventVersion":"1","eventTime":"` + repeat("9", 100) + `"}`, `decode event 0 of the record: bad_event_time: eventTime "` + repeat("9", 64) + `…" is neither an RFC 3339 time nor a timestamp of SQL from 1970 to 2262`},
	} {
		Decode([]byte(c.record), func(_ *Event, err error) bool {
			if err != nil && err.Error() != c.want {
				t.Errorf("Decode(%q): %q; want %q", c.record, err, c.want)
			}
			return true
		})
	}
}
