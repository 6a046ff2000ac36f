package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// ramp is samples every 100 ms of a child that starts after a second, reads 1,000 records per sample, and then waits.
func ramp() (all []sample) {
	for i := range 40 {
		n := float64(min(max(0, i-10)*1000, 20_000))
		cpu := figure(n / 1e4)
		all = append(all, sample{
			at: time.Duration(i) * 100 * time.Millisecond, records: n,
			child: cpu, broker: cpu / 2, self: cpu / 4, whole: 2 * cpu,
		})
	}
	return all
}

// Start and end are left out: an average over all of it would be 20,000 records in 3.9 s, half the rate.
func TestSteady(t *testing.T) {
	s, ok := steady(ramp(), 2000, 18_000)
	if !ok || s.records != 16_000 || math.Abs(s.seconds-1.6) > 1e-9 || math.Abs(float64(s.rate())-10_000) > 1e-6 {
		t.Errorf("steady = %+v, %t; want 16000 records in 1.6 s", s, ok)
	}
	if cpu := s.perMillion(s.child); math.Abs(float64(cpu)-100) > 1e-6 {
		t.Errorf("CPU of the child = %g s per million; want 100", cpu)
	}
	if math.Abs(float64(s.others)-1.6*0.25) > 1e-9 {
		t.Errorf("CPU of others = %g s; want %g", s.others, 1.6*0.25)
	}
	s, ok = steady(ramp(), 0, 20_000)
	if !ok || math.Abs(s.seconds-3) > 1e-9 {
		t.Errorf("steady of everything = %+v, %t; want the 3.0 s until the last record, not what comes after", s, ok)
	}
}

// TestSteadyIsNotGuessed: a rate that was not measured must not be told.
func TestSteadyIsNotGuessed(t *testing.T) {
	all := ramp()
	for name, of := range map[string][]sample{"nothing": nil, "one sample": all[:1], "too fast": {all[0], all[39]}, "not finished": all[:20]} {
		if s, ok := steady(of, 2000, 18_000); ok {
			t.Errorf("steady of %s = %+v; want none", name, s)
		}
	}
}

func TestSum(t *testing.T) {
	m := map[string]float64{`a_total{p="0"}`: 1, `a_total{p="1"}`: 2, "a_total": 4, `a_total_more{p="0"}`: 8, "b": 16}
	if got := sum(m, "a_total"); got != 7 {
		t.Errorf("sum = %g; want 7", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []figure
		want   figure
	}{{[]figure{3}, 3}, {[]figure{9, 1, 5}, 5}, {[]figure{4, 1, 3, 2}, 2.5}, {[]figure{unknown, 7, unknown}, 7}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %g; want %g", tt.values, got, tt.want)
		}
	}
	if got := median([]figure{unknown}); got.known() {
		t.Errorf("median of nothing known = %g; want unknown", got)
	}
	values := []figure{3, 1, 2}
	if median(values); values[0] != 3 {
		t.Errorf("median has sorted what it was given: %v", values)
	}
}

func TestFigure(t *testing.T) {
	for _, tt := range []struct {
		f        figure
		decimals int
		want     string
	}{{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.891, 2, "1,234,567.89"}, {-1234, 1, "-1,234.0"}, {unknown, 2, "–"}, {figure(math.Inf(1)), 0, "–"}} {
		if got := tt.f.text(tt.decimals); got != tt.want {
			t.Errorf("figure(%g).text(%d) = %q; want %q", tt.f, tt.decimals, got, tt.want)
		}
	}
	if got, err := json.Marshal([]figure{1.5, unknown}); err != nil || string(got) != "[1.5,null]" {
		t.Errorf("JSON = %s, %v; want [1.5,null]", got, err)
	}
}

func TestTable(t *testing.T) {
	tab := newTable("Heading", "what", "n", "more")
	tab.row("a–b", "1,000", "")
	tab.row("longer", "7", "x")
	var out strings.Builder
	if err := tab.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "Heading\n" +
		"what        n  more\n" +
		"a–b     1,000\n" +
		"longer      7     x\n"
	if out.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestResidents(t *testing.T) {
	all := ramp()
	for i := range all {
		all[i].resident = figure(i)
	}
	all[30].resident = unknown
	if least, most := residents(all); least != 8 || most != 39 {
		t.Errorf("residents = %g to %g; want 8 to 39", least, most)
	}
	if mb := series(all); len(mb) != 4 || mb[1] != 10 || mb[3].known() {
		t.Errorf("series = %v; want 0, 10, 20 and one that is unknown", mb)
	}
}

func TestAnswer(t *testing.T) {
	var a, b, c answer
	for _, id := range []string{"1", "2", "2"} {
		mustAdd(t, &a, id)
	}
	for _, id := range []string{"2", "1", "2"} {
		mustAdd(t, &b, id)
	}
	for _, id := range []string{"1", "1", "2"} {
		mustAdd(t, &c, id)
	}
	if a != b || a == c {
		t.Errorf("answers %v and %v are the same but for their order, and %v is another one", a, b, c)
	}
	if err := a.add([]byte(`{"no":"alert"}`)); err == nil {
		t.Error("something without an id is taken for an alert")
	}
}

func mustAdd(t *testing.T, a *answer, id string) {
	t.Helper()
	if err := a.add([]byte(`{"id":"` + id + `"}`)); err != nil {
		t.Fatal(err)
	}
}
