package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/admin"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// input is one partition of an input topic.
type input struct {
	topic     string
	topicID   [16]byte
	partition int32
	end       int64 // of the log when it was opened
}

// router reads one input partition and hands each matching event to the partition producers of the shards
// that own its keys. It keeps no state of its own: after a crash it starts again at its
// committed offset, and the detectors drop repeats (PROTOCOL R1–R3, D2).
type router struct {
	in          input
	prefetcher  prefetcher // of the partition, not started
	turn        wire.Turn  // for the memory of unpacked records and batches
	unpacking   *Unpacking
	decoder     cloudtrail.Decoder
	engine      *rules.Engine
	producers   []*partitionProducer // work partition s = shard s
	deadLetters []*partitionProducer
	app         string         // of the application; dead letters name it
	version     string         // of this build, likewise
	mostWork    int            // bytes of a work record that the work topic and its shard take
	mostDead    int            // bytes of a dead letter that its topic takes
	acceptLoss  bool           // of batches that were damaged
	log         zerolog.Logger // of dead letters: rate-limited
	meter       *admin.InputMetrics

	progress *ackTracker
	marks    timeMarks
	gate     gate
	stamp    int64     // timestamp of the last record; -1: none
	now      time.Time // of the fetch at hand: the clock that bounds the times of events
	at       inputRecord
	matches  []rules.Match
	work     work
	head     []byte       // of an entry
	records  int          // read since they were last counted
	events   int          // decoded, likewise
	parked   *logPosition // position of a record that waits for slower partitions; nil: none does
	ctx      context.Context
	err      error                          // sticky: the run's context ended while a partition producer was full
	yield    func(*rules.Event, error) bool // event, made a value once
}

// inputRecord is the record at hand, with the findings about it so far.
type inputRecord struct {
	*wire.Record
	newest   int64      // event time; noNewest: none
	bad      []badEvent // parts that are not evaluated, the first ones
	rejected int        // number of these parts, in bad or not
}

// is makes rec the record at hand.
func (at *inputRecord) is(rec *wire.Record) {
	*at = inputRecord{Record: rec, newest: noNewest, bad: at.bad[:0]}
}

// run routes from the start of the router's ackTracker until ctx ends (nil), or until the
// input no longer holds the next offset. A batch that was written so that it cannot be read
// becomes a dead letter, and the stream goes on: any producer of the topic can write one. A
// batch that was damaged since held good events; leaving it out is a loss that has to be
// accepted.
func (r *router) run(ctx context.Context) error {
	r.ctx, r.yield, r.stamp = ctx, r.event, -1
	r.turn.Context, r.decoder.Progress = ctx, r.beat
	r.turn.Begin, r.turn.Locked = r.beginBatch, r.beginRecord
	r.turn.Unlocked = func() {
		r.release()
		r.unpacking.end()
	}
	for at := r.progress.reached(); ; {
		err := r.read(ctx, at)
		var corrupt *wire.CorruptError
		var diverged *wire.DivergedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &diverged) && !r.acceptLoss:
			return cutBack(diverged)
		case !errors.As(err, &corrupt):
			return fmt.Errorf("read %s partition %d: %w", r.in.topic, r.in.partition, err)
		case corrupt.Next <= at.offset:
			return fatal.Errorf("input %v; where the next batch begins is not known: let a replica that is whole become leader, or move the group's offset behind it", corrupt)
		case corrupt.Damaged && !r.acceptLoss:
			return fatal.Errorf("input %v; let a replica that is whole become leader, or start once with --accept-loss to go on without offsets %d to %d", corrupt, corrupt.Offset, corrupt.Next-1)
		}
		if err := r.leaveOut(corrupt); err != nil {
			return nil
		}
		at = logPosition{corrupt.Next, noEpoch}
	}
}

// read routes from an offset on until ctx ends or a fetch fails for good.
func (r *router) read(ctx context.Context, at logPosition) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in := r.prefetcher
	in.start(ctx, at)
	pulse := &r.progress.pulse
	defer pulse.at(stepIdle)
	for f := range in.Full {
		pulse.at(stepRoute)
		r.now = time.Now()
		empty := f.Bytes == 0
		err := r.fetched(f)
		r.count()
		if err != nil {
			return err
		}
		if r.err != nil {
			return r.err
		}
		next := logPosition{f.Next, f.LastEpoch}
		// Records behind an open transaction cannot be read: they are no backlog, and do not
		// keep the router from its end.
		if r.mark(next, f.LastStable, empty, r.now); r.err != nil {
			return r.err
		}
		r.progress.handed(next, max(f.HighWatermark-f.Next, 0))
		if r.gate.a != nil {
			r.gate.fetched(f.Next, max(f.LastStable-f.Next, 0), r.now)
		}
		r.meter.Read(f.Next, f.HighWatermark, f.Bytes)
		r.at.Record = nil
		r.release()
		in.give(f)
		pulse.beat()
		pulse.at(stepIdle)
	}
	return in.Err
}

