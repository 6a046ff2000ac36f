package rules

import (
	"bytes"
	"testing"
)

// The limit of the alerts topic bounds an alert as the configuration does, the lower of
// both, in the same order; and the same limit makes the same alert.
func TestLimitAlerts(t *testing.T) {
	for _, c := range []struct{ configured, published, want int }{
		{0, 0, 0}, {1 << 20, 0, 1 << 20}, {0, 4096, 4096}, {1 << 20, 4096, 4096}, {4096, 1 << 20, 4096},
	} {
		e := &Engine{ruleSet: &ruleSet{limits: Limits{MaxAlertBytes: c.configured}}}
		e.LimitAlerts(c.published)
		for name, e := range map[string]*Engine{"itself": e, "its clone": e.Clone()} {
			if got := e.maxAlertBytes(); got != c.want {
				t.Errorf("with %d configured and %d published, an alert of the engine %s has at most %d bytes; want %d", c.configured, c.published, name, got, c.want)
			}
		}
	}
}

func TestAlertsOfALimitedEngine(t *testing.T) {
	alert := func(configured, published int) Outcome {
		f := newFeeder(t, Limits{MaxAlertBytes: configured}, newProbe("count", counting))
		f.engine.LimitAlerts(published)
		ev := eventAt("a", 0)
		ev.Raw = []byte(`{"eventID":"a","padding":"0123456789012345678901234567890123456789"}`)
		_, out := f.event(ev)
		return out
	}
	a := alert(0, 0).Alerts[0]
	less := len(a.Payload) + len(a.Dedup) - 1
	if got, want := alert(1<<20, less).Alerts[0].Payload, alert(less, 0).Alerts[0].Payload; !bytes.Equal(got, want) {
		t.Errorf("an alert limited by its topic is %s; want that of the same limit in the configuration, %s", got, want)
	}
	if got, want := summary(t, alert(1<<20, 100)), "count rejected (count alert_too_large)"; got != want {
		t.Errorf("Evaluate for a topic that takes 100 bytes = %s; want %s", got, want)
	}
}
