package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail/filestest"
)

// realData is the directory of real CloudTrail events that the rules are tested with.
const realData = "../../rules/cloudtrail/testdata/real"

// Real attacks give the expected alerts.
func TestDetectRealData(t *testing.T) {
	const family = "rules.access_denied.denied_family=true"
	for _, tt := range []struct {
		file   string
		set    string
		events int
		alerts int
	}{
		{"invictus_aws_dataset.jsonl.gz", "shards=8", 2900, 1},
		{"invictus_aws_dataset.jsonl.gz", family, 2900, 4},
		{"stratus_red_team_detonation.jsonl.gz", "shards=8", 310, 0},
		{"stratus_red_team_detonation.jsonl.gz", family, 310, 4},
		{"otrf_ec2_proxy_s3_exfiltration.jsonl.gz", "shards=8", 103, 0},
	} {
		r := command(t.Context(), "", nil, "detect", "--strict", "--set", tt.set, filepath.Join(realData, tt.file))
		if r.code != exitDone {
			t.Errorf("detect %s exits with %d: %s; want 0", tt.file, r.code, r.stderr)
		}
		if got := strings.Count(r.stdout, "\n"); got != tt.alerts {
			t.Errorf("detect --set %s %s prints %d alerts; want %d", tt.set, tt.file, got, tt.alerts)
		}
		if want := fmt.Sprintf("events %d,", tt.events); !strings.Contains(r.stderr, want) {
			t.Errorf("detect %s says %q; want %q in it", tt.file, r.stderr, want)
		}
		for line := range strings.Lines(r.stdout) {
			var alert struct{ Schema, ID string }
			if err := json.Unmarshal([]byte(line), &alert); err != nil || alert.Schema != "trailhound.alert.v1" || alert.ID == "" {
				t.Errorf("detect %s prints %q (%v); want an alert", tt.file, line, err)
			}
		}
	}
}

// The same events give the same alerts, in any packing or file.
func TestDetectAnyWrapping(t *testing.T) {
	packed, err := os.ReadFile(filepath.Join(realData, "invictus_aws_dataset.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	plain := unzip(t, packed)
	t.Chdir(t.TempDir())
	half := bytes.LastIndexByte(plain[:len(plain)/2], '\n') + 1
	for name, data := range map[string][]byte{
		"plain": plain, "packed": packed, "twice": filestest.Gzip(packed),
		"members": append(filestest.Gzip(plain[:half]), filestest.Gzip(plain[half:])...),
		"dir/a":   plain[:half], "dir/b.gz": filestest.Gzip(plain[half:]),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	detect := func(stdin []byte, arg string) string {
		r := command(t.Context(), string(stdin), nil, "detect", "--set", "rules.access_denied.denied_family=true", arg)
		if r.code != exitDone {
			t.Fatalf("detect %s exits with %d: %s; want 0", arg, r.code, r.stderr)
		}
		return r.stdout
	}
	want := withoutSources(t, detect(nil, "plain"))
	if len(want) != 4 {
		t.Fatalf("detect plain prints %d alerts; want 4", len(want))
	}
	for _, tt := range []struct {
		arg   string
		stdin []byte
	}{{"packed", nil}, {"twice", nil}, {"members", nil}, {"dir", nil}, {"-", plain}, {"-", packed}} {
		got := withoutSources(t, detect(tt.stdin, tt.arg))
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("detect %s prints %s; want, but for the sources, %s", tt.arg, got, want)
		}
	}
	// But for the name of the file, the sources are the same too.
	if got, want := strings.ReplaceAll(detect(nil, "packed"), `"packed"`, `"plain"`), detect(nil, "plain"); got != want {
		t.Errorf("detect packed prints %s; want %s", got, want)
	}
}

// withoutSources returns the alerts without the names of files and the offsets in them.
func withoutSources(t *testing.T, lines string) []string {
	t.Helper()
	var alerts []string
	for line := range strings.Lines(lines) {
		var alert map[string]any
		if err := json.Unmarshal([]byte(line), &alert); err != nil {
			t.Fatal(err)
		}
		delete(alert, "source")
		evidence := alert["evidence"].(map[string]any)
		for _, e := range evidence["events"].([]any) {
			event := e.(map[string]any)
			delete(event, "topic")
			delete(event, "offset")
		}
		text, err := json.Marshal(alert)
		if err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, string(text))
	}
	return alerts
}

func unzip(t testing.TB, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

var denial = filestest.Denial

const eachDenial = "rules.access_denied.threshold=1"

// An alert is printed while more input is waited for.
func TestAlertsFlow(t *testing.T) {
	in, feed := io.Pipe()
	results, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- execute(t.Context(), []string{"detect", "--set", eachDenial}, in, out, io.Discard, nil)
		in.Close() // after an early end, the writer would wait for ever
		out.Close()
	}()
	lines := bufio.NewReader(results)
	for n := range 3 {
		if _, err := io.WriteString(feed, denial(n, "alice")); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if want := fmt.Sprintf(`"event_id":"id-%d"`, n); err != nil || !strings.Contains(line, want) {
			t.Fatalf("after event %d: %q, %v; want an alert with %s", n, line, err, want)
		}
	}
	feed.Close()
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("at the end: %q, %v; want nothing more", rest, err)
	}
	if code := <-ended; code != exitDone {
		t.Errorf("run = %d; want 0", code)
	}
}

