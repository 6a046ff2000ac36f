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
	s := &Service{App: topic.App{ID: "app", Inputs: []string{"trail"}}}
	s.noteInputs(map[string]topic.Info{"trail": {ID: before}, s.App.WorkTopic(): {ID: work}})
	if !s.reads(before) || s.reads(after) || s.reads(work) {
		t.Error("reads() is not true of the input alone")
	}
	s.noteInput("trail", after)
	if s.reads(before) || !s.reads(after) {
		t.Errorf("made again: reads(old) = %t, reads(new) = %t; want false, true", s.reads(before), s.reads(after))
	}
	s.noteInput("trail", [16]byte{})
	s.noteInputs(nil)
	if s.inputID("trail") != after {
		t.Error("a look-up that found no topic has changed the id; want the last one kept")
	}
}
