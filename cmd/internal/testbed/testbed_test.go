package testbed

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var values []time.Duration
	for n := 20; n > 0; n-- {
		values = append(values, time.Duration(n))
	}
	for at, want := range map[float64]time.Duration{0.5: 10, 0.95: 19, 1: 20} {
		if got := Quantile(values, at); got != want {
			t.Errorf("quantile %g of 1 to 20 = %d, want %d", at, got, want)
		}
	}
	if got := Quantile(values[:1], 0.5); got != 20 {
		t.Errorf("quantile of one value = %d", got)
	}
}
