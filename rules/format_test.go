package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"trailhound/state"
	"trailhound/state/formattest"
)

// alertVersion is the version that AlertSchema names.
const alertVersion = 1

// Readers of alerts have them for years, and read them by their names. A member more is no
// new version: give the sample that shows it another name, so that the one without it stays
// in the file. A member that goes, or says something else, is a new version.
func TestFormatOfAlerts(t *testing.T) {
	if want := fmt.Sprintf("trailhound.alert.v%d", alertVersion); AlertSchema != want {
		t.Fatalf("AlertSchema = %s; want %s: raise alertVersion, and keep deploy/alert.schema.json of the former version for its readers", AlertSchema, want)
	}
	var samples []formattest.Sample
	for name, a := range formatAlerts(t) {
		checkAlert(t, a)
		samples = append(samples, formattest.Sample{Name: name, Key: []byte(a.Dedup), Bytes: a.Payload})
	}
	slices.SortFunc(samples, func(a, b formattest.Sample) int { return strings.Compare(a.Name, b.Name) })
	formattest.Written(t, "alert", alertVersion, samples, meaningOfAlert)
	formattest.Read(t, "alert", alertVersion, meaningOfAlert)
}

// meaningOfAlert reads an alert as its published schema and its readers do.
func meaningOfAlert(s formattest.Sample) (string, error) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(s.Bytes)))
	if err == nil {
		err = alertSchema.Validate(value)
	}
	if err != nil {
		return "", err
	}
	m, ok := value.(map[string]any)
	if !ok {
		return "", fmt.Errorf("%T is no object", value)
	}
	return fmt.Sprintf("%s of %s: %s", m["id"], m["event_time"], m["title"]), nil
}

// formatAlerts is one alert of each shape that there is.
func formatAlerts(t *testing.T) map[string]Alert {
	t.Helper()
	out := make(map[string]Alert)
	keep := func(name string, o Outcome) {
		if len(o.Alerts) != 1 {
			t.Fatalf("%s: %d alerts; want 1", name, len(o.Alerts))
		}
		a := o.Alerts[0]
		a.Payload = slices.Clone(a.Payload)
		out[name] = a
	}
	feed := func(name string, rule Rule, events ...string) {
		f := newFeeder(t, defaultLimits, Active{Rule: rule})
		for i, ev := range events {
			f.feed([]byte(ev), func(_ *Event, _ []Rejection, o Outcome) {
				if i == len(events)-1 {
					keep(name, o)
				}
			})
		}
	}
	const account = `"awsRegion": "eu-west-1", "recipientAccountId": "111122223333", "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice"}}`
	denial := func(id, at string) string {
		return `{"eventID": "` + id + `", "eventTime": "` + at + `", "eventName": "GetObject", "eventSource": "s3.amazonaws.com", "errorCode": "AccessDenied", "sourceIPAddress": "192.0.2.1", ` + account
	}
	feed("access_denied", &AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 2, Window: time.Hour}, denial("denial-0", "2026-03-01T12:00:00Z"), denial("denial-1", "2026-03-01T12:01:30Z"))
	assume := func(id, address string) string {
		return `{"eventID": "` + id + `", "eventTime": "2026-03-01T12:00:00Z", "eventName": "AssumeRole", "eventSource": "sts.amazonaws.com", "sourceIPAddress": "` + address +
			`", "requestParameters": {"roleArn": "arn:aws:iam::111122223333:role/admin"}, ` + account
	}
	feed("assume_role_unique_ip", NewAssumeRoleUniqueIP(), assume("assume-0", "192.0.2.1"), assume("assume-1", "2001:db8::1"))
	bare := newFeeder(t, defaultLimits, newProbe("bare", func(*Event, *state.Scope) *Finding { return &Finding{Title: "bare"} }))
	_, o := bare.event(eventAt("bare-1", time.Millisecond))
	keep("without event and evidence", o)
	return out
}
