package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	alice = "arn:aws:iam::111122223333:user/alice"
	admin = "arn:aws:iam::111122223333:role/admin"
)

var ten = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// scene is an input of one event a record, and the alerts of it.
type scene struct {
	settings checkSettings
	events   [][]byte
	places   []place
	alerts   []*alertBody
	dead     []place
}

// add appends an event to a partition.
func (s *scene) add(partition int32, event *made) {
	at := place{Topic: "trail", Partition: partition}
	for _, p := range s.places {
		if p.Partition == partition {
			at.Offset++
		}
	}
	s.events, s.places = append(s.events, event.json()), append(s.places, at)
}

func happening(id string, at time.Time) *made {
	return &made{Version: "1.11", Time: written(at), Source: "s3.amazonaws.com", Name: "GetObject", Region: "eu-west-1", IP: "198.51.100.7",
		Identity: jsonf(`{"type":"IAMUser","arn":%q}`, alice), Request: jsonf("null"), Response: jsonf("null"), ID: id, Account: "111122223333"}
}

func denialAt(id string, minutes float64) *made {
	e := happening(id, ten.Add(time.Duration(minutes*float64(time.Minute))))
	e.ErrorCode = "AccessDenied"
	return e
}

func assumption(id, from string, minutes float64) *made {
	e := happening(id, ten.Add(time.Duration(minutes*float64(time.Minute))))
	e.Source, e.Name, e.IP, e.Request = "sts.amazonaws.com", "AssumeRole", from, jsonf(`{"roleArn":%q}`, admin)
	return e
}

func (s *scene) call(i int) *trailEvent {
	e := readCalls(s.events[i], s.places[i], func([]byte) bool { return true })[0]
	return &trailEvent{thing: e.thing, at: e.at, from: e.place, raw: e.raw}
}

// denied is a true alert of alice for these events, completed by the last one.
func (s *scene) denied(events ...int) *alertBody {
	last := s.call(events[len(events)-1])
	a := last.alert(ruleDenied, alice, "")
	first, newest := last.at, last.at
	for _, i := range events {
		e := s.call(i)
		if e.at.Before(first) {
			first = e.at
		}
		if e.at.After(newest) {
			newest = e.at
		}
		a.Evidence.Events = append(a.Evidence.Events, counted{e.ID, written(e.at), e.from})
	}
	n := len(events)
	a.Evidence.Total = n
	a.Title = fmt.Sprintf("%s was denied %d times in %s", alice, n, spoken(newest.Sub(first)))
	a.Context = map[string]any{"count": float64(n), "window_start": written(first)}
	return &a
}

// assumed is a true alert for a call from an unknown address.
func (s *scene) assumed(i int, known ...any) *alertBody {
	e := s.call(i)
	a := e.alert(ruleAssume, admin, ":"+canonical(e.IP))
	a.Title = fmt.Sprintf("role/admin was assumed from %s, an address never seen for it (%d known)", e.IP, len(known))
	a.Context = map[string]any{"source_ip": canonical(e.IP), "known_ips": known, "known_total": float64(len(known))}
	a.Evidence.Events = []counted{}
	return &a
}

func (s *scene) judge() *judgement {
	c := newCheck(s.settings)
	for i, e := range s.events {
		c.input(e, s.places[i])
	}
	for _, p := range s.dead {
		c.letter("panic", ruleDenied, p)
	}
	for _, a := range s.alerts {
		c.alert(mustJSON(a))
	}
	return c.judge()
}

// sums are the faults counted in a judgement.
func sums(v *judgement) [4]int { return [4]int{v.Untrue, v.Missed, v.Doubled, v.TooLate} }

// deniedScene has five denials within a minute of each other in one partition, threshold 3, and one alert for the first three.
func deniedScene(sliding bool) *scene {
	s := &scene{settings: checkSettings{Threshold: 3, Sliding: sliding}}
	for i := range 5 {
		s.add(0, denialAt(fmt.Sprint("e", i), float64(i)))
	}
	s.alerts = append(s.alerts, s.denied(0, 1, 2))
	return s
}

func assumedScene() *scene {
	s := &scene{settings: checkSettings{}}
	s.add(0, assumption("a0", "198.51.100.1", 0))
	s.add(0, assumption("a1", "203.0.113.66", 1))
	s.add(0, assumption("a2", "198.51.100.1", 2))
	s.alerts = append(s.alerts, s.assumed(1, "198.51.100.1"))
	return s
}

