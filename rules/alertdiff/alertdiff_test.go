package alertdiff_test

import (
	"fmt"
	"reflect"
	"testing"

	"trailhound/rules/alertdiff"
	"trailhound/state"
)

// alert is an alert of the event at an offset.
func alert(id, key, title string, offset int) []byte {
	return fmt.Appendf(nil, `{"id":%q,"rule_id":"r","key":%q,"title":%q,"parameters":{"n":%d},"source":{"topic":"t","offset":%d}}`, id, key, title, offset, offset)
}

// Alerts are matched by their ids; parameters are no difference, and alerts of events
// outside of the range do not count.
func TestDiff(t *testing.T) {
	d := alertdiff.New(func(at state.Source) bool { return at.Topic == "t" && at.Offset < 10 })
	for _, a := range [][]byte{alert("same", "a", "x", 1), alert("changed", "a", "x", 2), alert("new", "b", "x", 3)} {
		if err := d.Replayed(a); err != nil {
			t.Fatal(err)
		}
	}
	// The same alert with other parameters, one with another title, one twice, one outside.
	gone := alert("vanished", "b", "y", 4)
	for _, a := range [][]byte{
		[]byte(`{"id":"same","rule_id":"r","key":"a","title":"x","source":{"topic":"t","offset":1}}`),
		alert("changed", "a", "z", 2), gone, gone, alert("outside", "b", "x", 10),
	} {
		if err := d.Existing(a); err != nil {
			t.Fatal(err)
		}
	}
	for _, junk := range []string{"", "[]", `{"id":7}`, `{"id":"x"}`} {
		if err := d.Existing([]byte(junk)); err == nil {
			t.Errorf("Existing(%q) = nil; want an error", junk)
		}
	}
	got := d.Result(nil)
	if want := (alertdiff.Counts{New: 1, Vanished: 1, Kept: 2, Changed: 1}); got.Total != want || d.Outside != 1 {
		t.Errorf("Result() = %+v, outside %d; want %+v and 1", got.Total, d.Outside, want)
	}
	want := []*alertdiff.Row{
		{Rule: "r", Key: "b", Counts: alertdiff.Counts{New: 1, Vanished: 1}, NewIDs: []string{"new"}, VanishedIDs: []string{"vanished"}},
		{Rule: "r", Key: "a", Counts: alertdiff.Counts{Kept: 2, Changed: 1}, ChangedIDs: []string{"changed"}},
	}
	if !reflect.DeepEqual(got.Keys, want) {
		t.Errorf("Result() has the keys %+v, %+v; want %+v, %+v", got.Keys[0], got.Keys[1], want[0], want[1])
	}
	if len(got.Alerts) != 2 || got.Alerts["new"].Title != "x" || got.Alerts["vanished"].Title != "y" {
		t.Errorf("Result() shows %v; want the new and the vanished alert", got.Alerts)
	}
}
