package cloudtrail

import (
	"slices"
	"testing"
)

func TestSkipReasons(t *testing.T) {
	for _, c := range slices.Concat(envelopes, poison) {
		Decode([]byte(c.record), func(_ *Event, err error) bool {
			if err == nil {
				return true
			}
			reason := err.(*DecodeError).Reason
			if want := slices.ContainsFunc(envelopes, func(e recordCase) bool { return e.name == c.name }); slices.Contains(SkipReasons(), reason) != want {
				t.Errorf("%s: SkipReasons() has %q: %v; want %v", c.name, reason, !want, want)
			}
			return true
		})
	}
}
