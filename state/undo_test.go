package state_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"trailhound/state"
)

// An evaluation that is let go, or meets a bound, leaves no trace: the records of a shard
// are byte for byte those of another one without it.
func TestDroppedScopesLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shards [2]*state.Shard
		var txs [2]*state.Tx
		for i := range shards {
			store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem(), Lifetime: testLifetime, MaxLateness: testLateness, MaxSetMembers: 40})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if shards[i], err = store.Shard(0); err != nil {
				t.Fatal(err)
			}
			txs[i] = shards[i].Begin()
		}
		defer func() { txs[0].Discard(); txs[1].Discard() }()
		for step := range rapid.IntRange(20, 200).Draw(t, "steps") {
			at := benchRef(step)
			at.Time = epoch.Add(time.Duration(step*rapid.IntRange(0, 3).Draw(t, "pace")+rapid.IntRange(-40, 40).Draw(t, "ahead")) * time.Minute)
			for range rapid.IntRange(0, 2).Draw(t, "dropped") {
				s := txs[0].Scope("rule", "key", at)
				for range rapid.IntRange(1, 6).Draw(t, "calls") {
					drawCall(t)(s)
				}
				if rapid.Bool().Draw(t, "refused") {
					s.IncrementCounter(string(make([]byte, state.MaxString+1)))
					s.Commit()
				}
			}
			calls := []func(*state.Scope){func(s *state.Scope) { s.IncrementCounter("n"); s.Observe("n", "") }}
			for range rapid.IntRange(0, 2).Draw(t, "more") {
				calls = append(calls, drawCall(t))
			}
			for _, tx := range txs {
				tx.Observe(state.Source{}, at.Time)
				s := tx.Scope("rule", "key", at)
				for _, call := range calls {
					call(s)
				}
				s.Commit()
			}
			if rapid.IntRange(0, 19).Draw(t, "apply") > 0 {
				continue
			}
			a, b := slices.Collect(txs[0].Changes()), slices.Collect(txs[1].Changes())
			if !slices.EqualFunc(a, b, func(a, b state.Change) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) }) {
				t.Fatalf("Changes() after dropped evaluations = %q; want %q", a, b)
			}
			for i := range txs {
				if err := txs[i].Apply(int64(step + 1)); err != nil {
					t.Fatal(err)
				}
				if err := state.Check(shards[i]); err != nil {
					t.Fatal(err)
				}
				txs[i] = shards[i].Begin()
			}
		}
	})
}

// drawCall draws calls of an evaluation on any kind of value.
func drawCall(t *rapid.T) func(*state.Scope) {
	name := rapid.SampledFrom([]string{"n", "m"}).Draw(t, "name")
	d := time.Duration(rapid.IntRange(-30, 90).Draw(t, "minutes")) * time.Minute
	member := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "member"))
	calls := []func(*state.Scope){
		func(s *state.Scope) { s.IncrementCounter(name) },
		func(s *state.Scope) { s.ResetCounter(name) },
		func(s *state.Scope) { s.SetKeyTTL(name, d) },
		func(s *state.Scope) { s.AddToStringSetEvicting(name, member) },
		func(s *state.Scope) { s.AddToStringSet(name, member, member+"x") },
		func(s *state.Scope) { s.RemoveFromStringSet(name, member) },
		func(s *state.Scope) { s.PutStringSet(name, member, "y") },
		func(s *state.Scope) { s.ResetStringSet(name) },
		func(s *state.Scope) { s.RenewStringSet(name, 0, member, "y") },
		func(s *state.Scope) { s.GetStringSet(name).First(5) },
		func(s *state.Scope) { s.Suppress(name, 10*time.Minute) },
		func(s *state.Scope) { s.Observe(name, member) },
		func(s *state.Scope) { s.Consume(name, s.Within(name, d)) },
		func(s *state.Scope) { s.Evidence() },
	}
	return calls[rapid.IntRange(0, len(calls)-1).Draw(t, "call")]
}
