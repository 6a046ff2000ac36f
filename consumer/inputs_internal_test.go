package consumer

import (
	"testing"

	"trailhound/consumer/kafka/topic"
)

// The input that has been made again is the one that the app reads, and the one before it is
// not: a shard that is taken then would let the old one hold its horizon back for ever, and
// take the new one, of which it has entries, for one that is read no more.
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
