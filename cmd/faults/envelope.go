package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// envelope puts the events into one record value, in one of the forms in which they come.
func (w *workload) envelope(events [][]byte) []byte {
	list := bytes.Join(events, []byte(","))
	switch n := w.rng.IntN(100); {
	case n < 60 && len(events) == 1:
		return events[0]
	case n < 64 && len(events) == 1:
		return []byte(indented(events[0]))
	case n < 70 && len(events) == 1:
		return jsonf(`{"version":"0","id":%q,"detail-type":"AWS API Call via CloudTrail","source":"aws.s3","region":"eu-west-1","resources":[],"detail":%s}`, w.uuid(), events[0])
	case n < 73 && len(events) == 1:
		return quoted(events[0])
	case n < 76:
		return jsonf(`{"Type":"Notification","MessageId":%q,"Message":%s}`, w.uuid(), quoted(jsonf(`{"Records":[%s]}`, list)))
	case n < 79:
		return jsonf("[%s]", list)
	case n < 82:
		return bytes.Join(events, []byte("\n"))
	case n < 84:
		return bytes.Join(events, nil)
	case n < 88:
		return w.subscription(events)
	case n < 91:
		return w.gzip(w.subscription(events))
	case n < 94:
		return w.gzip(jsonf(`{"Records":[%s]}`, list))
	case n < 95:
		return []byte(base64.StdEncoding.EncodeToString(w.gzip(bytes.Join(events, []byte("\n")))))
	}
	return jsonf(`{"Records":[%s]}`, list)
}

func indented(event []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, event, "", "\t"); err != nil {
		panic("workload: an event that is no JSON: " + err.Error())
	}
	return b.String()
}

// quoted is the text as a JSON string.
func quoted(text []byte) []byte {
	b, err := json.Marshal(string(text))
	if err != nil {
		panic("workload: a string that is no JSON: " + err.Error())
	}
	return b
}

// subscription is a message of a CloudWatch Logs subscription.
func (w *workload) subscription(events [][]byte) []byte {
	var entries [][]byte
	for i, event := range events {
		entries = append(entries, jsonf(`{"id":"%d","timestamp":946684800000,"message":%s}`, i, quoted(event)))
	}
	return jsonf(`{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"CloudTrail","logStream":"s","subscriptionFilters":["f"],"logEvents":[%s]}`,
		bytes.Join(entries, []byte(",")))
}

func (w *workload) gzip(text []byte) []byte {
	var b bytes.Buffer
	w.packer.Reset(&b)
	if _, err := w.packer.Write(text); err != nil {
		panic("workload: write to memory: " + err.Error())
	}
	if err := w.packer.Close(); err != nil {
		panic("workload: write to memory: " + err.Error())
	}
	return b.Bytes()
}

// chaff is a record value without an event, which the product only counts.
func (w *workload) chaff() []byte {
	switch w.rng.IntN(5) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return []byte(`{"Records":[]}`)
	case 3:
		return []byte(`{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}`)
	}
	return []byte(`{"awsAccountId":"111122223333","digestStartTime":"2000-01-01T00:00:00Z","digestEndTime":"2000-01-01T01:00:00Z","logFiles":[]}`)
}

// poison is a record that belongs, as a whole, into the dead-letter topic. Good events in it count all the same.
func (w *workload) poison(c *cell) []byte {
	who, what := w.somePrincipal(c), w.someRole(c)
	good := w.ordinary(who, what).json()
	switch w.rng.IntN(7) {
	case 0:
		return []byte("GET /" + w.uuid() + " HTTP/1.1")
	case 1:
		return good[:len(good)/2]
	case 2:
		packed := w.gzip(good)
		return packed[:len(packed)/2]
	case 3:
		return jsonf(`{"greeting":"hello","id":%q}`, w.uuid())
	case 4:
		return w.withTime(who, "").json()
	case 5:
		return w.withTime(who, "yesterday").json()
	}
	return jsonf(`{"Records":[%s,%s,17,%s,%s]}`, w.denial(who).json(), w.withTime(who, "").json(), w.assume(what).json(), w.withTime(who, "2000-02-30T00:00:00Z").json())
}

// withTime is a denial that would count if it had a time.
func (w *workload) withTime(who *principal, at string) *made {
	e := w.event()
	e.Identity, e.ErrorCode, e.Time = who.identity, "AccessDenied", at
	return e
}
