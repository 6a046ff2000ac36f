package ruletest

import (
	"errors"
	"strings"
	"testing"

	"trailhound/rules"
	"trailhound/state"
)

// pairs alerts at every second event of a region. Its Resume does as its parameter says.
type pairs struct {
	Resumes string `param:"resumes" help:"way in which Resume goes wrong"`
}

func (p *pairs) Info() rules.Info {
	return rules.Info{ID: "pairs", Title: "Pairs", Severity: rules.SeverityLow}
}

func (p *pairs) Key(e *rules.Event) string { return e.Region }

func (p *pairs) Evaluate(_ *rules.Event, s *state.Scope) *rules.Finding {
	n := s.IncrementCounter("n")
	if n < 2 {
		return nil
	}
	s.ResetCounter("n")
	return &rules.Finding{Context: rules.Context{{Name: "n", Value: n}}}
}

func (p *pairs) Resume(past *rules.Past, at func(state.Ref) *state.Scope) error {
	switch p.Resumes {
	case "error":
		return errors.New("its context has no key")
	case "panic":
		panic("no context")
	case "twice":
		at(state.Ref{Time: past.Event.Time}).IncrementCounter("n")
	case "not":
		return nil
	case "partly":
		past.Partial = true
		return nil
	case "far":
		past.From = -5
	}
	for _, e := range past.Events[:max(past.From, 0)] {
		at(e.Ref).IncrementCounter("n")
	}
	return nil
}

// Each alert of a test comes again of the state that the rule's Resume makes of it.
func TestResume(t *testing.T) {
	s := newSuite()
	s.Rules = append(s.Rules, rules.Spec{ID: "pairs", New: func() rules.Rule { return &pairs{} }})
	for way, want := range map[string]string{
		"well":   "",
		"partly": "",
		"error":  "alert 1, resumed: its context has no key",
		"panic":  "alert 1, resumed: rule pairs panicked in Resume: no context",
		"twice":  "alert 1, resumed.context.n:\n  got  3\n  want 2",
		"not":    "alert 1, resumed: got evaluated; want the same alert",
		"far":    "alert 1, resumed: got evaluated; want the same alert",
	} {
		f, err := s.Read("x.yaml", []byte("rule: pairs\nparameters: {resumes: "+way+"}\ntests:\n  - name: one\n    steps:\n      - event: {}\n        times: 2\n        alerts: 1\n"))
		if err != nil {
			t.Fatalf("Read() = %v; want a test", err)
		}
		failure, err := f.Tests[0].Run(t.Context())
		if err != nil {
			t.Fatalf("Run() with resumes %s = %v; want no error", way, err)
		}
		got := ""
		if failure != nil {
			got = strings.Join(failure.Wrong, "\n")
		}
		if got != want {
			t.Errorf("Run() with resumes %s = %q; want %q", way, got, want)
		}
	}
}
