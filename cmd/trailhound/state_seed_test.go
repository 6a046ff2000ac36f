package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/seed"
	"trailhound/state"
)

// history writes deeds to a file, and returns its name.
func (s *site) history(all []deed) string {
	s.Helper()
	var b strings.Builder
	for i := range all {
		b.WriteString(all[i].line() + "\n")
	}
	name := filepath.Join(s.dir, "history.jsonl")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		s.Fatal(err)
	}
	return name
}

// alerted lists "rule eventID" of the alerts, sorted.
func (s *site) alerted() []string {
	s.Helper()
	var got []string
	for _, alert := range s.alerts() {
		var a shownAlert
		if err := json.Unmarshal([]byte(alert), &a); err != nil {
			s.Fatal(err)
		}
		got = append(got, a.RuleID+" "+a.EventID)
	}
	slices.Sort(got)
	return got
}

// wantAlerted runs the service until it has read its input, and compares all alerts of the
// app.
func (s *site) wantAlerted(want []string, args ...string) {
	s.Helper()
	p := s.call(append([]string{"run", "--set", "leave_on_stop=true"}, args...)...)
	s.drain()
	if code := p.end(); code != exitDone {
		s.Errorf("run = %d; want 0", code)
	}
	if got := s.alerted(); !slices.Equal(got, want) {
		s.Errorf("alerts are %d %q; want %d %q", len(got), got, len(want), want)
	}
}

// wantRefused expects a command to fail with a sentence that has all of words.
func (s *site) wantRefused(code int, words []string, stdin string, args ...string) {
	s.Helper()
	r := s.command(stdin, args...)
	for _, w := range words {
		if r.code != code || r.stdout != "" || !strings.Contains(r.stderr, w) {
			s.Errorf("%q = %d, %q, %q; want %d and a sentence with %q", args, r.code, r.stdout, r.stderr, code, w)
		}
	}
}

// half returns a stream cut in two, and the alerts that the second part must add after the
// first.
func half(n int) (before, after []deed, want []string) {
	all := deeds(7, n)
	before, after = all[:n/2], all[n/2:]
	known := answer(before)
	want = slices.DeleteFunc(answer(all), func(a string) bool { return slices.Contains(known, a) })
	return before, after, want
}

// After a seed the service goes on as if it had read the history itself: it makes the
// alerts that the history leads to, and none that the history has taught it to leave out.
func TestSeedThenRun(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		before, after, want := half(3000)
		t.Run("files", func(t *testing.T) {
			s := newSite(t, brokers, 1)
			r := s.must("", "state", "seed", s.history(before))
			if !strings.Contains(r.stderr, "records 1500") || !strings.Contains(r.stderr, "were not sent") || !strings.Contains(r.stdout, "is seeded") {
				t.Errorf("state seed says %q, %q; want a summary", r.stdout, r.stderr)
			}
			s.ingest(after)
			s.wantAlerted(want)
			s.wantRefused(exitFailed, []string{"has a state already", "--replace"}, "", "state", "seed", s.history(before))
		})
		t.Run("inputs", func(t *testing.T) {
			s := newSite(t, brokers, 1)
			s.ingest(before)
			s.must("", "state", "seed", "--inputs")
			if lag, err := consumer.Lag(s.Context(), s.client, s.app); lag != 0 || err != nil {
				t.Errorf("Lag() = %d, %v behind the seed; want 0", lag, err)
			}
			s.wantAlerted(nil)
			s.ingest(after)
			s.wantAlerted(want)
		})
	})
}

// A seed of the inputs that loses its last step, the group's offsets, costs a second
// reading and nothing else.
func TestSeedWithoutOffsets(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 2)
		all := denials(20)
		set := []string{"--set", "events.duplicates_within=0"} // or the events' ids would hide the second reading
		s.ingest(all[:9])
		s.must("", append(set, "state", "seed", "--inputs")...)
		forget := kmsg.NewPtrDeleteGroupsRequest()
		forget.Groups = []string{s.app.ID}
		r, err := forget.RequestWith(s.Context(), s.admin)
		if err != nil || len(r.Groups) != 1 || r.Groups[0].ErrorCode != 0 {
			t.Fatalf("DeleteGroups = %+v, %v; want no error", r, err)
		}
		s.ingest(all[9:])
		s.wantAlerted([]string{"access_denied denial-19", "access_denied denial-9"}, set...)
	})
}

