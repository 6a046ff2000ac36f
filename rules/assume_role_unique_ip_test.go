package rules

import (
	"fmt"
	"testing"
	"time"

	"trailhound/state"
)

// With a full set of addresses each event from an unseen one went to the dead-letter topic
// as set_full, and none was an alert: the rule was off for a role with that many addresses,
// such as one of hosted CI runners.
func TestAssumeRoleFullSet(t *testing.T) {
	rule := NewAssumeRoleUniqueIP()
	rule.Remember = true
	f := newFeeder(t, defaultLimits, Active{Rule: rule})
	f.tx.Discard()
	f.tx = newShard(t, state.Options{MaxSetMembers: 3}).Begin()
	alerts := 0
	for i := range 6 {
		record := fmt.Sprintf(`{"eventVersion":"1.11","eventTime":%q,"eventName":"AssumeRole","sourceIPAddress":"192.0.2.%d","requestParameters":{"roleArn":"r"}}`,
			time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC).Format(time.RFC3339), i)
		f.feed([]byte(record), func(_ *Event, _ []Rejection, out Outcome) {
			if len(out.Rejected) != 0 {
				t.Errorf("event %d was rejected: %+v; want an answer", i, out.Rejected)
			}
			alerts += len(out.Alerts)
		})
	}
	if alerts != 5 {
		t.Errorf("%d alerts of six addresses with room for three; want 5, one for each but the first", alerts)
	}
}

type fragileID struct{ *AssumeRoleUniqueIP }

func (fragileID) EventID(*Event) string { panic("no id") }

// EventID is a rule's own code; a panic in it rejects that event only.
func TestEventIDPanics(t *testing.T) {
	f := newFeeder(t, defaultLimits, Active{Rule: fragileID{NewAssumeRoleUniqueIP()}})
	f.feed([]byte(`{"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z","eventName":"AssumeRole","sourceIPAddress":"192.0.2.1","requestParameters":{"roleArn":"r"}}`), func(_ *Event, _ []Rejection, out Outcome) {
		if len(out.Rejected) != 1 || out.Rejected[0].Reason != ReasonRulePanic || out.Verdicts[0].Kind != VerdictRejected {
			t.Errorf("outcome of a panic in EventID = %+v; want a rejection as %s", out, ReasonRulePanic)
		}
	})
}
