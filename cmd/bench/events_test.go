package main

import (
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
)

var testMix = mix{Denied: 0.2, Assume: 0.3, Principals: 1000, Seed: 1}

// made returns a digest of n events of a mix.
func made(m mix, n int) uint64 {
	g, h := newGenerator(m), fnv.New64a()
	for i := range n {
		e := g.next(firstTime.Add(time.Duration(i) * time.Millisecond))
		_, _ = h.Write(e.key)
		_, _ = h.Write(e.value)
	}
	return h.Sum64()
}

func TestGeneratorIsAFunctionOfItsSeed(t *testing.T) {
	other := testMix
	other.Seed = 2
	if a, b := made(testMix, 1000), made(testMix, 1000); a != b {
		t.Errorf("the same seed makes different events: %x and %x", a, b)
	}
	if a, b := made(testMix, 1000), made(other, 1000); a == b {
		t.Errorf("different seeds make the same events: %x", a)
	}
}

// An event that the product could not decode, or a record key that is not the rule's, would
// be fast and prove nothing.
func TestEventsAreWhatTheRulesLookFor(t *testing.T) {
	small, large, hot := testMix, testMix, testMix
	small.Size, large.Size, hot.Hot = 500, 20_000, true
	for name, m := range map[string]mix{"usual": testMix, "small": small, "large": large, "hot": hot} {
		t.Run(name, func(t *testing.T) { checkEvents(t, m) })
	}
}

func checkEvents(t *testing.T, m mix) {
	denied, assume := rules.NewAccessDenied(), rules.NewAssumeRoleUniqueIP()
	const n = 2000
	kinds, ids, bytes := map[kind]int{}, map[string]bool{}, 0
	g := newGenerator(m)
	for i := range n {
		at := firstTime.Add(time.Duration(i) * time.Second)
		e := g.next(at)
		kinds[e.kind]++
		bytes += len(e.value)
		events := 0
		cloudtrail.Decode(e.value, func(got *rules.Event, err error) bool {
			if err != nil {
				t.Fatalf("Decode(%s): %v", e.value, err)
			}
			events++
			wantDenied, wantAssume, wantKey := "", "", got.Principal()
			switch e.kind {
			case denial:
				wantDenied = got.Principal()
			case assumption:
				wantAssume = got.RequestParameter("roleArn")
				wantKey = wantAssume
			}
			if !got.Time.Equal(at) || wantKey == "" || string(e.key) != wantKey || denied.Key(got) != wantDenied || assume.Key(got) != wantAssume {
				t.Fatalf("event of kind %d at %s with key %q: rules see keys %q and %q, time %s", e.kind, at, e.key, denied.Key(got), assume.Key(got), got.Time)
			}
			ids[strings.Clone(got.ID)] = true
			return true
		})
		if events != 1 {
			t.Fatalf("Decode(%s) yields %d events; want 1", e.value, events)
		}
	}
	if len(ids) != n {
		t.Errorf("%d events have %d eventIDs", n, len(ids))
	}
	switch {
	case m.Hot:
		if kinds[denial] != n {
			t.Errorf("%d of %d events are denials; want all", kinds[denial], n)
		}
	case kinds[denial] < n/10 || kinds[denial] > n/3 || kinds[assumption] < n/5 || kinds[assumption] > n/2:
		t.Errorf("kinds = %v of %d; want about %g and %g", kinds, n, m.Denied, m.Assume)
	}
	if average, want := bytes/n, m.Size; want == 0 && (average < 1500 || average > 2000) || want > 0 && (average < want*9/10 || average > want*5/4) {
		t.Errorf("events have %d bytes on average; want about %d (0: 1670)", average, want)
	}
}

func BenchmarkGenerator(b *testing.B) {
	g := newGenerator(mix{Denied: 0.02, Assume: 0.03, Principals: 5000, Seed: 1})
	n := 0
	for i := range b.N {
		n += len(g.next(firstTime.Add(time.Duration(i) * time.Millisecond)).value)
	}
	b.SetBytes(int64(n / b.N))
}
