package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// shardGroup is the consumer group as a shard sees it.
type shardGroup interface {
	// confirm tells whether a heartbeat sent after the call still gives this instance the shard.
	confirm(ctx context.Context, shard int) (bool, error)
	// worked tells whether the group has a committed work offset for the shard.
	worked(ctx context.Context, shard int) (bool, error)
}

// detector owns one shard: it evaluates the shard's work records in order and
// commits each batch as one Kafka transaction (PROTOCOL D1–D8).
type detector struct {
	shard    int
	app      topic.App
	version  string // of this build; alerts and dead letters name it
	changed  *ruleChanges
	client   *wire.Client
	local    *state.Shard
	changes  changelog.Changelog
	identity *changelog.Identity
	accept   changelog.Accept
	producer *txn.Producer
	engine   *rules.Engine
	group    shardGroup
	settings *settings
	inputs   *inputs
	alerts   int            // partitions of the alerts topic
	dead     int            // partitions of the dead-letter topic
	mostDead int            // bytes of a dead letter that its topic takes
	fetches  *sharedFetches // of all shards
	timeout  time.Duration  // of a commit that must end although the run is over
	now      func() time.Time
	log      zerolog.Logger
	noisy    zerolog.Logger // of dead letters: rate-limited
	meter    *admin.ShardMetrics
	status   *shardStatus
	turn     wire.Turn // for the memory of work batches that the brokers have packed

	batch
	most      int // events of a transaction, while a refused batch is being halved; 0: no such search
	took      time.Duration
	due       time.Time // of the next commit; before it only a full batch is committed
	committed int64     // next work offset as last committed
	trimmedTo int64     // records below it have been deleted from the work topic
	lazySince time.Time
	trimmed   time.Time
	learned   time.Time // when the leader epoch of the changelog was asked for
	marked    time.Time
}

// run keeps the shard until ctx ends (nil) or an error that no repetition mends. Every
// transient failure has one cure: drop the batch, take the shard again.
func (d *detector) run(ctx context.Context) error {
	defer d.meter.Close()
	d.each = d.event
	pulse := &d.status.pulse
	defer pulse.at(stepIdle)
	for ctx.Err() == nil {
		pulse.at(stepTake)
		ok, err := d.group.confirm(ctx, d.shard)
		if err == nil && ok {
			d.events = 0
			err = d.final(d.own(ctx))
			d.drop()
			d.setReady(false)
			d.status.changelog.Store(d.local.Position().Changelog)
		}
		if ctx.Err() != nil {
			break // the shard has another owner, and so the error does not count
		}
		var stop *fatal.Error
		if errors.As(err, &stop) {
			return err
		}
		d.status.failing.Store(err != nil)
		if err == nil {
			pulse.at(stepIdle) // the shard has another owner
		} else {
			pulse.at(stepTake)
		}
		if err != nil && d.lost(ctx, err) {
			continue
		}
		if d.status.taking.sleep(ctx) != nil {
			break
		}
	}
	return nil
}

// final returns err, or a *fatal.Error when not even the dead letter of a single event is
// taken: no batch is left to halve.
func (d *detector) final(err error) error {
	sentence := refusal(err)
	if d.most != refuseNext || sentence == "" {
		return err
	}
	return fatal.Errorf("%v: %s; nothing is lost, what was not committed is evaluated again", err, sentence)
}

// lost logs why the shard has to be taken again, and reports whether at once. A batch that
// the broker refuses for its content is never sent unchanged: it is halved (PROTOCOL D6). A
// wrong clock is no such content: every batch has it.
func (d *detector) lost(ctx context.Context, err error) (atOnce bool) {
	var refused *txn.RejectedError
	switch {
	case errors.As(err, &refused) && refused.Code == kafka.MessageSizeTooLarge && d.limitsMoved(ctx):
		d.log.Warn().Err(err).Str("event", "batch_refused").Msg("a topic takes other sizes than at the last look; the batch is evaluated again for the new ones")
		return true
	case errors.As(err, &refused) && refused.Code != kafka.InvalidTimestamp && d.events > 0:
		if d.most = d.events / 2; d.most == 0 {
			d.most = refuseNext
		}
		d.log.Warn().Err(err).Int("events", d.events).Str("event", "batch_refused").Msg("the broker refused a batch; it is evaluated again in smaller ones")
		return true
	case errors.Is(err, kafka.InvalidProducerIDMapping):
		d.log.Info().Err(err).Str("event", "transactional_id_expired").Msg("the brokers have forgotten the shard's transactional id, which was idle for transactional.id.expiration.ms; the shard is taken again")
	case errors.Is(err, txn.ErrFenced):
		d.meter.Fenced.Inc()
		d.log.Info().Err(err).Str("event", "shard_fenced").Msg("another instance has taken the shard")
	default:
		d.status.taking.failed(&d.log, err).Str("event", "shard_retry").Msg("the shard is taken again")
	}
	return false
}

