package state_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// step is one evaluation at a minute, and its answer.
type step struct {
	at   int
	call func(s *state.Scope) any
	want any
}

// Each entry is one promise of the helpers. Every step is an evaluation, and a
// Tx, of its own.
var promises = map[string][]step{
	"GetCounter of a missing counter is 0":    {{0, get, 0}},
	"GetCounter of an expired counter is 0":   {{0, inc, 1}, {0, ttl(10), nil}, {10, get, 0}},
	"GetCounter of a counter":                 {{0, inc, 1}, {1, inc, 2}, {2, get, 2}},
	"IncrementCounter starts at n":            {{0, by(7), 7}},
	"IncrementCounter by 0 makes a counter":   {{0, by(0), 0}, {0, ttl(10), nil}, {1, expiry, minute(10)}},
	"IncrementCounter by less than 0":         {{0, by(-3), -3}, {1, by(-2), -5}},
	"IncrementCounter saturates above":        {{0, by(math.MaxInt64), math.MaxInt64}, {1, inc, math.MaxInt64}},
	"IncrementCounter saturates below":        {{0, by(math.MinInt64), math.MinInt64}, {1, by(-1), math.MinInt64}},
	"IncrementCounter keeps the expiry":       {{0, inc, 1}, {0, ttl(10), nil}, {9, inc, 2}, {9, expiry, minute(10)}, {10, get, 0}},
	"IncrementCounter after expiry starts":    {{0, inc, 1}, {0, ttl(10), nil}, {10, by(4), 4}, {11, expiry, none}},
	"IncrementCounter remembers events":       {{0, inc, 1}, {1, inc, 2}, {2, evidenceOf(inc), "3 event-0 event-1 event-2"}},
	"IncrementCounter counts an event once":   {{0, evidenceOf(inc, inc, inc), "1 event-0"}},
	"evidence starts anew after expiry":       {{0, inc, 1}, {0, ttl(10), nil}, {12, evidenceOf(inc), "1 event-12"}},
	"evidence outlives a reset":               {{0, inc, 1}, {1, evidenceOf(inc, reset), "2 event-0 event-1"}},
	"evidence is of windows before a reset":   {{0, inc, 1}, {1, evidenceOf(inc, reset, inc), "2 event-0 event-1"}},
	"evidence of what was read":               {{0, inc, 1}, {1, evidenceOf(get), "1 event-0"}},
	"evidence of a bare reset is none":        {{0, inc, 1}, {1, evidenceOf(reset), "0"}},
	"ResetCounter takes the count":            {{0, inc, 1}, {1, reset, nil}, {2, get, 0}, {3, inc, 1}},
	"ResetCounter takes the expiry":           {{0, inc, 1}, {0, ttl(10), nil}, {1, reset, nil}, {2, inc, 1}, {3, expiry, none}, {20, get, 1}},
	"ResetCounter takes the evidence":         {{0, inc, 1}, {1, reset, nil}, {2, evidenceOf(inc), "1 event-2"}},
	"ResetCounter starts a new window":        {{0, inc, 1}, {1, reset, nil}, {5, inc, 1}, {8, window, "2026-03-01T00:05:00Z"}},
	"ResetCounter leaves the set":             {{0, inc, 1}, {0, add("a"), `1["a"]["a"]`}, {1, reset, nil}, {2, getSet, `1["a"]`}},
	"SetKeyExpiration is exact":               {{0, inc, 1}, {0, expire(10), nil}, {9, get, 1}, {10, get, 0}},
	"SetKeyExpiration concerns sets as well":  {{0, inc, 1}, {0, add("a"), `1["a"]["a"]`}, {0, expire(10), nil}, {10, get, 0}, {10, getSet, `0[]`}, {9, getSet, `1["a"]`}},
	"SetKeyExpiration of a missing value":     {{0, expire(10), nil}, {1, inc, 1}, {1, expiry, none}, {20, get, 1}},
	"SetKeyExpiration of an expired value":    {{0, inc, 1}, {0, expire(10), nil}, {10, expire(30), nil}, {11, get, 0}, {9, get, 1}},
	"SetKeyExpiration in the past":            {{5, inc, 1}, {6, expire(5), nil}, {6, get, 0}, {4, get, 0}},
	"SetKeyExpiration again":                  {{0, inc, 1}, {0, expire(10), nil}, {1, expire(20), nil}, {15, get, 1}, {16, expire(17), nil}, {17, get, 0}},
	"SetKeyTTL counts from the event":         {{3, inc, 1}, {3, ttl(10), nil}, {3, expiry, minute(13)}, {13, get, 0}},
	"Expiry gives the earliest":               {{0, inc, 1}, {0, expire(30), nil}, {0, add("a"), `1["a"]["a"]`}, {0, expiry, minute(30)}, {0, expire(20), nil}, {1, expiry, minute(20)}},
	"GetStringSet of a missing set is empty":  {{0, getSet, `0[]`}},
	"GetStringSet of an expired set is empty": {{0, add("a"), `1["a"]["a"]`}, {0, ttl(10), nil}, {10, getSet, `0[]`}},
	"Members are sorted by their bytes":       {{0, put("b", "a", "B", "ä"), `4["B" "a" "b" "ä"]`}, {1, getSet, `4["B" "a" "b" "ä"]`}},
	"PutStringSet replaces":                   {{0, put("a", "b"), `2["a" "b"]`}, {1, put("b", "c"), `2["b" "c"]`}, {2, getSet, `2["b" "c"]`}},
	"PutStringSet keeps the expiry":           {{0, put("a"), `1["a"]`}, {0, ttl(10), nil}, {1, put("b"), `1["b"]`}, {2, expiry, minute(10)}, {10, getSet, `0[]`}},
	"PutStringSet with none empties":          {{0, put("a"), `1["a"]`}, {0, ttl(10), nil}, {1, put(), `0[]`}, {2, expiry, minute(10)}, {3, add("b"), `1["b"]["b"]`}, {3, expiry, minute(10)}},
	"PutStringSet after expiry starts anew":   {{0, put("a"), `1["a"]`}, {0, ttl(10), nil}, {10, put("b"), `1["b"]`}, {11, expiry, none}},
	"AddToStringSet tells what was new":       {{0, add("a", "b"), `2["a" "b"]["a" "b"]`}, {1, add("b", "c", "c"), `3["a" "b" "c"]["c"]`}},
	"AddToStringSet takes whole strings":      {{0, add("abc"), `1["abc"]["abc"]`}, {1, has("a"), false}, {1, has("abc"), true}, {1, has("abcd"), false}},
	"AddToStringSet takes the empty string":   {{0, has(""), false}, {0, add(""), `1[""][""]`}, {1, has(""), true}},
	"AddToStringSet keeps the expiry":         {{0, add("a"), `1["a"]["a"]`}, {0, ttl(10), nil}, {1, add("b"), `2["a" "b"]["b"]`}, {2, expiry, minute(10)}},
	"AddToStringSet after expiry starts anew": {{0, add("a", "b"), `2["a" "b"]["a" "b"]`}, {0, ttl(10), nil}, {10, add("b"), `1["b"]["b"]`}, {11, has("a"), false}, {11, expiry, none}},
	"AddToStringSet with none is no effect":   {{0, add(), `0[][]`}, {0, ttl(10), nil}, {1, expiry, none}},
	"RemoveFromStringSet gives the rest":      {{0, put("a", "b", "c"), `3["a" "b" "c"]`}, {1, remove("b", "x"), `2["a" "c"]`}, {2, getSet, `2["a" "c"]`}},
	"RemoveFromStringSet of the last member":  {{0, put("a"), `1["a"]`}, {0, ttl(10), nil}, {1, remove("a"), `0[]`}, {2, expiry, minute(10)}},
	"RemoveFromStringSet of a missing set":    {{0, remove("a"), `0[]`}, {0, ttl(10), nil}, {1, expiry, none}},
	"a member that was removed can come back": {{0, put("a", "b"), `2["a" "b"]`}, {1, remove("a"), `1["b"]`}, {2, add("a"), `2["a" "b"]["a"]`}},
	"ResetStringSet takes everything":         {{0, put("a"), `1["a"]`}, {0, ttl(10), nil}, {1, resetSet, nil}, {2, getSet, `0[]`}, {2, add("b"), `1["b"]["b"]`}, {2, expiry, none}},
	"ResetStringSet leaves the counter":       {{0, put("a"), `1["a"]`}, {0, inc, 1}, {1, resetSet, nil}, {2, get, 1}},
	"PutStringSet leaves the counter":         {{0, inc, 1}, {1, put("a"), `1["a"]`}, {2, get, 1}},
	"a late event counts in the window":       {{5, inc, 1}, {5, ttl(10), nil}, {1, inc, 2}, {6, window, "2026-03-01T00:01:00Z"}, {6, expiry, minute(11)}},
	"a late event past the expiry starts":     {{5, inc, 1}, {5, expire(8), nil}, {30, get, 0}, {9, inc, 1}, {9, window, "2026-03-01T00:09:00Z"}},
	"Window of a missing counter":             {{0, window, "none"}},
	"Window of an expired counter":            {{0, inc, 1}, {0, ttl(10), nil}, {10, window, "none"}},
	"Span is from the first to the newest":    {{5, inc, 1}, {9, inc, 2}, {2, inc, 3}, {20, span, 7 * time.Minute}},
	"Span of a missing counter is 0":          {{5, span, time.Duration(0)}},
	"a counter lives 90 days":                 {{0, inc, 1}, {day(90) - 1, get, 1}, {day(90), get, 0}},
	"its lifetime counts from the last write": {{0, inc, 1}, {60, inc, 2}, {day(90), get, 2}, {day(90) + 60, get, 0}},
	"which is the newest, not the latest":     {{60, inc, 1}, {0, inc, 2}, {day(90) + 59, get, 2}, {day(90) + 60, get, 0}},
	"a set lives 90 days":                     {{0, add("a"), `1["a"]["a"]`}, {day(1), add("b"), `2["a" "b"]["b"]`}, {day(91) - 1, has("a"), true}, {day(91), has("a"), false}},
	"a late member does not shorten its life": {{60, add("a"), `1["a"]["a"]`}, {0, add("b"), `2["a" "b"]["b"]`}, {day(90) + 59, has("a"), true}, {day(90) + 60, has("a"), false}},
	"a member that is there renews nothing":   {{0, add("a"), `1["a"]["a"]`}, {day(1), add("a"), `1["a"][]`}, {day(90), has("a"), false}},
	"reading does not renew a lifetime":       {{0, put("a"), `1["a"]`}, {day(80), has("a"), true}, {day(80), remove("x"), `1["a"]`}, {day(90), getSet, `0[]`}},
	"RenewStringSet is a write":               {{0, put("a"), `1["a"]`}, {day(80), renew, nil}, {day(169), has("a"), true}, {day(170), has("a"), false}},
	"RenewStringSet at most so often":         {{0, put("a"), `1["a"]`}, {day(1) - 1, renew, nil}, {day(90), has("a"), false}, {day(1), renew, nil}, {day(90), has("a"), true}},
	"RenewStringSet of a missing set":         {{0, renew, nil}, {0, ttl(10), nil}, {1, expiry, none}},
	"RenewStringSet leaves an expiry":         {{0, put("a"), `1["a"]`}, {0, expire(day(2)), nil}, {day(1), renew, nil}, {day(2), has("a"), false}},
	"Now is the event's time":                 {{7, func(s *state.Scope) any { return s.Now() }, minute(7)}},
}

