package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is a kind of fault, as it reads in the report.
type fault string

// Faults of instances.
const (
	kill          fault = "kill"           // kill -9, and a restart within the session time-out
	killLong      fault = "kill-long"      // kill -9, and a restart after it
	killAgain     fault = "kill-again"     // kill -9, the state deleted, and kill -9 again during the restore
	killTwo       fault = "kill-two"       // kill -9 of two instances at once
	terminate     fault = "terminate"      // SIGTERM, and a restart within the session time-out
	terminateLong fault = "terminate-long" // SIGTERM, and a restart after it
	rolling       fault = "rolling"        // SIGTERM and restart of all instances, one after the other
	freeze        fault = "freeze"         // SIGSTOP for longer than the session time-out, then SIGCONT: a zombie
	guest         fault = "guest"          // one more instance joins, and leaves
	diskFreeze    fault = "disk-freeze"    // the disk of the first instance does not answer; it may end by that
	wipe          fault = "state-deleted"  // kill -9, and a restart without the state directory
	corrupt       fault = "state-damaged"  // kill -9, and a restart with a torn or overwritten file
	stale         fault = "state-old"      // kill -9, and a restart with an old copy of the state directory
	swap          fault = "state-swapped"  // kill -9 of two instances, and a restart of each with the other's state directory
)

// Faults of brokers, and of the connections between them and the instances.
const (
	brokerKill   fault = "broker-kill"  // kill -9 of a broker, and a restart
	leaders      fault = "leaders"      // the leaders of some partitions move
	coordinators fault = "coordinators" // the coordinators of the group and of some transactional ids move
	slow         fault = "slow"         // connections are slow
	cut          fault = "cut"          // connections are closed, new ones refused
	halfOpen     fault = "half-open"    // connections stay open, and swallow the bytes of one or both directions
	swallow      fault = "swallow"      // a broker answers all requests but those to leaders
)

// Faults of the input, in one of its partitions.
const (
	hoursLate  fault = "hours-late" // all that comes is hours late
	doubled    fault = "doubled"    // every event comes twice
	backfilled fault = "backfill"   // records of days ago come between those of now
	openTx     fault = "open-tx"    // a transaction of another producer stays open: the records behind it are not stable
)

// sessionTimeout is the instances' kafka.session_timeout, the least that brokers allow.
const sessionTimeout = 6 * time.Second

const (
	frozenInstance  = 1                // the instance with its state on a disk that can be frozen
	diskPatience    = 30 * time.Second // time after which a disk without an answer ends its instance
	swallowPatience = 25 * time.Second // time after which partitions of a leader without an answer are handed back
)

// step is one fault of a plan.
type step struct {
	At      time.Duration // since the beginning
	Fault   fault
	Targets []int         // instances, or a broker, from 1; of a network fault: instances; of the input: a partition, from 0
	Brokers []int         // of a network fault
	For     time.Duration // until the fault is undone
	Seed    uint64        // decides the details: which partitions, which file
}

func (s step) String() string {
	text := fmt.Sprintf("%7s  %-14s", s.At.Round(100*time.Millisecond), s.Fault)
	switch s.Fault {
	case brokerKill:
		text += fmt.Sprintf(" broker %s", list(s.Targets))
	case slow, cut, halfOpen, swallow:
		text += fmt.Sprintf(" t%s to broker %s", list(s.Targets), list(s.Brokers))
	case leaders, coordinators:
		return text
	case hoursLate, doubled, backfilled, openTx:
		text += " partition " + list(s.Targets)
	default:
		text += " t" + list(s.Targets)
	}
	return text + fmt.Sprintf(" for %s", s.For.Round(100*time.Millisecond))
}

func list(numbers []int) string {
	text := ""
	for i, n := range numbers {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprint(n)
	}
	return text
}

// kills is how many processes of the product a fault kills with SIGKILL.
func (f fault) kills() int {
	switch f {
	case kill, killLong, wipe, corrupt:
		return 1
	case killAgain, killTwo, stale, swap:
		return 2
	}
	return 0
}

// The decks say how often a fault comes: a deck is dealt to its end before the next begins.
var (
	instanceDeck = []fault{
		kill, kill, kill, kill, kill, kill, killLong, killLong, killAgain, killAgain, killTwo, killTwo, terminate, terminate,
		terminateLong, rolling, freeze, freeze, freeze, guest, guest, wipe, corrupt, corrupt, stale, swap, diskFreeze,
	}
	clusterDeck = []fault{leaders, leaders, coordinators, coordinators, slow, cut, cut, halfOpen, halfOpen, halfOpen, swallow}
	inputDeck   = []fault{hoursLate, doubled, backfilled, openTx}
)

// quiet is the part of a run, at its end, in which everything comes back and no more faults happen.
const quiet = 0.15

// brokerKillEvery is the longest time from one broker kill to the next; the shortest is 30
// seconds less. A restarted broker takes 6 to 13 seconds to serve, and a while to catch up.
const brokerKillEvery = 75 * time.Second

// newPlan returns the faults of a run in the order in which they begin. It is a function of its arguments.
func newPlan(seed uint64, duration time.Duration, instances, brokers int) []step {
	p := &planner{
		rng:       rand.New(rand.NewPCG(seed, 1)),
		end:       planEnd(duration),
		instances: instances, brokers: brokers,
	}
	p.planInstances()
	p.planCluster()
	p.planBrokers()
	p.planInput()
	slices.SortStableFunc(p.steps, func(a, b step) int { return cmp.Compare(a.At, b.At) })
	return p.steps
}