// An app that runs is left alone.
func TestSeedRunning(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	p := s.call("run")
	s.await("the service to be a member", func() bool { return p.stderr.has(`"shard taken"`) })
	s.wantRefused(exitFailed, []string{"runs", "end all instances"}, "", "state", "seed", s.history(deeds(1, 100)))
	if p.over() {
		t.Error("the service has ended")
	}
}

// With --replace the state of a stopped app is replaced, and its remaining input is
// evaluated with the new state.
func TestSeedReplace(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		use := func(id, ip string) deed {
			return deed{id: id, role: "arn:aws:iam::111122223333:role/r", ip: ip, at: at}
		}
		s := newSite(t, brokers, 1)
		s.ingest([]deed{use("a", "192.0.2.1"), use("b", "192.0.2.2")})
		s.wantAlerted([]string{"assume_role_unique_ip b"})
		s.must("", "state", "seed", "--replace", s.history([]deed{use("c", "192.0.2.3")}))
		s.ingest([]deed{use("d", "192.0.2.1"), use("e", "192.0.2.3")})
		s.wantAlerted([]string{"assume_role_unique_ip b", "assume_role_unique_ip d"})

		// A range of the inputs: the records behind it are evaluated once more, with the
		// new state.
		s.must("", "state", "seed", "--replace", "--inputs")
		s.ingest([]deed{use("f", "192.0.2.3"), use("g", "192.0.2.1")})
		s.wantAlerted([]string{"assume_role_unique_ip b", "assume_role_unique_ip d", "assume_role_unique_ip f"})
	})
}

// A new app that starts at the end of its inputs still does so after a seed.
func TestSeedStartLatest(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 2)
	before, after, want := half(2000)
	s.ingest([]deed{{id: "old", role: "arn:aws:iam::111122223333:role/r100", ip: "203.0.113.1", at: before[0].at}})
	s.must("", "state", "seed", "--set", "start=latest", s.history(before))
	s.ingest(after)
	s.wantAlerted(want, "--set", "start=latest")
}

// A seed that ends in the middle leaves an app that run refuses, and that another seed
// completes.
func TestSeedInterrupted(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		before, after, want := half(2000)
		name := s.history(before)
		lost := errors.New("lost")
		seeder, built := s.begun("left over", false)
		_, err := seeder.Finish(s.Context(), func(n int) (*state.Shard, error) {
			if n == 5 {
				return nil, lost
			}
			return built(n)
		})
		if !errors.Is(err, lost) || !strings.Contains(err.Error(), "run refuses it") {
			t.Errorf("Finish = %v; want the error, and what follows from it", err)
		}
		p := s.call("run")
		if code := p.wait(); code != exitFailed || !p.stderr.has("state seed was interrupted") {
			t.Errorf("run = %d with %q; want 1 and that the seed was interrupted", code, &p.stderr)
		}
		s.await("the member to be forgotten", func() bool {
			return s.command("", "state", "seed", name).code == exitDone
		})
		s.ingest(after)
		s.wantAlerted(want)
	})
}

// An instance that takes the shards while the history is played keeps them: the seed fails,
// and has changed nothing.
func TestSeedOvertaken(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		all := denials(20)
		s.ingest(all[:10])
		s.wantAlerted([]string{"access_denied denial-9"})
		seeder, built := s.begun("other", true)
		s.ingest(all[10:15])
		s.wantAlerted([]string{"access_denied denial-9"})
		_, err := seeder.Finish(s.Context(), built)
		if err == nil || !strings.Contains(err.Error(), "has taken shard 0 meanwhile") {
			t.Errorf("Finish = %v; want that an instance has taken shard 0", err)
		}
		s.ingest(all[15:])
		s.wantAlerted([]string{"access_denied denial-19", "access_denied denial-9"})
	})
}

