package ruletest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/rules"
)

// step is one step of a test: some events, and the results expected of them.
type step struct {
	line int

	// The input: records as they stand, or so many events made of one.
	records  [][]byte
	event    object
	absent   []string
	at       time.Duration // of the first event, after the test's start
	every    time.Duration
	times    int
	recordAt time.Duration // timestamp of the records; unset: none

	partition int32 // of the input, that the records come in
	order     []int // of the events, by their numbers; nil: as they happened

	verdicts  []string // one for all events, or one each; nil: the rule must have looked
	reason    rules.Reason
	alerts    []any // each a part of an alert; nil elements: any alert
	alertFile string
	states    []stateWant
}

// stateWant is the state that a key must have after the step.
type stateWant struct {
	key       string // "": that of the latest event which had one
	counters  []wanted[int64]
	timelines []wanted[int64] // how many events are in them
	sets      []wanted[[]string]
	expires   []wanted[time.Duration]
}

type wanted[T any] struct {
	name  string
	value T
}

// unset is a span that the file does not give.
const unset = time.Duration(-1 << 63)

// A span of time in a test is at most a hundred years.
const maxSpan = 36500 * 24 * time.Hour

type stepText struct {
	At        time.Duration `param:"at" range:"-36500d..36500d"`
	Every     time.Duration `param:"every" range:"0..36500d"`
	Times     int           `param:"times" range:"1..10000"`
	RecordAt  time.Duration `param:"record_at" range:"-36500d..36500d"`
	Partition int           `param:"partition" range:"0..100000"`
	Order     string        `param:"order"`
	Event     *yaml.Node    `param:"event"`
	EventFile string        `param:"event_file"`
	Raw       *yaml.Node    `param:"raw"`
	Absent    []string      `param:"absent"`
	Verdict   *yaml.Node    `param:"verdict"`
	Reason    string        `param:"reason"`
	Alerts    *yaml.Node    `param:"alerts"`
	AlertFile string        `param:"alert_file"`
	Expect    *yaml.Node    `param:"expect"`
}

// step reads one step. base has the members of its event that the file and the test give,
// last is the time of the event before it.
func (r *reader) step(node *yaml.Node, base object, last time.Duration) *step {
	text := stepText{Times: 1}
	s := &step{line: node.Line, at: last, times: 1, recordAt: unset}
	if !r.decode(node, &text) {
		return s
	}
	s.every, s.times, s.absent = text.Every, text.Times, text.Absent
	if under(node, "at") != nil {
		s.at = text.At
	}
	if under(node, "record_at") != nil {
		s.recordAt = text.RecordAt
	}
	s.partition = int32(text.Partition)
	r.order(s, text.Order, under(node, "order"))
	if s.every > maxSpan/time.Duration(s.times) || s.lastAt() > maxSpan {
		r.problem(node, "the step ends more than a hundred years after the test's start")
		s.every, s.at = 0, 0
	}
	r.source(s, &text, node, base)
	r.verdicts(s, &text, under(node, "reason"))
	r.alerts(s, &text)
	r.states(s, text.Expect)
	return s
}

// order reads in which order the step's events come: as they happened, the last first, or
// shuffled by a number.
func (r *reader) order(s *step, text string, node *yaml.Node) {
	word, seed, shuffled := strings.Cut(text, " ")
	n, err := strconv.ParseUint(seed, 10, 32)
	switch {
	case text == "" || text == "forward":
	case text == "backward":
		for i := range s.times {
			s.order = append(s.order, s.times-1-i)
		}
	case shuffled && word == "shuffled" && err == nil:
		s.order = rand.New(rand.NewPCG(n, 0)).Perm(s.times) //nolint:gosec // an order, which is to be the same each time
	default:
		r.problem(node, "order is %q; it must be forward, backward, or shuffled and a number, such as: shuffled 1", text)
	}
}

// target follows an alias to the node that it names.
func target(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// under is the value of a name in a mapping; nil: none. Names may be aliases, as they may
// for the decoder.
func under(node *yaml.Node, name string) *yaml.Node {
	node = target(node)
	for i := 0; i+1 < len(node.Content); i += 2 {
		if target(node.Content[i]).Value == name {
			return target(node.Content[i+1])
		}
	}
	return nil
}

// source reads the input of the step: one of event, event_file and raw.
func (r *reader) source(s *step, text *stepText, node *yaml.Node, base object) {
	s.event = base.merge(r.event(text.Event))
	if text.EventFile == "" && text.Raw == nil {
		if len(s.event) == 0 && text.Event == nil {
			r.problem(node, "the step has no event; give event, event_file or raw")
		}
		r.takeAway(s, under(node, "absent"))
		return
	}
	extra := []string{"event", "absent", "at", "every", "order"}
	extra = slices.DeleteFunc(extra, func(name string) bool { return under(node, name) == nil })
	switch {
	case text.EventFile != "" && text.Raw != nil:
		r.problem(node, "event_file and raw are both given; give one")
	case len(extra) > 0:
		r.problem(under(node, extra[0]), "%s cannot go with event_file or raw, which are fed as they stand", extra[0])
	case text.Raw != nil:
		s.records = [][]byte{r.raw(text.Raw)}
	default:
		s.records = r.records(under(node, "event_file"), text.EventFile)
	}
	s.event = nil
}

func (r *reader) raw(n *yaml.Node) []byte {
	if n.Kind != yaml.ScalarNode {
		r.problem(n, "raw is the text of one record, in quotes")
		return nil
	}
	if n.Tag != "!!binary" {
		return []byte(n.Value)
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	if err != nil {
		r.problem(n, "raw: %s", err)
	}
	return data
}

// takeAway checks that the members to be absent would be there.
func (r *reader) takeAway(s *step, absent *yaml.Node) {
	full := made(s, 0, time.Time{}, 0)
	for i, path := range s.absent {
		if len(r.problems) == maxProblems {
			return
		}
		at := absent
		if at.Kind == yaml.SequenceNode {
			at = at.Content[i]
		}
		var ok bool
		if full, ok = full.without(path); !ok {
			r.problem(at, "absent: the event has no %s; it has %s", path, quoted(full.names()))
		}
	}
}

// count is how many events the step has; of records, how many records.
func (s *step) count() int { return max(1, len(s.records)) * s.times }

// lastAt is the time of the step's last event, after the test's start.
func (s *step) lastAt() time.Duration { return s.at + time.Duration(s.times-1)*s.every }

// made makes the event of one repetition: the members that the step gives, and defaults for
// those that every event has.
func made(s *step, i int, start time.Time, number int) object {
	e := object{
		{"eventVersion", "1.11"},
		{"eventTime", start.Add(s.at + time.Duration(i)*s.every).UTC().Format(time.RFC3339Nano)},
		{"awsRegion", "us-east-1"},
		{"eventID", fmt.Sprintf("8f14e45f-ceea-467f-a000-%012d", number)},
		{"eventType", "AwsApiCall"},
		{"eventCategory", "Management"},
		{"recipientAccountId", "111122223333"},
	}
	return e.merge(s.event)
}
