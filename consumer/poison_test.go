package consumer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/rules"
)

// assume is an AssumeRole event as JSON; extra members go in front.
func assume(id, role, ip, at string) string {
	return fmt.Sprintf(`{"eventVersion":"1.10","eventID":%q,"eventTime":%q,"eventName":"AssumeRole","eventSource":"sts.amazonaws.com","sourceIPAddress":%q,"requestParameters":{"roleArn":%q}}`, id, at, ip, role)
}

const noon = "2026-03-01T12:00:00Z"

func zipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func header(rec *kgo.Record, key string) string {
	for _, h := range rec.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Each poison goes to the dead-letter topic with its reason and its original bytes; records
// that hold no event are only counted; and the events behind are evaluated as if it had not
// been there. FAILURES 16.
func TestServicePoison(t *testing.T) {
	t.Parallel()
	good := assume("good", "arn:r", "192.0.2.9", noon)
	poison := []struct {
		name, reason string
		value        []byte
	}{
		{"no JSON", "not_json", []byte("hello, world")},
		{"cut off", "cut_off", []byte(good[:100])},
		{"byte order mark, then junk", "not_json", []byte("\ufeff\x00junk")},
		{"no event time", "no_event_time", []byte(`{"eventVersion":"1.10","eventName":"AssumeRole"}`)},
		{"unreadable event time", "bad_event_time", []byte(`{"eventVersion":"1.10","eventTime":"yesterday"}`)},
		{"another object", "unknown_shape", []byte(`{"hello":"world"}`)},
		{"another type", "unknown_shape", []byte(`[1,2,3]`)},
		{"broken gzip", "bad_gzip", append(zipped(t, good)[:40], 1, 2, 3)},
		{"bomb", "unpacked_too_large", zipped(t, string(bytes.Repeat([]byte(" "), 2<<20))+good)},
		{"too deep", "too_deep", append(bytes.Repeat([]byte("["), 10_001), bytes.Repeat([]byte("]"), 10_001)...)},
		{"one bad among good ones", "no_event_time", []byte(`{"Records":[` + assume("a", "arn:mixed", "192.0.2.1", noon) + `,{"eventVersion":"1.10"},` + assume("b", "arn:mixed", "192.0.2.2", noon) + `]}`)},
		{"too far ahead", "too_far_ahead", []byte(assume("ahead", "arn:ahead", "192.0.2.1", "2100-01-01T00:00:00Z"))},
		{"too late", "too_late", []byte(assume("late", "arn:r", "192.0.2.1", "2026-01-01T00:00:00Z"))},
		{"key over 2 KiB", "key_too_long", []byte(assume("long", "arn:"+string(bytes.Repeat([]byte("x"), 4<<10)), "192.0.2.1", noon))},
	}
	skipped := [][]byte{
		nil, {}, []byte(`{"awsAccountId":"1","digestStartTime":"2026-03-01T00:00:00Z","logFiles":[]}`),
		[]byte(`{"messageType":"CONTROL_MESSAGE","logEvents":[]}`),
		[]byte(`{"s3Bucket":"b","s3ObjectKey":["k"]}`),
	}

	r := newRig(t, 1, 1)
	r.start("only", disk(), func(s *consumer.Service) {
		s.MaxUnpacked = 1 << 20
		s.Engine = engine(t, func(l *rules.Limits) { l.MaxAhead = 24 * time.Hour })
	})
	var want []string
	var records []*kgo.Record
	add := func(value []byte) {
		records = append(records, &kgo.Record{Key: []byte("key of the record"), Value: value})
	}
	add([]byte(assume("trusted", "arn:r", "192.0.2.1", noon)))
	for i, p := range poison {
		add(p.value)
		id := fmt.Sprintf("after-%d", i)
		add([]byte(assume(id, "arn:r", "192.0.2.77", noon)))
		want = append(want, "assume_role_unique_ip "+id)
	}
	for _, value := range skipped {
		add(value)
	}
	want = append(want, "assume_role_unique_ip b")
	r.send(records...)
	r.drain()
	r.wantAlerts(want)

	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	byOffset := make(map[string]*kgo.Record)
	for _, l := range letters {
		byOffset[header(l, "source_offset")] = l
	}
	if len(letters) != len(poison) {
		t.Errorf("%d dead letters; want %d", len(letters), len(poison))
	}
	for i, p := range poison {
		l := byOffset[strconv.Itoa(1+2*i)]
		if l == nil {
			t.Errorf("%s: no dead letter; want reason %s", p.name, p.reason)
			continue
		}
		if got := header(l, "reason"); got != p.reason {
			t.Errorf("%s: reason %q (%s); want %q", p.name, got, header(l, "detail"), p.reason)
		}
		if !bytes.Equal(l.Value, p.value) {
			t.Errorf("%s: the dead letter has %d bytes %.60q; want the %d bytes that came", p.name, len(l.Value), l.Value, len(p.value))
		}
		if age := time.Since(l.Timestamp).Abs(); age > time.Hour {
			t.Errorf("%s: the dead letter's timestamp is %s; want the present, whatever the event's time (PROTOCOL D7)", p.name, l.Timestamp)
		}
		if got := header(l, "source_topic"); got != r.app.Inputs[0] {
			t.Errorf("%s: source_topic %q; want %q", p.name, got, r.app.Inputs[0])
		}
	}
	if l := byOffset["21"]; l != nil && header(l, "source_index") != "1" {
		t.Errorf("one bad among good ones: source_index %q; want 1", header(l, "source_index"))
	}
}

// Every envelope of a record leads to the same evaluation.
func TestServiceEnvelopes(t *testing.T) {
	t.Parallel()
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	wrap := map[string]func(string) []byte{
		"bare":    func(e string) []byte { return []byte(e) },
		"Records": func(e string) []byte { return []byte(`{"Records":[` + e + `]}`) },
		"array":   func(e string) []byte { return []byte(` [` + e + `] `) },
		"lines":   func(e string) []byte { return []byte("\n" + e + "\n\n") },
		"EventBridge": func(e string) []byte {
			return []byte(`{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.sts","detail":` + e + `}`)
		},
		"subscription": func(e string) []byte {
			return []byte(`{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","message":` + quoted(e) + `}]}`)
		},
		"gzip":   func(e string) []byte { return zipped(t, `{"Records":[`+e+`]}`) },
		"base64": func(e string) []byte { return []byte(base64.StdEncoding.EncodeToString(zipped(t, e))) },
		"string": func(e string) []byte { return []byte(quoted(e)) },
	}
	r := newRig(t, 1, 2)
	r.start("only", disk(), nil)
	var want []string
	var records []*kgo.Record
	for name, w := range wrap {
		role := "arn:role/" + name
		for i := range 3 {
			records = append(records, &kgo.Record{Value: w(assume(fmt.Sprintf("%s-%d", name, i), role, fmt.Sprintf("192.0.2.%d", i), noon))})
		}
		want = append(want, "assume_role_unique_ip "+name+"-1", "assume_role_unique_ip "+name+"-2")
	}
	// Concatenated: several events of one record, the first trusted, the others not.
	both := assume("c-0", "arn:c", "192.0.2.0", noon) + assume("c-1", "arn:c", "192.0.2.1", noon) + "\n" + assume("c-2", "arn:c", "192.0.2.2", noon)
	records = append(records, &kgo.Record{Value: []byte(both)})
	want = append(want, "assume_role_unique_ip c-1", "assume_role_unique_ip c-2")
	r.send(records...)
	r.drain()
	r.wantAlerts(want)
	if letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter); len(letters) > 0 {
		t.Errorf("%d dead letters, the first with reason %q; want none", len(letters), header(letters[0], "reason"))
	}
}
