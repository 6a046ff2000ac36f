package model

import (
	"fmt"
	"os"
	"testing"

	"trailhound/consumer/internal/race"
)

// deepVariable, set to anything, makes the tests explore wider bounds: minutes
// and some gigabytes of memory.
const deepVariable = "TRAILHOUND_MODEL_DEEP"

// mostStates bounds memory. A scenario that needs more fails.
const (
	mostStates     = 2_000_000
	mostStatesDeep = 60_000_000
	mostUnderRace  = 50_000
)

// holds explores all of m and fails at the first violation; when a run can go on
// for ever; and when there are fewer states than there should be, for then some
// step is never taken.
func holds[S comparable](t *testing.T, m system[S], least int) {
	t.Helper()
	if r := safe(t, m, least, mostStates); r.Endless {
		t.Error("some steps can be repeated for ever")
	}
}

// holdsDeep is holds for wider bounds.
func holdsDeep[S comparable](t *testing.T, m system[S], least int) {
	t.Helper()
	if os.Getenv(deepVariable) == "" {
		t.Skipf("it takes minutes: set %s", deepVariable)
	}
	if r := safe(t, m, least, mostStatesDeep); r.Endless {
		t.Error("some steps can be repeated for ever")
	}
}

// safe is holds without the claim that every run comes to an end.
func safe[S comparable](t *testing.T, m system[S], least, most int) Result {
	t.Helper()
	if race.Enabled && least > mostUnderRace {
		t.Skip("there are no goroutines here: under the race detector, which is slow, the larger scenarios are left out")
	}
	r := explore(m, most)
	t.Logf("%d states, %d steps, depth %d, %d ends", r.States, r.Steps, r.Depth, r.Ends)
	if r.Violation != "" {
		t.Errorf("the property is violated:\n%s", r.Story())
	}
	if r.States < least {
		t.Errorf("%d states; want at least %d: a model that explores nothing proves nothing", r.States, least)
	}
	return r
}

// breaks explores m, which leaves out a rule, until the property is violated, and
// shows the shortest way there.
func breaks[S comparable](t *testing.T, m system[S]) {
	t.Helper()
	r := explore(m, mostStates)
	if len(r.Trace) == 0 || r.States > mostStates {
		t.Fatalf("%d states, and no violation; the rule is not needed, or the model does not see what it is for: %s", r.States, r.Violation)
	}
	t.Logf("without it, after %d states:\n%s", r.States, r.Story())
}

// maze is a model of four states: 0 leads to 1 and 2, 1 to 3. It may lead back.
type maze struct{ bad, unfinished, back bool }

func (m maze) initial() int { return 0 }

func (m maze) next(s *int, yield func(Step, int)) {
	switch *s {
	case 0:
		yield(say("to %d", 1), 1)
		yield(say("to %d", 2), 2)
	case 1:
		yield(say("to %d", 3), 3)
	case 2:
		if m.back {
			yield(say("back to %d", 0), 0)
		}
	}
}

func (m maze) wrong(s *int) string {
	if m.bad && *s == 3 {
		return "bad"
	}
	return ""
}

func (m maze) missing(s *int) string {
	if m.unfinished && *s == 2 {
		return "unfinished"
	}
	return ""
}

// The search itself: it visits everything, shows the shortest way to a violation,
// and sees that a run can go on for ever.
func TestExplore(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    maze
		want string
	}{
		{"all", maze{}, "4 states, 3 steps, 2 ends, false:\n   => "},
		{"bad", maze{bad: true}, "4 states, 3 steps, 1 ends, false:\n   1. to 1\n   2. to 3\n   => bad"},
		{"unfinished", maze{unfinished: true}, "4 states, 3 steps, 1 ends, false:\n   1. to 2\n   => unfinished"},
		{"endless", maze{back: true}, "4 states, 4 steps, 1 ends, true:\n   => "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := explore(tt.m, 10)
			got := fmt.Sprintf("%d states, %d steps, %d ends, %v:\n%s", r.States, r.Steps, r.Ends, r.Endless, r.Story())
			if got != tt.want {
				t.Errorf("explore() = %s\nwant %s", got, tt.want)
			}
		})
	}
}
