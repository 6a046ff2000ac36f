package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
	"trailhound/rules"
)

// takes sets the max.message.bytes of a topic.
func (r *rig) takes(name string, bytes int) {
	r.Helper()
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res, cfg := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, name
	cfg.Name, cfg.Value = "max.message.bytes", kmsg.StringPtr(strconv.Itoa(bytes))
	res.Configs = append(res.Configs, cfg)
	alter.Resources = append(alter.Resources, res)
	resp, err := alter.RequestWith(r.Context(), r.produce)
	if err == nil {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		r.Fatalf("set max.message.bytes of %s: %v", name, err)
	}
	r.await("the new limit", func() bool {
		infos, err := topic.Describe(r.Context(), r.client, name)
		return err == nil && infos[name].Config["max.message.bytes"] == strconv.Itoa(bytes)
	})
}

// inflated is an event with a field of size bytes that do not compress.
func inflated(event string, size int) string {
	noise := fmt.Appendf(nil, `{"userAgent":"%x`, noise((size+1)/2))
	return string(noise[:len(noise)-len(noise)%2]) + `",` + event[1:]
}

// denied is an AccessDenied event as JSON.
func denied(id, who string) string {
	return string(attempt{id: id, who: who, ip: "192.0.2.1", at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}.json())
}

// Any result of one event, a work record, a change of state, an alert or a dead letter, may
// be too large for its topic: that is an outcome of this event, and the events behind it
// have theirs. PROTOCOL D6, FAILURES 22.
func TestServiceTooLargeForATopic(t *testing.T) {
	t.Parallel()
	big := inflated(assume("big", "arn:r", "192.0.2.99", noon), 900_000)
	long := func(id string) string { return denied(id+strings.Repeat("x", 500-len(id)), "arn:u") }
	for _, c := range []struct {
		name   string
		limits func(topic.App) map[string]int
		events []string
		alerts []string // besides those of the last event
		letter string   // reason of the dead letter; "": none
	}{
		{name: "900 KB", events: []string{big}, alerts: []string{"assume_role_unique_ip big"}},
		{
			name: "work", limits: func(a topic.App) map[string]int { return map[string]int{a.WorkTopic(): 20_000} },
			events: []string{big}, letter: "event_too_large",
		}, {
			name: "alerts", limits: func(a topic.App) map[string]int { return map[string]int{a.Alerts: 20_000} },
			events: []string{inflated(assume("big", "arn:r", "192.0.2.99", noon), 100_000)}, alerts: []string{"assume_role_unique_ip big"}, // without its event
		}, {
			name: "changes", limits: func(a topic.App) map[string]int { return map[string]int{a.StateTopic(): 4_000} },
			events: []string{long("0"), long("1"), long("2"), long("3"), long("4"), long("5"), long("6"), long("7"), long("8")}, letter: "output_rejected",
		}, {
			name: "dead letters", limits: func(a topic.App) map[string]int { return map[string]int{a.DeadLetter: 2_000} },
			events: []string{strings.Replace(big, noon, "junk", 1)}, letter: "bad_event_time",
		}, {
			name: "dead letters of the detector", limits: func(a topic.App) map[string]int { return map[string]int{a.DeadLetter: 2_000} },
			events: []string{inflated(assume("key", "arn:"+strings.Repeat("k", 3000), "192.0.2.1", noon), 900_000)}, letter: "key_too_long",
		}, {
			name: "dead letters, many errors", limits: func(a topic.App) map[string]int { return map[string]int{a.DeadLetter: 2_000} },
			events: []string{`{"Records":[` + strings.Repeat(`{"eventVersion":"1"},`, 500) + `7]}`}, letter: "no_event_time",
		}, {
			name: "key of 2 KiB", events: []string{denied("key", strings.Repeat("k", 2049))}, letter: "key_too_long",
		}, {
			name: "id of an event", events: []string{denied(strings.Repeat("i", 513), "arn:u")}, letter: "value_too_large",
		}, {
			name: "address", events: []string{assume("ip", "arn:other", strings.Repeat("9", 2049), noon)}, letter: "member_too_long",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 1)
			if c.limits != nil {
				for name, bytes := range c.limits(r.app) {
					r.takes(name, bytes)
				}
			}
			r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
			for _, e := range c.events {
				r.sendBatch(zstdBatch(t, nil, []byte(e)))
			}
			r.send(&kgo.Record{Value: []byte(assume("after", "arn:r", "192.0.2.1", noon))})
			r.start("only", disk(), nil)
			r.drain()
			r.wantAlerts(append(c.alerts, "assume_role_unique_ip after"))
			r.wantLetters(c.letter, c.events[len(c.events)-1])
		})
	}
}

