// Package consumer carries CloudTrail events from Kafka through the rules to
// the alerts topic, exactly once.
//
// A [Service] is one instance. For each input partition that the group assigns
// to it, it runs a router (fetch, decode, match, send to the shard's work
// partition); for each shard, a detector (evaluate, commit changes and alerts
// in one transaction). README.md tells the journey of one event.
//
// Its one guarantee: for a reader with isolation level read_committed, each
// matching event has had its effect on state and alerts exactly once, through
// any crash of this process, its disk, its peers and the brokers.
package consumer

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// The parts of the pipeline that failures are counted for.
const (
	partGroup  = "group"
	partInput  = "input"
	partOutput = "output"
	partShard  = "shard"
	partState  = "state"
)

// Service is one instance of the detection pipeline. Its fields are set before
// Run and not changed after; the topics of App must exist (see package topic).
type Service struct {
	Client   *wire.Client
	App      topic.App
	Instance string // group.instance.id; "": a dynamic member
	// LeaveOnStop makes the end of Run give up the place in the group, as a dynamic member
	// always does: the shards of this instance move at once instead of after SessionTimeout.
	LeaveOnStop bool
	Store       *state.Store
	Engine      *rules.Engine
	Metrics     *admin.Metrics
	Log         zerolog.Logger
	Version     string // of this build, for the headers of alerts and dead letters; "": not known

	StartLatest        bool          // where a new app starts to read: at the end instead of the beginning
	SessionTimeout     time.Duration // after which a silent instance loses its partitions
	TransactionTimeout time.Duration // after which the broker aborts a dead instance's transaction
	RequestTimeout     time.Duration // of one request to a broker
	Codec              compress.Compression
	Unpacking          *Unpacking    // nil: records that end the process are read again at each start
	MaxUnpacked        int64         // bytes of an unpacked input record; 0: the decoder's default
	MaxHeld            int64         // bytes of it that are held at a time, as in cloudtrail.Decoder; 0: likewise
	MaxDrift           time.Duration // how far, in event time, an input partition may be ahead of the slowest while there is a backlog; 0: any
	Accept             changelog.Accept
	formats            formats // none: this build's; tests have others

	// Restoring is called with the progress of this instance's restores, twice a second, for a
	// display; nil: the progress is logged every few seconds.
	Restoring func(changelog.Restoration)

	inputs     inputs
	shards     shards
	settings   settings
	membership membership
	outputs    []*partitionProducer // of the work and the dead-letter topic
	instance   *instance            // nil: not prepared
	verified   bool
	stop       context.CancelFunc // ends the work of the run
	failing    sync.Once
	failed     error // the first error that fail was called with
}

// Run joins the group and works until ctx ends (nil), or until an error that no repetition
// mends: its sentence names the remedy.
func (s *Service) Run(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	// Partition producers and group membership outlast the workers, so that the records read can still be
	// acknowledged and committed.
	carrying, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	s.stop = stop
	s.inputs.routers = taskSet[inputKey]{ctx: working, fail: s.fail, run: s.inputs.route}
	s.shards.detectors = taskSet[int]{ctx: working, fail: s.fail, run: s.shards.detect}

	var carriers sync.WaitGroup
	for _, l := range s.outputs {
		carriers.Go(func() { l.run(carrying) })
	}
	carriers.Go(func() {
		if err := s.instance.member.Run(carrying); err != nil {
			s.fail(err)
		}
	})
	if s.inputs.alignment != nil {
		carriers.Go(func() { s.inputs.followOthers(carrying) })
	}
	carriers.Go(func() { s.settings.watch(working) })
	carriers.Go(func() { s.watch(working) })
	s.commitUntil(working)

	s.endWorkers()
	s.finish(carrying)
	drop()
	carriers.Wait()
	return s.failed
}

// fail ends the run with the first error that it is called with.
func (s *Service) fail(err error) {
	s.failing.Do(func() {
		s.failed = err
		s.yield(err)
	})
	s.stop()
}

// yield makes the end of the run give the place in the group up at once if the cause is a
// format that only a newer build reads, or a disk that does not answer: another instance
// may be waiting for the shards.
func (s *Service) yield(err error) {
	if stop, ok := errors.AsType[*fatal.Error](err); ok && stop.Newer || errors.Is(s.Store.Err(), state.ErrStalled) {
		s.instance.member.Retire()
	}
}

// endWorkers waits a bounded time for the workers to end: a blocked one is left behind, and
// the next owner works on the records that it has not committed.
func (s *Service) endWorkers() {
	ending, stop := context.WithTimeout(context.Background(), s.TransactionTimeout+commitWithin)
	defer stop()
	if s.inputs.routers.wait(ending, s.Store.Hung()) && s.shards.detectors.wait(ending, s.Store.Hung()) {
		return
	}
	s.Log.Error().Str("event", "left_behind").Msg("some of the work cannot be ended; the instance ends without it, and what was not committed is worked on by the next owner")
}

// finish waits for the brokers to acknowledge the records read, and commits them.
func (s *Service) finish(ctx context.Context) {
	flushing, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	for _, l := range s.outputs {
		l.idle(flushing)
	}
	committing, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	if err := s.commit(committing); err != nil {
		s.Log.Warn().Err(err).Str("event", "positions_not_committed").Msg("the last positions were not committed; the next owner reads a little more again")
	}
}

