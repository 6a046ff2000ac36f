package main

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/group"
	"trailhound/rules"
)

// deed is one event of a stream with a known right answer: the denial of a principal, or else
// the use of a role.
type deed struct {
	id, who, role, ip string
	at                time.Time
}

func (d *deed) line() string {
	at, arn, role := d.at.Format(time.RFC3339), d.who, ""
	if d.who == "" {
		arn, role = "arn:aws:iam::111122223333:user/operator", fmt.Sprintf(`"roleArn":%q`, d.role)
	}
	name, code := "AssumeRole", ""
	if d.who != "" {
		name, code = "GetObject", `"errorCode":"AccessDenied",`
	}
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":%q,"eventTime":%q,"eventName":%q,"eventSource":"sts.amazonaws.com",%s"sourceIPAddress":%q,"userIdentity":{"type":"IAMUser","arn":%q},"requestParameters":{%s}}`,
		d.id, at, name, code, d.ip, arn, role)
}

// deeds returns n events over 120 keys. One in ten comes twice, most come behind a newer
// event, and some by more than the window of an hour. 20,000 events span less than a day:
// the partitions of a backlog are not read at the same pace, which must not matter within
// events.duplicates_within.
func deeds(seed uint64, n int) []deed {
	rng := rand.New(rand.NewPCG(seed, 0))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	all := make([]deed, 0, n)
	for i := range n {
		if i > 0 && rng.IntN(10) == 0 {
			all = append(all, all[max(0, i-1-rng.IntN(1000))])
			continue
		}
		late := time.Duration(rng.IntN(600)) * time.Second
		if rng.IntN(50) == 0 {
			late = time.Duration(rng.IntN(180)) * time.Minute
		}
		d := deed{id: fmt.Sprintf("deed-%d-%d", seed, i), at: start.Add(time.Duration(i)*3*time.Second - late), ip: "192.0.2.1"}
		if k := rng.IntN(120); k < 80 {
			d.who = fmt.Sprintf("arn:aws:iam::111122223333:user/u%d", k)
		} else {
			d.role, d.ip = fmt.Sprintf("arn:aws:iam::111122223333:role/r%d", k), fmt.Sprintf("192.0.2.%d", 1+min(rng.IntN(40), 2))
		}
		all = append(all, d)
	}
	return all
}

// answer returns the alerts that the two rules must give for events in this order: "rule
// eventID" of each alert, sorted.
func answer(all []deed) []string {
	var alerts []string
	seen := map[string]bool{}
	denials := map[string][][]time.Time{} // windows in the order of their starts, each with its events in order
	first := map[string]string{}
	for _, d := range all {
		if seen[d.id] {
			continue
		}
		seen[d.id] = true
		if d.role != "" {
			if known, ok := first[d.role]; !ok {
				first[d.role] = d.ip
			} else if known != d.ip {
				alerts = append(alerts, "assume_role_unique_ip "+d.id)
			}
			continue
		}
		all, i := windowFor(denials[d.who], d.at)
		all[i] = append(all[i], d.at)
		slices.SortFunc(all[i], time.Time.Compare)
		if len(all[i]) == 10 {
			all = slices.Delete(all, i, i+1)
			alerts = append(alerts, "access_denied "+d.id)
		}
		denials[d.who] = all
	}
	slices.Sort(alerts)
	return alerts
}

// windowFor returns the hour-long window of an event: the newest that holds the event, else
// the next one, if all events of that still lie within an hour of this one, else a new one.
func windowFor(all [][]time.Time, at time.Time) (windows [][]time.Time, i int) {
	for i := len(all) - 1; i >= 0; i-- {
		if !at.Before(all[i][0]) && at.Before(all[i][0].Add(time.Hour)) {
			return all, i
		}
	}
	for i, w := range all {
		if at.Before(w[0]) {
			if w[len(w)-1].Sub(at) < time.Hour {
				return all, i
			}
			return slices.Insert(all, i, nil), i
		}
	}
	return append(all, nil), len(all)
}

// ingest writes deeds to the input as a user would.
func (s *site) ingest(all []deed) {
	s.Helper()
	var b strings.Builder
	for i := range all {
		b.WriteString(all[i].line() + "\n")
	}
	s.must(b.String(), "ingest", "--key", "rule", "-")
}

// wantAnswer compares the alerts that a read-committed reader sees with the right answer.
func (s *site) wantAnswer(all []deed) {
	s.Helper()
	got := s.alerted()
	want := answer(all)
	if slices.Equal(got, want) {
		return
	}
	counts := map[string]int{}
	for _, a := range want {
		counts[a]--
	}
	for _, a := range got {
		if counts[a]++; counts[a] == 0 {
			delete(counts, a)
		}
	}
	s.Errorf("%d alerts; want %d. Missing (-) and too many (+): %v", len(got), len(want), counts)
}

// fleet holds the instances of a site, each a process with a state directory of its own.
type fleet struct {
	*site
	instances []*program
	diskLost  bool // between the end of an instance and its next start
}

func (f *fleet) disk(i int) string { return filepath.Join(f.dir, fmt.Sprintf("state-%d", i)) }

func (f *fleet) startInstance(i int) {
	f.instances[i] = f.start("run", "--set", "state_dir="+f.disk(i))
}