// fetched routes the records of a fetch. Before it waits for another partition it gives its
// unpacked batch back: that partition may need the memory to come on.
func (r *router) fetched(f *wire.Fetched) error {
	f.Turn = &r.turn
	for {
		err := f.Each(r.record)
		if r.parked == nil {
			return err
		}
		f.Skip(r.parked.offset)
		if r.await(*r.parked); r.err != nil {
			return nil
		}
		r.parked = nil
	}
}

// count adds the records and events read since the last call to the metrics: adding each by
// itself would be a fiftieth of the time.
func (r *router) count() {
	r.meter.Records.Add(float64(r.records))
	r.meter.Events.Add(float64(r.events))
	r.records, r.events = 0, 0
}

// leaveOut notes a batch that cannot be read, or a record that is too large, as a dead
// letter: its headers say which offsets are missing, and its value is the batch as it came,
// without its head, or the beginning of the record's value.
func (r *router) leaveOut(corrupt *wire.CorruptError) error {
	at := &r.at
	at.is(&wire.Record{Offset: corrupt.Offset, Epoch: noEpoch, LastEpoch: noEpoch, Timestamp: -1, Value: corrupt.Bytes})
	reason := reasonUnreadable
	if corrupt.Record > 0 {
		reason = cloudtrail.ReasonUnpackedTooLarge
	}
	r.reject(at, badEvent{
		index: -1, reason: reason,
		detail: fmt.Sprintf("offsets %d to %d: %s", corrupt.Offset, corrupt.Next-1, corrupt.Reason),
	})
	r.deadLetter(at, corrupt.Record)
	if r.err == nil {
		r.progress.handed(logPosition{corrupt.Next, noEpoch}, r.progress.lag())
	}
	return r.err
}

// record routes the events of one input record; false when the run is over.
func (r *router) record(rec *wire.Record) bool {
	at := &r.at
	at.is(rec)
	givenUp := r.unpacking.watches() && r.unpacking.givenUp(place(&r.in, rec.Offset, rec.Offset+1))
	if r.gate.a != nil && !givenUp && !r.admit(rec) {
		return false
	}
	r.stamp = rec.Timestamp
	if r.records++; r.records%beatEvery == 0 || len(rec.Value) > beatBytes {
		r.beat()
	}
	if givenUp {
		r.reject(at, badEvent{index: -1, reason: reasonProcessEnded, detail: errProcessEnded.Error()})
	} else {
		if r.turn.Held() && len(rec.Value) > leastNoted {
			r.beginRecord()
		}
		r.decoder.Decode(rec.Value, r.yield)
	}
	if len(at.bad) > 0 && r.err == nil {
		r.deadLetter(at, len(rec.Value))
	}
	if r.gate.a != nil && at.newest != noNewest && r.err == nil && r.gate.record(at.newest) {
		r.progress.step(logPosition{rec.Offset + 1, rec.Epoch}, r.gate.clock)
		r.gate.publish(r.now)
	}
	return r.err == nil
}

// admit says whether the record may be routed now; false: the partition is too far ahead of
// the slowest. The first record gives a partition its time, if that is unknown, before any
// of its events is handed on.
func (r *router) admit(rec *wire.Record) bool {
	if r.gate.clock == noNewest {
		if r.gate.record(r.timeOf(rec)) {
			r.gate.publish(r.now)
		}
	}
	if !r.gate.closed() {
		return true
	}
	r.parked = &logPosition{rec.Offset, rec.LastEpoch}
	return false
}

// await waits before the record at a position until the slowest partition has come up.
func (r *router) await(at logPosition) {
	r.progress.step(at, r.gate.clock)
	if r.marks.newest != noNewest {
		// The router may wait for hours. A mark sent after that would bring back times that
		// an operator has set back meanwhile.
		r.mark(at, at.offset+1, false, r.now)
	}
	for _, l := range r.producers { // other partitions may wait for the acknowledgement
		l.flush(r.progress)
	}
	r.meter.SetWaiting(true)
	defer r.meter.SetWaiting(false)
	r.progress.pulse.at(stepIdle)
	defer r.progress.pulse.at(stepRoute)
	if !r.gate.wait(r.ctx, time.Now) {
		r.err = r.ctx.Err()
		return
	}
	r.now = time.Now()
}

// timeOf returns the newest event time of a record, noNewest if there is none.
func (r *router) timeOf(rec *wire.Record) int64 {
	newest := int64(noNewest)
	r.decoder.Decode(rec.Value, func(ev *rules.Event, err error) bool {
		if err != nil {
			return true
		}
		ev.RecordTime = wire.TimeOf(rec.Timestamp)
		if _, ahead := r.engine.Ahead(ev, r.now); !ahead {
			newest = max(newest, ev.Time.UnixNano())
		}
		return true
	})
	return newest
}

