package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"trailhound/consumer"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/rules"
	"trailhound/rules/play"
	"trailhound/state"
)

// replaying is one replay.
type replaying struct {
	app    *app
	setup  *setup
	flags  *replayFlags
	client *wire.Client
	ranges []replay.Range
	read   []replay.Range // ranges with the warm-up before each

	console *console
	tally   *tally
	first   time.Time // timestamps of the records of the ranges
	last    time.Time
	count   int64 // records of the ranges
	runUp   int64 // records of the warm-up
	out     *replayOut
	diff    *comparison // nil: nothing is compared
}

func (r *replaying) run(ctx context.Context) (err error) {
	begun := time.Now()
	r.tally = newTally()
	if r.flags.diff != "" {
		r.diff = &comparison{app: r.app, setup: r.setup, flags: r.flags, client: r.client, ranges: r.ranges}
		if err := r.diff.open(ctx); err != nil {
			return err
		}
		defer r.diff.close()
	}
	r.console = r.app.recordConsole("replay", offsetsOf(r.read))
	defer r.console.close()
	if r.out, err = r.newOut(ctx); err != nil {
		return err
	}
	counts, err := r.play(ctx, begun)
	if err = r.out.end(err); r.app.noReader(err) {
		return errNoReader
	}
	r.console.close()
	r.tally.played(counts)
	r.app.tell(r.summary(counts, time.Since(begun)))
	if err != nil {
		return err
	}
	if n := r.tally.badTotal(); r.flags.strict && n > 0 {
		return fmt.Errorf("not everything could be evaluated: left out %d", n)
	}
	if r.diff != nil {
		return r.diff.finish(ctx, r.first)
	}
	return nil
}

// play evaluates the records. Events ahead of the clock are refused as run refuses them, if
// --set gives events.max_ahead.
func (r *replaying) play(ctx context.Context, now time.Time) (counts play.Counts, err error) {
	o, err := r.setup.playOptions()
	if err != nil {
		return counts, err
	}
	log, err := r.app.logTo(consoleLog{r.console}, r.setup)
	if err != nil {
		return counts, err
	}
	most, err := r.mostAlert(ctx)
	if err != nil {
		return counts, err
	}
	o.Engine.LimitAlerts(most)
	o.State.Dir, o.Now = r.flags.stateDir, now
	o.Alert, o.Rejected, o.Idle = r.alert, r.rejected, r.out.flush
	player, err := play.New(o)
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, player.Close()) }()
	reader := replay.Reader{
		Client: r.client, Ranges: r.read, Log: log, AcceptLoss: r.flags.acceptLoss,
		Advance: func(offsets int64) { r.console.advance(int(offsets)) },
	}
	err = player.Run(ctx, func(ctx context.Context, add func(*play.Batch) error) error {
		return reader.Run(ctx, func(b *play.Batch) error {
			r.note(b)
			return add(b)
		})
	})
	if err == nil && r.count == 0 {
		err = errors.New("the range is empty: its offsets are of transactions that were aborted, of control records, or of what compaction took away")
	}
	return player.Counts(), err
}

// mostAlert returns the size limit of the topic that an alert goes to, as run applies it:
// that of --topic, else the alerts topic. 0: the topic does not exist, or this account may
// not ask, and limits.max_alert_bytes alone holds.
func (r *replaying) mostAlert(ctx context.Context) (int, error) {
	if r.out.producer != nil {
		return consumer.AlertBytes(r.out.producer.most), nil
	}
	infos, err := topic.Describe(ctx, r.client, r.setup.config.Topics.Alerts)
	if _, denied := errors.AsType[*wire.DeniedError](err); denied {
		return 0, nil
	}
	info, found := infos[r.setup.config.Topics.Alerts]
	if err != nil || !found {
		return 0, err
	}
	return consumer.AlertBytes(info.MaxMessageBytes()), nil
}

// note records the span of the timestamps, and counts the records of the warm-up.
func (r *replaying) note(b *play.Batch) {
	for i := range b.Records {
		rec := &b.Records[i]
		if !inRanges(r.ranges, rec.At) {
			r.runUp++
			continue
		}
		r.count++
		if rec.Time.IsZero() {
			continue
		}
		if r.first.IsZero() || rec.Time.Before(r.first) {
			r.first = rec.Time
		}
		if rec.Time.After(r.last) {
			r.last = rec.Time
		}
	}
}

func (r *replaying) alert(ev *rules.Event, alert *rules.Alert) error {
	if !inRanges(r.ranges, ev.At) {
		return nil
	}
	r.tally.alert(alert)
	if r.diff != nil {
		if err := r.diff.alerts.Replayed(alert.Payload); err != nil {
			return err
		}
	}
	return r.out.write(alert)
}

func (r *replaying) rejected(at state.Source, index int, reason rules.Reason, detail string) {
	if !inRanges(r.ranges, at) {
		return
	}
	at.Topic = fmt.Sprintf("%s/%d", at.Topic, at.Partition)
	r.tally.bad(r.console, at, index, reason, detail)
}

// summary reports the replay to people: its counts and outcomes.
func (r *replaying) summary(counts play.Counts, took time.Duration) string {
	var b strings.Builder
	r.tally.reported.more(&b)
	fmt.Fprintf(&b, "partitions %d, records %d, events %d, matches %d", partitionsOf(r.ranges), counts.Records, counts.Events, counts.Matches)
	if r.runUp > 0 {
		fmt.Fprintf(&b, ", of which records %d are before the range", r.runUp)
	}
	b.WriteByte('\n')
	if !r.first.IsZero() {
		fmt.Fprintf(&b, "timestamps of the records: %s to %s\n", r.first.Format(time.RFC3339), r.last.Format(time.RFC3339))
	}
	r.tally.outcome(&b, took)
	r.tally.most(&b)
	return b.String()
}

func (r *replaying) newOut(ctx context.Context) (o *replayOut, err error) {
	o = &replayOut{path: r.flags.out, appID: r.setup.config.AppID}
	switch {
	case o.path != "":
		if err := o.create(); err != nil {
			return nil, err
		}
		o.lines = newAlertWriter(r.app, o.file, r.console, false, true)
	case r.flags.topic == "" && r.diff == nil:
		o.lines = newAlertWriter(r.app, r.app.stdout, r.console, r.app.stdoutTerminal, r.flags.json)
	}
	if r.flags.topic != "" {
		if o.producer, err = newProducer(ctx, r.client, r.flags.topic, r.setup); err != nil {
			return nil, o.end(err)
		}
	}
	return o, nil
}