// TestCheckPasses: true alerts pass, with each setting and form of event.
func TestCheckPasses(t *testing.T) {
	addendum := deniedScene(true)
	copied := denialAt("copy", 1)
	addendum.events = append(addendum.events, bytes.Replace(copied.json(), []byte(`{`), []byte(`{"addendum":{"reason":"UPDATED_DATA","originalEventID":"e3"},`), 1))
	addendum.places = append(addendum.places, place{Topic: "trail", Offset: 5})
	edge := &scene{settings: checkSettings{Threshold: 2, Sliding: true}}
	edge.add(0, denialAt("x", 0))
	edge.add(1, denialAt("y", 60)) // a sliding window includes its end
	edge.alerts = append(edge.alerts, edge.denied(0, 1))
	apart := &scene{settings: checkSettings{Threshold: 2}}
	apart.add(0, denialAt("x", 0))
	apart.add(1, denialAt("y", 60)) // a fixed one excludes it
	dead := deniedScene(true)
	dead.alerts, dead.dead = nil, dead.places[:3]
	for name, s := range map[string]*scene{
		"fixed": deniedScene(false), "sliding": deniedScene(true), "assumed": assumedScene(), "addendum": addendum, "edge": edge, "apart": apart, "dead-lettered": dead,
	} {
		if v := s.judge(); !v.passed() {
			t.Errorf("%s: %v, %q", name, sums(v), v.Examples)
		}
	}
}