// An interrupt ends a command that waits for input.
func TestDetectInterrupted(t *testing.T) {
	in, feed := io.Pipe()
	defer feed.Close()
	results, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	ended := make(chan int)
	go func() { ended <- execute(ctx, []string{"detect", "--set", eachDenial}, in, out, &stderr, nil) }()
	if _, err := io.WriteString(feed, denial(1, "alice")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(results).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	if code := <-ended; code != exitFailed {
		t.Errorf("run = %d after an interrupt; want 1", code)
	}
	for _, want := range []string{"events 1,", "alerts: access_denied 1\n", "trailhound: interrupted\n"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr = %q after an interrupt; want %q in it", stderr.String(), want)
		}
	}
}

// A reader of the results that goes away, as head does, is no error.
func TestNobodyReads(t *testing.T) {
	for name, args := range map[string][]string{
		"detect": {"detect", "--set", eachDenial, "-"},
		"rules":  {"rules", "list"},
		"config": {"config", "print"},
		"help":   {"help"},
	} {
		t.Run(name, func(t *testing.T) {
			results, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			results.Close()
			defer out.Close()
			var stderr bytes.Buffer
			code := execute(t.Context(), args, strings.NewReader(denial(1, "alice")), out, &stderr, nil)
			if code != exitDone || stderr.Len() > 0 {
				t.Errorf("run(%q) = %d with %q on stderr; want 0 and nothing", args, code, stderr.String())
			}
		})
	}
}

// Results that cannot be written are an error: a reader must not take them for complete.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("there is no /dev/full here to stand for a full disk: %v", err)
	}
	defer full.Close()
	var stderr bytes.Buffer
	code := execute(t.Context(), []string{"detect", "--set", eachDenial, "-"}, strings.NewReader(denial(1, "alice")), full, &stderr, nil)
	if code != exitFailed || !strings.Contains(stderr.String(), "trailhound: write the results: ") {
		t.Errorf("run with stdout on a full disk = %d with %q; want 1 and the reason", code, stderr.String())
	}
}

func TestDetectBrokenGzip(t *testing.T) {
	t.Chdir(t.TempDir())
	var events strings.Builder
	for n := range 2000 {
		events.WriteString(denial(n, fmt.Sprintf("user-%d", n)))
	}
	whole := filestest.Gzip([]byte(events.String()))
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	for name, data := range map[string][]byte{
		"cut.gz": whole[:len(whole)/2], "sum.gz": damaged, "head.gz": {0x1f, 0x8b, 9, 9}, "junk.gz": append(bytes.Clone(whole), "junk"...),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		r := command(t.Context(), "", nil, "detect", name)
		if !strings.Contains(r.stderr, ":bad_gzip: ") || !strings.Contains(r.stderr, "left out: ") || r.code != exitDone {
			t.Errorf("detect %s = %d with %q; want 0, and bad_gzip reported and counted", name, r.code, r.stderr)
		}
		if r := command(t.Context(), "", nil, "detect", "--strict", name); r.code != exitFailed {
			t.Errorf("detect --strict %s = %d; want 1", name, r.code)
		}
	}
}

