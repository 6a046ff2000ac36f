package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"trailhound/consumer"
	"trailhound/rules"
)

// The schema for editors is that of this build.
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

// A running instance tells its health, its status and its log level, and changes the last.
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
		// The alert of a log line is committed, and counted.
		p.wantMetrics("trailhound_ready 1\n", `trailhound_log_messages_total{level="info"} `, "trailhound_store_disk_bytes ",
			`trailhound_alert_record_delay_seconds_count{rule="access_denied"} 1`+"\n")
		if got := ask("log-level", "loud"); got.code != 2 || !strings.Contains(got.stderr, `unknown level "loud"; there are debug, info, warn and error`) {
			t.Errorf("log-level loud = %d %q; want 2 and the levels there are", got.code, got.stderr)
		}
	})
}

// An instance that cannot be asked gives one line with the cause, and the exit code that a
// container check needs.
func TestInstanceOutOfReach(t *testing.T) {
	notReady := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "shard 3 is not ready: its state is being restored\x1b[2J", http.StatusServiceUnavailable)
	}))
	defer notReady.Close()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"health", "--url", notReady.URL}, 1, "shard 3 is not ready: its state is being restored"},
		{[]string{"health", "--set", "http.listen=" + closedPort}, 1, "no instance answers at http://" + closedPort},
		{[]string{"health", "--set", "http.listen="}, 1, "http.listen is empty"},
		{[]string{"health", "--url", closedPort}, 1, "no instance answers at http://" + closedPort},
		{[]string{"health", "--url", "localhost:1/"}, 1, "no instance answers at http://localhost:"},
		{[]string{"health", "--url", "ftp://localhost"}, 2, "want http://HOST:PORT"},
		{[]string{"health", "--url", ":9464"}, 2, "want http://HOST:PORT"},
		{[]string{"health", "--url", "http://"}, 2, "want http://HOST:PORT"},
		{[]string{"log-level", "loud", "--url", closedPort}, 2, `unknown level "loud"; there are debug, info, warn and error`}, // without asking
		{[]string{"status", "--set", "http.listen=0.0.0.0:1"}, 1, "no instance answers at http://" + closedPort},
		{[]string{"log-level", "a", "b"}, 2, "log-level takes one level"},
		{[]string{"log-level", "trace", "--set", "http.listen=" + closedPort}, 2, "unknown level \"trace\""},
		{[]string{"health", "--url", strings.TrimPrefix(notReady.URL, "http://")}, 1, "shard 3 is not ready: its state is being restored"},
		{[]string{"status", "--group", "--url", closedPort}, 2, "--group asks Kafka"},
	} {
		got := command(t.Context(), "", nil, c.args...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) || strings.Count(got.stderr, "\n") != 1 || strings.Contains(got.stderr, "\x1b") {
			t.Errorf("%v = %d %q; want %d and one line with %q", c.args, got.code, got.stderr, c.code, c.want)
		}
	}
}

// Kafka tells the state of the group, even when no instance answers: the owners, the
// partitions and shards without one, and the progress.
func TestStatusOfGroup(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 3)
		s.must("", "topics", "create")
		status := func() (g groupStatus) {
			if err := json.Unmarshal([]byte(s.must("", "status", "--group", "--json").stdout), &g); err != nil {
				t.Fatal(err)
			}
			return g
		}
		if g := status(); len(g.Instances) != 0 || len(g.Inputs) != 3 || len(g.Shards) != s.app.Shards || g.Shards[0].Owner != "" || g.Inputs[0].Next != -1 {
			t.Errorf("status --group without an instance = %+v; want 3 inputs and %d shards that nobody has", g, s.app.Shards)
		}
		want := fmt.Sprintf("app %s: 0 instances, group ", s.app.ID)
		orphans := fmt.Sprintf("\nno instance works on: shards 0-%d; %s 0-2\n", s.app.Shards-1, s.app.Inputs[0])
		if text := s.must("", "status", "--group").stdout; !strings.HasPrefix(text, want) || !strings.Contains(text, orphans) {
			t.Errorf("status --group prints\n%s\nwant %q and %q in it", text, want, orphans)
		}
		p := s.start("run", "--set", "instance_id=one", "--set", "http.listen=127.0.0.1:0")
		s.await("the service to be ready", func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK })
		s.send(0, strings.TrimSpace(denial(1, "alice")), strings.TrimSpace(denial(2, "alice")))
		s.drain()
		g := status()
		if g.State != "Stable" || len(g.Instances) != 1 || g.Instances[0].Instance != "one" || g.Instances[0].Host == "" || len(g.Instances[0].Shards) != s.app.Shards ||
			len(g.Instances[0].Inputs[s.app.Inputs[0]]) != 3 || g.orphans() != "" || g.Inputs[0].Owner != "one" || g.Inputs[0].Next != 2 || g.Inputs[0].Lag != 0 || g.Shards[1].Owner != "one" {
			t.Errorf("status --group = %+v; want one instance that has all", g)
		}
		text := s.must("", "status", "--group").stdout
		if strings.Contains(text, "no instance works on") || !strings.Contains(text, fmt.Sprintf("  0-%d     %s 0-2\n", s.app.Shards-1, s.app.Inputs[0])) {
			t.Errorf("status --group prints\n%s\nwant one instance with all shards and partitions", text)
		}
	})
}

func TestNumbers(t *testing.T) {
	for want, in := range map[string][]int32{"": nil, "7": {7}, "0-1": {0, 1}, "0-3,7,9-10": {0, 1, 2, 3, 7, 9, 10}} {
		if got := numbers(in); got != want {
			t.Errorf("numbers(%v) = %q; want %q", in, got, want)
		}
	}
}