// planEnd is when the quiet time begins.
func planEnd(duration time.Duration) time.Duration {
	return time.Duration(float64(duration) * (1 - quiet))
}

type planner struct {
	rng                *rand.Rand
	end                time.Duration // no fault begins or lasts beyond it
	instances, brokers int
	steps              []step
}

// between returns a time from least to most.
func (p *planner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(p.rng.Int64N(int64(most-least)+1))
}

// add plans a fault unless it would last beyond the end.
func (p *planner) add(s step) bool {
	if s.At+s.For > p.end {
		return false
	}
	s.Seed = p.rng.Uint64()
	p.steps = append(p.steps, s)
	return true
}

// deal calls plan for one card of a deck after the other until a card does not fit any more.
func (p *planner) deal(deck []fault, plan func(fault) bool) {
	for {
		cards := slices.Clone(deck)
		p.rng.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		for _, c := range cards {
			if !plan(c) {
				return
			}
		}
	}
}

// planInstances plans the faults of instances. Faults of one do not overlap, those of several do.
func (p *planner) planInstances() {
	deck := slices.Clone(instanceDeck)
	if p.instances < 2 {
		deck = slices.DeleteFunc(deck, func(f fault) bool { return f == killTwo || f == swap })
	}
	free := make([]time.Duration, p.instances+2) // when each instance has recovered from its last fault; the last is the guest
	at := 10 * time.Second
	p.deal(deck, func(f fault) bool {
		targets := p.victims(f, free)
		begin := at
		for _, t := range targets {
			begin = max(begin, free[t])
		}
		s := step{At: begin, Fault: f, Targets: targets, For: p.lasting(f)}
		for _, t := range targets {
			free[t] = begin + s.For + p.between(2*time.Second, 8*time.Second)
		}
		at += p.between(2*time.Second, 9*time.Second)
		return p.add(s) || at < p.end
	})
}

// victims chooses the instances that a fault meets: most often those that have been well
// for longest.
func (p *planner) victims(f fault, free []time.Duration) []int {
	all := p.rng.Perm(p.instances)
	for i := range all {
		all[i]++
	}
	switch f {
	case guest:
		return []int{p.instances + 1}
	case diskFreeze:
		return []int{frozenInstance}
	case rolling:
		slices.Sort(all)
		return all
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(free[a], free[b]) })
	if f == killTwo || f == swap {
		return all[:2]
	}
	return all[:1]
}

// lasting is how long a fault of an instance takes.
func (p *planner) lasting(f fault) time.Duration {
	switch f {
	case killLong, terminateLong:
		return p.between(sessionTimeout+time.Second, sessionTimeout+5*time.Second)
	case freeze:
		return p.between(sessionTimeout+2*time.Second, sessionTimeout+6*time.Second)
	case diskFreeze: // in half of the cases shorter than diskPatience
		if p.rng.IntN(2) == 0 {
			return p.between(5*time.Second, 15*time.Second)
		}
		return p.between(diskPatience+2*time.Second, diskPatience+10*time.Second)
	case guest:
		return p.between(8*time.Second, 25*time.Second)
	case stale: // how old the copy is
		return p.between(5*time.Second, 20*time.Second)
	case rolling:
		return time.Duration(p.instances) * p.between(2*time.Second, 4*time.Second)
	}
	return p.between(0, 3*time.Second)
}

// planCluster plans moves of leaders and faults of connections, one after the other.
func (p *planner) planCluster() {
	at := 14 * time.Second
	p.deal(clusterDeck, func(f fault) bool {
		s := step{At: at, Fault: f}
		switch f {
		case slow, cut, halfOpen:
			s.For = p.between(time.Second, 12*time.Second)
			s.Targets, s.Brokers = p.someOf(p.instances), p.someOf(p.brokers)
		case swallow: // in half of the cases shorter than swallowPatience
			s.For = p.between(5*time.Second, 12*time.Second)
			if p.rng.IntN(2) == 0 {
				s.For = p.between(swallowPatience+time.Second, swallowPatience+8*time.Second)
			}
			s.Targets, s.Brokers = p.someOf(p.instances), []int{1 + p.rng.IntN(p.brokers)}
		}
		at += s.For + p.between(3*time.Second, 12*time.Second)
		return p.add(s) || at < p.end
	})
}

// planInput plans the faults of the input, one after the other.
func (p *planner) planInput() {
	at := 12 * time.Second
	p.deal(inputDeck, func(f fault) bool {
		s := step{At: at, Fault: f, Targets: []int{p.rng.IntN(inputPartitions)}, For: p.between(5*time.Second, 15*time.Second)}
		at += s.For + p.between(time.Second, 5*time.Second)
		return p.add(s)
	})
}

// someOf returns one of the numbers from 1 to n, or all of them.
func (p *planner) someOf(n int) []int {
	if p.rng.IntN(3) > 0 {
		return []int{1 + p.rng.IntN(n)}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i + 1
	}
	return all
}

// planBrokers plans kills of brokers, never two at a time.
func (p *planner) planBrokers() {
	if p.brokers < 3 {
		return // too few in-sync replicas would be left to go on writing
	}
	at := p.between(20*time.Second, 40*time.Second)
	for p.add(step{At: at, Fault: brokerKill, Targets: []int{1 + p.rng.IntN(p.brokers)}, For: p.between(time.Second, 15*time.Second)}) {
		at += p.between(brokerKillEvery-30*time.Second, brokerKillEvery)
	}
}
