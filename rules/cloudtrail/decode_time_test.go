package cloudtrail

import (
	"testing"
	"time"
)

var timeCases = []struct {
	in   string
	want string // "": refused
}{
	{"2026-03-01T10:07:12Z", "2026-03-01T10:07:12Z"},
	{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"},
	{"2262-04-11T23:47:15.999999999Z", "2262-04-11T23:47:15.999999999Z"},
	{"2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"},
	{"2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"},
	{"2026-03-01T10:07:12.5Z", "2026-03-01T10:07:12.5Z"},
	{"2026-03-01T10:07:12.000000000Z", "2026-03-01T10:07:12Z"},
	{"2026-03-01T10:07:12.123456789999Z", "2026-03-01T10:07:12.123456789Z"},
	{"2026-03-01T01:07:12+02:30", "2026-02-28T22:37:12Z"},
	{"2026-12-31T23:07:12.25-01:00", "2027-01-01T00:07:12.25Z"},
	{"2026-01-21 17:49:47.000000000", "2026-01-21T17:49:47Z"}, // Athena
	{"2026-01-21 17:49:47.5", "2026-01-21T17:49:47.5Z"},
	{"2026-01-21 17:49:47", "2026-01-21T17:49:47Z"},
	{"2026-01-21 17:49:47Z", "2026-01-21T17:49:47Z"},
	{"2026-01-21 17:49:47-01:00", "2026-01-21T18:49:47Z"},
	{"2026-01-21 17:49:47 UTC", ""},
	{"2026-01-21 17:49:47.", ""},
	{"2026-01-21 17:49", ""},
	{"2026-01-21_17:49:47", ""},
	{"1970-01-01T00:00:00+00:01", ""},
	{"2262-04-11T23:47:16Z", ""},
	{"2023-02-29T00:00:00Z", ""},
	{"2100-02-29T00:00:00Z", ""},
	{"2026-04-31T00:00:00Z", ""},
	{"2026-00-01T00:00:00Z", ""},
	{"2026-13-01T00:00:00Z", ""},
	{"2026-03-00T00:00:00Z", ""},
	{"2026-03-01T24:00:00Z", ""},
	{"2026-03-01T00:60:00Z", ""},
	{"2026-03-01T00:00:60Z", ""},
	{"2026-03-01T00:00:00", ""},
	{"2026-03-01T00:00:00z", ""},
	{"2026-03-01T00:00:00.Z", ""},
	{"2026-03-01T00:00:00,5Z", ""},
	{"2026-03-01T1:00:00Z", ""},
	{"2026-03-01T00:00:00+24:00", ""},
	{"2026-03-01T00:00:00+00:60", ""},
	{"2026-03-01T00:00:00+0000", ""},
	{"2026-03-01T00:00:00ZZ", ""},
	{"+026-03-01T00:00:00Z", ""},
	{"2026-03-01T0x:00:00Z", ""},
	{"1772359200", ""},
	{"", ""},
}

func TestParseTime(t *testing.T) {
	for _, c := range timeCases {
		got, ok := parseTime(c.in)
		if c.want == "" {
			if ok {
				t.Errorf("parseTime(%q) = %v; want it refused", c.in, got)
			}
			continue
		}
		want, err := time.Parse(time.RFC3339Nano, c.want)
		if err != nil {
			t.Fatal(err)
		}
		if !ok || got != want {
			t.Errorf("parseTime(%q) = %v, %v; want %v", c.in, got, ok, want)
		}
	}
}

// TestParseTimeEveryDay goes over all days that can be told.
func TestParseTimeEveryDay(t *testing.T) {
	end := time.Unix(lastSecond, 0)
	for day := time.Unix(12*3600, 0).UTC(); day.Before(end); day = day.AddDate(0, 0, 1) {
		s := day.Format(time.RFC3339)
		if got, ok := parseTime(s); !ok || got != day {
			t.Fatalf("parseTime(%q) = %v, %v; want %v", s, got, ok, day)
		}
	}
}

// TestClock reads each time behind each other one: the time read before must not show.
func TestClock(t *testing.T) {
	var times []string
	for _, c := range timeCases {
		times = append(times, c.in)
	}
	times = append(times, "2262-04-11T23:47:00Z", "2262-04-11T23:46:59Z", "2026-03-01T10:07:00Z", "2026-03-01T10:07:1xZ", "2026-03-01T10:07:60Z", "2026-03-01T10:07x12Z", "2026-03-01T10:07:12z", "2026-03-01T01:07:12Z")
	for _, before := range times {
		for _, in := range times {
			var c clock
			c.read(before)
			want, wantOK := parseTime(in)
			if got, ok := c.read(in); got != want || ok != wantOK {
				t.Errorf("read(%q) behind %q = %v, %v; want %v, %v", in, before, got, ok, want, wantOK)
			}
		}
	}
}
