// Package duration has the one form in which a duration is written: in the configuration,
// in alerts, in errors and in logs. It imports nothing of ours, and every room may import it.
package duration

import (
	"strings"
	"time"
)

// Format returns d as [time.Duration.String] has it, without the parts that are zero at
// its end: 1h, not 1h0m0s; 1h30m, 24h, 10s. The configuration reads this form.
func Format(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
