package duration_test

import (
	"testing"
	"time"

	"trailhound/config/duration"
)

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 100 * time.Hour: "100h",
		time.Hour + time.Second: "1h0m1s", 90 * time.Minute: "1h30m", 1500 * time.Millisecond: "1.5s", -time.Hour: "-1h",
	} {
		if got := duration.Format(d); got != want {
			t.Errorf("Format(%s) = %q; want %q", d, got, want)
		}
	}
}