// event routes one decoded event, or notes the error of a value that is no event.
func (r *router) event(ev *rules.Event, err error) bool {
	at := &r.at
	if err != nil {
		r.beat() // a value that is passed over may be large
		r.reject(at, asBadEvent(err))
		return true
	}
	if r.events++; r.events%beatEvery == 0 || len(ev.Raw) > beatBytes {
		r.beat()
	}
	ev.RecordTime = wire.TimeOf(at.Timestamp)
	ahead, isAhead := r.engine.Ahead(ev, r.now)
	if !isAhead {
		r.marks.observe(ev)
		at.newest = max(at.newest, ev.Time.UnixNano())
	}
	var rejected []rules.Rejection
	r.matches, rejected = r.engine.Match(ev, r.matches[:0])
	switch {
	case len(r.matches) == 0:
	case isAhead:
		r.reject(at, badEvent{index: ev.At.Index, reason: ahead.Reason, detail: ahead.Detail})
	default:
		r.route(at, ev)
	}
	for _, x := range rejected {
		r.reject(at, badEvent{index: ev.At.Index, reason: x.Reason, detail: x.Detail, rule: x.Rule})
	}
	return r.err == nil
}

// route appends one entry to the work of each shard that owns a match of ev; matches
// of the same shard share the entry (PROTOCOL R3).
func (r *router) route(at *inputRecord, ev *rules.Event) {
	r.work.source = state.Source{
		Topic: r.in.topic, TopicID: r.in.topicID, Partition: r.in.partition,
		Epoch: at.Epoch, Offset: at.Offset, Index: ev.At.Index,
	}
	r.work.recordTime, r.work.event = at.Timestamp, ev.Raw
	for len(r.matches) > 0 && r.err == nil {
		shard := rules.ShardOf(r.matches[0].Key, len(r.producers))
		r.work.pairs = r.work.pairs[:0]
		r.matches = slices.DeleteFunc(r.matches, func(m rules.Match) bool {
			if rules.ShardOf(m.Key, len(r.producers)) != shard {
				return false
			}
			r.work.pairs = append(r.work.pairs, m)
			r.meter.Match(m.Rule)
			return true
		})
		if r.send(at, shard) {
			r.marks.event(shard, ev)
		}
	}
}

// send hands the work at hand to the partition producer of a shard; false: it was rejected, or the run is
// over.
func (r *router) send(at *inputRecord, shard int) bool {
	// The size is checked before encoding: an event may have hundreds of MiB.
	if size := r.work.size(); size > r.mostWork {
		r.reject(at, badEvent{
			index: r.work.source.Index, reason: cloudtrail.ReasonEventTooLarge,
			detail: fmt.Sprintf("the work record takes %d bytes, and %d are taken", size, r.mostWork),
		})
		return false
	}
	r.head = r.work.appendHead(r.head[:0])
	r.err = r.producers[shard].addWork(r.ctx, r.origin(at), r.head, r.work.event)
	return r.err == nil
}

// origin returns the origin of the record at hand, for the partition producers.
func (r *router) origin(at *inputRecord) sourceOffset {
	return sourceOffset{r.progress, at.Offset, at.LastEpoch, at.Timestamp}
}

// reject notes a part of the record that is not evaluated. Records that CloudTrail writes
// beside events (digests, control messages, tombstones) are counted only, and so are the
// parts beyond the list of the dead letter: a rule may fail on each of a million events in
// one record.
func (r *router) reject(at *inputRecord, b badEvent) {
	if rules.Skip(b.reason) {
		r.meter.Skipped(string(b.reason))
		return
	}
	r.meter.DeadLetter(string(b.reason))
	if at.rejected++; at.rejected <= deadLetterErrors {
		at.bad = append(at.bad, b)
	}
}

// deadLetter sends the record, unchanged, to the dead-letter topic: once, with the index
// and the reason of each bad event in it. Its value has whole bytes, of which only the
// first ones may be at hand.
func (r *router) deadLetter(at *inputRecord, whole int) {
	d := deadLetter{
		whole: whole,
		app:   r.app, version: r.version,
		stage: stageRouter, bad: at.bad, key: at.Key, value: at.Value, recordTime: at.Timestamp,
		source: state.Source{Topic: r.in.topic, TopicID: r.in.topicID, Partition: r.in.partition, Offset: at.Offset},
	}
	key, value, headers := d.record(r.mostDead)
	to := r.deadLetters[int(r.in.partition)%len(r.deadLetters)]
	r.err = to.add(r.ctx, r.origin(at), key, value, headers...)
	r.log.Warn().Str("reason", string(at.bad[0].reason)).Str("topic", r.in.topic).Int32("partition", r.in.partition).
		Int64("offset", at.Offset).Int("bad", at.rejected).Str("event", "dead_letter").Msg("record sent to the dead-letter topic")
}
