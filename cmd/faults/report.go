package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// report is the result of a run.
type report struct {
	mu sync.Mutex

	Seed        uint64        `json:"seed"`
	Duration    seconds       `json:"duration_seconds"`
	Faults      map[fault]int `json:"faults"`
	Kills       int           `json:"process_kills"`
	BrokerKills int           `json:"broker_kills"`
	Starts      int           `json:"process_starts"`

	Events       int     `json:"events"`
	Expected     int     `json:"alerts_expected"`
	Seen         int     `json:"alerts_seen"`
	Lost         int     `json:"lost"`
	Doubled      int     `json:"doubled"`
	Wrong        int     `json:"wrong"`
	DeadExpected int     `json:"dead_letters_expected"`
	DeadSeen     int     `json:"dead_letters_seen"`
	DeadLost     int     `json:"dead_letters_lost"`
	DeadWrong    int     `json:"dead_letters_wrong"`
	Longest      seconds `json:"longest_alert_delay_seconds"`
	Drained      bool    `json:"drained"`

	Examples []string `json:"examples,omitempty"`
	Exits    []exit   `json:"exits,omitempty"`
}

// seconds is a duration that reads as a number of seconds in JSON.
type seconds time.Duration

// MarshalJSON returns the seconds.
func (s seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// String returns the duration to a tenth of a second.
func (s seconds) String() string { return time.Duration(s).Round(100 * time.Millisecond).String() }

func newReport(seed uint64) *report { return &report{Seed: seed, Faults: make(map[fault]int)} }

func (r *report) happened(st step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults[st.Fault]++
	r.Kills += st.Fault.kills()
	if st.Fault == brokerKill {
		r.BrokerKills++
	}
}

func (r *report) killed(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Kills += n
}

func (r *report) ended(e exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Exits = append(r.Exits, e)
}

func (r *report) tally(t tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Events, r.Expected, r.Seen = t.Events, t.Expected, t.Seen
	r.Lost, r.Doubled, r.Wrong = t.Lost, t.Doubled, t.Wrong
	r.DeadExpected, r.DeadSeen, r.DeadLost, r.DeadWrong = t.DeadExpected, t.DeadSeen, t.DeadLost, t.DeadWrong
	r.Longest, r.Examples = seconds(t.Longest), t.Examples
}

// unexplained is how many instances have ended by themselves without a fault that explains it.
func (r *report) unexplained() int {
	n := 0
	for _, e := range r.Exits {
		if e.Why == "" {
			n++
		}
	}
	return n
}

// passed tells whether the promise was kept. A run that saw no alert has shown nothing.
func (r *report) passed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Drained && r.Seen > 0 && r.Lost+r.Doubled+r.Wrong+r.DeadLost+r.DeadWrong+r.unexplained() == 0
}

// write prints the report for people, or as one JSON value.
func (r *report) write(w io.Writer, asJSON bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	drained := "drained"
	if !r.Drained {
		drained = "NOT DRAINED"
	}
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	line("seed %d: %s, %d process kills, %d broker kills, %d process starts", r.Seed, r.Duration, r.Kills, r.BrokerKills, r.Starts)
	text := ""
	for _, f := range slices.Sorted(maps.Keys(r.Faults)) {
		text += fmt.Sprintf(" %s %d,", f, r.Faults[f])
	}
	line("faults:%s all in all %d", text, r.all())
	line("events %d, alerts expected %d, seen %d: lost %d, doubled %d, wrong %d", r.Events, r.Expected, r.Seen, r.Lost, r.Doubled, r.Wrong)
	line("dead letters expected %d, seen %d: lost %d, wrong %d", r.DeadExpected, r.DeadSeen, r.DeadLost, r.DeadWrong)
	line("%s; longest delay of an alert %s; %d instances ended by themselves, %d of them unexplained", drained, r.Longest, len(r.Exits), r.unexplained())
	for _, e := range r.Examples {
		line("  %s", e)
	}
	for _, e := range r.Exits {
		if e.Why == "" {
			line("  %s", e)
		}
	}
	return err
}

func (r *report) all() int {
	n := 0
	for _, count := range r.Faults {
		n += count
	}
	return n
}