// A seed that begins while another writes, and goes on when that has ended, leaves nothing
// of the other.
func TestSeedTwice(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	use := deed{id: "a", role: "arn:aws:iam::111122223333:role/r", ip: "192.0.2.2", at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	first, built := s.begun(use.role, false)
	second, builtToo := s.seeder("other", false)
	begin := true
	_, err := first.Finish(s.Context(), func(n int) (*state.Shard, error) {
		if begin {
			begin = false
			if err := second.Begin(s.Context()); err != nil {
				t.Fatalf("Begin = %v beside a seed that writes; want nil", err)
			}
		}
		return built(n)
	})
	if err != nil {
		t.Fatalf("Finish = %v; want nil", err)
	}
	if _, err := second.Finish(s.Context(), builtToo); err != nil {
		t.Fatalf("Finish = %v for the second seed; want nil", err)
	}
	s.ingest([]deed{use})
	s.wantAlerted(nil) // the first seed's address would make this one unknown
}

// seeder returns a seed of the site, and shards with a state in which the role was used
// from 203.0.113.1.
func (s *site) seeder(role string, replace bool) (*seed.Seeder, func(n int) (*state.Shard, error)) {
	s.Helper()
	setup, err := (&app{configFile: s.config}).setup()
	if err != nil {
		s.Fatal(err)
	}
	options := setup.stateOptions(setup.limits())
	open := func() *state.Store {
		options.Dir = s.TempDir()
		store, err := state.Open(options)
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() {
			if err := store.Close(); err != nil {
				s.Error(err)
			}
		})
		return store
	}
	built, at := open(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for n := range s.app.Shards {
		h, err := built.Shard(n)
		if err != nil {
			s.Fatal(err)
		}
		tx := h.Begin()
		tx.Observe(state.Source{}, at)
		scope := tx.Scope("assume_role_unique_ip", role, state.Ref{Time: at})
		scope.AddToStringSet("addresses", "203.0.113.1")
		scope.Commit()
		if err := tx.Apply(0); err != nil {
			s.Fatal(err)
		}
	}
	return &seed.Seeder{
		Client: s.client, App: s.app, Owner: "test", Replace: replace, Scratch: open(), Codec: setup.codec(),
		TransactionTimeout: 10 * time.Second, RequestTimeout: 5 * time.Second,
	}, built.Shard
}

// begun returns seeder's seed with its first step done.
func (s *site) begun(role string, replace bool) (*seed.Seeder, func(n int) (*state.Shard, error)) {
	s.Helper()
	seeder, built := s.seeder(role, replace)
	if err := seeder.Begin(s.Context()); err != nil {
		s.Fatal(err)
	}
	return seeder, built
}

// Mistakes are reported before any change.
func TestSeedErrors(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	s.wantRefused(exitUsage, []string{"not both"}, "", "state", "seed", "--inputs", "x.jsonl")
	s.wantRefused(exitUsage, []string{"a time is wanted"}, "", "state", "seed", "--from", "yesterday")
	s.wantRefused(exitUsage, []string{"a command is missing"}, "", "state")
	s.wantRefused(exitUsage, []string{"no-such-file"}, "", "state", "seed", filepath.Join(s.dir, "no-such-file"))
	s.wantRefused(exitFailed, []string{"range is empty"}, "", "state", "seed", "--inputs")
	// A refused seed does not create topics for another app name, which may be a typing
	// mistake.
	other := s.app.ID + "-typo"
	s.wantRefused(exitFailed, []string{"range is empty"}, "", "--set", "app_id="+other, "state", "seed", "--inputs")
	if found, err := s.client.Topics(t.Context(), other+".work"); err != nil || !errors.Is(found[other+".work"].Err, kafka.UnknownTopicOrPartition) {
		t.Errorf("the work topic after a seed that was refused: %+v, %v; want that there is none", found, err)
	}
	s.wantRefused(exitFailed, []string{"topics.input: topic no-such does not exist"}, "", "--set", "topics.input=no-such", "state", "seed", "--inputs")
	s.wantRefused(exitFailed, []string{"nothing that a rule looks for"}, "{}\n", "state", "seed", "-")
	s.wantRefused(exitFailed, []string{"shards is 3"}, "", "state", "seed", "--set", "shards=3", s.history(deeds(1, 10)))
	// After all refusals the app is still new.
	s.must("", "state", "seed", s.history(deeds(1, 100)))
}
