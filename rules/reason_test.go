package rules

import (
	"slices"
	"testing"
)

func TestReasonSkip(t *testing.T) {
	for _, c := range slices.Concat(envelopes, poison) {
		Decode([]byte(c.record), func(_ *Event, err error) bool {
			if err == nil {
				return true
			}
			reason := err.(*DecodeError).Reason
			if want := slices.ContainsFunc(envelopes, func(e recordCase) bool { return e.name == c.name }); reason.Skip() != want {
				t.Errorf("%s: Reason(%q).Skip() = %v; want %v", c.name, reason, !want, want)
			}
			return true
		})
	}
}