// TestCheckRejects: a check reports each property that is broken.
func TestCheckRejects(t *testing.T) {
	type spoil func(s *scene, a *alertBody)
	for name, tt := range map[string]struct {
		scene *scene
		spoil spoil
		want  string
	}{
		"event twice in evidence": {deniedScene(true), func(s *scene, a *alertBody) { *a = *s.denied(0, 0, 2) }, "twice"},
		"delivered twice, counted twice": {deniedScene(true), func(s *scene, a *alertBody) {
			s.add(1, denialAt("e0", 0))
			*a = *s.denied(0, 5, 2)
		}, "twice"},
		"addendum beside its original": {deniedScene(true), func(s *scene, a *alertBody) {
			s.add(1, denialAt("e9", 1))
			s.events[5] = bytes.Replace(s.events[5], []byte(`{`), []byte(`{"addendum":{"reason":"UPDATED_DATA","originalEventID":"e0"},`), 1)
			*a = *s.denied(0, 5, 2)
		}, "twice"},
		"event outside the sliding window": {deniedScene(true), func(s *scene, a *alertBody) {
			s.add(1, denialAt("late", -56))
			*a = *s.denied(0, 5, 4)
			s.add(1, denialAt("later", -56.1))
			*a = *s.denied(6, 1, 4)
		}, "apart"},
		"event at the end of a fixed window": {deniedScene(false), func(s *scene, a *alertBody) {
			s.add(0, denialAt("end", 60))
			*a = *s.denied(0, 1, 5)
		}, "apart"},
		"wrong count":           {deniedScene(true), func(_ *scene, a *alertBody) { a.Context["count"] = 4.0 }, "count is 4"},
		"wrong total":           {deniedScene(true), func(_ *scene, a *alertBody) { a.Evidence.Total = 4 }, "evidence names 3 events of 4"},
		"below the threshold":   {deniedScene(true), func(s *scene, a *alertBody) { *a = *s.denied(0, 1) }, "fewer than the threshold"},
		"wrong span":            {deniedScene(true), func(_ *scene, a *alertBody) { a.Title = strings.Replace(a.Title, "2m", "1m", 1) }, "title is"},
		"wrong window_start":    {deniedScene(true), func(_ *scene, a *alertBody) { a.Context["window_start"] = written(ten.Add(time.Second)) }, "window_start"},
		"completing event away": {deniedScene(true), func(s *scene, a *alertBody) { b := s.denied(0, 1, 3); a.Evidence = b.Evidence; a.Title = b.Title }, "completed it is not"},
		"place without event":   {deniedScene(true), func(_ *scene, a *alertBody) { a.Evidence.Events[0].Offset = 99 }, "stands no denial"},
		"event of another key": {deniedScene(true), func(s *scene, a *alertBody) {
			other := denialAt("bob", 1)
			other.Identity = jsonf(`{"arn":"arn:aws:iam::111122223333:user/bob"}`)
			s.add(0, other)
			*a = *s.denied(0, 5, 2)
		}, "stands no denial"},
		"event that was not denied": {deniedScene(true), func(s *scene, a *alertBody) {
			s.add(0, happening("fine", ten))
			*a = *s.denied(0, 5, 2)
		}, "stands no denial"},
		"evidence with another id":   {deniedScene(true), func(_ *scene, a *alertBody) { a.Evidence.Events[0].ID = "other" }, "not other"},
		"evidence with another time": {deniedScene(true), func(_ *scene, a *alertBody) { a.Evidence.Events[0].Time = written(ten.Add(time.Second)) }, "is e0 of"},
		"dead-lettered evidence":     {deniedScene(true), func(s *scene, _ *alertBody) { s.dead = s.places[:1] }, "dead-lettered"},
		"event in two alerts":        {deniedScene(true), func(s *scene, _ *alertBody) { s.alerts = append(s.alerts, s.denied(2, 3, 4)) }, "as alert"},
		"alert twice":                {deniedScene(true), func(s *scene, a *alertBody) { s.alerts = append(s.alerts, a) }, "doubled"},
		"another event":              {deniedScene(true), func(_ *scene, a *alertBody) { a.Event = jsonf(`{}`) }, "event is not the one"},
		"another id":                 {deniedScene(true), func(_ *scene, a *alertBody) { a.ID = "0b6e7c1e-0000-5000-8000-000000000000" }, "id is not"},
		"another event time":         {deniedScene(true), func(_ *scene, a *alertBody) { a.EventTime = written(ten) }, "event_time is"},
		"missing, sliding":           {deniedScene(true), func(s *scene, _ *alertBody) { s.alerts = nil }, "missed: 1"},
		"missing, fixed":             {deniedScene(false), func(s *scene, _ *alertBody) { s.alerts = nil }, "is full with"},
		"missing, fixed, any order":  {deniedScene(false), func(s *scene, _ *alertBody) { s.add(1, denialAt("e9", 9)); s.alerts = nil }, "alone give 2 alerts"},
		"completed too early":        {deniedScene(false), func(s *scene, a *alertBody) { *a = *s.denied(0, 1, 3) }, "completes no window"},
		"not readable":               {deniedScene(true), func(_ *scene, a *alertBody) { a.Event = jsonf(`"x"`) }, "event is not"},
		"invented known address":     {assumedScene(), func(s *scene, a *alertBody) { *a = *s.assumed(1, "192.0.2.9") }, "no successful call"},
		"own address known":          {assumedScene(), func(s *scene, a *alertBody) { *a = *s.assumed(1, "203.0.113.66") }, "among the known"},
		"address known of later only": {assumedScene(), func(s *scene, a *alertBody) {
			s.add(0, assumption("a3", "192.0.2.9", 3))
			*a = *s.assumed(1, "192.0.2.9")
		}, "no successful call"},
		"known by a failed call": {assumedScene(), func(s *scene, _ *alertBody) {
			var e made
			if err := json.Unmarshal(s.events[0], &e); err != nil {
				panic(err)
			}
			e.ErrorCode = "AccessDenied"
			s.events[0] = e.json()
		}, "no successful call"},
		"known address in another spelling": {assumedScene(), func(s *scene, _ *alertBody) {
			s.add(0, assumption("a3", "2001:DB8::1", 3))
			s.alerts = append(s.alerts, s.assumed(3, "198.51.100.1"))
			s.alerts[1].Context["source_ip"] = "2001:DB8::1"
		}, "source_ip of the context"},
		"missing address": {assumedScene(), func(s *scene, _ *alertBody) { s.alerts = nil }, "should have given an alert"},
		"one use is missing, any order": {assumedScene(), func(s *scene, _ *alertBody) {
			s.add(1, assumption("a3", "203.0.113.66", 3))
			s.add(1, assumption("a4", "198.51.100.1", 4))
		}, "should have given an alert"},
		"one call of two accounts": {assumedScene(), func(s *scene, _ *alertBody) {
			s.add(0, assumption("a3", "203.0.113.66", 1))
			for _, i := range []int{1, 3} {
				s.events[i] = bytes.Replace(s.events[i], []byte(`{`), []byte(`{"sharedEventID":"both",`), 1)
			}
			s.alerts = []*alertBody{s.assumed(1, "198.51.100.1"), s.assumed(3, "198.51.100.1")}
		}, "of one event"},
	} {
		s := tt.scene
		tt.spoil(s, s.alerts[0])
		if v := s.judge(); v.passed() || !strings.Contains(strings.Join(v.Examples, "\n"), tt.want) {
			t.Errorf("%s: %v, %q; want %q in it", name, sums(v), v.Examples, tt.want)
		}
	}
	s := deniedScene(true)
	c := newCheck(s.settings)
	c.letter("too_late", "", s.places[0])
	if v := c.judge(); v.passed() {
		t.Error("an event that was dead-lettered as too late passes")
	}
}

