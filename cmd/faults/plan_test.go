package main

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// A seed that failed can be run again only if its plan is the same again.
func TestPlanIsAFunctionOfItsSeed(t *testing.T) {
	for seed := range uint64(20) {
		a, b := newPlan(seed, 10*time.Minute, 3, 3), newPlan(seed, 10*time.Minute, 3, 3)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("newPlan(%d) differs from itself:\n%v\n%v", seed, a, b)
		}
	}
	if reflect.DeepEqual(newPlan(1, 10*time.Minute, 3, 3), newPlan(2, 10*time.Minute, 3, 3)) {
		t.Error("newPlan(1) = newPlan(2); want different plans")
	}
}

// TestPlanHoldsItsMinimum: with any seed there are enough faults of each kind, none
// outlasts its time, and no two brokers are down at once.
func TestPlanHoldsItsMinimum(t *testing.T) {
	const duration = 10 * time.Minute
	for seed := range uint64(200) {
		kills, seen := 0, map[fault]int{}
		var brokerBack time.Duration
		end := map[int]time.Duration{}
		for _, s := range newPlan(seed, duration, 3, 3) {
			kills += s.Fault.kills()
			seen[s.Fault]++
			if s.At+s.For > duration*85/100 {
				t.Errorf("seed %d: %s ends in the last 15 %% of the time", seed, s)
			}
			switch s.Fault {
			case brokerKill:
				if s.At < brokerBack+20*time.Second {
					t.Errorf("seed %d: %s begins %s after the last broker was started again; want 20s to come back", seed, s, s.At-brokerBack)
				}
				brokerBack = s.At + s.For
			case leaders, coordinators, slow, cut, halfOpen, swallow, hoursLate, doubled, backfilled, openTx:
			default:
				for _, i := range s.Targets {
					if s.At < end[i] {
						t.Errorf("seed %d: %s begins before the last fault of instance %d has ended", seed, s, i)
					}
					end[i] = s.At + s.For
				}
			}
		}
		if kills < 20 || seen[brokerKill] < 4 {
			t.Errorf("seed %d: %d process kills and %d broker kills; want 20 and 4", seed, kills, seen[brokerKill])
		}
		for _, f := range []fault{
			kill, killLong, killAgain, killTwo, terminate, terminateLong, rolling, freeze, guest, wipe, corrupt, stale, swap,
			diskFreeze, leaders, coordinators, slow, cut, halfOpen, swallow, hoursLate, doubled, backfilled, openTx,
		} {
			if seen[f] == 0 {
				t.Errorf("seed %d: no %s", seed, f)
			}
		}
	}
}

// CI runs two minutes of it: they must be worth it. And no combination of arguments may hang or crash.
func TestPlanOfOtherSizes(t *testing.T) {
	for seed := range uint64(50) {
		kills, brokerKills := 0, 0
		for _, s := range newPlan(seed, 2*time.Minute, 3, 3) {
			kills += s.Fault.kills()
			if s.Fault == brokerKill {
				brokerKills++
			}
		}
		if kills < 5 || brokerKills < 1 {
			t.Errorf("seed %d: %d process kills and %d broker kills in 2m; want 5 and 1", seed, kills, brokerKills)
		}
		for instances := 1; instances < 4; instances++ {
			for brokers := 1; brokers < 4; brokers++ {
				for _, d := range []time.Duration{0, time.Second, 20 * time.Second, time.Minute} {
					newPlan(seed, d, instances, brokers)
				}
			}
		}
	}
}

// TestPlanOfStalls: stalls meet one broker, or the disk that can be frozen, and last
// sometimes longer than the patience of the instances; and two minutes have so few that
// everything else still happens and drains.
func TestPlanOfStalls(t *testing.T) {
	shorter, longer := map[fault]int{}, map[fault]int{}
	for seed := range uint64(200) {
		var still time.Duration
		for _, s := range newPlan(seed, 2*time.Minute, 3, 3) {
			patience := swallowPatience
			switch s.Fault {
			case swallow:
				if len(s.Brokers) != 1 {
					t.Errorf("seed %d: %s; want one broker", seed, s)
				}
			case diskFreeze:
				patience = diskPatience
				if !reflect.DeepEqual(s.Targets, []int{frozenInstance}) {
					t.Errorf("seed %d: %s; want the instance whose disk can be frozen", seed, s)
				}
			default:
				continue
			}
			still += s.For
			if s.For > patience {
				longer[s.Fault]++
			} else {
				shorter[s.Fault]++
			}
		}
		if still > 90*time.Second {
			t.Errorf("seed %d: something stands still for %s of 2m", seed, still)
		}
	}
	for _, f := range []fault{swallow, diskFreeze} {
		if shorter[f] == 0 || longer[f] == 0 {
			t.Errorf("%s: %d short and %d long; want both", f, shorter[f], longer[f])
		}
	}
	t.Log(shorter, longer)
}

// A broker that swallows holds requests to leaders, and nothing else.
func TestBadModeSwallows(t *testing.T) {
	for seed := range uint64(20) {
		m, detail := badMode(swallow, rand.New(rand.NewPCG(seed, 1)))
		if m.lose = false; m != (mode{swallow: true}) || detail == "" {
			t.Errorf("badMode(swallow) = %+v, %q; want only requests to leaders held", m, detail)
		}
	}
}
