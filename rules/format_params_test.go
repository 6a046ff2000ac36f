package rules

import (
	"fmt"
	"testing"
	"time"

	"trailhound/state"
)

// The promises of deploy/upgrades.md on parameters that change while there is state: a
// window that has begun keeps its end, a threshold holds at once, a rule that is off loses
// the events that come meanwhile and finds its old state.
func TestParametersChangeWithLiveState(t *testing.T) {
	shard := newShard(t, state.Options{})
	n := 0
	deny := func(rule *AccessDenied, at time.Duration) string {
		t.Helper()
		ev := eventAt(fmt.Sprintf("e%d", n), at)
		n++
		ev.ErrorCode, ev.Identity.ARN, ev.Raw = "AccessDenied", "arn", []byte(`{}`)
		active := []Active{newProbe("other", never)}
		if rule != nil {
			active = append(active, Active{Rule: rule})
		}
		tx := shard.Begin()
		out := mustEngine(t, active...).Evaluate(ev, []Match{{Rule: AccessDeniedID, Key: "arn"}}, tx)
		got := summary(t, out)
		if err := tx.Apply(int64(n)); err != nil {
			t.Fatal(err)
		}
		return got
	}
	with := func(threshold int64, window time.Duration) *AccessDenied {
		return &AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: threshold, Window: window}
	}
	for _, step := range []struct {
		what string
		rule *AccessDenied
		at   time.Duration
		want string
	}{
		{"the first of a window of an hour", with(3, time.Hour), 0, "access_denied evaluated"},
		{"the window is two hours now, but this one ends after one", with(2, 2*time.Hour), 61 * time.Minute, "access_denied evaluated"},
		{"off", nil, 62 * time.Minute, "access_denied unknown_rule"},
		{"on again, with a window of a minute: the one of two hours goes on", with(3, time.Minute), 63 * time.Minute, "access_denied evaluated"},
		{"a lower threshold holds at once", with(2, time.Hour), 64 * time.Minute, `access_denied alerted "arn was denied 3 times in 3m"`},
	} {
		if got := deny(step.rule, step.at); got != step.want {
			t.Errorf("%s: %s; want %s", step.what, got, step.want)
		}
	}
}
