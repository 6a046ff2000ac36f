package config

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trailhound/config/duration"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"0": 0, "1h": time.Hour, "7d": 7 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "90d": 90 * day, " 1h ": time.Hour,
		"-1d1h": -25 * time.Hour, "1d0": day, "100000d": 100000 * day,
	} {
		if got, err := ParseDuration(s); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "1", "1d-1h", "--1h", "1h1d", "1dd", "1e3d", "1/2d", "200000d", "106751d24h", "1 d", "x"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want an error", s, got)
		}
	}
}

// TestParseFormattedDuration: a formatted duration is read as the same one.
func TestParseFormattedDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(math.MinInt64+1, math.MaxInt64).Draw(t, "d"))
		if got, err := ParseDuration(duration.Format(d)); got != d || err != nil {
			t.Fatalf("ParseDuration(duration.Format(%d)) = %d, %v; want the same", d, got, err)
		}
	})
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]Bytes{
		"0": 0, "10": 10, "10B": 10, "1KB": 1000, "1KiB": 1024, "256MiB": 256 << 20, "256 MB": 256e6, "2GB": 2e9, "1TiB": 1 << 40,
	} {
		if got, err := ParseBytes(s); got != want || err != nil {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "B", "-1", "1.5MiB", "1mb", "9999999TiB", "1KiBB"} {
		if got, err := ParseBytes(s); err == nil {
			t.Errorf("ParseBytes(%q) = %d; want an error", s, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := Bytes(rapid.Int64Min(0).Draw(t, "n"))
		if got, err := ParseBytes(n.String()); got != n || err != nil {
			t.Fatalf("ParseBytes(%s) = %d, %v; want %d", n, got, err, n)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"threshold", "window", "suppress", "error_codes"}
	for name, want := range map[string]string{
		"treshold": "threshold", "Threshold": "threshold", "threshodl": "threshold", "error-code": "error_codes", "windw": "window",
		"x": "", "colour": "", "": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q; want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}, {"brokers", "broker", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d; want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
