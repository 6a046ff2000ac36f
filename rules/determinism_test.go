package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testShards = 4

// randomEvents are denials and assumed roles of a few principals, a tenth of
// them delivered twice, half of them late.
func randomEvents(n int) []*Event {
	random := rand.New(rand.NewPCG(1, 2))
	var events []*Event
	for i := range n {
		user := fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", random.IntN(12))
		ev := eventAt(fmt.Sprint("e", i), time.Duration(i-random.IntN(600))*time.Second)
		ev.Identity.ARN = user
		ev.SourceIP = fmt.Sprint("198.51.100.", random.IntN(20))
		ev.Raw = fmt.Appendf(nil, `{"eventID":%q}`, ev.ID)
		ev.At.Topic, ev.At.Offset = "cloudtrail", int64(i)
		if random.IntN(2) == 0 {
			ev.ErrorCode = "AccessDenied"
		} else {
			ev.Name = "AssumeRole"
			ev.Raw = fmt.Appendf(nil, `{"eventID":%q,"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/r%d"}}`, ev.ID, random.IntN(8))
		}
		events = append(events, ev)
		if random.IntN(10) == 0 {
			events = append(events, ev)
		}
	}
	return events
}

func bothRules() []Active {
	denied := NewAccessDenied()
	denied.Threshold = 5
	return []Active{{Rule: denied, Options: Options{Suppress: 10 * time.Minute}}, {Rule: NewAssumeRoleUniqueIP()}}
}

// alertsPerKey runs each shard's matches, commits and sweeps after each batch of
// events, and groups the payloads by rule and key.
func alertsPerKey(t *testing.T, shards, batch int, events []*Event) map[string]string {
	t.Helper()
	alerts := map[string]string{}
	for shard := range shards {
		f := newFeeder(t, defaultLimits, bothRules()...)
		for i, ev := range events {
			f.matches, _ = f.engine.Match(ev, f.matches[:0])
			mine := slices.DeleteFunc(f.matches, func(m Match) bool { return ShardOf(m.Key, shards) != shard })
			for _, a := range f.engine.Evaluate(ev, mine, f.tx).Alerts {
				p := decodeAlert(t, a.Payload)
				alerts[p.RuleID+" "+p.Key] += string(a.Payload) + "\n"
			}
			if i%batch == batch-1 {
				f.commit()
			}
		}
	}
	return alerts
}

func TestSameInputSameAlerts(t *testing.T) {
	events := randomEvents(1200)
	first := alertsPerKey(t, 1, len(events), events)
	if len(first) != 20 {
		t.Fatalf("%d keys have alerts; want all 20", len(first))
	}
	if again := alertsPerKey(t, 1, len(events), events); !maps.Equal(first, again) {
		t.Errorf("a second run of the same events gave other alerts")
	}
	if sharded := alertsPerKey(t, testShards, 100, events); !maps.Equal(first, sharded) {
		t.Errorf("%d shards gave other alerts than one", testShards)
	}
	if small := alertsPerKey(t, 1, 1, events); !maps.Equal(first, small) {
		t.Errorf("a commit after each event gave other alerts than one batch")
	}
}

// Keys do not see each other: for any order between the events of different keys, each key
// that keeps its own order has the same alerts.
func TestOrderMattersPerKeyOnly(t *testing.T) {
	events := randomEvents(1200)
	byPair := map[string][]*Event{}
	for _, ev := range events {
		key := ev.Identity.ARN
		if ev.Name == "AssumeRole" {
			key = ev.RequestParameter("roleArn")
		}
		byPair[key] = append(byPair[key], ev)
	}
	shuffled := interleave(byPair)
	if len(shuffled) != len(events) || slices.Equal(shuffled, events) {
		t.Fatalf("interleave gave %d events in the order of before: %v; want %d in another", len(shuffled), slices.Equal(shuffled, events), len(events))
	}
	if want, got := alertsPerKey(t, 1, len(events), events), alertsPerKey(t, testShards, 7, shuffled); !maps.Equal(want, got) {
		t.Errorf("another order of keys gave other alerts")
	}
}

// interleave merges the queues at random, each in its order.
func interleave(queues map[string][]*Event) []*Event {
	random := rand.New(rand.NewPCG(3, 4))
	var rest [][]*Event
	for _, key := range slices.Sorted(maps.Keys(queues)) {
		rest = append(rest, queues[key])
	}
	var merged []*Event
	for len(rest) > 0 {
		i := random.IntN(len(rest))
		merged = append(merged, rest[i][0])
		if rest[i] = rest[i][1:]; len(rest[i]) == 0 {
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return merged
}

// Clones share rules, and nothing that changes. The race detector looks too.
func TestClonesInParallel(t *testing.T) {
	events := randomEvents(500)
	first := newFeeder(t, defaultLimits, bothRules()...)
	engines := []*feeder{first}
	for range 3 {
		f := newFeeder(t, defaultLimits, bothRules()...)
		f.engine = first.engine.Clone()
		engines = append(engines, f)
	}
	results := make([]strings.Builder, len(engines))
	var wg sync.WaitGroup
	for i, f := range engines {
		wg.Go(func() {
			for _, ev := range events {
				f.matches, _ = f.engine.Match(ev, f.matches[:0])
				for _, a := range f.engine.Evaluate(ev, f.matches, f.tx).Alerts {
					results[i].Write(a.Payload)
				}
			}
		})
	}
	wg.Wait()
	for i := range results {
		if got, want := results[i].String(), results[0].String(); got != want || got == "" {
			t.Errorf("clone %d wrote %d bytes of alerts; want the %d bytes of the first", i, len(got), len(want))
		}
	}
}
