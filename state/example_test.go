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