var none = time.Time{}

func day(n int) int               { return n * 24 * 60 }
func get(s *state.Scope) any      { return s.GetCounter("n") }
func inc(s *state.Scope) any      { return s.IncrementCounter("n") }
func reset(s *state.Scope) any    { s.ResetCounter("n"); return nil }
func getSet(s *state.Scope) any   { return members(s.GetStringSet("n")) }
func renew(s *state.Scope) any    { s.RenewStringSet("n", 24*time.Hour); return nil }
func resetSet(s *state.Scope) any { s.ResetStringSet("n"); return nil }
func span(s *state.Scope) any     { return s.Span("n") }

func by(n int64) func(*state.Scope) any {
	return func(s *state.Scope) any { return s.IncrementCounterBy("n", n) }
}

func ttl(minutes int) func(*state.Scope) any {
	return func(s *state.Scope) any { s.SetKeyTTL("n", time.Duration(minutes)*time.Minute); return nil }
}

func expire(at int) func(*state.Scope) any {
	return func(s *state.Scope) any { s.SetKeyExpiration("n", minute(at)); return nil }
}

func put(m ...string) func(*state.Scope) any {
	return func(s *state.Scope) any { s.PutStringSet("n", m...); return members(s.GetStringSet("n")) }
}

func add(m ...string) func(*state.Scope) any {
	return func(s *state.Scope) any {
		set, added := s.AddToStringSet("n", m...)
		return members(set) + fmt.Sprintf("%q", added)
	}
}

