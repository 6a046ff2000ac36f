package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"trailhound/rules/cloudtrail/filestest"
)

// decoded decodes the only line of JSON that a command printed.
func decoded[T any](t *testing.T, r result) (v T) {
	t.Helper()
	if len(lines(r.stdout)) != 1 {
		t.Fatalf("stdout is %q, stderr %q; want one line of JSON", r.stdout, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		t.Fatalf("stdout is %q: %v", r.stdout, err)
	}
	return v
}

func TestVersionJSON(t *testing.T) {
	b := decoded[build](t, command(t.Context(), "", nil, "version", "--json"))
	if got, want := strings.Join([]string{"trailhound", b.Version, b.Go, b.Platform}, " "), versionLine(); got != want {
		t.Errorf("version --json = %+v; want what is in %q", b, want)
	}
}

// An instance that is not well gives an object and the command's error; a wrong command
// line gives an error alone.
func TestHealthJSON(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "debug", code) }))
	defer server.Close()
	type health struct {
		OK     bool
		Reason string
	}
	ask := func(args ...string) result {
		return command(t.Context(), "", nil, append(args, "--json", "--url", server.URL)...)
	}
	if r := ask("health"); r.code != exitDone || decoded[health](t, r) != (health{OK: true}) || r.stderr != "" {
		t.Errorf("health --json of one that is ready = %+v; want ok", r)
	}
	if r := ask("log-level"); r.code != exitDone || decoded[map[string]string](t, r)["level"] != "debug" {
		t.Errorf("log-level --json = %+v; want debug", r)
	}
	code = http.StatusServiceUnavailable
	if r := ask("health"); r.code != exitFailed || decoded[health](t, r) != (health{Reason: "debug"}) || r.stderr != "trailhound: debug\n" {
		t.Errorf("health --json of one that is not ready = %+v; want 1 with the reason", r)
	}
	for _, args := range [][]string{{"health", "--json", "--url", "ftp://x"}, {"health", "--json", "--set", "shards=x"}} {
		if r := command(t.Context(), "", nil, args...); r.code != exitUsage || r.stdout != "" {
			t.Errorf("%q = %+v; want 2 and nothing on stdout", args, r)
		}
	}
}

// topics check --json lists each problem, and topics create --json each change.
func TestTopicsJSON(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
	r := s.command("", "topics", "check", "--json")
	found := decoded[checkedTopics](t, r)
	if r.code != exitFailed || found.OK || len(found.Problems) != len(lines(r.stderr)) || found.Warnings == nil || found.Notes == nil {
		t.Errorf("topics check --json = %d, %+v, %q; want 1 and what is on stderr as objects", r.code, found, r.stderr)
	}
	for i, p := range found.Problems {
		if want := "trailhound: " + p.What + ". To mend it: " + p.Remedy; !p.Missing || p.Topic == "" || lines(r.stderr)[i] != want {
			t.Errorf("problem %d is %+v; want the topic missing, and %q", i, p, lines(r.stderr)[i])
		}
	}
	done := decoded[settledTopics](t, s.must("", "topics", "create", "--input-partitions", "1", "--json"))
	if len(done.Created) != len(found.Problems) || !reflect.DeepEqual(done.Changed, []changedTopic{}) {
		t.Errorf("topics create --json = %+v; want the %d topics that were missing, and no change", done, len(found.Problems))
	}
	if found := decoded[checkedTopics](t, s.must("", "topics", "check", "--json")); !found.OK || len(found.Problems) > 0 {
		t.Errorf("topics check --json = %+v; want all to be well", found)
	}
}

// state seed and state rewind report their outcome as JSON.
func TestStateJSON(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	got := decoded[seeded](t, s.command(filestest.Denial(1, "alice")+"junk\n", "state", "seed", "--json", "-"))
	if got.App != s.app.ID || got.Shards != s.app.Shards || got.Events != 1 || got.Matches != 1 || got.LeftOut["not_json"] != 1 || got.State.Records == 0 || got.Alerts == nil {
		t.Errorf("state seed --json = %+v; want one event of two records, and what was written", got)
	}
	again := decoded[rewound](t, s.must("", "state", "rewind", "--json", "--to", "2026-03-01", "--shard", "1"))
	if again.App != s.app.ID || again.To.Year() != 2026 || !reflect.DeepEqual(again.Shards, []int{1}) {
		t.Errorf("state rewind --json = %+v; want the time and shard 1", again)
	}
}
