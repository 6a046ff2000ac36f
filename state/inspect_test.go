package state_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trailhound/state"
)

// inspect compares Values, of all rules and of one key, with the model: the values that an
// event of this time still meets.
func (m *machine) inspect(t *rapid.T, now time.Time) {
	for _, id := range [][2]string{{"", ""}, {"r", ""}, {"r", "ab"}} {
		var got, want []string
		for v := range m.tx.Values(id[0], id[1]) {
			if v.Live(now) {
				got = append(got, describe(m.tx, v))
			}
		}
		for n := range m.pending.values {
			if v, ok := m.pending.get(n, now); ok && within(n, id) {
				want = append(want, describeModel(m.pending, n, v))
			}
		}
		for n, windows := range m.pending.windows {
			for _, w := range windows {
				if now.Before(m.pending.end(&w)) && within(n, id) {
					want = append(want, describeWindow(m.pending, n, &w))
				}
			}
		}
		for n, a := range m.pending.alerts {
			if line, end := describeAlert(m.pending, n, a); now.Before(end) && within(n, id) {
				want = append(want, line)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("Values(%q, %q) = %q; want %q", id[0], id[1], got, want)
		}
	}
	for _, ahead := range []time.Duration{0, -90 * time.Minute, -9 * time.Hour, 7 * time.Hour} {
		m.inspectAt(t, now.Add(ahead))
	}
}

// inspectAt compares ValuesAt with the model: the values that an event of this time meets,
// late or early.
func (m *machine) inspectAt(t *rapid.T, at time.Time) {
	want, got := m.pending.scope("r", "ab", state.Ref{Time: at}), map[string]string{}
	for _, v := range m.tx.ValuesAt("r", "ab", at) {
		if name := string(v.Kind) + " " + v.Name; v.Kind != state.ValueSuppression {
			if got[name] != "" {
				t.Fatalf("ValuesAt(%v) gives two of %s", at, name)
			}
			got[name] = fmt.Sprint(v.Count, " ", v.First.Format(time.RFC3339Nano))
		}
	}
	for _, name := range []string{"n", "m"} {
		counter, set := "", ""
		if w := want.meets(name); w != nil {
			counter = fmt.Sprint(w.count, " ", w.first.Format(time.RFC3339Nano))
		}
		if v, ok := want.getSet(name); ok {
			set = fmt.Sprint(len(v.members), " ", time.Time{}.Format(time.RFC3339Nano))
		}
		if got["counter "+name] != counter || got["set "+name] != set {
			t.Fatalf("ValuesAt(%v) = %q; want counter %s %q, set %q", at, got, name, counter, set)
		}
	}
}

func within(n modelName, id [2]string) bool {
	return (id[0] == "" || n.rule == id[0]) && (id[1] == "" || n.key == id[1])
}

func describe(tx *state.Tx, v state.Value) string {
	first := ""
	if !v.First.IsZero() {
		first = v.First.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s %s %s %s: %d %q %d %s %s %t", v.Kind, v.Rule, v.Key, v.Name, v.Count, tx.MembersOf(v, 3), v.Counted,
		first, v.Expiry.Format(time.RFC3339Nano), v.OwnExpiry)
}

func describeModel(m *model, n modelName, v modelValue) string {
	expiry := v.expiry
	if expiry.IsZero() {
		expiry = v.written.Add(m.lifetime)
	}
	return fmt.Sprintf("%s %s %s %s: %d %q 0  %s %t", n.kind, n.rule, n.key, n.name, len(v.members), v.members[:min(3, len(v.members))],
		expiry.Format(time.RFC3339Nano), !v.expiry.IsZero())
}

func describeWindow(m *model, n modelName, w *modelWindow) string {
	return fmt.Sprintf("counter %s %s %s: %d [] %d %s %s %t", n.rule, n.key, n.name, w.count, len(w.events),
		w.first.Format(time.RFC3339Nano), m.end(w).Format(time.RFC3339Nano), !w.expiry.IsZero())
}

func describeAlert(m *model, n modelName, a modelAlert) (line string, end time.Time) {
	end = a.end(5 * time.Hour)
	if a.held > 0 {
		end = a.end(5 * time.Hour).Add(m.lifetime)
	}
	return fmt.Sprintf("suppression %s %s : %d [] 0  %s %t", n.rule, n.key, a.held, end.Format(time.RFC3339Nano), a.held == 0), end
}

// The changes of a Tx to values on disk are seen in their place and their order; values
// that it has removed, and changes that a Scope has not committed, are not.
func TestValues(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) {
		s.IncrementCounter("a")
		s.IncrementCounter("gone")
		s.IncrementCounter("z")
		s.SetKeyTTL("z", time.Hour)
		s.AddToStringSet("names", "x", "z")
		s.Suppress("dedup", time.Hour)
	})
	tx := h.Begin()
	defer tx.Discard()
	s := tx.Scope("rule", "key", ref(1))
	s.ResetCounter("gone")
	s.IncrementCounter("b")
	s.IncrementCounter("z")
	s.AddToStringSet("names", "y")
	s.Commit()
	tx.Scope("rule", "key", ref(2)).IncrementCounter("uncommitted")
	want := []string{
		"counter a 1 00:00:00 2160h0m0s", "counter b 1 00:01:00 2160h1m0s", "counter z 2 00:00:00 1h0m0s",
		"set names 3 00:00:00 2160h1m0s [x y z]", "suppression  0 00:00:00 1h0m0s",
	}
	var got []string
	for v := range tx.Values("rule", "key") {
		first := epoch
		if !v.First.IsZero() {
			first = v.First
		}
		line := fmt.Sprintf("%s %s %d %s %s", v.Kind, v.Name, v.Count, first.Format(time.TimeOnly), v.Expiry.Sub(epoch))
		if v.Kind == state.ValueSet {
			line += fmt.Sprint(" ", tx.MembersOf(v, 10))
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Values() = %q; want %q", got, want)
	}
	for range tx.Values("", "") {
		break // a sequence may end early
	}
	if n := len(slices.Collect(tx.Values("rule", "ke"))); n != 0 {
		t.Errorf("Values of a key that is the start of another = %d values; want none", n)
	}
}

// A value on disk that cannot be read ends the sequence, and the Tx.
func TestValuesOfDamagedState(t *testing.T) {
	h := openShard(t)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	records, err := state.Dump(h, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Key[0] == 'h' {
			state.Damage(t, h, r.Key)
		}
	}
	tx := h.Begin()
	defer tx.Discard()
	if values := slices.Collect(tx.Values("", "")); len(values) != 0 || tx.Err() == nil {
		t.Errorf("Values() of a damaged record = %v, Err() = %v; want none and an error", values, tx.Err())
	}
}
