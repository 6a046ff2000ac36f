package state_test

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

// Two steps within an hour, with events in any order: the step that comes last looks for
// the other on both sides of itself.
func ExampleScope_Within() {
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	shard, err := store.Shard(0)
	if err != nil {
		panic(err)
	}
	tx := shard.Begin()
	defer tx.Discard()

	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, event := range []struct {
		step string
		at   time.Duration
	}{
		{"create key", 0}, {"use key", 3 * time.Hour}, {"use key", 40 * time.Minute}, {"create key", 150 * time.Minute},
	} {
		ref := state.Ref{ID: fmt.Sprint("event-", i), Time: noon.Add(event.at), Source: state.Source{Topic: "trail", Offset: int64(i)}}
		tx.Observe(ref.Source, ref.Time)
		s := tx.Scope("new_key_used", "alice", ref)
		s.Observe("steps", event.step)
		var created *state.Entry
		for _, e := range s.Within("steps", time.Hour) {
			switch {
			case e.Label == "create key":
				created = &e
			case created != nil:
				fmt.Printf("%s: created %s, used %s\n", ref.ID, created.Time.Format(time.TimeOnly), e.Time.Format(time.TimeOnly))
				s.Consume("steps", []state.Entry{*created, e})
				created = nil
			}
		}
		s.Commit()
	}
	// Output:
	// event-2: created 12:00:00, used 12:40:00
	// event-3: created 14:30:00, used 15:00:00
}

// A counter that is gone ten minutes after it began, by the events' own time, and the way of
// a transaction: its changes go to the changelog, then to disk.
func Example() {
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	shard, err := store.Shard(0)
	if err != nil {
		panic(err)
	}
	tx := shard.Begin()
	defer tx.Discard()

	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for offset, after := range []time.Duration{0, 3 * time.Minute, 9 * time.Minute, 10 * time.Minute} {
		ref := state.Ref{ID: fmt.Sprint("event-", offset), Time: noon.Add(after), Source: state.Source{Topic: "trail", Offset: int64(offset)}}
		if !tx.Newer(ref.Source) {
			continue // evaluated before
		}
		tx.Observe(ref.Source, ref.Time)
		s := tx.Scope("access_denied", "alice", ref)
		n := s.IncrementCounter("denials")
		if n == 1 {
			s.SetKeyTTL("denials", 10*time.Minute)
		}
		s.Commit()
		tx.Advance(ref.Source)
		fmt.Println(ref.Time.Format(time.TimeOnly), n)
	}

	records := int64(0)
	for range tx.Changes() { // each is a record for the changelog
		records++
	}
	if err := tx.Apply(records); err != nil {
		panic(err)
	}
	fmt.Println("position in the changelog:", shard.Position().Changelog == records)
	// Output:
	// 12:00:00 1
	// 12:03:00 2
	// 12:09:00 3
	// 12:10:00 1
	// position in the changelog: true
}
