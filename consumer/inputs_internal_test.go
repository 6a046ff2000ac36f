package consumer

import (
	"testing"

	"trailhound/consumer/kafka/topic"
)

// The app reads the input that has been made again, and not the one before it: a shard
// taken then would else let the old one hold its horizon back for ever, and retire the
// entries of the new one as those of a former input.
func TestReadsTheInputThatWasMadeAgain(t *testing.T) {
	before, after, work := [16]byte{1}, [16]byte{2}, [16]byte{3}
	i := &inputs{instance: &instance{app: topic.App{ID: "app", Inputs: []string{"trail"}}}, ids: make(map[string][16]byte)}
	i.note(map[string]topic.Info{"trail": {ID: before}, i.app.WorkTopic(): {ID: work}})
	if !i.reads(before) || i.reads(after) || i.reads(work) {
		t.Error("reads() is not true of the input alone")
	}
	i.noteID("trail", after)
	if i.reads(before) || !i.reads(after) {
		t.Errorf("made again: reads(old) = %t, reads(new) = %t; want false, true", i.reads(before), i.reads(after))
	}
	i.noteID("trail", [16]byte{})
	i.note(nil)
	if i.id("trail") != after {
		t.Error("a look-up that found no topic has changed the id; want the last one kept")
	}
}
