package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// url returns the address of a service's HTTP server; "" until the log has it.
func (p *program) url() string {
	m := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(p.stderr.String())
	if m == nil {
		return ""
	}
	return "http://" + m[1]
}

// get asks the HTTP server of a service; 0: no answer.
func (p *program) get(path string) (code int, body string) {
	p.Helper()
	url := p.url()
	if url == "" {
		return 0, ""
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Error(err)
	}
	return resp.StatusCode, string(text)
}

// Probes and metrics are right from the start of a service to its end.
func TestHTTP(t *testing.T) {
	t.Parallel()
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 2)
		p := s.start("run", "--set", "http.listen=127.0.0.1:0")
		s.await("the service to be ready", func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK })
		for path, want := range map[string]struct {
			code int
			body string
		}{"/livez": {200, "ok\n"}, "/readyz": {200, "ok\n"}, "/": {200, "trailhound: /livez /readyz /metrics /status /loglevel\n"}, "/nowhere": {404, "404 page not found\n"}} {
			if code, body := p.get(path); code != want.code || body != want.body {
				t.Errorf("GET %s = %d %q; want %d %q", path, code, body, want.code, want.body)
			}
		}
		// Before the first event: increase() of Prometheus needs the zero.
		p.wantMetrics(
			`trailhound_alerts_total{rule="access_denied"} 0`, `trailhound_alerts_total{rule="assume_role_unique_ip"} 0`,
			`trailhound_matches_total{rule="access_denied"} 0`, `trailhound_evaluations_total{rule="assume_role_unique_ip",verdict="rejected"} 0`,
			`trailhound_dead_letters_total{reason="not_json"} 0`, `trailhound_dead_letters_total{reason="rule_panic"} 0`,
			`trailhound_dead_letters_total{reason="unreadable_batch"} 0`, `trailhound_skipped_total{reason="no_key"} 0`,
		)
		for n := range 20 {
			s.send(int32(n%2), strings.TrimSpace(denial(n, fmt.Sprintf("user-%d", n%2))), "junk")
		}
		s.drain()
		input := s.app.Inputs[0]
		p.wantMetrics(
			`trailhound_input_records_total{partition="0",topic="`+input+`"} 20`,
			`trailhound_events_total{partition="1",topic="`+input+`"} 10`,
			`trailhound_input_lag_records{partition="0",topic="`+input+`"} 0`,
			`trailhound_matches_total{rule="access_denied"} 20`,
			`trailhound_evaluations_total{rule="access_denied",verdict="alerted"} 2`,
			`trailhound_alerts_total{rule="access_denied"} 2`,
			`trailhound_dead_letters_total{reason="not_json"} 20`,
			`trailhound_shard_ready{shard="7"} 1`,
			`trailhound_build_info{`, `process_start_time_seconds `, `go_goroutines `,
		)
		p.logs()
	})
}

// wantMetrics waits until a service's metrics have lines with these beginnings. An instance
// counts a commit a moment after the broker shows it, so a single look may come too early.
func (p *program) wantMetrics(lines ...string) {
	p.Helper()
	var metrics, missing string
	defer func() {
		if missing != "" {
			p.Logf("/metrics lacks %q:\n%s", missing, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(metrics, ""))
		}
	}()
	await(p, "the service's metrics", func() bool {
		_, metrics = p.get("/metrics")
		for _, missing = range lines {
			if !strings.Contains(metrics, "\n"+missing) {
				return false
			}
		}
		missing = ""
		return true
	})
}

// logs checks that the log of a service through a pipe is one JSON object a line.
func (p *program) logs() {
	p.Helper()
	for _, line := range lines(p.stderr.String()) {
		var entry struct {
			Level, Message string
			Time           time.Time
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Message == "" || entry.Time.IsZero() {
			p.Errorf("the log has %q (%v); want JSON with level, message and time", line, err)
		}
	}
	if p.stdout.String() != "" {
		p.Errorf("run prints %q; want nothing on stdout", &p.stdout)
	}
}

// A service without its group is live and not ready, and gives the reason.
func TestHTTPNotReady(t *testing.T) {
	c := fakeCluster(t)
	s := newSite(t, c.ListenAddrs(), 1)
	end := make(chan struct{})
	defer close(end)
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-end })
		return nil, nil, false
	})
	p := s.start("run", "--set", "http.listen=127.0.0.1:0")
	s.await("the service to live", func() bool { code, _ := p.get("/livez"); return code == http.StatusOK })
	if code, body := p.get("/readyz"); code != http.StatusServiceUnavailable || body != "not a member of the consumer group yet\n" {
		t.Errorf("GET /readyz = %d %q; want 503 and the reason", code, body)
	}
}

// On a terminal the log is text, with colours unless NO_COLOR is set.
func TestLogOnTerminal(t *testing.T) {
	c := fakeCluster(t)
	s := newSite(t, c.ListenAddrs(), 1)
	for _, tt := range []struct {
		environment, args []string
		want              string
	}{
		{nil, nil, `(?m)^\x1b\[90m\d\d:\d\d:\d\d\x1b\[0m \x1b\[32mINF\x1b\[0m .*stopped`},
		{[]string{"NO_COLOR=1"}, nil, `(?m)^\d\d:\d\d:\d\d INF stopped$`},
		{nil, []string{"--set", "log.format=json"}, `(?m)^\{"level":"info","event":"stopped","time":"[^"]+","message":"stopped"\}$`},
		{nil, []string{"--set", "log.level=error"}, `^$`},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
			cancel() // the service is at work
			return nil, nil, false
		})
		errs := newTerminal(t)
		code := execute(ctx, append([]string{"--config", s.config, "run"}, tt.args...), strings.NewReader(""), io.Discard, errs.side, tt.environment)
		if text := errs.text(); code != exitDone || !regexp.MustCompile(tt.want).MatchString(text) {
			t.Errorf("run %q with %q = %d, and logs %q; want 0 and %s", tt.args, tt.environment, code, text, tt.want)
		}
	}
}
