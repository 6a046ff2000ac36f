package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// refuseNext, as the size of a batch, sends the next event to the
// dead-letter topic unevaluated: alone in its batch it was still refused.
const refuseNext = -1

// batch collects the content of one Kafka transaction: the state changes of a run of
// events, in tx; their alerts and dead letters are with the producer.
type batch struct {
	tx       *state.Tx
	entries  entryReader // of the work record at hand
	work     work        // the entry at hand
	names    interner
	decoder  cloudtrail.Decoder
	each     func(*rules.Event, error) bool // event, made a value once
	next     logPosition                    // in the work, behind the last record
	events   int                            // entries since the last commit
	youngest newestTimestamp                // the youngest of the input records behind these entries
	outputs  int                            // alerts and dead letters since the last commit
	alerted  []alerted                      // the alerts among them
}

// alerted is an alert that is not committed yet.
type alerted struct {
	rule, id, severity string
	event, record      time.Time // event is the time of the event that completed the alert; record is zero if its record has no timestamp
}

// begin opens a batch at a position in the work.
func (d *detector) begin(at logPosition) {
	d.tx = d.local.Begin()
	d.next, d.committed = at, at.offset
	d.events, d.youngest, d.outputs, d.alerted = 0, 0, 0, d.alerted[:0]
	d.lazySince = d.now()
	d.limit()
	d.status.work.Store(at.offset)
	d.status.next.Store(at.offset)
	d.status.changelog.Store(d.local.Position().Changelog)
}

// limit takes over the topics' max.message.bytes as of the last look (PROTOCOL D6). The
// limit stays the same within a batch, so that the parts left out of an alert or a dead
// letter follow from the events, the configuration and this limit.
func (d *detector) limit() {
	for _, name := range []string{d.app.StateTopic(), d.app.Alerts, d.app.DeadLetter} {
		d.producer.Limit(name, d.settings.takes(name))
	}
	d.engine.LimitAlerts(AlertBytes(d.settings.takes(d.app.Alerts)))
	d.mostDead = framed(d.settings.takes(d.app.DeadLetter))
}

// drop discards an uncommitted batch; the number of its events stays for lost, which halves it.
func (d *detector) drop() {
	if d.tx != nil {
		d.tx.Discard()
		d.tx = nil
	}
}

func (d *detector) full() bool {
	return d.events >= batchEvents || d.tx.Len() >= batchChanges || d.producer.Held()+d.tx.Bytes() >= batchBytes || d.most != 0 && d.events >= d.most
}

