package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"trailhound/rules"
)

// Each shard has a role of its own for its probes, by the product's own reckoning.
func TestProbeRoles(t *testing.T) {
	p, err := newProbes([]string{"127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for shard, role := range p.roles {
		if got := rules.ShardOf(role, failoverShards); got != shard {
			t.Errorf("role %s belongs to shard %d; its probes are for shard %d", role, got, shard)
		}
	}
}

// TestProbesAlert: by the oracle, one of a role's first few probes makes its address known,
// and all others alert.
func TestProbesAlert(t *testing.T) {
	p := &probes{ids: make(map[string]int)}
	o := newOracle(oracleSettings{})
	for n := range 3 * inputPartitions {
		rec := p.probe(n, 5, "arn:aws:iam::111122223333:role/probe")
		rec.Timestamp = time.Now()
		alerts, letters := o.record(rec)
		if want := n > 0; (len(alerts) == 1) != want || len(letters) > 0 {
			t.Errorf("probe %d has %d alerts and %d dead letters", n, len(alerts), len(letters))
		}
		if _, waited := p.ids[alertOf(alerts)]; waited != (n >= inputPartitions) {
			t.Errorf("the alert of probe %d is waited for: %t", n, waited)
		}
	}
}

func alertOf(alerts []alertBody) string {
	for _, a := range alerts {
		return a.EventID
	}
	return ""
}

// Only probes of the span count, and one without an alert is missing.
func TestProbesLongest(t *testing.T) {
	begun := time.Unix(1000, 0)
	at := func(sent, seen time.Duration) probe {
		p := probe{sent: begun.Add(sent)}
		if seen > 0 {
			p.seen = begun.Add(seen)
		}
		return p
	}
	p := &probes{sent: []probe{at(0, 9*time.Second), at(time.Second, 1500*time.Millisecond), at(2*time.Second, 0), at(3*time.Second, 3100*time.Millisecond), at(4*time.Second, 0)}}
	if longest, missing := p.longest(begun.Add(time.Second), begun.Add(3*time.Second)); longest != 500*time.Millisecond || missing != 1 {
		t.Errorf("longest = %s, %d missing; want 500ms, 1", longest, missing)
	}
}

// A missed limit fails the run, and so does a shard that has moved.
func TestFailoverTable(t *testing.T) {
	for name, tt := range map[string]struct {
		took  time.Duration
		moved int
		want  bool
	}{"kept": {time.Second, 0, true}, "missed": {2 * time.Second, 0, false}, "moved": {time.Second, 1, false}} {
		var out bytes.Buffer
		f := &failovers{stdout: &out, probes: &probes{}, moved: tt.moved, cases: []*failoverCase{
			{name: "calm", took: []time.Duration{time.Hour}}, {name: "kill", limit: time.Second, at: 1, took: []time.Duration{tt.took}},
		}}
		if ok, err := f.table(); ok != tt.want || err != nil || strings.Contains(out.String(), "MISSED") != (name == "missed") {
			t.Errorf("%s: table = %t, %v with\n%s", name, ok, err, &out)
		}
	}
}