func remove(m ...string) func(*state.Scope) any {
	return func(s *state.Scope) any { return members(s.RemoveFromStringSet("n", m...)) }
}

func has(m string) func(*state.Scope) any {
	return func(s *state.Scope) any { return s.GetStringSet("n").Has(m) }
}

func expiry(s *state.Scope) any {
	at, _ := s.Expiry("n")
	return at
}

func window(s *state.Scope) any {
	if at, ok := s.Window("n"); ok {
		return at.Format(time.RFC3339)
	}
	return "none"
}

func evidenceOf(calls ...func(*state.Scope) any) func(*state.Scope) any {
	return func(s *state.Scope) any {
		for _, call := range calls {
			call(s)
		}
		total, refs := s.Evidence()
		out := fmt.Sprint(total)
		for _, r := range refs {
			out += " " + r.ID
		}
		return out
	}
}

func TestScope(t *testing.T) {
	for name, steps := range promises {
		t.Run(name, func(t *testing.T) {
			h := openShard(t)
			for i, step := range steps {
				in(t, h, step.at, func(s *state.Scope) {
					if got := step.call(s); fmt.Sprint(got) != fmt.Sprint(step.want) {
						t.Errorf("step %d at minute %d = %v; want %v", i, step.at, got, step.want)
					}
				})
			}
		})
	}
}

