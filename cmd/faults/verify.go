package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/cmd/internal/testbed"
)

// verifyTopics names the topics that are compared.
type verifyTopics struct{ input, alerts, deadLetters string }

// tally is the result of a comparison.
type tally struct {
	Events                               int // good ones in the input
	Expected, Seen, Lost, Doubled, Wrong int // alerts; Lost are those that are not there, or not there yet
	DeadExpected, DeadSeen               int // dead letters; those of routers may be seen more than once
	DeadLost, DeadWrong                  int // likewise; one of a detector that comes twice is wrong
	Longest                              time.Duration
	Examples                             []string // of alerts and dead letters lost, doubled or wrong
}

const mostExamples = 20

// verifier compares the alerts and dead letters in Kafka with those that the oracle derives
// from the input topic. The truth is its log, in its order. Not for concurrent use.
type verifier struct {
	brokers []string
	topics  verifyTopics
	rules   oracleSettings
	schema  *jsonschema.Schema // of alerts
	client  *kgo.Client
	next    map[string]map[int32]int64 // where to read on
	located map[string]*location       // of topics, as last looked up

	oracles map[int32]*oracle
	alerts  map[string]*expectedAlert // by id, not seen yet
	seen    map[string]bool           // ids of alerts
	letters map[letterID]*expectedLetter
	tally
}

type expectedAlert struct {
	alertBody
	event [sha256.Size]byte // stands for alertBody.Event, which may be large
	sent  time.Time         // timestamp of the input record
}

type expectedLetter struct {
	letter
	seen int
}

// letterID is the identity of a dead letter: its source, stage and rule.
type letterID struct {
	stage, rule string
	place
}

// newVerifier returns a verifier that begins at the start of the topics.
func newVerifier(brokers []string, topics verifyTopics, rules oracleSettings) *verifier {
	return &verifier{
		brokers: brokers, topics: topics, rules: rules, next: make(map[string]map[int32]int64), located: make(map[string]*location), oracles: make(map[int32]*oracle),
		alerts: make(map[string]*expectedAlert), seen: make(map[string]bool), letters: make(map[letterID]*expectedLetter),
	}
}