// prepare looks up the topics and builds the parts that live as long as the run.
func (s *Service) prepare(ctx context.Context) error {
	s.Metrics.Expect(s.known())
	topics, err := s.App.Find(ctx, s.Client, s.App.Alerts, s.App.DeadLetter)
	if err != nil {
		return err
	}
	if err := s.refuseLosses(topics); err != nil {
		return err
	}
	if err := s.Verify(ctx); err != nil {
		return err
	}
	for _, line := range s.App.Reduced(topics) {
		s.Log.Info().Str("note", line).Str("event", "topic_takes_less").Msg("an output topic takes less than there may be to write; what does not fit is left out")
	}
	work, dead := topics[s.App.WorkTopic()], topics[s.App.DeadLetter]
	member := &group.Member{
		Client: s.Client, Group: s.App.ID, Instance: s.Instance, Leave: s.LeaveOnStop,
		Topics: slices.Concat(s.App.Inputs, []string{work.Name}), ShardTopic: work.Name, Avoid: s.membership.avoids,
		Protocols: s.formats.protocols(), SessionTimeout: s.SessionTimeout, Freshness: s.shards.freshness, Assigned: s.assign, Tried: s.membership.tried, Log: s.Log,
	}
	of := &instance{
		client: s.Client, app: s.App, topics: topics, store: s.Store, engine: s.Engine, member: member, metrics: s.Metrics, log: s.Log,
		accept: s.Accept, version: s.Version,
	}
	s.Client.Memory.Divide(of.inputPartitions() + s.App.Shards)
	decoder := cloudtrail.Decoder{MaxUnpacked: s.MaxUnpacked, MaxHeld: s.MaxHeld}
	s.inputs = inputs{
		instance: of, producers: s.producersTo(work), deadLetters: s.producersTo(dead), unpacking: s.Unpacking, maxUnpacked: s.MaxUnpacked, maxHeld: s.MaxHeld,
		mostWork: min(mostBytes(work), int(decoder.MostEvent())), mostDead: mostBytes(dead), fetches: newSharedFetches(s.Client, inputMemory, of.inputPartitions(), fewInputs),
		tokens: make(chan struct{}, mostOpening), evaluated: evaluatedPositions{turn: make(chan struct{}, 1)},
		ids: make(map[string][16]byte), positions: make(map[inputKey]*position), openings: make(map[inputKey]*opening),
	}
	for _, l := range s.inputs.producers { // the records are packed already
		l.batch.Codec, l.bundle = compress.None, entryWriter{formats: s.formats, codec: s.Codec}
	}
	s.outputs = slices.Concat(s.inputs.producers, s.inputs.deadLetters)
	s.inputs.note(topics)
	s.inputs.align(s.MaxDrift)
	s.shards = shards{
		instance: of, owner: cmp.Or(s.Instance, "dynamic member"), transactionTimeout: s.TransactionTimeout, requestTimeout: s.RequestTimeout, codec: s.Codec,
		formats: s.formats, identity: changelog.Identify(&s.App, topics), settings: &s.settings, inputs: &s.inputs,
		fetches: newSharedFetches(s.Client, workMemory, s.App.Shards, fewShards), all: make(map[int]*shardStatus),
	}
	s.shards.restores.Report = s.shards.logRestores
	if s.Restoring != nil {
		s.shards.restores.Report, s.shards.restores.Every = s.Restoring, watchEvery
	}
	s.settings.instance, s.settings.inputs, s.settings.begun = of, &s.inputs, sentences(s.App.Problems(topics, s.Client.Addr.String()))
	s.settings.noteLimits(topics)
	s.instance = of
	s.membership.begin(member, s.Log, newAttempts(s.Metrics.Part(partGroup)))
	if err := s.shards.rememberFreshness(); err != nil {
		return err
	}
	if s.StartLatest {
		return s.inputs.startLatest(ctx)
	}
	return nil
}

func (s *Service) producersTo(info topic.Info) []*partitionProducer {
	producers := make([]*partitionProducer, len(info.Partitions))
	for i := range producers {
		producers[i] = &partitionProducer{
			client: s.Client, topic: info.Name, partition: int32(i), batch: wire.Batch{Codec: s.Codec}, timeout: s.RequestTimeout,
			most: producerBytes(len(producers)), limit: min(mostUnpacked, mostBytes(info)), now: time.Now, log: s.Log, failed: s.Metrics.Resent(info.Name), part: s.Metrics.Part(partOutput),
			refused: s.fail,
		}
		producers[i].init()
	}
	return producers
}

// assign follows a new assignment. Work on the partitions that stay is not disturbed.
func (s *Service) assign(a group.Assignment) {
	inputs, shards := make(map[inputKey]bool), make(map[int]bool)
	for name, partitions := range a.Partitions {
		for _, p := range partitions {
			if name == s.App.WorkTopic() {
				shards[int(p)] = true
			} else {
				inputs[inputKey{name, p}] = true
			}
		}
	}
	if a.MemberID != "" {
		s.Metrics.Rebalanced()
	}
	s.Log.Info().Int32("generation", a.Generation).Int("input_partitions", len(inputs)).Ints("shards", slices.Sorted(maps.Keys(shards))).Str("event", "assignment").Msg("assignment")
	s.inputs.assign(inputs, a.MemberID != "")
	s.shards.assign(shards)
	s.membership.assign(a.MemberID != "")
}

// known are the label values of this build: the rules that are on, and each verdict and
// reason that there can be.
func (s *Service) known() (k admin.Known) {
	k.Rules = s.Engine.Rules()
	for _, v := range rules.VerdictKinds() {
		k.Verdicts = append(k.Verdicts, string(v))
	}
	for _, r := range DeadLetterReasons() {
		k.DeadLetters = append(k.DeadLetters, string(r))
	}
	for _, r := range rules.SkipReasons() {
		k.Skipped = append(k.Skipped, string(r))
	}
	return k
}
