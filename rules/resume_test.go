package rules

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"trailhound/state"
)

const pastAlert = `{"event_time":"2026-03-01T10:02:00Z","context":{"known_ips":["192.0.2.1","192.0.2.2"],"known_total":3},
	"source":{"topic":"t","partition":1,"offset":7,"index":0},
	"evidence":{"total":5,"events":[
		{"event_id":"a","event_time":"2026-03-01T10:00:00Z","topic":"t","partition":1,"offset":5,"index":2},
		{"event_id":"c","event_time":"2026-03-01T10:02:00Z","topic":"t","partition":1,"offset":7,"index":0},
		{"event_id":"b","event_time":"2026-03-01T10:03:00Z","topic":"t","partition":0,"offset":6,"index":0}]}}`

func readPast(t *testing.T, payload string) *Past {
	t.Helper()
	p, err := ReadPast([]byte(payload))
	if err != nil {
		t.Fatalf("ReadPast(%s) = %v; want no error", payload, err)
	}
	p.Event = &Event{Time: time.Date(2026, 3, 1, 10, 2, 0, 0, time.UTC)}
	return p
}

// The event that completed the alert is no part of its past, although it stands in the
// middle of the evidence.
func TestReadPast(t *testing.T) {
	p := readPast(t, pastAlert)
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	want := []PastEvent{
		{Ref: state.Ref{ID: "a", Time: at, Source: state.Source{Topic: "t", Partition: 1, Offset: 5, Index: 2}}},
		{Ref: state.Ref{ID: "b", Time: at.Add(3 * time.Minute), Source: state.Source{Topic: "t", Offset: 6}}},
	}
	if !slices.Equal(p.Events, want) || p.Total != 5 || p.Unnamed != 2 || p.From != 2 {
		t.Errorf("ReadPast() = %+v; want the events %+v of 5, two not named", p, want)
	}
	if _, err := ReadPast([]byte(`{"evidence":1}`)); err == nil {
		t.Error("ReadPast() of evidence that is a number = nil; want an error")
	}
}

// resume brings the state before an alert back, and returns the values that the rule then has.
func resume(t *testing.T, rule Rule, p *Past) (values []state.Value, tx *state.Tx, err error) {
	t.Helper()
	engine, err := NewEngine([]Active{{Rule: rule}}, Limits{MaxSetMembers: 20})
	if err != nil {
		t.Fatal(err)
	}
	tx = newShard(t, state.Options{NoHorizon: true}).Begin()
	t.Cleanup(tx.Discard)
	ok, err := engine.Resume(Match{Rule: rule.Info().ID, Key: "k"}, p, tx)
	if !ok {
		t.Errorf("Resume() of %s = false; want its method", rule.Info().ID)
	}
	return tx.ValuesAt(rule.Info().ID, "k", p.Event.Time), tx, err
}

// An address is known by its event where that is at hand, and no event is evaluated again.
func TestResumeAddresses(t *testing.T) {
	p := readPast(t, pastAlert)
	p.From, p.Events[0].Event = 0, &Event{SourceIP: "192.0.2.1"}
	values, tx, err := resume(t, NewAssumeRoleUniqueIP(), p)
	if err != nil || len(values) != 1 || !slices.Equal(tx.MembersOf(values[0], 9), []string{"192.0.2.1", "192.0.2.2"}) {
		t.Errorf("Resume() = %v with %+v; want the two addresses", err, values)
	}
	if p.From != 2 || p.Events[0].Known != "192.0.2.1" || p.Events[1].Known != "" || !p.Partial || len(p.Notes) != 2 {
		t.Errorf("Resume() leaves %+v; want no event evaluated again, the first address by its event, and a third one lost", p)
	}
	p = readPast(t, `{}`)
	if values, _, err := resume(t, NewAssumeRoleUniqueIP(), p); err == nil || len(values) != 0 {
		t.Errorf("Resume() of an alert without addresses = %v with %+v; want an error and no state", err, values)
	}
}

// Denials that the alert does not name lie at the start of its window.
func TestResumeDenials(t *testing.T) {
	for _, kind := range []string{fixedWindow, slidingWindow} {
		rule := NewAccessDenied()
		rule.WindowKind = kind
		p := readPast(t, pastAlert)
		if values, _, err := resume(t, rule, p); err == nil || len(values) != 0 {
			t.Errorf("Resume() of a %s window without its start = %v with %+v; want an error and no state", kind, err, values)
		}
		p = readPast(t, pastAlert)
		p.Context = json.RawMessage(`{"window_start":"2026-03-01T09:59:00Z"}`)
		p.From = 1
		values, _, err := resume(t, rule, p)
		if err != nil || len(values) != 1 || values[0].Count != 3 || values[0].First.Minute() != 59 || !p.Partial {
			t.Errorf("Resume() of a %s window = %v with %+v; want 3 denials since 09:59", kind, err, values)
		}
		p.Total, p.Unnamed = 1<<40, 1<<40-3
		_, _, err = resume(t, rule, p)
		if tooMany := kind == slidingWindow; tooMany != (err != nil && strings.Contains(err.Error(), "max_set_members")) {
			t.Errorf("Resume() of 2^40 denials in a %s window = %v; want an error of a timeline only", kind, err)
		}
	}
}
