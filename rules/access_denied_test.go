package rules

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"trailhound/config/duration"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Denials of one principal come shuffled, late and doubled. With either kind of window
// every alert is true of its evidence, and no event is in two of them. With a sliding
// window no interval of its length is left that holds enough denials, and in order of time
// it fires at least as often as a fixed one. That holds for partitions that are days apart,
// one of which is unknown until the others have been read, and, in order of time, for a
// timeline of the least room.
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
				ID: fmt.Sprint("e", n), Time: at, ErrorCode: "AccessDenied", Identity: cloudtrail.Identity{ARN: "alice"},
				At: state.Source{Topic: "t", Offset: int64(n)},
			})
		}
		counts := map[string]int{}
		for _, kind := range []string{fixedWindow, slidingWindow} {
			for _, order := range []string{"time", "shuffled", "within 10 minutes", "doubled", "partitions apart", "least room"} {
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
				case "partitions apart":
					played = apart(played)
				}
				limits := Limits{DuplicatesWithin: time.Hour, MaxLateness: state.DefaultMaxLateness}
				if order == "least room" {
					limits.MaxSetMembers = 2 * threshold
				}
				name := fmt.Sprintf("seed %d, %s, %s", seed, kind, order)
				counts[kind+order] = playDenials(t, name, kind, threshold, window, limits, played)
			}
		}
		if all, least := counts[slidingWindow+"time"], counts[slidingWindow+"least room"]; least != all {
			t.Errorf("seed %d: with least room a sliding window fires %d times; want %d", seed, least, all)
		}
		if f, s := counts[fixedWindow+"time"], counts[slidingWindow+"time"]; s < f {
			t.Errorf("seed %d: a sliding window fires %d times, a fixed one %d times; want at least as often", seed, s, f)
		}
	}
}

// apart spreads events over partitions that are nine days apart. The last one comes when
// the others have been read to their ends.
func apart(events []*Event) []*Event {
	const partitions = 3
	var parts [partitions][]*Event
	for n, e := range events {
		p := n / 20 % partitions // bursts stay together, more or less
		e := *e
		e.At.Partition, e.Time = int32(p), e.Time.AddDate(0, 0, -9*p)
		parts[p] = append(parts[p], &e)
	}
	var played []*Event
	for n := range max(len(parts[0]), len(parts[1])) {
		for _, part := range parts[:2] {
			if n < len(part) {
				played = append(played, part[n])
			}
		}
	}
	return append(played, parts[2]...)
}

