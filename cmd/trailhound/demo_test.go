package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// demoAlerts runs the demo through a pipe and returns "rule key" of its alerts, sorted.
func demoAlerts(t *testing.T, args ...string) []string {
	t.Helper()
	r := command(t.Context(), "", nil, append([]string{"demo"}, args...)...)
	if r.code != exitDone {
		t.Fatalf("demo %q = %d with %q; want 0", args, r.code, r.stderr)
	}
	var got []string
	for _, line := range lines(r.stdout) {
		checkAlert(t, line)
		m := regexp.MustCompile(`"rule_id":"(\w+)".*?"key":"([^"]*)"`).FindStringSubmatch(line)
		got = append(got, m[1]+" "+m[2])
	}
	slices.Sort(got)
	return got
}

const (
	leakedKey    = "access_denied arn:aws:iam::111122223333:user/ci-deploy"
	stolenRole   = "assume_role_unique_ip arn:aws:iam::111122223333:role/admin"
	closingWords = "179 records in, 2 alerts out, each committed exactly once; came twice, counted once: 1; dead letters: 1; "
)

// The demo finds both attacks in its sample, within seconds, and leaves nothing behind.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("TMPDIR", dir)
	routines := runtime.NumGoroutine()
	begun := time.Now()
	r := command(t.Context(), "", nil, "demo")
	if took := time.Since(begun); r.code != exitDone || took > 10*time.Second {
		t.Errorf("demo = %d after %s with %q; want 0 within 10s", r.code, took, r.stderr)
	}
	if !strings.Contains(r.stderr, closingWords) {
		t.Errorf("demo says %q; want %q in it", r.stderr, closingWords)
	}
	if n := len(lines(r.stdout)); n != 2 {
		t.Errorf("demo prints %d alerts; want 2", n)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("demo leaves %v, %v; want no files", left, err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(r.stderr)
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Errorf("the demo's broker still listens at %s; want its port free", address)
	}
	await(t, "the demo's goroutines to end", func() bool { return runtime.NumGoroutine() <= routines })
}

// Parameters take effect; settings for a real cluster do not.
func TestDemoSettings(t *testing.T) {
	t.Parallel()
	if got, want := demoAlerts(t, "--json"), []string{leakedKey, stolenRole}; !slices.Equal(got, want) {
		t.Errorf("demo finds %q; want %q", got, want)
	}
	if got, want := demoAlerts(t, "--set", "rules.access_denied.threshold=5"), []string{leakedKey, leakedKey, stolenRole}; !slices.Equal(got, want) {
		t.Errorf("demo with a threshold of 5 finds %q; want %q", got, want)
	}
	config := filepath.Join(t.TempDir(), "trailhound.yaml")
	const real = "app_id: mine\nshards: 64\nstart: latest\nstate_dir: /nowhere\nhttp: {listen: '127.0.0.1:1'}\n" +
		"kafka: {brokers: ['kafka.invalid:9093'], tls: {enabled: true}, sasl: {mechanism: plain, username: hunter, password: secret}}\n" +
		"topics: {input: [a, b], alerts: c, dead_letter: d, replication: 3, create: false}\nrules: {assume_role_unique_ip: false}\n"
	if err := os.WriteFile(config, []byte(real), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := demoAlerts(t, "--config", config), []string{leakedKey}; !slices.Equal(got, want) {
		t.Errorf("demo with the configuration of a service finds %q; want %q", got, want)
	}
}

// On a terminal the alerts are for people, unless they are asked for as JSON.
func TestDemoOnTerminal(t *testing.T) {
	t.Parallel()
	out, errs := terminalOf(t, 160), terminalOf(t, 160)
	code := execute(t.Context(), []string{"demo"}, strings.NewReader(""), out.side, errs.side, nil)
	stdout, stderr := out.text(), errs.text()
	if code != exitDone || !strings.Contains(stderr, closingWords) {
		t.Errorf("demo = %d with %q; want 0 with %q", code, stderr, closingWords)
	}
	// As in README.md: by the times of their events, in any order of commits.
	want := "MEDIUM   2026-03-01T10:26:27Z  arn:aws:iam::111122223333:user/ci-deploy was denied 10 times in 6m27s\n" +
		"         rule access_denied, from 203.0.113.66, account 111122223333, region eu-west-1\n" +
		"         alert 210133bb-dc96-5d78-81d4-3183830cfdc1\n" +
		"         evidence: 10 events, the last 88134e5e-207b-4de0-b5fe-1142f1a4bf3b\n" +
		"HIGH     2026-03-01T10:40:00Z  role/admin was assumed from 198.51.100.23, an address never seen for it (1 known)\n" +
		"         rule assume_role_unique_ip, from 198.51.100.23, account 111122223333, region eu-west-1\n" +
		"         alert a525cd0b-8a22-5aaf-bacf-e49e1fdc0add\n" +
		"         event b402b288-c136-4fe5-8d2f-9bba4479c074\n" +
		"         evidence: 1 other event\n"
	if stdout != want {
		t.Errorf("demo prints %q; want %q", stdout, want)
	}
	out = newTerminal(t)
	code = execute(t.Context(), []string{"demo", "--json"}, strings.NewReader(""), out.side, io.Discard, nil)
	printed := lines(out.text())
	if code != exitDone || len(printed) != 2 {
		t.Errorf("demo --json = %d with %q; want 0 with two lines", code, printed)
	}
	for _, line := range printed {
		checkAlert(t, line)
	}
}
