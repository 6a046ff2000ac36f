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
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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
	"trailhound/state"
)

const (
	commitEvery  = time.Second      // group commits; records read since the last one are read again after a crash, and dropped
	flushWithin  = 10 * time.Second // at the end of a run; the next owner sends records again that are not acknowledged by then
	commitWithin = 5 * time.Second  // at the end of a run; the next owner reads records again that are not committed by then
	mostOpening  = 8                // input partitions that are opened at the same time
	batchFraming = 1 << 10          // room for a batch's header and one record's framing
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

	fail          func(error) // ends the run with the first error it is called with
	rulesChanged  ruleChanges
	failed        error
	member        *group.Member
	topics        map[string]topic.Info
	begunWith     []string // problems of the topics, a sentence each
	identity      changelog.Identity
	producers     []*partitionProducer
	dead          []*partitionProducer
	routers       taskSet[inputKey]
	detectors     taskSet[int]
	restores      changelog.Restores
	verified      bool
	positionsRead evaluatedPositions
	alignment     *alignment // nil: no input partition waits for another
	inputFeeds    *sharedFetches
	workFeeds     *sharedFetches
	opening       chan struct{} // holds a token for each input partition that is being opened
	opened        atomic.Uint64 // attempts to open an input partition that have ended

	mu        sync.Mutex
	inputIDs  map[string][16]byte    // of the input topics, as last looked up: one may be made again
	positions map[inputKey]*position // of the partitions being routed
	openings  map[inputKey]*opening  // of the partitions assigned, while they have no entry in positions
	shards    map[int]*shardStatus
	assigned  bool
	joining   *joining               // nil: not begun
	avoided   map[inputKey]time.Time // partitions, of work too, that another member should have, and since when
	lossy     []string               // topics that lose records, a sentence each
	flipped   error                  // the first of lossy that was neither there at the start nor accepted
	limits    map[string]int         // max.message.bytes of the topics, as last looked up
}

type inputKey struct {
	topic     string
	partition int32
}

// position is a router's state for the committer, the status and the watch.
type position struct {
	*ackTracker
	topicID   [16]byte
	committed group.Offset
	reading   *attempts
	end       *logEnd // of the partition, as last told
	meter     *admin.InputMetrics

	// Of the watch.
	silence silence
	held    held
}

// shardStatus is a detector's state for concurrent readers while it works.
type shardStatus struct {
	ready     atomic.Bool
	work      atomic.Int64 // next work offset as committed; -1: not known yet
	shown     group.Offset // as last committed to the group, for lag display
	changelog atomic.Int64 // next changelog offset held locally
	next      atomic.Int64 // offset behind the work evaluated
	restoring atomic.Int64 // changelog offsets that a restore has still to read
	taking    *attempts    // starts over once work has been committed
	reading   *attempts    // of the work
	end       logEnd       // of the work, as last told
	pulse     pulse
	failing   atomic.Bool // the last transaction, or taking the shard, has failed
	meter     atomic.Pointer[admin.ShardMetrics]
	silence   silence // of the watch
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
	var once sync.Once
	s.fail = func(err error) {
		once.Do(func() {
			s.failed = err
			s.yield(err)
		})
		stop()
	}
	s.routers = taskSet[inputKey]{ctx: working, fail: s.fail, run: s.route}
	s.detectors = taskSet[int]{ctx: working, fail: s.fail, run: s.detect}

	var carriers sync.WaitGroup
	for _, l := range slices.Concat(s.producers, s.dead) {
		carriers.Go(func() { l.run(carrying) })
	}
	carriers.Go(func() {
		if err := s.member.Run(carrying); err != nil {
			s.fail(err)
		}
	})
	if s.alignment != nil {
		carriers.Go(func() { s.align(carrying) })
	}
	carriers.Go(func() { s.watchTopics(working) })
	carriers.Go(func() { s.watch(working) })
	s.commitUntil(working)

	s.endWorkers()
	s.finish(carrying)
	drop()
	carriers.Wait()
	return s.failed
}

// yield makes the end of the run give the place in the group up at once if the cause is a
// format that only a newer build reads, or a disk that does not answer: another instance
// may be waiting for the shards.
func (s *Service) yield(err error) {
	if stop, ok := errors.AsType[*fatal.Error](err); ok && stop.Newer || errors.Is(s.Store.Err(), state.ErrStalled) {
		s.member.Retire()
	}
}

// endWorkers waits a bounded time for the workers to end: a blocked one is left behind, and
// the next owner works on the records that it has not committed.
func (s *Service) endWorkers() {
	ending, stop := context.WithTimeout(context.Background(), s.TransactionTimeout+commitWithin)
	defer stop()
	if s.routers.wait(ending, s.Store.Hung()) && s.detectors.wait(ending, s.Store.Hung()) {
		return
	}
	s.Log.Error().Str("event", "left_behind").Msg("some of the work cannot be ended; the instance ends without it, and what was not committed is worked on by the next owner")
}

