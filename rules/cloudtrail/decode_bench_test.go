package cloudtrail

import (
	"encoding/json"
	"fmt"
	"testing"
)

// BenchmarkDecode reads bare events, one a record: the form that costs most at
// the highest rates.
func BenchmarkDecode(b *testing.B) {
	events := lines(b, "testdata/bench/events.jsonl.gz")
	var d Decoder
	b.ReportAllocs()
	b.SetBytes(meanLength(events))
	yield := func(_ *Event, err error) bool {
		if err != nil {
			b.Fatal(err)
		}
		return true
	}
	d.Decode(events[0], yield) // allocates the memory that it keeps
	i := 0
	for b.Loop() {
		d.Decode(events[i%len(events)], yield)
		i++
	}
}

// BenchmarkDecodeList reads an event of 20 KB with a list of objects, as calls that
// list things return them.
func BenchmarkDecodeList(b *testing.B) {
	event := []byte(`{"eventVersion":"1.08","eventTime":"2026-03-01T00:00:00Z","responseElements":{"items":[`)
	for i := 0; len(event) < 20_000; i++ {
		event = fmt.Appendf(event, `{"instanceId":"i-%016x","state":"running","tags":["team-a","prod"]},`, i*1_234_567)
	}
	event = append(event[:len(event)-1], "]}}"...)
	var d Decoder
	yield := func(_ *Event, err error) bool {
		if err != nil {
			b.Fatal(err)
		}
		return true
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(event)))
	d.Decode(event, yield) // allocates the memory that it keeps
	for b.Loop() {
		d.Decode(event, yield)
	}
}

// BenchmarkEncodingJSON reads the same fields of the same events with
// encoding/json, for comparison.
func BenchmarkEncodingJSON(b *testing.B) {
	events := lines(b, "testdata/bench/events.jsonl.gz")
	b.ReportAllocs()
	b.SetBytes(meanLength(events))
	i := 0
	for b.Loop() {
		var e struct {
			EventID, EventName, EventSource, AWSRegion, SourceIPAddress, ErrorCode, ErrorMessage string
			RecipientAccountID, EventVersion, EventType, EventCategory, EventTime                string
			UserIdentity                                                                         struct {
				Type, ARN, PrincipalID, AccountID, InvokedBy string
				SessionContext                               struct{ SessionIssuer struct{ ARN string } }
			}
			RequestParameters json.RawMessage
		}
		if err := json.Unmarshal(events[i%len(events)], &e); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkDecodeRecords reads a file as CloudTrail delivers it to S3.
func BenchmarkDecodeRecords(b *testing.B) {
	const file = "testdata/real/218007301253_CloudTrail_us-east-1_20230710T1205Z_UljXNp9xLp8nsAGc.json"
	record := content(b, file)
	var d Decoder
	events := 0
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	yield := func(_ *Event, err error) bool {
		if err != nil {
			b.Fatal(err)
		}
		events++
		return true
	}
	d.Decode(record, yield) // allocates the memory that it keeps
	events = 0
	for b.Loop() {
		d.Decode(record, yield)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}

func meanLength(events [][]byte) int64 {
	sum := 0
	for _, e := range events {
		sum += len(e)
	}
	return int64(sum / len(events))
}
