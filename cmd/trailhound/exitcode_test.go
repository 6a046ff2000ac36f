package main

import (
	"os"
	"path/filepath"
	"testing"
)

// One rule for all commands: a wrong command line or configuration, including files that
// they name and that cannot be opened, is 2, independent of Kafka; a failure while working
// is 1. ingest of a missing file was 1, rules test 2.
func TestExitCodes(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	s.must("", "topics", "create")
	dir := t.TempDir()
	file, empty, missing := filepath.Join(dir, "file"), filepath.Join(dir, "empty"), filepath.Join(dir, "missing")
	if err := os.WriteFile(file, []byte("no alert, no test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	tls := []string{"--set", "kafka.tls.enabled=true", "--set", "kafka.tls.ca_file=" + missing}
	sasl := []string{"--set", "kafka.sasl.mechanism=plain", "--set", "kafka.sasl.username=u", "--set", "kafka.sasl.password_file=" + missing}
	nobody := []string{"--set", "kafka.brokers=127.0.0.1:1"}
	for _, test := range []struct {
		code int
		args []string
		more []string
	}{
		{exitUsage, []string{"detect", missing}, nil},
		{exitUsage, []string{"detect", empty}, nil},
		{exitUsage, []string{"detect", file, filepath.Join(file, "below")}, nil},
		{exitUsage, []string{"ingest", missing}, nil},
		{exitUsage, []string{"ingest", empty}, nil},
		{exitUsage, []string{"state", "seed", missing}, nil},
		{exitUsage, []string{"rules", "test", missing}, nil},
		{exitUsage, []string{"rules", "test", empty}, nil},
		{exitUsage, []string{"replay", "--diff", missing}, nil},
		{exitUsage, []string{"replay", "--diff", empty}, nil},
		{exitUsage, []string{"replay", "--out", filepath.Join(missing, "x")}, nil},
		{exitUsage, []string{"replay", "--out", empty}, nil},
		{exitUsage, []string{"replay", "--state", file}, nil},
		{exitUsage, []string{"replay", "--topic", "a b"}, nil},
		{exitUsage, []string{"replay", "--input", "another"}, nil},
		{exitUsage, []string{"ingest", "--topic", "a b", file}, nil},
		{exitUsage, []string{"explain", "zzz"}, nil},
		{exitUsage, []string{"alerts", "--since", "yesterday"}, nil},
		{exitUsage, []string{"dead-letters", "list", "--reason", "bogus"}, nil},
		{exitUsage, []string{"dead-letters", "retry", "--reason", "bogus"}, nil},
		{exitUsage, []string{"state", "rewind"}, nil},
		{exitUsage, []string{"topics", "create", "--input-partitions", "0"}, nil},
		{exitUsage, []string{"acls", "print", "everything"}, nil},
		{exitUsage, []string{"rules", "show", "none"}, nil},
		{exitUsage, []string{"log-level", "loud"}, nil},
		{exitUsage, []string{"status", "--url", "ftp://x"}, nil},
		{exitUsage, []string{"health", "--url", "ftp://x"}, nil},
		{exitUsage, []string{"completion", "sh"}, nil},
		{exitUsage, []string{"run", "--set", "state_dir=" + file}, nil},
		{exitUsage, []string{"config", "check"}, tls},
		{exitUsage, []string{"config", "check", "--set", "state_dir=" + file}, nil},
		{exitUsage, []string{"run"}, tls},
		{exitUsage, []string{"run"}, sasl},
		{exitUsage, []string{"topics", "check"}, tls},
		{exitUsage, []string{"ingest", file}, sasl},
		{exitUsage, []string{"alerts"}, sasl},
		{exitUsage, []string{"replay"}, sasl},
		{exitUsage, []string{"status", "--group"}, sasl},
		{exitUsage, []string{"dead-letters", "list"}, tls},
		{exitUsage, []string{"demo", "now"}, nil},
		{exitUsage, []string{"version", "now"}, nil},

		{exitFailed, []string{"detect", "--strict", file}, nil},
		{exitFailed, []string{"ingest", "--strict", file}, nil},
		{exitFailed, []string{"ingest", "--topic", "none", file}, nil},
		{exitFailed, []string{"rules", "test", file}, nil},
		{exitFailed, []string{"replay"}, nil}, // nothing is in the inputs
		{exitFailed, []string{"replay", "--partition", "99"}, nil},
		{exitFailed, []string{"explain", "8433fb4a-a02b-5f59-bd24-766b9c78c746"}, nil},
		{exitFailed, []string{"state", "seed", file}, nil},
		{exitFailed, []string{"state", "rewind", "--to", "-1h", "--shard", "99"}, nil},
		{exitFailed, []string{"topics", "check", "--set", "topics.input=none"}, nil},
		{exitFailed, []string{"status", "--url", "http://127.0.0.1:1"}, nil},
		{exitFailed, []string{"health", "--url", "http://127.0.0.1:1"}, nil},
		{exitFailed, []string{"run"}, nobody},
		{exitFailed, []string{"topics", "check"}, nobody},
		{exitFailed, []string{"alerts"}, nobody},
		{exitFailed, []string{"status", "--group"}, nobody},
	} {
		args := append(test.args, test.more...)
		if args[0] != "rules" { // rules reads no configuration
			args = append([]string{"--config", s.config}, args...)
		}
		if r := command(t.Context(), "", nil, args...); r.code != test.code || r.stderr == "" {
			t.Errorf("trailhound %q = %d, %q; want %d and a sentence", args, r.code, r.stderr, test.code)
		}
	}
}