// crash is kill -9 of an instance, and its restart.
func (f *fleet) crash(i int) {
	f.Helper()
	f.instances[i].kill()
	if f.diskLost {
		if err := os.RemoveAll(f.disk(i)); err != nil {
			f.Fatal(err)
		}
	}
	f.startInstance(i)
}

// joined returns a condition: the instance has got an assignment.
func (f *fleet) joined(i int) func() bool {
	return func() bool { return f.instances[i].stderr.has(`"message":"assignment"`) }
}

// drain waits as site's does, without the delay of a position that only repeats have moved:
// the shard commits it together with its next change (PROTOCOL D8), so each shard gets one
// change.
func (f *fleet) drain() {
	f.Helper()
	member := group.Member{Client: f.client, Group: f.app.ID}
	f.await("the input to be routed", func() bool {
		committed, err := member.Committed(f.Context(), f.app.Inputs[0], []int32{0, 1, 2, 3})
		ends, err2 := endOffsets(f, f.admin, f.app.Inputs[0], false)
		return cmp.Or(err, err2) == nil && !slices.ContainsFunc(slices.Collect(maps.Keys(ends)), func(p int32) bool { return committed[p].At < ends[p] })
	})
	var changes []string
	for shard := range f.app.Shards {
		who := ""
		for n := 0; who == "" || rules.ShardOf(who, f.app.Shards) != shard; n++ {
			who = fmt.Sprintf("nobody-%d", n)
		}
		changes = append(changes, denial(shard, who))
	}
	f.send(0, changes...)
	f.site.drain()
}

// Real processes and 20,000 events: each alert exactly once, with any number of instances,
// across kills and lost disks.
func TestProcesses(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		for i, tt := range []struct {
			name      string
			instances int
			crashes   bool
			diskLost  bool
		}{
			{"one", 1, false, false},
			{"two", 2, false, false},
			{"one killed", 1, true, false},
			{"one killed, its disk lost", 1, true, true},
			{"two killed in turn", 2, true, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := &fleet{site: newSite(t, brokers, 4), instances: make([]*program, tt.instances), diskLost: tt.diskLost}
				all := deeds(uint64(i), 20_000)
				for i := range f.instances {
					f.startInstance(i)
				}
				for n, part := range slices.Collect(slices.Chunk(all, len(all)/4)) {
					victim := n % tt.instances
					f.await("the instance to join", f.joined(victim))
					moment := []func() bool{
						func() bool { return true },
						f.grown(f.app.WorkTopic()),
						f.grown(f.app.StateTopic()),
						f.grown(f.app.Alerts),
					}[n]
					f.ingest(part)
					f.await("the moment", moment)
					if tt.crashes {
						f.crash(victim)
					}
				}
				f.drain()
				f.wantAnswer(all)
				for _, p := range f.instances {
					p.expectEnd()
					p.signal(syscall.SIGTERM)
					if code := p.wait(); code != exitDone {
						t.Errorf("run = %d after SIGTERM; want 0", code)
					}
				}
				if n := len(committed(t, brokers, f.app.DeadLetter)); n > 0 {
					t.Errorf("%d dead letters; want none", n)
				}
			})
		}
	})
}

// Either signal ends the service, quickly and as intended.
func TestSignals(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(sig.String(), func(t *testing.T) {
				s := newSite(t, brokers, 2)
				all := deeds(1, 500)
				s.ingest(all)
				p := s.start("run")
				s.drain()
				p.signal(syscall.SIGHUP) // which used to end the service without a commit
				more := deeds(2, 100)
				s.ingest(more)
				s.drain()
				all = append(all, more...)
				begun := time.Now()
				p.expectEnd()
				p.signal(sig)
				if code, took := p.wait(), time.Since(begun); code != exitDone || took > 5*time.Second {
					t.Errorf("run = %d %s after %s; want 0 within 5s", code, took, sig)
				}
				if !p.stderr.has(`"message":"stopped"`) {
					t.Errorf("run logs %s; want its end too", &p.stderr)
				}
				s.wantAnswer(all)
			})
		}
	})
}

// A service that stops while its brokers are silent waits for a while; a second signal ends
// it at once.
func TestSecondSignal(t *testing.T) {
	c := fakeCluster(t)
	s := newSite(t, c.ListenAddrs(), 1)
	p := s.start("run", "--set", "kafka.request_timeout=9s")
	s.await("the service to work", func() bool { return strings.Count(p.stderr.String(), `"message":"shard taken"`) == s.app.Shards })
	held, end := make(chan struct{}, 1), make(chan struct{})
	defer close(end)
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if req.(*kmsg.ProduceRequest).Topics[0].Topic == s.app.WorkTopic() {
			select {
			case held <- struct{}{}:
			default:
			}
			c.SleepControl(func() { <-end })
		}
		return nil, nil, false
	})
	s.send(0, strings.TrimSpace(denial(1, "alice")))
	<-held
	p.expectEnd()
	p.signal(syscall.SIGTERM)
	s.await("the service to say that it stops", func() bool { return p.stderr.has(`a second signal ends it at once`) })
	await(t, "the service to end", func() bool {
		p.signal(syscall.SIGTERM) // again: the handler of the first signal is removed only while that is handled
		return p.over()
	})
	if p.state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("run ends after a second SIGTERM as %s; want it ended by the signal, and not by itself", p.state)
	}
}
