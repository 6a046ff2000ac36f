package topic

import (
	"cmp"
	"fmt"
	"math"
)

// LeastMessageBytes is the least max.message.bytes of the alerts and the dead-letter topic:
// an alert without its optional parts, or the headers of a dead letter, take some KiB.
const LeastMessageBytes = 8 << 10

// output returns the Spec of the alerts or the dead-letter topic. A new topic takes records
// of the given size whole, but an existing one may take less, as far down as
// LeastMessageBytes: alerts leave out their event, then evidence, and dead letters the end
// of their value (PROTOCOL D6).
func (a App) output(name string, partitions, record int) Spec {
	s := a.spec(name, partitions, record, 0, notCompacted(outputCompacted))
	for i := range s.needs {
		if n := &s.needs[i]; n.key == maxMessageBytes {
			least := atLeast(n.key, LeastMessageBytes, "not even the head of a record would fit")
			n.ok, n.wanted, n.why = least.ok, least.wanted, least.why
		}
	}
	return s
}

const maxMessageBytes = "max.message.bytes"

// largest is the largest max.message.bytes of the inputs, as far as infos has them.
func (a App) largest(infos map[string]Info) int {
	largest := defaultMessageBytes
	for _, name := range a.Inputs {
		if info, ok := infos[name]; ok {
			largest = max(largest, info.MaxMessageBytes())
		}
	}
	return largest
}

// Reduced returns a sentence for each of the alerts and the dead-letter topic that takes
// smaller records than the application may write, with the parts that are left out then.
// That is no fault.
func (a App) Reduced(infos map[string]Info) []string {
	var notes []string
	for _, out := range []struct{ name, left string }{
		{a.Alerts, "an alert that does not fit is published without its event, then without evidence"},
		{a.DeadLetter, "a dead letter that does not fit keeps its headers, its place and the first bytes of the record"},
	} {
		info, ok := infos[out.name]
		if whole := a.whole(out.name, infos); ok && info.MaxMessageBytes() < whole {
			notes = append(notes, fmt.Sprintf("topic %s has %s=%d: %s; nothing is left out from %d on", out.name, maxMessageBytes, info.MaxMessageBytes(), out.left, whole))
		}
	}
	return notes
}

// whole is the max.message.bytes with which nothing is left out of records for the alerts
// or the dead-letter topic; 0 for another topic.
func (a App) whole(name string, infos map[string]Info) int {
	switch name {
	case a.Alerts:
		return min(cmp.Or(a.MaxAlertBytes, a.largest(infos))+recordFraming, math.MaxInt32)
	case a.DeadLetter:
		return min(a.largest(infos)+Headroom, math.MaxInt32)
	}
	return 0
}

// recordFraming is room for a batch's header and for the framing and the headers of one record.
const recordFraming = 1 << 10

// Topics returns the names of all topics of the application, its inputs first.
func (a App) Topics() []string { return append(append([]string(nil), a.Inputs...), a.outputs()...) }

// Problems returns the faults of topics that Describe has found; missing topics are not
// among them.
func (a App) Problems(infos map[string]Info, brokers string) []Problem {
	var wrong []Problem
	for _, p := range a.problems(infos, brokers) {
		if !p.Missing {
			wrong = append(wrong, p)
		}
	}
	return wrong
}
