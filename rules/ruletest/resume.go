package ruletest

import (
	"fmt"

	"trailhound/rules"
)

// maxUnlike bounds the differences of resumed alerts that are told of a step.
const maxUnlike = 5

// resume checks the rule's method Resume, where it has one: the event of the alert leads to
// the same alert again, in a state that comes from the alert alone. Exempt is an alert that
// does not tell all.
func (r *runner) resume(ev *rules.Event, matches []rules.Match, payload []byte) error {
	past, err := rules.ReadPast(payload)
	if err != nil {
		return err
	}
	past.Event = ev
	want, _ := decodeJSON(payload).(map[string]any)
	name := fmt.Sprintf("alert %d, resumed", len(r.alerts))
	tx := r.again.Begin()
	defer tx.Discard()
	ok, err := r.engine.Resume(matches[0], past, tx)
	switch {
	case !ok || past.Partial || err != nil && want["event_omitted"] != nil:
	case err != nil:
		r.unlike = append(r.unlike, fmt.Sprintf("%s: %s", name, err))
	default:
		out := r.engine.Evaluate(ev, matches, tx)
		if len(out.Alerts) == 0 {
			r.unlike = append(r.unlike, fmt.Sprintf("%s: got %s; want the same alert", name, out.Verdicts[0].Kind))
			break
		}
		same := map[string]any{}
		for _, member := range []string{"id", "dedup", "title", "context"} {
			same[member] = want[member]
		}
		r.unlike = append(r.unlike, r.differ(name, same, decodeJSON(out.Alerts[0].Payload), false)...)
	}
	return tx.Err()
}