// limitsMoved looks at the settings of the topics, and reports whether they take other
// sizes than the batch was made for.
func (d *detector) limitsMoved(ctx context.Context) bool {
	names := []string{d.app.StateTopic(), d.app.Alerts, d.app.DeadLetter}
	sizes := func() (all [3]int) {
		for i, name := range names {
			all[i] = d.settings.takes(name)
		}
		return all
	}
	was := sizes()
	d.settings.look(ctx)
	return sizes() != was
}

// own takes the shard and works on it until ctx ends or an error.
func (d *detector) own(ctx context.Context) error {
	start := d.now()
	if err := d.sameTopics(ctx); err != nil {
		return err
	}
	before, err := d.lookUp(ctx)
	if err != nil {
		return err
	}
	if err := d.changes.Take(ctx); err != nil {
		return err
	}
	agreed, err := changelog.Agree(d.local, d.identity, d.accept)
	if err != nil {
		return err
	}
	at, err := d.workOffset(ctx, before, agreed.NewWork)
	if err != nil {
		return err
	}
	newRules, err := d.noteRules()
	if err != nil {
		return err
	}
	d.begin(at)
	if newRules {
		d.tx.PutMeta(rulesName, d.engine.Description())
	}
	d.tx.Retire(d.inputs.reads) // for as long as the shard is owned: the work topic may still hold events of other inputs
	if agreed.Write {
		d.identity.Put(d.tx)
	}
	// An accepted loss is committed at once: otherwise the next start would ask again.
	if was := d.local.Position(); agreed.Write || newRules || at != (logPosition{was.Work, was.WorkEpoch}) {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.meter.Restored()
	d.status.restoring.Store(0)
	d.setReady(true)
	d.log.Info().Int64("work_offset", at.offset).Int64("took_ms", d.now().Sub(start).Milliseconds()).Str("event", "shard_taken").Msg("shard taken")
	err = d.follow(ctx, at)
	if ctx.Err() != nil && !errors.Is(err, txn.ErrFenced) {
		d.learnEpoch(context.WithoutCancel(ctx), leaveWithin)
	}
	return err
}

// learnEpoch notes the leader epoch of the committed changelog. A failure costs a restore
// at most, and the next round asks again.
func (d *detector) learnEpoch(ctx context.Context, within time.Duration) {
	learning, stop := context.WithTimeout(ctx, within)
	defer stop()
	if err := d.changes.LearnEpoch(learning); err != nil {
		d.log.Debug().Err(err).Str("event", "epoch_not_learned").Msg("the leader epoch of the changelog is not known up to its end")
	}
}

func (d *detector) setReady(ready bool) {
	d.status.ready.Store(ready)
	d.meter.SetReady(ready)
}

// follow evaluates work records from a position on.
func (d *detector) follow(ctx context.Context, at logPosition) error {
	fetching, stop := context.WithCancel(ctx)
	defer stop()
	in := prefetcher{client: d.client, topic: d.app.WorkTopic(), topicID: d.identity.Work.ID, partition: int32(d.shard), bytes: fetchBytes(workMemory, d.app.Shards, fewShards), log: d.log, tries: d.status.reading, shared: d.fetches, told: &d.status.end}
	in.start(fetching, at)
	d.status.pulse.at(stepIdle)
	for f := range in.Full {
		if err := d.consume(ctx, &in, f); err != nil {
			return err
		}
		d.status.failing.Store(false)
		d.status.pulse.beat()
		d.status.pulse.at(stepIdle)
	}
	if ctx.Err() != nil {
		return nil
	}
	if diverged, ok := errors.AsType[*wire.DivergedError](in.Err); ok && !d.accept.Loss {
		return workLost(workCutBack(diverged))
	}
	return in.Err
}

// sameTopics makes sure that the shard's topics are still those that the run began with:
// one that was made again meanwhile is another log under an old name. For alerts and dead
// letters a new topic is as good as the old one, with any number of partitions.
func (d *detector) sameTopics(ctx context.Context) error {
	meta, err := d.client.Topics(ctx, d.app.WorkTopic(), d.app.StateTopic(), d.app.Alerts, d.app.DeadLetter)
	if err != nil {
		return err
	}
	for _, out := range []struct {
		topic      string
		partitions *int
	}{{d.app.Alerts, &d.alerts}, {d.app.DeadLetter, &d.dead}} {
		now := meta[out.topic]
		if now.Err != nil {
			return fmt.Errorf("look up topic %s: %w", out.topic, now.Err)
		}
		*out.partitions = len(now.Partitions)
	}
	for _, own := range []changelog.Topic{d.identity.Work, d.identity.State} {
		now := meta[own.Name]
		if now.Err != nil {
			return fmt.Errorf("look up topic %s: %w", own.Name, now.Err)
		}
		if err := topic.Identified(own.Name, now.ID); err != nil {
			return err
		}
		if now.ID != own.ID {
			return fatal.Errorf("topic %s was deleted and made again while this instance worked with it; start the instance again to see what is lost", own.Name)
		}
	}
	return nil
}

// consume evaluates f and the fetches that arrive until the next commit is due, then
// commits. A lone event is committed at once; the larger the backlog, the larger the
// batches: commits take at most a fifth of the time.
func (d *detector) consume(ctx context.Context, in *prefetcher, f *wire.Fetched) error {
	due := d.now().Add(commitShare * d.took)
	pulse := &d.status.pulse
	for f != nil {
		pulse.at(stepEvaluate)
		if err := d.evaluate(ctx, f); err != nil {
			return err
		}
		d.status.next.Store(d.next.offset)
		d.meter.Lag.Set(float64(d.status.left()))
		in.give(f)
		f = nil
		if err := d.upkeep(ctx); err != nil { // batches that are full may follow one another for hours
			return err
		}
		now := d.now()
		d.due = commitPace.sooner(d.due, now, d.youngest.age(now))
		if now.Before(d.due) {
			pulse.at(stepIdle)
			f = in.next(d.due.Sub(now))
		} else if now.Before(due) {
			f = in.next(0)
		}
	}
	pulse.at(stepCommit)
	if err := d.commit(ctx); err != nil {
		return err
	}
	return d.upkeep(ctx)
}

// beat notes progress, unless the last transaction failed: evaluating its events again is none.
func (d *detector) beat() {
	if !d.status.failing.Load() {
		d.status.pulse.beat()
		d.turn.Beat()
	}
}

// evaluate plays the work records of one fetch.
func (d *detector) evaluate(ctx context.Context, f *wire.Fetched) error {
	d.turn.Context, f.Turn = ctx, &d.turn
	var failed error
	err := f.Each(func(rec *wire.Record) bool {
		failed = d.record(ctx, rec)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("read %s partition %d: %w", d.app.WorkTopic(), d.shard, err)
	}
	d.next = logPosition{f.Next, f.LastEpoch}
	return nil
}

// upkeep does the periodic work of an owned shard: marks, leader epochs, deletion of work
// records.
func (d *detector) upkeep(ctx context.Context) error {
	now := d.now()
	d.status.pulse.at(stepUpkeep)
	if now.Sub(d.marked) >= lazyCommit {
		d.marked = now
		if err := d.local.MarkCaughtUp(now); err != nil {
			return err
		}
	}
	if now.Sub(d.learned) >= learnEvery {
		d.learned = now
		d.learnEpoch(ctx, learnWithin)
	}
	if now.Sub(d.trimmed) < trimEvery || d.committed <= d.trimmedTo {
		return nil
	}
	d.trimmed = now
	trimming, stop := context.WithTimeout(ctx, trimWithin)
	defer stop()
	// Records below the committed work offset are never read again. A failure
	// costs disk space only, and the next round tries again.
	err := d.client.DeleteRecords(trimming, d.app.WorkTopic(), int32(d.shard), d.committed)
	if err == nil {
		d.trimmedTo = d.committed
	} else if ctx.Err() == nil {
		d.log.Warn().Err(err).Str("topic", d.app.WorkTopic()).Str("event", "work_not_deleted").Msg("cannot delete work records that are done with; the topic keeps growing until this succeeds (the principal needs Delete on it)")
	}
	return nil
}
