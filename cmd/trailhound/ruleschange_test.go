package main

import (
	"strings"
	"syscall"
	"testing"
)

// A start with other rules or parameters reports each change, with the old and the new
// value: once, for any number of shards, and not again at the next start.
func TestRulesChanged(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	changes := func(args ...string) []string {
		t.Helper()
		p := s.start(append([]string{"run"}, args...)...)
		s.await("all shards to be taken", func() bool { return strings.Count(p.stderr.String(), `"event":"shard_taken"`) == 8 })
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != exitDone {
			t.Fatalf("run = %d; want 0", code)
		}
		var told []string
		for _, line := range lines(p.stderr.String()) {
			if strings.Contains(line, `"event":"rules_changed"`) {
				told = append(told, line)
			}
		}
		return told
	}
	if told := changes(); len(told) != 0 {
		t.Errorf("the first start says %q; want nothing of changes", told)
	}
	other := []string{"--set", "rules.access_denied.threshold=5", "--set", "rules.access_denied.window=90m", "--set", "rules.access_denied.suppress=1h", "--set", "rules.assume_role_unique_ip=false"}
	told := changes(other...)
	want := []string{
		`"rule":"access_denied","parameter":"suppress","from":"0s","to":"1h"`,
		`"rule":"access_denied","parameter":"threshold","from":"10","to":"5"`,
		`"rule":"access_denied","parameter":"window","from":"1h","to":"1h30m"`,
		`"rule":"assume_role_unique_ip","parameter":"","from":"on","to":"off"`,
	}
	if len(told) != len(want) {
		t.Fatalf("a start with other rules says %q; want %d lines", told, len(want))
	}
	for i := range want {
		if !strings.Contains(told[i], want[i]) {
			t.Errorf("line %d is %s; want %s in it", i+1, told[i], want[i])
		}
	}
	if told := changes(other...); len(told) != 0 {
		t.Errorf("the next start says %q; want nothing of changes", told)
	}
}
