package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"trailhound/config"
	"trailhound/rules"
)

// Neither of the rooms config and rules may import the other; what both write of a duration is the same all the same.
func TestDurationsAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "d"))
		if unit := rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute, time.Hour}).Draw(t, "unit"); unit > 1 {
			d = (d % (1000 * time.Hour)).Truncate(unit)
		}
		if got, want := rules.FormatDuration(d), config.FormatDuration(d); got != want {
			t.Fatalf("rules.FormatDuration(%d) = %s; want %s, as config has it", d, got, want)
		}
	})
}
