package rules

import (
	"fmt"
	"slices"
	"testing"
)

// A rule of panther-analysis keyed by a field that some events lack, and put "unknown" in
// its place: denials of actors that have nothing to do with each other were counted
// together, and made alerts without an actor (issue 417). Here an event that names no actor
// has no key. It is counted as no_key, is not evaluated, and does not disturb the count of
// a named actor.
func TestFailure17UnknownActorsMerge(t *testing.T) {
	f := newFeeder(t, defaultLimits, defaultRules()...)
	nobody := []string{
		``, `"userIdentity":null,`, `"userIdentity":{},`, `"userIdentity":{"type":"Unknown"},`, `"userIdentity":"unknown",`,
		`"userIdentity":{"type":"IAMUser","arn":"","principalId":"","accountId":""},`, `"userIdentity":{"arn":null,"accountId":7},`,
	}
	var alerts []string
	unkeyed := 0
	deny := func(id, identity string) {
		record := fmt.Sprintf(`{"eventVersion":"1.10","eventID":%q,"eventTime":"2026-03-01T12:00:00Z","eventName":"GetObject","errorCode":"AccessDenied",%s"sourceIPAddress":"192.0.2.1"}`, id, identity)
		f.feed([]byte(record), func(_ *Event, rejected []Rejection, out Outcome) {
			for _, r := range rejected {
				if r.Reason != ReasonNoKey || !Skip(r.Reason) {
					t.Errorf("event %s was rejected as %s; want %s, which is counted only", id, r.Reason, ReasonNoKey)
				}
				unkeyed++
			}
			for _, a := range out.Alerts {
				alerts = append(alerts, id+" "+decodeAlert(t, a.Payload).Key)
			}
		})
	}
	for i := range 10 {
		for j, identity := range nobody {
			deny(fmt.Sprint("nobody-", i, "-", j), identity)
		}
		deny(fmt.Sprint("somebody-", i), `"userIdentity":{"arn":"arn:u"},`)
		if i < 9 { // as often as makes no alert
			deny(fmt.Sprint("namesake-", i), `"userIdentity":{"principalId":"unknown"},`)
		}
	}
	if want := []string{"somebody-9 arn:u"}; !slices.Equal(alerts, want) {
		t.Errorf("alerts %q; want %q: nobody's denials are not those of one actor", alerts, want)
	}
	if want := 10 * len(nobody); unkeyed != want {
		t.Errorf("%d events were counted as %s; want %d", unkeyed, ReasonNoKey, want)
	}
}
