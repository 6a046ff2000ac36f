package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"trailhound/consumer"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/rules"
	"trailhound/rules/alertdiff"
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

	diff     *alertdiff.Diff // nil: nothing is compared
	existing io.ReadCloser   // JSON lines of existing alerts; nil: the alerts topic holds them
}

// ruleKey groups alerts as people tell them apart.
type ruleKey struct{ rule, key string }

func (r *replaying) run(ctx context.Context) (err error) {
	begun := time.Now()
	r.tally = newTally()
	if r.flags.diff != "" {
		if err := r.openExisting(ctx); err != nil {
			return err
		}
		if r.existing != nil {
			defer r.existing.Close() // it was only read
		}
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
		return r.compare(ctx)
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
	infos, err := topic.Describe(ctx, r.client, r.setup.Topics.Alerts)
	if _, denied := errors.AsType[*wire.DeniedError](err); denied {
		return 0, nil
	}
	info, found := infos[r.setup.Topics.Alerts]
	if err != nil || !found {
		return 0, err
	}
	return consumer.AlertBytes(info.MaxMessageBytes()), nil
}

// note records the span of the timestamps, and counts the records of the warm-up.
func (r *replaying) note(b *play.Batch) {
	for i := range b.Records {
		rec := &b.Records[i]
		if !r.inRange(rec.At) {
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

// inRange tells an event of the ranges from one of the warm-up.
func (r *replaying) inRange(at state.Source) bool {
	for i := range r.ranges {
		if g := &r.ranges[i]; g.Partition == at.Partition && g.Topic == at.Topic {
			return g.From <= at.Offset && at.Offset < g.To
		}
	}
	return false
}

func (r *replaying) alert(ev *rules.Event, alert *rules.Alert) error {
	if !r.inRange(ev.At) {
		return nil
	}
	r.tally.alert(alert)
	if r.diff != nil {
		if err := r.diff.Replayed(alert.Payload); err != nil {
			return err
		}
	}
	return r.out.write(alert)
}

func (r *replaying) rejected(at state.Source, index int, reason rules.Reason, detail string) {
	if !r.inRange(at) {
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

// consoleLog writes log lines to the console.
type consoleLog struct{ *console }

// Write writes one line above the bar.
func (l consoleLog) Write(line []byte) (n int, err error) {
	l.above(func() { n, err = l.w.Write(line) })
	return n, err
}
