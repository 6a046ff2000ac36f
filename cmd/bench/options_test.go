package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	for _, args := range []string{
		"throughputs", "throughput extra", "throughput --runs 0", "throughput --events 10", "throughput --denied 0.9 --assume 0.2", "throughput --codec brotli",
		"throughput --partitions 0", "throughput --size 2000000", "throughput --principals 0", "throughput --set shards", "throughput --rate 5", "latency --rate 1", "--rate 1", "latency --background 5",
		"latency --events 1000", "memory --keys 0", "detect --megabytes 0", "detect --brokers a:1", "throughput --broker-pid 1", "throughput --batch 5000000",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &stdout, &stderr); code != exitUsage || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("bench %s: exit code %d, stdout %q, stderr %q; want %d and a sentence on stderr", args, code, &stdout, &stderr, exitUsage)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, m := range modes {
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(m.name), "--help")
		if code := run(t.Context(), args, &stdout, &stderr); code != exitDone || stderr.Len() > 0 || !strings.Contains(stdout.String(), m.about) {
			t.Errorf("bench %v: exit code %d, stderr %q, stdout\n%s", args, code, &stderr, &stdout)
		}
	}
}

// TestVariants: each variant differs from the given options in one thing, and none is the
// same as they are.
func TestVariants(t *testing.T) {
	var o options
	if err := o.flagSet(modes[slices.IndexFunc(modes, func(m mode) bool { return m.name == "scale" })]).Parse(nil); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i, v := range variants(o) {
		changed := o
		v.change(&changed)
		same := changed.procs == o.procs && changed.shards == o.shards && changed.partitions == o.partitions && changed.mix == o.mix && changed.codec == o.codec
		if same != (i == 0) || names[v.name] {
			t.Errorf("variant %q: as given is %t, seen before is %t", v.name, same, names[v.name])
		}
		if other := changed.partitions != o.partitions || changed.mix != o.mix || changed.codec != o.codec; v.refill != other {
			t.Errorf("variant %q: refill is %t, another topic is needed: %t", v.name, v.refill, other)
		}
		names[v.name] = true
	}
	if len(names) < 12 {
		t.Errorf("only %d variants: %v", len(names), names)
	}
}
