package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"trailhound/consumer"
	"trailhound/rules"
)

// The schema that editors read is that of this build.
func TestConfigSchemaFile(t *testing.T) {
	const file = "../../config/schema.json"
	schema, err := configSchema(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, schema, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != string(schema) {
		t.Errorf("%s is not what trailhound config schema prints (%v); want it written with: go test ./cmd/trailhound -run TestConfigSchemaFile -update", file, err)
	}
}

// A running instance is asked for its health, its status and its log level, and changes the last.
func TestInstance(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 2)
		p := s.start("run", "--set", "http.listen=127.0.0.1:0")
		s.await("the service to be ready", func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK })
		url := p.url()
		ask := func(args ...string) result { return command(t.Context(), "", nil, append(args, "--url", url)...) }

		for want, args := range map[string][]string{"ok\n": {"health"}, "ok": {"health", "--live"}, "info": {"log-level"}} {
			if got := ask(args...); got.code != 0 || strings.TrimSpace(got.stdout) != strings.TrimSpace(want) {
				t.Errorf("%v = %d %q %q; want 0 %q", args, got.code, got.stdout, got.stderr, want)
			}
		}
		s.send(0, strings.TrimSpace(denial(1, "alice")), strings.TrimSpace(denial(2, "alice")))
		s.drain()
		var status consumer.Status
		s.await("the status to tell of two records", func() bool {
			if err := json.Unmarshal([]byte(ask("status", "--json").stdout), &status); err != nil {
				t.Fatal(err)
			}
			return len(status.Inputs) == 2 && status.Inputs[0].Next == 2
		})
		if !status.Ready || !status.Member || status.App != s.app.ID || status.Instance == "" || len(status.Shards) != s.app.Shards || status.Inputs[0].Lag != 0 || !status.Shards[0].Ready {
			t.Errorf("status = %+v; want a ready member of %s with two inputs and %d shards", status, s.app.ID, s.app.Shards)
		}
		table := ask("status").stdout
		for _, want := range []string{"app " + s.app.ID + ", instance " + status.Instance + ": ready\n", "INPUT", s.app.Inputs[0], "SHARD"} {
			if !strings.Contains(table, want) {
				t.Errorf("status prints\n%s\nwant %q in it", table, want)
			}
		}

		if strings.Contains(p.stderr.String(), `"level":"debug"`) {
			t.Error("the service logs at level debug unasked")
		}
		if got := ask("log-level", "debug"); got.code != 0 || got.stdout != "debug\n" {
			t.Errorf("log-level debug = %d %q %q; want 0 and debug", got.code, got.stdout, got.stderr)
		}
		for n := range 10 {
			s.send(0, strings.TrimSpace(denial(10+n, "bob")))
		}
		s.await("the alert in the log", func() bool { return p.stderr.has(`"event":"alert"`) })
		// What a log line of an alert tells is committed, and counted.
		p.wantMetrics("trailhound_ready 1\n", `trailhound_log_messages_total{level="info"} `, "trailhound_store_disk_bytes ",
			`trailhound_alert_record_delay_seconds_count{rule="access_denied"} 1`+"\n")
		if got := ask("log-level", "loud"); got.code != exitUsage || !strings.Contains(got.stderr, `level "loud" is not one of debug, info, warn, error`) {
			t.Errorf("log-level loud = %d %q; want 1 and the levels there are", got.code, got.stderr)
		}
	})
}

// What is asked tells what is wrong, in one line, and its exit code is what a container check needs.
func TestInstanceOutOfReach(t *testing.T) {
	notReady := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "shard 3 is not ready: its state is being restored\x1b[2J", http.StatusServiceUnavailable)
	}))
	defer notReady.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"health", "--url", notReady.URL}, 1, "shard 3 is not ready: its state is being restored"},
		{[]string{"health", "--set", "http.listen=" + free}, 1, "no instance answers at http://" + free},
		{[]string{"health", "--set", "http.listen="}, 1, "http.listen is empty"},
		{[]string{"health", "--url", free}, 1, "no instance answers at http://" + free},
		{[]string{"health", "--url", "localhost:" + strings.Split(free, ":")[1] + "/"}, 1, "no instance answers at http://localhost:"},
		{[]string{"health", "--url", "ftp://localhost"}, 2, "want http://HOST:PORT"},
		{[]string{"health", "--url", ":9464"}, 2, "want http://HOST:PORT"},
		{[]string{"health", "--url", "http://"}, 2, "want http://HOST:PORT"},
		{[]string{"log-level", "loud", "--url", free}, 2, `level "loud" is not one of debug, info, warn, error`}, // without asking
		{[]string{"status", "--set", "http.listen=0.0.0.0:" + strings.Split(free, ":")[1]}, 1, "no instance answers at http://" + free},
		{[]string{"log-level", "a", "b"}, 2, "log-level takes one level"},
	} {
		got := command(t.Context(), "", nil, c.args...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) || strings.Count(got.stderr, "\n") != 1 || strings.Contains(got.stderr, "\x1b") {
			t.Errorf("%v = %d %q; want %d and one line with %q", c.args, got.code, got.stderr, c.code, c.want)
		}
	}
}