// A gzip file gives the same events as a file of detect and as a record of run: joined and
// padded ones are read to their end.
func TestDetectJoinedGzip(t *testing.T) {
	t.Chdir(t.TempDir())
	a, b := filestest.Gzip([]byte(denial(1, "alice"))), filestest.Gzip([]byte(denial(2, "bob")))
	for name, data := range map[string][]byte{
		"plain.gz": slices.Concat(a, b), "lines.gz": slices.Concat([]byte("\n"), a, []byte("\r\n"), b, []byte("\n")),
		"zeros.gz": slices.Concat(a, make([]byte, 512), b, make([]byte, 100_000)), "late.gz": slices.Concat(bytes.Repeat([]byte(" \n"), 1000), a, b),
		"twice.gz": slices.Concat(filestest.Gzip(slices.Concat([]byte("\n"), a, b)), []byte("\n")),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		r := command(t.Context(), "", nil, "detect", "--strict", name)
		if !strings.Contains(r.stderr, "events 2,") || r.code != exitDone {
			t.Errorf("detect %s = %d with %q; want 0, and 2 events", name, r.code, r.stderr)
		}
	}
}

// A record that is too large is passed over.
func TestDetectRecordTooLarge(t *testing.T) {
	t.Chdir(t.TempDir())
	large := `{"eventVersion":"` + strings.Repeat("x", 5000) + `"}`
	if err := os.WriteFile("a", []byte(denial(1, "alice")+large+`{"Records":[`+large+","+denial(3, "alice")+"]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("b", []byte(denial(2, "alice")), 0o644); err != nil {
		t.Fatal(err)
	}
	r := command(t.Context(), "", nil, "detect", "--set", "limits.max_unpacked=4KiB", "a", "b")
	if !strings.Contains(r.stderr, "a:1:unpacked_too_large: ") || !strings.Contains(r.stderr, "files 2, records 3, events 3,") {
		t.Errorf("detect a b = %q; want a:1:unpacked_too_large, and both files read", r.stderr)
	}
}

// The answer does not depend on the number of shards, as long as keys do not see each other.
func TestShardsDoNotCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var events strings.Builder
		for n := range rapid.IntRange(1, 200).Draw(rt, "events") {
			events.WriteString(denial(n, fmt.Sprintf("user-%d", rapid.IntRange(0, 9).Draw(rt, "user"))))
		}
		detect := func(shards int) string {
			return command(t.Context(), events.String(), nil, "detect", "--set", "rules.access_denied.threshold=3", "--set", fmt.Sprintf("shards=%d", shards)).stdout
		}
		shards := rapid.IntRange(2, 64).Draw(rt, "shards")
		if got, want := detect(shards), detect(1); got != want {
			rt.Fatalf("detect with %d shards = %s; want, as with one, %s", shards, got, want)
		}
	})
}

// More events than fit into one transaction.
func TestDetectManyTransactions(t *testing.T) {
	t.Parallel()
	var events strings.Builder
	const keys = 20_000
	for round := range 2 {
		for n := range keys {
			events.WriteString(denial(round*keys+n, fmt.Sprintf("user-%d", n)))
		}
	}
	r := command(t.Context(), events.String(), nil, "detect", "--set", "rules.access_denied.threshold=2", "--set", "shards=2")
	if got := strings.Count(r.stdout, "\n"); got != keys {
		t.Errorf("detect prints %d alerts for two denials of %d principals; want one each\n%s", got, keys, r.stderr)
	}
}