// open reads the schema and makes the client, before the first read.
func (v *verifier) open() (err error) {
	if v.client != nil {
		return nil
	}
	if err := v.readSchema(); err != nil {
		return err
	}
	v.client, err = kgo.NewClient(kgo.SeedBrokers(v.brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	return err
}

// readSchema reads the JSON Schema of alerts.
func (v *verifier) readSchema() error {
	root, err := testbed.FindRoot()
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	v.schema, err = c.Compile(filepath.Join(root, "deploy", "alert.schema.json"))
	return err
}

// close lets go of the connections.
func (v *verifier) close() {
	if v.client != nil {
		v.client.Close()
	}
}

// read reads on from where the last call stopped, up to the present ends, and compares.
// Brokers may be down meanwhile: it tries again until ctx ends. Alerts that the last call
// found lost may have come meanwhile.
func (v *verifier) read(ctx context.Context) (tally, error) {
	if err := v.open(); err != nil {
		return tally{}, err
	}
	// The ends of the outputs first: all records below them come of input that is there by now.
	ends := make(map[string]map[int32]int64)
	for _, topic := range []string{v.topics.alerts, v.topics.deadLetters, v.topics.input} {
		err := v.persist(ctx, func() (err error) {
			ends[topic], err = v.stableEnds(ctx, topic)
			return err
		})
		if err != nil {
			return tally{}, err
		}
	}
	for _, part := range []struct {
		topic string
		take  func(*kgo.Record)
	}{{v.topics.input, v.input}, {v.topics.alerts, v.alert}, {v.topics.deadLetters, v.deadLetter}} {
		if err := v.each(ctx, part.topic, ends[part.topic], part.take); err != nil {
			return tally{}, err
		}
	}
	return v.result(), nil
}

// result is the tally, with the alerts and dead letters lost as of now.
func (v *verifier) result() tally {
	t := v.tally
	t.Examples = slices.Clone(t.Examples)
	for _, a := range v.alerts {
		t.Lost++
		t.example("lost: alert %s of %s for event %s at %s", a.ID, a.Rule, a.EventID, a.Source.text())
	}
	for _, l := range v.letters {
		if l.seen == 0 {
			t.DeadLost++
			t.example("lost: dead letter %s for %s %s of %s", l.Reason, l.Stage, l.Rule, l.place.text())
		}
	}
	for _, o := range v.oracles {
		t.Events += o.events
	}
	return t
}

func (t *tally) example(format string, args ...any) {
	if len(t.Examples) < mostExamples {
		t.Examples = append(t.Examples, fmt.Sprintf(format, args...))
	}
}

// text names a place to people.
func (p place) text() string {
	return fmt.Sprintf("%s partition %d offset %d index %d", p.Topic, p.Partition, p.Offset, p.Index)
}

// input asks the oracle for the alerts and dead letters due for a record.
func (v *verifier) input(rec *kgo.Record) {
	o := v.oracles[rec.Partition]
	if o == nil {
		o = newOracle(v.rules)
		v.oracles[rec.Partition] = o
	}
	alerts, letters := o.record(rec)
	for _, a := range alerts {
		v.expect(a, rec.Timestamp)
	}
	for _, l := range letters {
		v.letters[letterID{l.Stage, l.Rule, l.place}] = &expectedLetter{letter: l}
		v.DeadExpected++
	}
}

// expect notes an alert due for a record that was sent at that time.
func (v *verifier) expect(a alertBody, sent time.Time) {
	e := &expectedAlert{alertBody: a, event: sha256.Sum256(a.Event), sent: sent}
	e.Event = nil
	v.alerts[a.ID] = e
	v.Expected++
}

// alert compares one alert with the expected one of its id.
func (v *verifier) alert(rec *kgo.Record) {
	v.Seen++
	at := fmt.Sprintf("alert at %s partition %d offset %d", rec.Topic, rec.Partition, rec.Offset)
	var got alertBody
	if err := json.Unmarshal(rec.Value, &got); err != nil {
		v.Wrong++
		v.example("wrong: %s is not readable: %v", at, err)
		return
	}
	want := v.alerts[got.ID]
	switch {
	case want != nil:
	case v.seen[got.ID]:
		v.Doubled++
		v.example("doubled: %s is the alert %s of %s for event %s at %s again", at, got.ID, got.Rule, got.EventID, got.Source.text())
		return
	default:
		v.Wrong++
		v.example("wrong: nobody expects %s: %s of %s for event %s at %s", at, got.ID, got.Rule, got.EventID, got.Source.text())
		return
	}
	delete(v.alerts, got.ID)
	v.seen[got.ID] = true
	v.Longest = max(v.Longest, rec.Timestamp.Sub(want.sent))
	if faults := v.compare(rec, &got, want); len(faults) > 0 {
		v.Wrong++
		v.example("wrong: %s (%s of %s for event %s at %s): %s", at, got.ID, want.Rule, want.EventID, want.Source.text(), strings.Join(faults, "; "))
	}
}

// compare returns the differences between an alert and the expected one.
func (v *verifier) compare(rec *kgo.Record, got *alertBody, want *expectedAlert) (faults []string) {
	differ := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			faults = append(faults, fmt.Sprintf("%s is %v, want %v", what, got, want))
		}
	}
	if sha256.Sum256(got.Event) != want.event {
		faults = append(faults, "event is not the one in the input")
	}
	got.Event = nil
	if want.Rule == ruleAssume { // of each known address, calls that were evaluated before: which ones is left open
		var uses map[counted]bool
		if o := v.oracles[want.Source.Partition]; o != nil {
			uses = o.uses[want.Key]
		}
		if got.Evidence.Total != len(got.Evidence.Events) {
			faults = append(faults, fmt.Sprintf("evidence names %d events of %d", len(got.Evidence.Events), got.Evidence.Total))
		}
		for i, one := range got.Evidence.Events {
			if !uses[one] || slices.Contains(got.Evidence.Events[:i], one) {
				faults = append(faults, fmt.Sprintf("evidence has %s, no call from a known address, or has it twice", one.ID))
			}
		}
		got.Evidence = want.Evidence
	}
	g, w := reflect.ValueOf(*got), reflect.ValueOf(want.alertBody)
	for i := range g.NumField() {
		differ(g.Type().Field(i).Tag.Get("json"), g.Field(i).Interface(), w.Field(i).Interface())
	}
	differ("key", string(rec.Key), want.Dedup)
	found := headers(rec)
	differ("headers", found, map[string]string{
		"app_id": appID, "version": found["version"], // any build's
		"alert_id": want.ID, "rule_id": want.Rule, "severity": want.Severity, "schema": want.Schema, "content-type": "application/json",
	})
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(rec.Value)) // which also refuses members that alertBody has not
	if err == nil {
		err = v.schema.Validate(value)
	}
	if err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