// Windows counted in any order give alerts that the check finds true, and their loss is noticed in a key of one partition.
func TestCheckAgreesWithWindows(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 4))
		s := &scene{settings: checkSettings{Threshold: 4}}
		var w windows
		for i := range 200 {
			s.add(0, denialAt(fmt.Sprint("e", i), float64(i*3)-rng.Float64()*float64(rng.IntN(150))))
			e := s.call(i)
			if full := w.count(counted{fmt.Sprint(i), "", e.from}, e.at, time.Hour, 4); full != nil {
				var events []int
				for _, one := range full.events {
					events = append(events, int(one.Offset))
				}
				s.alerts = append(s.alerts, s.denied(events...))
			}
		}
		if v := s.judge(); !v.passed() || len(s.alerts) < 10 {
			t.Fatalf("seed %d: %d alerts, %v, %q", seed, len(s.alerts), sums(v), v.Examples)
		}
		gone := rng.IntN(len(s.alerts))
		if s.alerts = slices.Delete(s.alerts, gone, gone+1); s.judge().Missed != 1 {
			t.Fatalf("seed %d: the loss of alert %d is not noticed", seed, gone)
		}
	}
}

// An event that no window holds has one of its own; a window moves back only while all of it stays within its length.
func TestWindows(t *testing.T) {
	at := func(minutes int) time.Time { return ten.Add(time.Duration(minutes) * time.Minute) }
	for name, tt := range map[string]struct{ minutes, firsts []int }{
		"in order":         {[]int{0, 59, 60}, []int{0, 60}},
		"moved back":       {[]int{30, 0}, []int{0}},
		"not moved back":   {[]int{30, 60, 0}, []int{0, 30}},
		"late by days":     {[]int{0, -8640}, []int{-8640, 0}},
		"the newest holds": {[]int{0, 59, -1, 30}, []int{-1, 0}},
	} {
		var w windows
		for _, m := range tt.minutes {
			w.count(counted{}, at(m), time.Hour, 100)
		}
		var firsts []int
		for _, one := range w {
			firsts = append(firsts, int(one.first.Sub(ten).Minutes()))
		}
		if !slices.Equal(firsts, tt.firsts) {
			t.Errorf("%s: windows begin at %v; want %v", name, firsts, tt.firsts)
		}
	}
}

// TestVerifyCommand: verify reads the input and the output of detect, and its exit code
// tells the judgement.
func TestVerifyCommand(t *testing.T) {
	s := deniedScene(true)
	dir := t.TempDir()
	input, alerts, letters := filepath.Join(dir, "trail"), filepath.Join(dir, "alerts"), filepath.Join(dir, "letters")
	write := func(name string, lines ...[]byte) {
		if err := os.WriteFile(name, bytes.Join(lines, []byte("\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(input, append([][]byte{[]byte(`{"eventVersion":"1.11","eventName":"GetObject"}`)}, s.events...)...)
	for i := range s.places {
		s.places[i].Topic, s.places[i].Offset = input, s.places[i].Offset+1
	}
	write(alerts, mustJSON(s.denied(0, 1, 2)))
	args := []string{"--threshold", "3", "--sliding", "--input", input, "--alerts", alerts}
	var stdout, stderr bytes.Buffer
	if code := verify(t.Context(), args, &stdout, &stderr); code != exitDone || !strings.Contains(stdout.String(), "untrue 0, missed 0") {
		t.Errorf("verify = %d, %s%s", code, &stdout, &stderr)
	}
	write(letters, []byte("files 1, records 6"), []byte(input+":2:too_late: event 0: it is 8 days behind"))
	if code := verify(t.Context(), append(args, "--dead-letters", letters), &stdout, &stderr); code != exitFailed || !strings.Contains(stdout.String(), "too late 1") {
		t.Errorf("verify with a dead letter = %d, %s%s", code, &stdout, &stderr)
	}
	write(alerts)
	if code := verify(t.Context(), args, &stdout, &stderr); code != exitFailed || !strings.Contains(stdout.String(), "missed 1") {
		t.Errorf("verify without alerts = %d, %s%s", code, &stdout, &stderr)
	}
	for _, bad := range [][]string{{}, {"--input", "x"}, append(args, "--principal", "me"), append(args, "more")} {
		if code := verify(t.Context(), bad, &stdout, &stderr); code != exitUsage {
			t.Errorf("verify %q = %d; want %d", bad, code, exitUsage)
		}
	}
}
