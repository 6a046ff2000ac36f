package rules

import (
	"slices"
	"testing"
	"time"
)

func TestChanges(t *testing.T) {
	describe := func(active ...Active) []byte {
		t.Helper()
		e, err := NewEngine(active, defaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		return e.Description()
	}
	denied := func(change func(*AccessDenied), o Options) Active {
		r := NewAccessDenied()
		change(r)
		return Active{Rule: r, Options: o}
	}
	before := describe(denied(func(*AccessDenied) {}, DefaultOptions()))
	for _, tt := range []struct {
		after []byte
		want  []Change
	}{
		{before, nil},
		{describe(denied(func(r *AccessDenied) { r.Window, r.ErrorCodes = 30*time.Minute, []string{"a", "b"} }, Options{Suppress: time.Hour})), []Change{
			{"access_denied", "error_codes", `["AccessDenied"]`, `["a","b"]`},
			{"access_denied", "ignore_aws_services", "true", "false"},
			{"access_denied", "suppress", "0s", "1h"},
			{"access_denied", "window", "1h", "30m"},
		}},
		{describe(Active{Rule: NewAssumeRoleUniqueIP()}), []Change{{"access_denied", "", "on", "off"}, {"assume_role_unique_ip", "", "off", "on"}}},
		{[]byte(`{"access_denied":{"threshold":10}}`), []Change{
			{"access_denied", "denied_family", "false", ""}, {"access_denied", "error_codes", `["AccessDenied"]`, ""}, {"access_denied", "ignore_aws_services", "true", ""},
			{"access_denied", "principal", "session", ""}, {"access_denied", "suppress", "0s", ""}, {"access_denied", "window", "1h", ""}, {"access_denied", "window_kind", "fixed", ""},
		}},
	} {
		if got, err := Changes(before, tt.after); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Changes(%s, %s) = %v, %v; want %v", before, tt.after, got, err, tt.want)
		}
	}
	if _, err := Changes(before, []byte("x")); err == nil {
		t.Error("Changes of what is no description = nil; want an error")
	}
}