// finish waits for the brokers to acknowledge the records read, and commits them.
func (s *Service) finish(ctx context.Context) {
	flushing, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	for _, l := range slices.Concat(s.producers, s.dead) {
		l.idle(flushing)
	}
	committing, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	if err := s.commit(committing); err != nil {
		s.Log.Warn().Err(err).Str("event", "positions_not_committed").Msg("the last positions were not committed; the next owner reads a little more again")
	}
}

// prepare looks up the topics and builds the parts that live as long as the run.
func (s *Service) prepare(ctx context.Context) (err error) {
	s.Metrics.Expect(s.known())
	if s.topics, err = s.App.Find(ctx, s.Client, s.App.Alerts, s.App.DeadLetter); err != nil {
		return err
	}
	if err := s.refuseLosses(); err != nil {
		return err
	}
	if err := s.Verify(ctx); err != nil {
		return err
	}
	s.identity = changelog.Identify(&s.App, s.topics)
	s.noteInputs(s.topics)
	s.noteLimits(s.topics)
	s.begunWith = sentences(s.App.Problems(s.topics, s.Client.Addr.String()))
	for _, line := range s.App.Reduced(s.topics) {
		s.Log.Info().Str("note", line).Str("event", "topic_takes_less").Msg("an output topic takes less than there may be to write; what does not fit is left out")
	}
	s.positionsRead.turn = make(chan struct{}, 1)
	s.positions, s.shards = make(map[inputKey]*position), make(map[int]*shardStatus)
	s.Client.Memory.Divide(s.inputPartitions() + s.App.Shards)
	s.inputFeeds = newFeeds(s.Client, inputMemory, s.inputPartitions(), fewInputs)
	s.workFeeds = newFeeds(s.Client, workMemory, s.App.Shards, fewShards)
	s.opening = make(chan struct{}, mostOpening)
	s.producers = s.producersTo(s.topics[s.App.WorkTopic()])
	for _, l := range s.producers { // the records are packed already
		l.batch.Codec, l.bundle = compress.None, entryWriter{formats: s.formats, codec: s.Codec}
	}
	s.dead = s.producersTo(s.topics[s.App.DeadLetter])
	joining := &joining{attempts: newAttempts(s.Metrics.Part(partGroup)), log: s.Log.With().Str("group", s.App.ID).Logger()}
	s.member = &group.Member{
		Client: s.Client, Group: s.App.ID, Instance: s.Instance, Leave: s.LeaveOnStop,
		Topics: slices.Concat(s.App.Inputs, []string{s.App.WorkTopic()}), ShardTopic: s.App.WorkTopic(), Avoid: s.avoids,
		Protocols: s.formats.protocols(), SessionTimeout: s.SessionTimeout, Freshness: s.freshness, Assigned: s.assign, Tried: joining.report, Log: s.Log,
	}
	s.mu.Lock()
	s.joining = joining // probes may ask already
	s.mu.Unlock()
	s.prepareAlignment()
	s.reportRestores()
	if err := s.rememberFreshness(); err != nil {
		return err
	}
	return s.startLatest(ctx)
}

func (s *Service) producersTo(info topic.Info) []*partitionProducer {
	producers := make([]*partitionProducer, len(info.Partitions))
	for i := range producers {
		producers[i] = &partitionProducer{
			client: s.Client, topic: info.Name, partition: int32(i), batch: wire.Batch{Codec: s.Codec}, timeout: s.RequestTimeout,
			most: producerBytes(len(producers)), limit: min(mostUnpacked, mostBytes(info)), now: time.Now, log: s.Log, failed: s.Metrics.Resent(info.Name), part: s.Metrics.Part(partOutput),
			refused: func(err error) { s.fail(err) },
		}
		producers[i].init()
	}
	return producers
}

// mostBytes is the size of a single record that the topic is sure to take.
func mostBytes(info topic.Info) int { return framed(info.MaxMessageBytes()) }

// AlertBytes is how many bytes an alert's payload and dedup string may have together in a topic with this
// max.message.bytes, for [rules.Engine.LimitAlerts].
func AlertBytes(maxMessageBytes int) int { return framed(maxMessageBytes) }

// framed is the part of max.message.bytes left for the key, the value and the headers of
// one record, at least 1.
func framed(maxMessageBytes int) int { return max(maxMessageBytes-batchFraming, 1) }

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
	s.alignment.joined(a.MemberID != "", time.Now())
	s.routers.assign(inputs)
	s.detectors.assign(shards)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.assigned = a.MemberID != ""
	maps.DeleteFunc(s.positions, func(k inputKey, _ *position) bool { return !inputs[k] })
	maps.DeleteFunc(s.openings, func(k inputKey, _ *opening) bool { return !inputs[k] })
	for n, st := range s.shards {
		if !shards[n] {
			st.ready.Store(false)
		}
	}
}