// wantLetters checks that all dead letters have that reason, and that the last of them has
// the part of the value that fits.
func (r *rig) wantLetters(reason, value string) {
	r.Helper()
	letters := kafkatest.ReadCommitted(r.TB, r.brokers, r.app.DeadLetter)
	if (len(letters) == 0) != (reason == "") {
		r.Errorf("%d dead letters; want any: %t", len(letters), reason != "")
	}
	for _, l := range letters {
		if got := header(l, "reason"); got != reason {
			r.Errorf("a dead letter has reason %q (%.100s); want %q", got, header(l, "detail"), reason)
		}
		if !strings.HasPrefix(value, string(l.Value)) && len(letters) == 1 {
			r.Errorf("the dead letter has %d bytes %.60q; want the first bytes of %.60q", len(l.Value), l.Value, value)
		}
		if cut := header(l, "truncated_from"); len(l.Value) < len(value) && len(letters) == 1 && cut != strconv.Itoa(len(value)) {
			r.Errorf("the dead letter has %d of %d bytes and truncated_from %q; want it said", len(l.Value), len(value), cut)
		}
		if errs := header(l, "errors"); errs != "" && !json.Valid([]byte(errs)) {
			r.Errorf("the dead letter's errors are %q; want JSON", errs)
		}
	}
}

// A topic with a limit lowered since the start may refuse even the dead letter of a single
// event. No repetition mends that, so the instance stops with the remedy, instead of taking
// the shard again as fast as it can.
func TestServiceRefusedDeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
	r.drain()
	r.takes(r.app.DeadLetter, 100)
	r.send(&kgo.Record{Value: []byte(denied("key", strings.Repeat("k", 2049)))})
	in.wantStop(r.app.DeadLetter, "max.message.bytes was lowered")
}

// The evidence of a principal that is denied without end, with event ids as long as they
// may be, is bounded by the newest hundred.
func TestServiceEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	const n = 3000
	r := newRig(t, 1, 1)
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Value: []byte(denied(fmt.Sprintf("%0512d", i), "arn:u"))})
	}
	r.send(records...)
	r.start("only", disk(), func(s *consumer.Service) {
		rule := rules.NewAccessDenied()
		rule.Threshold = n
		e, err := rules.NewEngine([]rules.Active{{Rule: rule}}, rules.Limits{MaxAlertBytes: 900_000})
		if err != nil {
			t.Fatal(err)
		}
		s.Engine = e
	})
	r.drain()
	alerts := kafkatest.ReadCommitted(t, r.brokers, r.app.Alerts)
	if len(alerts) != 1 {
		t.Fatalf("%d alerts; want 1", len(alerts))
	}
	var a struct {
		Evidence struct {
			Total  int
			Events []struct {
				EventID string `json:"event_id"`
			}
		}
	}
	if err := json.Unmarshal(alerts[0].Value, &a); err != nil {
		t.Fatal(err)
	}
	if newest := fmt.Sprintf("%0512d", n-1); a.Evidence.Total != n || len(a.Evidence.Events) != 100 || a.Evidence.Events[99].EventID != newest {
		t.Errorf("the alert has evidence of %d events, %d of them listed; want %d and the newest 100", a.Evidence.Total, len(a.Evidence.Events), n)
	}
	for _, rec := range kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic()) {
		if len(rec.Value) > 16<<10 {
			t.Errorf("a change of %d bytes; want some KiB however many events are counted", len(rec.Value))
		}
	}
}

// The router evaluates a record with a quarter of a million events in many steps, and lists
// their errors in one dead letter.
func TestServiceManyEventsInARecord(t *testing.T) {
	t.Parallel()
	const n = 250_000
	r := newRig(t, 1, 4)
	r.takes(r.app.Inputs[0], 8<<20)
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i := range n {
		if i%10_000 == 0 {
			b.WriteString(assume(fmt.Sprint(i), "arn:r", fmt.Sprint("192.0.2.", i/10_000), noon) + ",")
		} else {
			b.WriteString(`{"eventName":"x","eventSource":"y","eventTime":"2026-03-01T12:00:00Z"},`)
		}
	}
	b.WriteString(`{"eventVersion":"1"}]}`)
	r.sendBatch(batch(t, zipped(t, b.String())))
	r.send(&kgo.Record{Value: []byte(assume("after", "arn:r", "192.0.2.200", noon))})
	r.start("only", disk(), nil)
	r.drain()
	want := []string{"assume_role_unique_ip after"}
	for i := 10_000; i < n; i += 10_000 {
		want = append(want, fmt.Sprint("assume_role_unique_ip ", i))
	}
	r.wantAlerts(want)
	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	if len(letters) != 1 || header(letters[0], "source_index") != strconv.Itoa(n) {
		t.Errorf("%d dead letters; want one, of event %d", len(letters), n)
	}
}
