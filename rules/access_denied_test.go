package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"trailhound/state"
)

// Denials of one principal come shuffled, late and doubled. With either kind of window
// every alert is true of its evidence, and no event is in two of them. With a sliding window
// no interval of its length is left that holds enough denials, and in order of time it
// fires at least as often as a fixed one.
func TestDenialsInAnyOrder(t *testing.T) {
	const threshold, window = 5, time.Hour
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		var events []*Event
		for n := range 300 {
			at := noon.Add(time.Duration(random.IntN(60*60*24)) * time.Second)
			if n%3 > 0 { // bursts
				at = events[random.IntN(len(events))].Time.Add(time.Duration(random.IntN(3600)) * time.Second)
			}
			events = append(events, &Event{
				ID: fmt.Sprint("e", n), Time: at, ErrorCode: "AccessDenied", Identity: Identity{ARN: "alice"},
				At: state.Source{Topic: "t", Offset: int64(n)},
			})
		}
		counts := map[string]int{}
		for _, kind := range []string{fixedWindow, slidingWindow} {
			for _, order := range []string{"time", "shuffled", "within 10 minutes", "doubled"} {
				played := slices.Clone(events)
				slices.SortStableFunc(played, func(a, b *Event) int { return a.Time.Compare(b.Time) })
				switch order {
				case "shuffled":
					random.Shuffle(len(played), func(i, j int) { played[i], played[j] = played[j], played[i] })
				case "within 10 minutes":
					came := map[*Event]time.Time{}
					for _, e := range played {
						came[e] = e.Time.Add(time.Duration(random.IntN(600)) * time.Second)
					}
					slices.SortStableFunc(played, func(a, b *Event) int { return came[a].Compare(came[b]) })
				case "doubled":
					played = append(played, played...)
					random.Shuffle(len(played), func(i, j int) { played[i], played[j] = played[j], played[i] })
				}
				name := fmt.Sprintf("seed %d, %s, %s", seed, kind, order)
				counts[kind+order] = playDenials(t, name, kind, threshold, window, played)
			}
		}
		if f, s := counts[fixedWindow+"time"], counts[slidingWindow+"time"]; s < f {
			t.Errorf("seed %d: a sliding window fires %d times, a fixed one %d times; want at least as often", seed, s, f)
		}
	}
}

// playDenials evaluates events, checks their alerts, and gives how many there are.
func playDenials(t *testing.T, name, kind string, threshold int64, window time.Duration, events []*Event) (alerts int) {
	t.Helper()
	rule := NewAccessDenied()
	rule.Threshold, rule.Window, rule.WindowKind = threshold, window, kind
	f := newFeeder(t, Limits{DuplicatesWithin: time.Hour}, Active{Rule: rule})
	left := map[string]time.Time{}
	for n, e := range events {
		_, out := f.event(e)
		if out.Verdicts[0].Kind != VerdictDuplicate {
			left[e.ID] = e.Time
		}
		for _, a := range out.Alerts {
			alerts++
			var body struct {
				Title   string `json:"title"`
				Context struct {
					Count int64     `json:"count"`
					Start time.Time `json:"window_start"`
				} `json:"context"`
				Evidence struct {
					Total  int64 `json:"total"`
					Events []struct {
						ID   string    `json:"event_id"`
						Time time.Time `json:"event_time"`
					} `json:"events"`
				} `json:"evidence"`
			}
			if err := json.Unmarshal(a.Payload, &body); err != nil {
				t.Fatal(err)
			}
			ev := body.Evidence.Events
			span := ev[len(ev)-1].Time.Sub(ev[0].Time)
			if body.Context.Count != body.Evidence.Total || int(body.Evidence.Total) != len(ev) || body.Context.Count < threshold || !body.Context.Start.Equal(ev[0].Time) {
				t.Fatalf("%s: alert %s; want count, window_start and evidence to be of the same events", name, a.Payload)
			}
			if span > window || kind == fixedWindow && span == window {
				t.Fatalf("%s: alert over %s; want its evidence to lie within %s", name, span, window)
			}
			if want := fmt.Sprintf("alice was denied %d times in %s", body.Context.Count, span); body.Title != want {
				t.Fatalf("%s: title %q; want %q", name, body.Title, want)
			}
			for _, used := range ev {
				if _, ok := left[used.ID]; !ok {
					t.Fatalf("%s: event %s is in two alerts, or twice in one", name, used.ID)
				}
				delete(left, used.ID)
			}
		}
		if kind == slidingWindow && n%50 == 0 {
			wantNoInterval(t, name, left, threshold, window)
		}
	}
	if kind == slidingWindow {
		wantNoInterval(t, name, left, threshold, window)
	}
	return alerts
}

// wantNoInterval reports an interval that holds enough denials that no alert has consumed.
func wantNoInterval(t *testing.T, name string, left map[string]time.Time, threshold int64, window time.Duration) {
	t.Helper()
	var times []time.Time
	for _, at := range left {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := int(threshold) - 1; i < len(times); i++ {
		if span := times[i].Sub(times[i-int(threshold)+1]); span <= window {
			t.Fatalf("%s: %d denials within %s are in no alert", name, threshold, span)
		}
	}
}

// The words that the configuration takes, and shows to editors, are those that the rule
// takes: its schema took any text for window_kind and principal.
func TestWordsOfParameters(t *testing.T) {
	words := 0
	for _, spec := range Builtin() {
		rule := spec.New()
		v := reflect.ValueOf(rule).Elem()
		for i := range v.NumField() {
			one := strings.Fields(v.Type().Field(i).Tag.Get("one"))
			if len(one) == 0 {
				continue
			}
			words++
			was := v.Field(i).String()
			for _, word := range append(one, "other") {
				v.Field(i).SetString(word)
				if err := rule.(validator).Validate(); (err == nil) != (word != "other") {
					t.Errorf("%s, %s %q: Validate() = %v; want an error of what its tag does not list alone", spec.ID, v.Type().Field(i).Name, word, err)
				}
			}
			v.Field(i).SetString(was)
		}
	}
	if words != 2 {
		t.Errorf("%d parameters list their words; want window_kind and principal", words)
	}
}
