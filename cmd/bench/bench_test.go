package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestMain lets the test binary consume alone in the place of this program, which starts
// itself for that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == aloneMode {
		main()
	}
	os.Exit(m.Run())
}

// testCluster returns the brokers that TRAILHOUND_TEST_BROKERS names, else one that ends with the test.
func testCluster(t *testing.T) string {
	t.Helper()
	if names := os.Getenv("TRAILHOUND_TEST_BROKERS"); names != "" {
		return names
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return strings.Join(c.ListenAddrs(), ",")
}

// TestModes runs the modes that need brokers, one after the other, and checks that they
// leave nothing behind.
func TestModes(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	results := filepath.Join(t.TempDir(), "results.jsonl")
	brokers := testCluster(t)
	m, o, code := parse([]string{
		"--brokers", brokers, "--events", "240000", "--runs", "1", "--partitions", "2", "--shards", "2", "--assume", "0.2", "--denied", "0.2", "--principals", "100",
		"--rate", "500", "--background", "1000", "--warm", "100ms", "--duration", "1s", "--idle", "100ms", "--json", results, "--set", "kafka.session_timeout=6s", "--set", "leave_on_stop=true",
	}, os.Stdout, os.Stderr)
	if code >= 0 {
		t.Fatalf("exit code %d", code)
	}
	var stdout bytes.Buffer
	b := newBench(o, &stdout, &logWriter{t})
	b.every = 5 * time.Millisecond // so few events are read in no time
	if err := b.prepare(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	cleaned := false
	defer func() {
		if !cleaned {
			_ = b.cleanUp(t.Context()) // the test has failed already
		}
	}()
	if err := m.work(b, t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Throughput: 240,000 events", "trailhound  ", "median", "Latency", "Start, until /readyz", "kill -9"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &stdout)
		}
	}
	wrongAlerts(t, b)

	if err := b.cleanUp(t.Context()); err != nil {
		t.Errorf("clean up: %v", err)
	}
	cleaned = true
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left in the temporary directory", left, err)
	}
	// A broker that is busy shows a topic for a while after the controller has deleted it.
	poll, patience := time.NewTicker(100*time.Millisecond), time.After(time.Minute)
	defer poll.Stop()
	for left := leftOnBrokers(t, brokers, b.id); len(left) > 0; left = leftOnBrokers(t, brokers, b.id) {
		select {
		case <-poll.C:
			continue
		case <-patience:
			t.Fatalf("topics and groups are left on the brokers: %v", left)
		}
	}
	checkResults(t, results)
}

// A fast run that finds other alerts than the rules do over the same events is no result.
func wrongAlerts(t *testing.T, b *bench) {
	t.Helper()
	b.events = 60_000 // that take longer than two looks
	in, err := b.fillTopic(t.Context(), 0, usualSpan)
	if err != nil {
		t.Fatal(err)
	}
	if in.want.count < 100 {
		t.Fatalf("the events make only %d alerts, which would prove little", in.want.count)
	}
	in.want.digest++
	if _, err := b.readProduct(t.Context(), in, 0); err == nil || !strings.Contains(err.Error(), "WRONG ALERTS") {
		t.Errorf("a run with other alerts than wanted: %v; want an error", err)
	}
}

// checkResults looks at the lines of JSON.
func checkResults(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range bytes.Lines(text) {
		var r struct {
			Mode   string
			What   string
			Rate   float64 `json:"events_per_s"`
			P50    float64 `json:"p50_ms"`
			Ready  float64 `json:"ready_ms"`
			Alerts int
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		count[r.Mode+r.What]++
		if r.Rate+r.Ready <= 0 || r.Mode == "latency" && (r.P50 <= 0 || r.Alerts < 3 || r.Rate < 1200) /* with the background */ || r.What == "trailhound" && r.Alerts < 100 {
			t.Errorf("this is no result: %s", line)
		}
	}
	for what, want := range map[string]int{"throughputtrailhound": 1, "throughputconsuming alone": 1, "latency": 1, "start": 2} {
		if count[what] != want {
			t.Errorf("%d results of %s; want %d", count[what], what, want)
		}
	}
}

// leftOnBrokers names the topics and groups that begin like an id.
func leftOnBrokers(t *testing.T, brokers, id string) (left []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics.Topics {
		left = append(left, *topic.Topic)
	}
	groups, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.Groups {
		left = append(left, g.Group)
	}
	var ours []string
	for _, name := range left {
		if strings.HasPrefix(name, id) {
			ours = append(ours, name)
		}
	}
	return ours
}

func TestDetect(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"detect", "--megabytes", "3", "--runs", "2", "--denied", "0.5"}, &stdout, &logWriter{t}); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	if !strings.Contains(stdout.String(), "3 MB of JSON in gzip files") || !strings.Contains(stdout.String(), "median") {
		t.Errorf("the report:\n%s", &stdout)
	}
}

// logWriter writes into the log of a test.
type logWriter struct{ t *testing.T }

func (w *logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}
