package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/rules"
	"trailhound/state"
)

// fragile is a rule with a bug that an event can set off.
type fragile struct{ *rules.AssumeRoleUniqueIP }

func (fragile) Info() rules.Info {
	return rules.Info{ID: "fragile", Title: "breaks", Severity: rules.SeverityLow}
}

func (fragile) Key(e *rules.Event) string {
	if e.Region != "" {
		panic(e.Region)
	}
	return e.Name
}

func (fragile) Evaluate(*rules.Event, *state.Scope) *rules.Finding { return nil }

// An event that makes a rule panic comes as often as its sender likes, in one record or in
// many. Each panic is counted, the dead letter lists the first ones, and neither memory nor
// the log takes more for a million than for a hundred.
func TestServiceRulePanicsWithoutEnd(t *testing.T) {
	t.Parallel()
	const n = 20_000
	r := newRig(t, 1, 1)
	bad := `{"eventVersion":"1","eventTime":"2026-03-01T12:00:00Z","awsRegion":"owned\nby\u001b[2J an attacker"},`
	r.send(&kgo.Record{Value: zipped(t, `{"Records":[`+strings.Repeat(bad, n)+assume("trusted", "arn:r", "192.0.2.0", noon)+`]}`)})
	for range 50 {
		r.send(&kgo.Record{Value: []byte(strings.TrimSuffix(bad, ","))})
	}
	r.send(&kgo.Record{Value: []byte(assume("after", "arn:r", "192.0.2.1", noon))})
	var log bytes.Buffer
	in := r.start("only", disk(), func(s *consumer.Service) {
		e, err := rules.NewEngine([]rules.Active{{Rule: fragile{rules.NewAssumeRoleUniqueIP()}}, {Rule: rules.NewAssumeRoleUniqueIP()}}, rules.Limits{MaxAlertBytes: 900_000})
		if err != nil {
			t.Fatal(err)
		}
		s.Engine, s.Log = e, zerolog.New(zerolog.SyncWriter(&log))
	})
	r.drain()
	in.shutdown()
	r.wantAlerts([]string{"assume_role_unique_ip after"})
	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	if len(letters) != 51 {
		t.Fatalf("%d dead letters; want one for each record", len(letters))
	}
	var errs []json.RawMessage
	if err := json.Unmarshal([]byte(header(letters[0], "errors")), &errs); err != nil || len(errs) != 100 {
		t.Errorf("the dead letter of %d events lists %d errors, %v; want 100", n, len(errs), err)
	}
	if strings.Contains(log.String(), "owned") {
		t.Errorf("the log holds what an event holds: %q", log.String())
	}
	if want := fmt.Sprintf(`"bad":%d,`, n); !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say %s: %q", want, log.String())
	}
	if n := strings.Count(log.String(), "dead-letter"); n > 10 {
		t.Errorf("the log has %d lines about dead letters; want a few: hostile input must not flood it", n)
	}
}
