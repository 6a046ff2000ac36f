package ruletest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// A Failure is the first step of a test with a result that is not the expected one.
type Failure struct {
	Step   int      // its number in the test, from 1
	Line   int      // where it begins
	Wrong  []string // the differences; an item may have several lines
	Events []string // the outcome of each event of the step
	State  []string // of the rule, after the step
}

// sweepSteps is how much each transaction sweeps.
const sweepSteps = 100

// Run runs the test. A nil Failure means that it passed; an error, that it could
// not be run.
func (t *Test) Run(ctx context.Context) (failure *Failure, err error) {
	o := t.suite.State
	o.Dir, o.FS = "state", vfs.NewMem()
	if o.MaxLateness = t.limits.MaxLateness; o.MaxLateness == 0 {
		o.MaxLateness = math.MaxInt64 // any event may still be counted in any window
	}
	store, err := state.Open(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	shard, err := store.Shard(0)
	if err != nil {
		return nil, err
	}
	again, err := store.Shard(1)
	if err != nil {
		return nil, err
	}
	r := &runner{Test: t, shard: shard, again: again, now: t.start}
	for i, s := range t.steps {
		if failure, err = r.step(ctx, s); failure != nil {
			failure.Step = i + 1
		}
		if failure != nil || err != nil {
			return failure, err
		}
	}
	return nil, nil
}

// runner is one run of a test.
type runner struct {
	*Test
	shard   *state.Shard
	again   *state.Shard // empty, for alerts that are resumed
	decoder cloudtrail.Decoder
	offset  int64     // records so far
	number  int       // events so far that were made here
	now     time.Time // of the latest event
	key     string    // of the latest event that had one

	outcomes []outcome // of the step's events
	alerts   [][]byte  // payloads of the step
	unlike   []string  // differences of those that were resumed

	alertBytes int // in all of them
}

// outcome is the result of one event.
type outcome struct {
	time    time.Time // zero: there was none
	key     string
	verdict string
	reason  rules.Reason // of an event that was not evaluated
	detail  string
}

func (r *runner) step(ctx context.Context, s *step) (*Failure, error) {
	r.outcomes, r.alerts, r.unlike, r.alertBytes = nil, nil, nil, 0
	for i := range s.times {
		records := s.records
		if records == nil {
			if s.order != nil {
				i = s.order[i]
			}
			records = [][]byte{r.make(s, i)}
		}
		for _, record := range records {
			if err := r.feed(s, record); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	tx := r.shard.Begin()
	defer tx.Discard()
	c := &checker{runner: r, step: s, tx: tx}
	c.check()
	if len(c.wrong) == 0 {
		return nil, tx.Err()
	}
	f := &Failure{Line: s.line, Wrong: c.wrong, Events: c.events(), State: c.state()}
	return f, tx.Err()
}

// make writes one event of the step.
func (r *runner) make(s *step, i int) []byte {
	r.number++
	e := made(s, i, r.start, r.number)
	for _, path := range s.absent {
		e, _ = e.without(path) // known to be there when the file was read
	}
	return jsonOf(e)
}

// feed evaluates the events of one record as the only one of its partition would
// be, each in a transaction of its own.
func (r *runner) feed(s *step, record []byte) error {
	var failed error
	r.decoder.Decode(record, func(ev *rules.Event, err error) bool {
		if bad, ok := errors.AsType[*cloudtrail.DecodeError](err); ok {
			r.outcomes = append(r.outcomes, outcome{verdict: verdictUndecodable, reason: bad.Reason, detail: bad.Detail})
			return true
		}
		if failed = err; failed != nil {
			return false
		}
		ev.At = state.Source{Topic: "cloudtrail", Partition: s.partition, Offset: r.offset, Index: ev.At.Index}
		if s.recordAt != unset {
			ev.RecordTime = r.start.Add(s.recordAt)
		}
		if failed = r.evaluate(ev); failed == nil && r.alertBytes > maxAlerts {
			failed = fmt.Errorf("the step in line %d makes more than %d MiB of alerts; split it", s.line, maxAlerts>>20)
		}
		return failed == nil
	})
	r.offset++
	return failed
}

func (r *runner) evaluate(ev *rules.Event) error {
	r.now = ev.Time
	o := outcome{time: ev.Time, verdict: verdictNoMatch}
	matches, rejected := r.engine.Match(ev, nil)
	if len(matches) > 0 {
		o.key = strings.Clone(matches[0].Key)
		r.key = o.key
	}
	if ahead, ok := r.engine.Ahead(ev, time.Time{}); ok && len(matches) > 0 {
		o.verdict, o.reason, o.detail = string(rules.VerdictRejected), ahead.Reason, ahead.Detail
		r.outcomes = append(r.outcomes, o)
		return nil
	}
	tx := r.shard.Begin()
	out := r.engine.Evaluate(ev, matches, tx)
	if len(out.Verdicts) > 0 { // one rule: one match
		o.verdict = string(out.Verdicts[0].Kind)
	}
	for _, x := range slices.Concat(rejected, out.Rejected) {
		if o.reason, o.detail = x.Reason, x.Detail; len(matches) > 0 || x.Reason != rules.ReasonNoKey {
			o.verdict = string(rules.VerdictRejected)
		} else {
			o.verdict = verdictNoKey
		}
	}
	for i := range out.Alerts {
		r.alerts = append(r.alerts, bytes.Clone(out.Alerts[i].Payload))
		r.alertBytes += len(out.Alerts[i].Payload)
		if r.suite.Alert != nil {
			r.suite.Alert(&out.Alerts[i])
		}
	}
	r.outcomes = append(r.outcomes, o)
	tx.Sweep(sweepSteps)
	if err := tx.Apply(r.shard.Position().Changelog + 1); err != nil {
		return fmt.Errorf("state of the test: %w", err)
	}
	if len(out.Alerts) > 0 { // one rule: one alert
		return r.resume(ev, matches, r.alerts[len(r.alerts)-1])
	}
	return nil
}
