package admin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rs/zerolog"

	"trailhound/state"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// used returns metrics of which every series has been used.
func used() (*Metrics, *InputMetrics, *ShardMetrics) {
	m := NewMetrics("1.2.3")
	in := m.Input("cloudtrail", 3)
	in.Records.Inc()
	in.Events.Inc()
	in.Read(10, 40, 1000)
	in.Match("access_denied")
	in.Skipped("digest")
	in.DeadLetter("not_json")
	m.Resent("app.work")()
	s := m.Shard(7)
	s.Lag.Set(5)
	s.Repeats.Inc()
	s.Swept.Add(2)
	s.Fenced.Inc()
	s.Restoring(9)
	s.Restored()
	s.SetReady(true)
	s.Verdict("access_denied", "alerted")
	s.Alerted("access_denied", 400*time.Second, 3*time.Millisecond)
	m.Rebalanced()
	m.Part("input").Failures.Inc()
	m.Suppressed().Inc()
	log := zerolog.New(io.Discard).Hook(m.LogLevel(zerolog.InfoLevel))
	log.Info().Send()
	log.Debug().Send()
	m.Watch(Instance{
		Ready: func() error { return nil },
		Store: func() (state.Stats, error) {
			return state.Stats{
				DiskBytes: 1, DiskFreeBytes: 2, MemTableBytes: 3, CacheBytes: 4, CacheHits: 5, CacheMisses: 6, Flushes: 7, Compactions: 8,
				CompactionDebt: 9, ReadAmplification: 10, WriteStalls: 11, Shards: map[int]state.ShardStats{7: {Keys: 12, Bytes: 13}},
			}, nil
		},
	})
	s.Skipped("empty")
	s.DeadLetter("too_late")
	s.Evicted("assume_role_unique_ip", 1)
	s.Committed(3*time.Millisecond, 4, 500)
	return m, in, s
}

// exposition returns the lines of /metrics about the pipeline.
func exposition(t *testing.T, m *Metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("GET /metrics = %d %s; want 200", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "trailhound_") { // the others are of the Go runtime and the process, as everywhere
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// Names, types, labels and help texts do not change by accident: dashboards and alerts
// rely on them.
func TestMetricsReference(t *testing.T) {
	m, _, _ := used()
	got := strings.Join(exposition(t, m), "\n") + "\n"
	got = strings.ReplaceAll(got, goVersion(), "GO")
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("/metrics shows\n%s\nwant (run with -update after a change that is meant)\n%s", got, want)
	}
}

// Every field of Metrics shows up, once and with a help text: none was left out of the
// registry.
func TestMetricsAreAllRegistered(t *testing.T) {
	m, _, _ := used()
	help := make(map[string]int)
	for _, line := range exposition(t, m) {
		if name, text, ok := strings.Cut(strings.TrimPrefix(line, "# HELP "), " "); ok && strings.HasPrefix(line, "# HELP ") && text != "" {
			help[name]++
		}
	}
	for name, n := range help {
		if n != 1 {
			t.Errorf("%s is shown %d times; want once", name, n)
		}
	}
	// The field registry stands for build_info. An Instance adds its readiness and a figure for
	// each field of state.Stats; the field Shards has two.
	want := reflect.TypeFor[Metrics]().NumField() + 1 + reflect.TypeFor[state.Stats]().NumField() - 1 + reflect.TypeFor[state.ShardStats]().NumField()
	if len(help) != want {
		t.Errorf("%d metrics have a help text; want the %d of Metrics", len(help), want)
	}
}

// https://prometheus.io/docs/practices/naming/
func TestMetricsLint(t *testing.T) {
	m, _, _ := used()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
}

// value returns the value of a series, named as /metrics shows it.
func value(t *testing.T, m *Metrics, series string) (v float64, ok bool) {
	t.Helper()
	for _, line := range exposition(t, m) {
		if rest, found := strings.CutPrefix(line, "trailhound_"+series+" "); found {
			v, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				t.Fatalf("/metrics shows %q: %v", line, err)
			}
			return v, true
		}
	}
	return 0, false
}

func TestMetricsValues(t *testing.T) {
	m, in, s := used()
	in.Match("access_denied")
	s.Verdict("access_denied", "alerted")
	in.Read(50, 40, 24) // the end is as old as the fetch
	for series, want := range map[string]float64{
		`input_records_total{partition="3",topic="cloudtrail"}`:     1,
		`input_bytes_total{partition="3",topic="cloudtrail"}`:       1024,
		`input_lag_records{partition="3",topic="cloudtrail"}`:       0,
		`matches_total{rule="access_denied"}`:                       2,
		`evaluations_total{rule="access_denied",verdict="alerted"}`: 2,
		`skipped_total{reason="digest"}`:                            1,
		`dead_letters_total{reason="too_late"}`:                     1,
		`produce_retries_total{topic="app.work"}`:                   1,
		`alerts_total{rule="access_denied"}`:                        1,
		`alert_event_delay_seconds_sum{rule="access_denied"}`:       400,
		`alert_record_delay_seconds_sum{rule="access_denied"}`:      0.003,
		`rebalances_total`:                                     1,
		`failures_total{part="input"}`:                         1,
		`log_messages_total{level="info"}`:                     1,
		`log_suppressed_total`:                                 1,
		`ready`:                                                1,
		`state_keys{shard="7"}`:                                12,
		`state_bytes{shard="7"}`:                               13,
		`store_write_stalls_total`:                             11,
		`shard_ready{shard="7"}`:                               1,
		`restore_remaining_records{shard="7"}`:                 0,
		`restores_total{shard="7"}`:                            1,
		`commit_records_total{shard="7"}`:                      4,
		`commit_bytes_total{shard="7"}`:                        500,
		`commit_duration_seconds_count{shard="7"}`:             1,
		`commit_duration_seconds_bucket{shard="7",le="0.002"}`: 0,
		`commit_duration_seconds_bucket{shard="7",le="0.005"}`: 1,
	} {
		if got, ok := value(t, m, series); !ok || got != want {
			t.Errorf("%s = %v, %t; want %v, true", series, got, ok, want)
		}
	}
}