// headers returns the headers of a record. One that comes twice gets a value that is never
// expected.
func headers(rec *kgo.Record) map[string]string {
	all := make(map[string]string)
	for _, h := range rec.Headers {
		if _, twice := all[h.Key]; twice {
			all[h.Key] += " and again "
		}
		all[h.Key] += string(h.Value)
	}
	return all
}

// deadLetter compares one dead letter with the expected one of its source.
func (v *verifier) deadLetter(rec *kgo.Record) {
	v.DeadSeen++
	at := fmt.Sprintf("dead letter at %s partition %d offset %d", rec.Topic, rec.Partition, rec.Offset)
	got, err := readLetter(rec)
	if err != nil {
		v.DeadWrong++
		v.example("wrong: %s: %v", at, err)
		return
	}
	want := v.letters[letterID{got.Stage, got.Rule, got.place}]
	switch {
	case want == nil:
		v.DeadWrong++
		v.example("wrong: nobody expects %s: %s for %s %s of %s", at, got.Reason, got.Stage, got.Rule, got.place.text())
		return
	case want.letter != got:
		v.DeadWrong++
		v.example("wrong: %s: %s for %s %s of %s; want %s, and the same bytes", at, got.Reason, got.Stage, got.Rule, got.place.text(), want.Reason)
	case want.seen > 0 && got.Stage == "detector":
		v.DeadWrong++
		v.example("doubled: %s: %s for %s %s of %s came before", at, got.Reason, got.Stage, got.Rule, got.place.text())
	}
	want.seen++
}

// readLetter takes a dead letter apart. A required header that is missing, or an unknown
// one, is an error.
func readLetter(rec *kgo.Record) (letter, error) {
	h := headers(rec)
	number := func(name string) int64 {
		n, err := strconv.ParseInt(h[name], 10, 64)
		if err != nil {
			return -1 // an index that is not there means the record as a whole
		}
		return n
	}
	l := letter{
		Stage: h["stage"], Reason: h["reason"], Rule: h["rule"], Errors: h["errors"], Timestamp: number("source_timestamp"),
		place: place{h["source_topic"], int32(number("source_partition")), number("source_offset"), int(number("source_index"))},
		Key:   sha256.Sum256(rec.Key), Value: sha256.Sum256(rec.Value),
	}
	if h["detail"] == "" {
		return l, errors.New("it has no header detail")
	}
	if h["app_id"] == "" {
		return l, errors.New("it has no header app_id")
	}
	for _, known := range []string{"app_id", "version", "stage", "reason", "rule", "errors", "source_timestamp", "source_topic", "source_partition", "source_offset", "source_index", "detail"} {
		delete(h, known)
	}
	if len(h) > 0 {
		return l, fmt.Errorf("it has headers %v", h)
	}
	return l, nil
}