// playDenials evaluates events, checks their alerts, and gives how many there are.
func playDenials(t *testing.T, name, kind string, threshold int64, window time.Duration, limits Limits, events []*Event) (alerts int) {
	t.Helper()
	rule := NewAccessDenied()
	rule.Threshold, rule.Window, rule.WindowKind = threshold, window, kind
	f := newFeeder(t, limits, Active{Rule: rule})
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
			if want := fmt.Sprintf("alice was denied %d times in %s", body.Context.Count, duration.Format(span)); body.Title != want {
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

// sliding is a feeder of the rule with a sliding window, which counts its alerts.
type sliding struct {
	*feeder
	alerts  int
	evicted int
	last    Outcome
}

func newSliding(t *testing.T, threshold int64, limits Limits) *sliding {
	t.Helper()
	rule := NewAccessDenied()
	rule.Threshold, rule.WindowKind = threshold, slidingWindow
	return &sliding{feeder: newFeeder(t, limits, Active{Rule: rule})}
}

func (s *sliding) deny(partition int32, at time.Time) {
	s.t.Helper()
	s.offset++
	_, s.last = s.event(&Event{
		ID: fmt.Sprint("e", s.offset), Time: at, ErrorCode: "AccessDenied", Identity: cloudtrail.Identity{ARN: "alice"},
		At: state.Source{Topic: "t", Partition: partition, Offset: s.offset},
	})
	for _, v := range s.last.Verdicts {
		if v.Kind == VerdictRejected {
			s.t.Fatalf("a denial at %s = %+v; want it evaluated", at, s.last)
		}
		s.evicted += v.Evicted
	}
	s.alerts += len(s.last.Alerts)
}

// A backfill into a partition that was not known brings a burst of nine days ago. None of
// its events is too late for its own partition, so that the burst is seen, as a fixed
// window sees it.
func TestSlidingBurstOfAnotherPartition(t *testing.T) {
	s := newSliding(t, 10, defaultLimits)
	s.deny(0, noon.AddDate(0, 0, 9))
	for n := range 20 {
		s.deny(1, noon.Add(time.Duration(n)*time.Minute))
	}
	if s.alerts != 2 {
		t.Errorf("%d alerts of 20 denials in 20 minutes; want 2", s.alerts)
	}
}

// Half of a burst comes days late, when the timeline is full and begins with the other
// half: the oldest entries are those it has come for. Nor may a burst at the front be
// lost to it.
func TestSlidingLateBurstInAFullTimeline(t *testing.T) {
	const threshold, most = 100, 1000
	s := newSliding(t, threshold, Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 168 * time.Hour, MaxSetMembers: most})
	for n := range threshold / 2 {
		s.deny(0, noon.Add(time.Duration(n)*time.Second))
	}
	now := noon
	for n := range most - 2*threshold + 30 {
		now = noon.Add(2*time.Hour + time.Duration(n)*7*time.Minute)
		s.deny(0, now)
	}
	for n := range threshold - 10 { // the burst at the front begins
		s.deny(0, now.Add(time.Duration(n)*time.Second/10))
	}
	for n := range threshold / 2 {
		s.deny(0, noon.Add(time.Minute+time.Duration(n)*time.Second))
	}
	if s.alerts != 1 || s.evicted == 0 {
		t.Errorf("%d alerts, %d evicted; want one of the late burst, in a timeline that was full", s.alerts, s.evicted)
	}
	for n := range 10 {
		s.deny(0, now.Add(time.Duration(n)*time.Minute/10))
	}
	if s.alerts != 2 {
		t.Errorf("%d alerts; want one of the burst at the front too", s.alerts)
	}
}

// A timeline that was built up under a longer window and a larger limit may be longer
// around an event than the limit of today. It makes room, and the event still fires: at
// least half of the limit is left on one side of it.
func TestSlidingAfterTheLimitWasLowered(t *testing.T) {
	before := newSliding(t, 200, Limits{MaxSetMembers: 1000})
	for n := range 190 {
		before.deny(0, noon.Add(time.Duration(n)*time.Second))
	}
	rule := NewAccessDenied()
	rule.Threshold, rule.WindowKind = 10, slidingWindow
	e, err := NewEngine([]Active{{Rule: rule}}, Limits{MaxSetMembers: 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 95, 189} {
		s := *before
		s.feeder = &feeder{t: t, engine: e, shard: restored(t, before.tx, 20), offset: 1000}
		s.tx = s.shard.Begin()
		s.deny(0, noon.Add(time.Duration(n)*time.Second))
		if len(s.last.Alerts) != 1 {
			t.Errorf("a denial at second %d among 190 in 190 seconds = %+v; want an alert, as 10 are enough", n, s.last.Verdicts)
		}
		s.tx.Discard()
	}
}

// restored is a shard with the changes of a Tx, in a store of a limit of its own.
func restored(t *testing.T, tx *state.Tx, most int) *state.Shard {
	t.Helper()
	h := newShard(t, state.Options{MaxSetMembers: most})
	err := h.Load(1, 0, func(yield func(key, value []byte) bool) error {
		for c := range tx.Changes() {
			yield(c.Key, c.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A threshold that the timeline has no room for would never fire, in silence: the engine
// refuses it for any limit.
func TestSlidingNeedsRoom(t *testing.T) {
	for _, test := range []struct {
		kind      string
		threshold int64
		most      int
		refused   bool
	}{
		{slidingWindow, 50, 100, false},
		{slidingWindow, 51, 100, true},
		{slidingWindow, 51, 101, true},
		{slidingWindow, 51, 102, false},
		{slidingWindow, 1, 1, true},
		{slidingWindow, state.DefaultMaxSetMembers / 2, 0, false},
		{slidingWindow, state.DefaultMaxSetMembers/2 + 1, 0, true},
		{slidingWindow, 500_000, 1_000_000, false},
		{slidingWindow, math.MaxInt64, 1_000_000, true},
		{fixedWindow, math.MaxInt64, 1, false},
		{"", 200, 100, false},
	} {
		rule := NewAccessDenied()
		rule.WindowKind, rule.Threshold = test.kind, test.threshold
		_, err := NewEngine([]Active{{Rule: rule}}, Limits{MaxSetMembers: test.most})
		if (err != nil) != test.refused {
			t.Errorf("NewEngine(%+v) = %v; want an error: %t", test, err, test.refused)
		}
	}
}

// With the least room that the engine accepts a sliding window fires as with plenty.
func TestSlidingWithLeastRoom(t *testing.T) {
	for _, most := range []int{400, 1_000_000} {
		s := newSliding(t, 200, Limits{MaxSetMembers: most})
		for n := range 3000 {
			s.deny(0, noon.Add(time.Duration(n)*time.Second))
		}
		if s.alerts != 15 {
			t.Errorf("max_set_members %d: %d alerts of 3,000 denials in 3,000 seconds; want 15", most, s.alerts)
		}
	}
}

// The values that the configuration takes, and shows to editors, are those of the rule: its
// schema took any text for window_kind and principal.
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