// The same promises hold when all steps are in one Tx.
func TestScopeInOneTx(t *testing.T) {
	for name, steps := range promises {
		t.Run(name, func(t *testing.T) {
			h := openShard(t)
			tx := h.Begin()
			for i, step := range steps {
				s := tx.Scope("rule", "key", ref(step.at))
				if got := step.call(s); fmt.Sprint(got) != fmt.Sprint(step.want) {
					t.Errorf("step %d at minute %d = %v; want %v", i, step.at, got, step.want)
				}
				s.Commit()
			}
			apply(t, h, tx)
		})
	}
}

func TestScopeIsDroppedWithoutCommit(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n"); s.PutStringSet("n", "a") })
	tx := h.Begin()
	s := tx.Scope("rule", "key", ref(1))
	s.IncrementCounter("n")
	s.SetKeyTTL("n", 0)
	s.AddToStringSet("n", "b")
	s.Suppress("d", time.Hour)
	s = tx.Scope("rule", "key", ref(2))
	if n, set := s.GetCounter("n"), members(s.GetStringSet("n")); n != 1 || set != `1["a"]` {
		t.Errorf("after a dropped Scope: GetCounter() = %d, GetStringSet() = %s; want 1, 1[\"a\"]", n, set)
	}
	if _, suppressed := s.Suppress("d", time.Hour); suppressed {
		t.Errorf("Suppress() after a dropped Scope = true; want false")
	}
	tx.Scope("rule", "key", ref(3))
	if !tx.Empty() {
		t.Errorf("Empty() = false; want true when all Scopes were dropped")
	}
	tx.Discard()
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("x", state.MaxString+1)
	full := func(s *state.Scope) { s.PutStringSet("n", "a", "b", "c") }
	for _, c := range []struct {
		name, key, reason string
		call              func(s *state.Scope)
	}{
		{"key", long, "key_too_long", func(s *state.Scope) { s.GetCounter("n") }},
		{"name", "key", "key_too_long", func(s *state.Scope) { s.IncrementCounter(long) }},
		{"member", "key", "member_too_long", func(s *state.Scope) { s.AddToStringSet("n", long) }},
		{"put", "key", "set_full", func(s *state.Scope) { s.PutStringSet("n", "a", "b", "c", "d") }},
		{"add", "key", "set_full", func(s *state.Scope) { full(s); s.AddToStringSet("n", "d") }},
		{"event id", "key", "value_too_large", func(s *state.Scope) { s.IncrementCounter("n") }},
		{"none: twice the same", "key", "", func(s *state.Scope) {
			full(s)
			s.AddToStringSet("n", "a", "b", "c")
			s.PutStringSet("n", "a", "a", "b", "c")
		}},
		{"none: longest", long[1:], "", func(s *state.Scope) { s.AddToStringSet(long[1:], long[1:]) }},
		{"none: asked for", "key", "", func(s *state.Scope) { full(s); s.GetStringSet("n").Has(long); s.RemoveFromStringSet("n", long) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: vfs.NewMem(), MaxSetMembers: 3}), 0)
			at := ref(0)
			if c.reason == "value_too_large" {
				at.ID = strings.Repeat("x", state.MaxEventID+1)
			}
			tx := h.Begin()
			defer tx.Discard()
			s := tx.Scope("rule", c.key, at)
			s.AddToStringSet("before", "a")
			c.call(s)
			var reason string
			if e, ok := s.Err().(*state.LimitError); ok {
				reason = e.Reason
			}
			if reason != c.reason {
				t.Fatalf("Err() = %v; want reason %q", s.Err(), c.reason)
			}
			if s.Commit(); tx.Empty() != (c.reason != "") {
				t.Errorf("Empty() after Commit = %t; want nothing kept of an evaluation that met a bound, all of another", tx.Empty())
			}
		})
	}
}

func TestRulesAndKeysDoNotSeeEachOther(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	defer tx.Discard()
	ids := [][3]string{{"r", "k", "n"}, {"rk", "", "n"}, {"r", "kn", ""}, {"", "rk", "n"}, {"r", "k\x00", "n"}, {"r", "k", "\x00n"}, {"r\x01k", "", "n"}}
	for i, id := range ids {
		s := tx.Scope(id[0], id[1], ref(i))
		s.IncrementCounterBy(id[2], int64(i+1))
		s.Commit()
	}
	for i, id := range ids {
		if n := tx.Scope(id[0], id[1], ref(i)).GetCounter(id[2]); n != int64(i+1) {
			t.Errorf("GetCounter of %q = %d; want %d", id, n, i+1)
		}
	}
}