// The gauges of a partition or shard that was handed over are deleted: the new owner reports
// them, and a sum over instances would count a stale one too.
func TestMetricsOfWhatWasLetGo(t *testing.T) {
	m, in, s := used()
	s.Restoring(9)
	in.Close()
	s.Close()
	const lag = `input_lag_records{partition="3",topic="cloudtrail"}`
	for _, series := range []string{lag, `work_lag_records{shard="7"}`, `restore_remaining_records{shard="7"}`} {
		if v, ok := value(t, m, series); ok {
			t.Errorf("%s = %v after Close; want it gone", series, v)
		}
	}
	if v, ok := value(t, m, `shard_ready{shard="7"}`); !ok || v != 0 {
		t.Errorf("shard_ready = %v, %t after Close; want 0, true", v, ok)
	}
	if v, _ := value(t, m, `input_records_total{partition="3",topic="cloudtrail"}`); v != 1 {
		t.Errorf("input_records_total = %v after Close; want 1: counters never go back", v)
	}
	m.Input("cloudtrail", 3).Read(1, 5, 0)
	if v, ok := value(t, m, lag); !ok || v != 4 {
		t.Errorf("%s = %v, %t of a partition that came back; want 4, true", lag, v, ok)
	}
}

// Rule ids come out of the work topic and may be anything: the number of series stays
// bounded and nothing panics.
func TestMetricsHostileRules(t *testing.T) {
	m := NewMetrics("")
	s := m.Shard(0)
	const n = 5 * maxVerdicts
	for i := range n {
		s.Verdict(fmt.Sprintf("\xff\xfe%d\n\"{}", i), "unknown_rule")
	}
	if got := len(exposition(t, m)); got < maxVerdicts || got > maxVerdicts+100 {
		t.Errorf("/metrics has %d lines after %d rule ids; want about %d", got, n, maxVerdicts)
	}
	if v, ok := value(t, m, `evaluations_total{rule="other",verdict="unknown_rule"}`); !ok || v != n-maxVerdicts {
		t.Errorf("evaluations_total of the other rules = %v, %t; want %d, true", v, ok, n-maxVerdicts)
	}
}

// Two instances in one process, as in tests and the demo, do not share anything.
func TestMetricsAreApart(t *testing.T) {
	a, b := NewMetrics("1"), NewMetrics("1")
	a.Input("t", 0).Records.Inc()
	b.Input("t", 0)
	if v, ok := value(t, b, `input_records_total{partition="0",topic="t"}`); !ok || v != 0 {
		t.Errorf("input_records_total of another Metrics = %v, %t; want 0, true", v, ok)
	}
}

// A clock that runs behind, or a record without a timestamp, leaves the delay out and
// not the alert.
func TestMetricsOfAlertsFromTheFuture(t *testing.T) {
	m := NewMetrics("")
	m.Shard(0).Alerted("r", -time.Second, -1)
	for series, want := range map[string]float64{
		`alerts_total{rule="r"}`: 1, `alert_event_delay_seconds_count{rule="r"}`: 0, `alert_record_delay_seconds_count{rule="r"}`: 0,
	} {
		if got, ok := value(t, m, series); !ok || got != want {
			t.Errorf("%s = %v, %t; want %v, true", series, got, ok, want)
		}
	}
}

// A store that has failed leaves its figures out; everything else is shown.
func TestMetricsOfAFailedStore(t *testing.T) {
	m := NewMetrics("")
	m.Watch(Instance{
		Ready: func() error { return errors.New("not yet") },
		Store: func() (state.Stats, error) { return state.Stats{}, errors.New("failed") },
	})
	if got, ok := value(t, m, "ready"); !ok || got != 0 {
		t.Errorf("ready = %v, %t; want 0, true", got, ok)
	}
	if got, ok := value(t, m, "store_disk_bytes"); ok {
		t.Errorf("store_disk_bytes = %v of a store that has failed; want it left out", got)
	}
}

// Series begin at 0, before their first event: increase() of Prometheus would not see the
// first alert of a rule otherwise, nor the first dead letter of a reason.
func TestMetricsFromTheStart(t *testing.T) {
	m := NewMetrics("")
	m.LogLevel(zerolog.InfoLevel)
	m.Expect(Known{Rules: []string{"a", "b"}, Verdicts: []string{"alerted", "duplicate"}, DeadLetters: []string{"not_json"}, Skipped: []string{"digest"}})
	for _, series := range []string{
		`alerts_total{rule="a"}`, `alerts_total{rule="b"}`, `matches_total{rule="b"}`, `evicted_members_total{rule="a"}`,
		`evaluations_total{rule="a",verdict="alerted"}`, `evaluations_total{rule="b",verdict="duplicate"}`,
		`dead_letters_total{reason="not_json"}`, `skipped_total{reason="digest"}`, `log_messages_total{level="error"}`,
		`alert_event_delay_seconds_count{rule="a"}`, `alert_record_delay_seconds_count{rule="b"}`,
	} {
		if v, ok := value(t, m, series); !ok || v != 0 {
			t.Errorf("%s = %v, %t before anything has happened; want 0, true", series, v, ok)
		}
	}
	m.Shard(0).Alerted("a", 0, 0)
	if v, _ := value(t, m, `alerts_total{rule="a"}`); v != 1 {
		t.Errorf("alerts_total = %v after an alert; want 1", v)
	}
}