// record evaluates the entries of one work record, and commits when a batch is full. A
// position in the middle of a record is stored as the one before it: a restart there drops
// the evaluated entries like any other repeat.
func (d *detector) record(ctx context.Context, rec *wire.Record) error {
	defer d.entries.close()
	if err := d.entries.open(rec.Value); err != nil {
		return d.unreadable(rec.Offset, err)
	}
	for d.entries.more() {
		entry, err := d.entries.next()
		if err == nil {
			err = d.entry(entry)
		}
		if err != nil {
			return d.unreadable(rec.Offset, err)
		}
		if !d.entries.more() {
			d.next = logPosition{rec.Offset + 1, rec.Epoch}
			d.meter.Records.Inc()
			d.beat()
		}
		if d.full() {
			if err := d.commit(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry evaluates one entry of a work record.
func (d *detector) entry(b []byte) error {
	if err := d.work.decode(b, &d.names); err != nil {
		return err
	}
	d.events++
	if d.work.isInstruction() {
		d.rewind()
		return nil
	}
	d.youngest.add(d.work.recordTime, d.now)
	if !d.tx.Newer(d.work.source) {
		d.meter.Repeats.Inc()
		return nil
	}
	if d.work.isMark() {
		d.tx.Mark(d.work.source, nanosTime(d.work.newest), d.work.idle)
		return nil
	}
	if d.most == refuseNext {
		d.reject(badEvent{index: d.work.source.Index, reason: reasonOutputRejected, detail: "the broker refuses the transaction that holds this event's outcome"})
	} else {
		d.decoder.Decode(d.work.event, d.each)
	}
	d.tx.Advance(d.work.source)
	return nil
}

// event evaluates the event of the entry at hand. The router has decoded
// it before; an error means that this build reads it differently.
func (d *detector) event(ev *rules.Event, err error) bool {
	if err != nil {
		b := asBadEvent(err)
		b.index = d.work.source.Index
		d.reject(b)
		return false
	}
	ev.At, ev.RecordTime = d.work.source, wire.TimeOf(d.work.recordTime)
	d.publish(d.engine.Evaluate(ev, d.work.pairs, d.tx))
	return false
}

// rewind sets the times of the shard back, as an operator has asked for. The work offset
// makes it happen once.
func (d *detector) rewind() {
	to := nanosTime(d.work.rewind)
	moved := d.tx.Rewind(to, d.engine.DuplicatesWithin())
	d.log.Warn().Time("to", to).Bool("moved", moved).Str("event", "time_rewound").Msg("the shard's times beyond it were set back, as asked for; moved tells whether there were any")
}

// nanosTime is the time of nanoseconds since 1970; the zero time for noNewest.
func nanosTime(n int64) time.Time {
	if n == noNewest {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// unreadable returns the error of a work record that this build cannot read. Such a record
// is never skipped.
func (d *detector) unreadable(offset int64, err error) error {
	newer := errors.Is(err, errWorkFormat)
	remedy := "find out who else writes to this topic"
	if newer {
		remedy = "a newer build has written it: run that build here too (readers are deployed before writers)"
	}
	return &fatal.Error{Newer: newer, Sentence: fmt.Sprintf("%s partition %d offset %d: %v; %s", d.app.WorkTopic(), d.shard, offset, err, remedy)}
}

// publish adds an outcome's alerts and dead letters to the transaction.
func (d *detector) publish(out rules.Outcome) {
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		d.meter.Verdict(v.Rule, string(v.Kind))
		if v.Evicted > 0 {
			d.meter.Evicted(v.Rule, v.Evicted)
		}
	}
	for i := range out.Alerts {
		d.alert(&out.Alerts[i])
	}
	for i := range out.Rejected {
		r := &out.Rejected[i]
		if rules.Skip(r.Reason) {
			d.meter.Skipped(string(r.Reason))
			continue
		}
		d.reject(badEvent{index: d.work.source.Index, reason: r.Reason, detail: r.Detail, rule: r.Rule})
	}
}

func (d *detector) alert(a *rules.Alert) {
	key := []byte(a.Dedup)
	to := txn.Partition{Topic: d.app.Alerts, Number: wire.PartitionOf(key, d.alerts)}
	d.producer.Add(to, d.now().UnixMilli(), key, a.Payload, AlertHeaders(a, d.app.ID, d.version)...)
	d.outputs++
	d.alerted = append(d.alerted, alerted{a.RuleID, a.ID, a.Severity, a.Time, wire.TimeOf(d.work.recordTime)})
}

// AlertHeaders returns the headers of an alert's record, which the application and the
// version of its build write.
func AlertHeaders(a *rules.Alert, app, version string) []wire.Header {
	return append([]wire.Header{
		{Key: "alert_id", Value: []byte(a.ID)},
		{Key: "rule_id", Value: []byte(a.RuleID)},
		{Key: "severity", Value: []byte(a.Severity)},
		{Key: "schema", Value: []byte(rules.AlertSchema)},
		{Key: "content-type", Value: []byte("application/json")},
	}, writtenBy(app, version)...)
}

// writtenBy returns the headers by which a reader tells apart the applications and builds
// that write to one topic. An unknown version has no header.
func writtenBy(app, version string) []wire.Header {
	headers := []wire.Header{{Key: "app_id", Value: []byte(app)}}
	if version != "" {
		headers = append(headers, wire.Header{Key: "version", Value: []byte(version)})
	}
	return headers
}

func (d *detector) reject(b badEvent) {
	d.meter.DeadLetter(string(b.reason))
	source := d.work.source
	letter := deadLetter{app: d.app.ID, version: d.version, stage: stageDetector, bad: []badEvent{b}, value: d.work.event, recordTime: d.work.recordTime, source: source}
	_, value, headers := letter.record(d.mostDead)
	to := txn.Partition{Topic: d.app.DeadLetter, Number: source.Partition % int32(d.dead)}
	d.producer.Add(to, d.now().UnixMilli(), nil, value, headers...)
	d.outputs++
	ev := d.noisy.Warn().Str("event", "dead_letter").Str("reason", string(b.reason)).Str("rule", b.rule).Str("topic", source.Topic).
		Int32("partition", source.Partition).Int64("offset", source.Offset)
	if b.reason == rules.ReasonTooLate {
		ev = ev.Str("remedy", "trailhound replay evaluates ranges of a topic whatever the age of their events, as trailhound detect does files")
	}
	ev.Msg("event sent to the dead-letter topic")
}

// commit ends the batch if it has a change or an output. A position that moved without one
// waits in memory, for at most lazyCommit (PROTOCOL D8).
func (d *detector) commit(ctx context.Context) error {
	if d.events == 0 && d.next.offset == d.committed {
		return nil
	}
	if d.outputs == 0 && d.tx.Empty() && d.tx.Err() == nil && d.now().Sub(d.lazySince) < lazyCommit {
		d.events = 0
		d.status.work.Store(d.next.offset) // for lag display only
		return nil
	}
	return d.flush(ctx)
}

// flush commits one Kafka transaction with all results of the batch's events, then applies
// it to the local copy (PROTOCOL D3). The end of the run does not cut it short: a little
// patience is better than an unknown outcome.
func (d *detector) flush(ctx context.Context) error {
	start := d.now()
	d.tx.SetWorkOffset(d.next.offset, d.next.epoch)
	d.tx.SetFingerprint(d.engine.Fingerprint())
	// More than the batch has added, or a backlog would grow the state faster than it
	// is swept.
	swept := d.tx.Sweep(max(sweepPerCommit, sweepPerChange*d.tx.Len()))
	log := txn.Partition{Topic: d.app.StateTopic(), Number: int32(d.shard)}
	for c := range d.tx.Changes() {
		d.producer.Add(log, start.UnixMilli(), c.Key, c.Value)
	}
	if err := d.tx.Err(); err != nil {
		return fmt.Errorf("evaluate on the local state: %w", err)
	}
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timeout)
	defer cancel()
	records, size := d.producer.Pending()
	d.status.pulse.at(stepCommit)
	done, err := d.producer.Commit(patient)
	if err != nil {
		return err
	}
	next, ok := done.Next(log)
	if !ok {
		return fmt.Errorf("commit: no offset for %s partition %d", log.Topic, log.Number)
	}
	if had := d.local.Position().Changelog; next <= had {
		return fmt.Errorf("commit: changelog %s partition %d has shrunk from offset %d to %d: it was made again", log.Topic, log.Number, had, next)
	}
	d.status.pulse.at(stepApply)
	if err := d.tx.Apply(next); err != nil {
		return fmt.Errorf("apply a committed transaction to the local state: %w", err)
	}
	d.meter.Swept.Add(float64(swept))
	d.ended(start, records, size)
	return nil
}

// ended opens the next batch behind a committed one.
func (d *detector) ended(start time.Time, records, size int) {
	now := d.now()
	if d.events > 0 { // the first transaction after taking the shard says little
		d.status.failing.Store(false)
	}
	d.beat()
	d.status.pulse.at(stepEvaluate)
	d.took = now.Sub(start)
	d.due = now.Add(commitPace.linger(d.events, d.youngest.age(now)))
	d.meter.Committed(d.took, records, size)
	for _, a := range d.alerted {
		record := time.Duration(-1)
		if !a.record.IsZero() {
			record = now.Sub(a.record)
		}
		d.meter.Alerted(a.rule, now.Sub(a.event), record)
		d.log.Debug().Str("rule", a.rule).Str("alert_id", a.id).Str("severity", a.severity).Str("event", "alert").Msg("alert")
	}
	if d.events > 0 {
		d.status.taking.succeeded()
	}
	if d.most == refuseNext {
		d.most = 1
	} else if d.most > 0 {
		if d.most *= 2; d.most >= batchEvents {
			d.most = 0
		}
	}
	d.begin(d.next)
}
