package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const sampleFile = "../trailhound/sample/cloudtrail.jsonl"

func sampleSet(t *testing.T) []original {
	set, err := readSet([]string{sampleFile})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Copies differ in eventID and time alone, deliveries of one event in nothing, and none is lost.
func TestSpread(t *testing.T) {
	set, ids := sampleSet(t), map[string]bool{}
	for i := range set {
		ids[set[i].event] = true // the sample has an event twice
	}
	s := spread{Copies: 3, Apart: 144 * time.Hour, Shuffle: 10 * time.Minute, Doubled: true, LateShare: 0.1, Late: 2 * time.Hour, Partitions: 4, Seed: 1}
	for _, s.How = range spreads {
		all := s.deliveries(set)
		if again := s.deliveries(set); !slices.Equal(all, again) {
			t.Errorf("%s: two inputs of one seed differ", s.How)
		}
		deliveries, used, late := map[string]int{}, map[int32]bool{}, 0
		for i := range all {
			d := &all[i]
			parts := unwrap(s.value(set, d))
			if len(parts) != 1 || parts[0].event == nil {
				t.Fatalf("%s: %s is no event", s.How, s.value(set, d))
			}
			at, ok := parts[0].event.happened()
			if want := set[d.event].at.Add(time.Duration(d.copy) * s.Apart); !ok || !at.Equal(want) {
				t.Fatalf("%s: an event of %s has the time %s; want %s", s.How, set[d.event].at, at, want)
			}
			deliveries[parts[0].event.ID]++
			used[d.partition] = true
			if d.arrival-d.at > int64(time.Hour) {
				late++
			}
		}
		if len(deliveries) != 3*len(ids) || slices.Min(slices.Collect(maps.Values(deliveries))) != 2 || len(all) != 6*len(set) || len(used) != 4 {
			t.Errorf("%s: %d deliveries of %d events in %d partitions", s.How, len(all), len(deliveries), len(used))
		}
		if late < len(all)/20 || late > len(all)/5 {
			t.Errorf("%s: %d of %d events are late; want a tenth", s.How, late, len(all))
		}
	}
}

// TestSpreadCommand: verify reads the files that spread writes, and without alerts misses
// those that are due.
func TestSpreadCommand(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	args := []string{"--set", sampleFile, "--copies", "2", "--doubled", "--partitions", "2", "--seed", "1", "--dir", dir}
	if code := spreadCommand(t.Context(), args, &stdout, &stderr); code != exitDone {
		t.Fatalf("spread = %d, %s", code, &stderr)
	}
	for _, bad := range [][]string{{}, append(args, "--topic", "x", "--brokers", "y"), append(args, "--how", "luck"), append(args, "--late-share", "2")} {
		if code := spreadCommand(t.Context(), bad, &stdout, &stderr); code != exitUsage {
			t.Errorf("spread %q = %d; want %d", bad, code, exitUsage)
		}
	}
	empty := filepath.Join(dir, "alerts")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(dir, "0.jsonl") + "," + filepath.Join(dir, "1.jsonl")
	if code := verify(t.Context(), []string{"--sliding", "--input", input, "--alerts", empty}, &stdout, &stderr); code != exitFailed || strings.Contains(stdout.String(), "missed 0") {
		t.Errorf("verify = %d, %s%s", code, &stdout, &stderr)
	}
}

// Another number of alerts is explained only where the order of events that lie close can make it.
func TestCompareOrders(t *testing.T) {
	judged := func(s *scene, alerts ...*alertBody) *check {
		c := newCheck(s.settings)
		for i, e := range s.events {
			c.input(e, s.places[i])
		}
		for _, a := range alerts {
			c.alert(mustJSON(a))
		}
		return c
	}
	short := deniedScene(false)
	long := deniedScene(false)
	long.add(0, denialAt("e5", 50))
	long.add(0, denialAt("e6", 100))
	near, far := assumedScene(), &scene{}
	far.add(0, assumption("a0", "198.51.100.1", 0))
	far.add(0, assumption("a1", "203.0.113.66", 600))
	for name, tt := range map[string]struct {
		got, want *check
		expect    difference
	}{
		"the same":                    {judged(short, short.alerts...), judged(short, short.alerts...), difference{}},
		"one is missing":              {judged(short), judged(short, short.alerts...), difference{unexplained: 1}},
		"a run longer than a window":  {judged(long), judged(long, long.alerts...), difference{explained: 1}},
		"addresses that came at once": {judged(near), judged(near, near.alerts...), difference{explained: 1}},
		"addresses hours apart":       {judged(far), judged(far, far.assumed(1, "198.51.100.1")), difference{unexplained: 1}},
	} {
		d := compareOrders(tt.got, tt.want, time.Hour)
		if d.explained != tt.expect.explained || d.unexplained != tt.expect.unexplained {
			t.Errorf("%s: %+v; want %+v", name, d, tt.expect)
		}
	}
}
