package main

import (
	"strings"
	"testing"

	"trailhound/consumer/topic"
)

// A start that the state refuses creates no topic: a mistyped name left one behind, and
// the sentence came after it. PROTOCOL R6.
func TestRefusedRunCreatesNothing(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	p := s.call("run")
	s.await("the service to take its shards", func() bool { return strings.Count(p.stderr.String(), `"shard_taken"`) == s.app.Shards })
	if code := p.end(); code != exitDone {
		t.Fatalf("run = %d; want %d", code, exitDone)
	}
	typo := s.app.ID + "-typo"
	for _, key := range []string{"topics.alerts", "topics.dead_letter"} {
		r := s.command("", "run", "--set", key+"="+typo)
		infos, err := topic.Describe(t.Context(), s.client, typo)
		if r.code != exitFailed || !strings.Contains(r.stderr, key+" is ["+typo+"]") || err != nil || len(infos) > 0 {
			t.Errorf("run --set %s=%s = %d, %q, and there is %v, %v; want a refusal and no topic", key, typo, r.code, r.stderr, infos, err)
		}
	}
}
