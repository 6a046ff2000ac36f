package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/topic"
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

// A clean-up policy that deletes events before they are read is refused by the check and by
// run; offsets that expire early are a warning. PROTOCOL R7, R10.
func TestTopicsCheckTellsOfLosses(t *testing.T) {
	cluster := fakeCluster(t)
	s := newSite(t, cluster.ListenAddrs(), 1)
	s.must("", "topics", "create")
	set := func(name, key, value string) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		res, cfg := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, name
		cfg.Name, cfg.Value = key, &value
		res.Configs = append(res.Configs, cfg)
		req.Resources = append(req.Resources, res)
		if resp, err := req.RequestWith(t.Context(), s.admin); err != nil || resp.Resources[0].ErrorCode != 0 {
			t.Fatalf("set %s=%s on %s: %v, %+v", key, value, name, err, resp)
		}
	}
	input := s.app.Inputs[0]
	set(input, "retention.ms", "-1")
	r := s.must("", "topics", "check")
	if l := lines(r.stderr); len(l) != 1 || !strings.HasPrefix(l[0], "warning: input "+input+" keeps records for ever") {
		t.Errorf("topics check of an input kept for ever = %q; want a warning", r.stderr)
	}
	set(input, "cleanup.policy", "compact")
	for _, command := range [][]string{{"topics", "check"}, {"run"}} {
		if r := s.command("", command...); r.code != exitFailed || !strings.Contains(r.stderr, "topic "+input+" has cleanup.policy=compact") {
			t.Errorf("%s with a compacted input = %d, %q; want a refusal", command, r.code, r.stderr)
		}
	}
	p := s.call("run", "--accept-loss")
	s.await("the service to start", func() bool { return p.stderr.has(`"message":"started"`) && p.stderr.has(`"topic_loses_records"`) })
	if code := p.end(); code != exitDone {
		t.Errorf("run --accept-loss = %d; want %d", code, exitDone)
	}
}
