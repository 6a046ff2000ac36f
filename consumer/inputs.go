package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"trailhound/consumer/admin"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// inputs are the input partitions of an instance, from their assignment and opening on, and
// the ids of the input topics. Its first fields are set before the group is joined.
type inputs struct {
	*instance

	producers   []*partitionProducer // work partition s = shard s
	deadLetters []*partitionProducer
	mostWork    int // bytes of a work record that the work topic and its shard take
	mostDead    int // bytes of a dead letter that its topic takes
	maxUnpacked int64
	maxHeld     int64
	unpacking   *Unpacking
	fetches     *sharedFetches
	alignment   *alignment // nil: no input partition waits for another
	routers     taskSet[inputKey]
	evaluated   evaluatedPositions
	tokens      chan struct{} // holds one for each partition that is being opened
	opened      atomic.Uint64 // attempts to open a partition that have ended

	mu        sync.Mutex
	ids       map[string][16]byte    // of the input topics, as last looked up: one may be made again
	positions map[inputKey]*position // of the partitions being routed
	openings  map[inputKey]*opening  // of the partitions assigned, while they have no entry in positions
}

type inputKey struct {
	topic     string
	partition int32
}

// position is a router's state for the committer, the status and the watch.
type position struct {
	*ackTracker
	topicID   [16]byte
	committed group.Offset // the committer's
	reading   *attempts
	end       *logEnd // of the partition, as last told
	meter     *admin.InputMetrics

	// Of the watch.
	silence silence
	held    held
}

// assign makes the routers follow a new assignment. member tells whether this instance has one.
func (i *inputs) assign(want map[inputKey]bool, member bool) {
	i.alignment.joined(member, time.Now())
	i.routers.assign(want)
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.positions, func(k inputKey, _ *position) bool { return !want[k] })
	maps.DeleteFunc(i.openings, func(k inputKey, _ *opening) bool { return !want[k] })
}

// route keeps a router on one input partition until ctx ends (nil), or until a loss of its
// records that is not accepted.
func (i *inputs) route(ctx context.Context, k inputKey) error {
	meter := i.metrics.Input(k.topic, k.partition)
	defer meter.Close()
	o := i.opens(k)
	defer i.opensNoMore(k, o)
	tries := o.tries
	for ctx.Err() == nil {
		opened := time.Now()
		err := i.routeOnce(ctx, k, o, meter)
		i.unfollow(k)
		if time.Since(opened) > backoffMost {
			tries.succeeded()
		}
		if ctx.Err() != nil {
			break // the partition has another owner, and so the error does not count
		}
		var stop *fatal.Error
		if errors.As(err, &stop) {
			return err
		}
		tries.failed(&i.log, err).Str("topic", k.topic).Int32("partition", k.partition).Str("event", "input_retry").Msg("input partition is opened again")
		if tries.sleep(ctx) != nil {
			break
		}
	}
	return nil
}

func (i *inputs) routeOnce(ctx context.Context, k inputKey, o *opening, meter *admin.InputMetrics) error {
	in, start, clock, err := i.openInTurn(ctx, k, o)
	if err != nil {
		return err
	}
	log := i.log.With().Str("stage", stageRouter).Logger()
	r := &router{
		in: in, engine: i.engine, unpacking: i.unpacking, producers: i.producers, deadLetters: i.deadLetters, app: i.app.ID, version: i.version,
		acceptLoss: i.accept.Loss, mostWork: i.mostWork, mostDead: i.mostDead,
		log: rateLimited(log, i.metrics.Suppressed()), meter: meter, progress: newAckTracker(start.offset).behind(start.epoch), marks: newTimeMarks(len(i.producers)),
		prefetcher: prefetcher{
			client: i.client, topic: k.topic, topicID: in.topicID, partition: k.partition, bytes: fetchBytes(inputMemory, i.inputPartitions(), fewInputs), readCommitted: true,
			log: log, tries: newAttempts(i.metrics.Part(partInput)), shared: i.fetches, told: new(logEnd),
		},
	}
	r.turn.Memory = i.client.Memory
	r.turn.Waiting = func(others *atomic.Uint64) { r.progress.pulse.waiting(others, stepRoute) }
	r.decoder.MaxUnpacked, r.decoder.MaxHeld = i.maxUnpacked, i.maxHeld
	r.decoder.Scratch, r.decoder.Turn = i.client.Memory.Share(), (*decoderTurn)(r)
	r.progress.clock = clock
	r.gate = newGate(i.alignment, k, clock, in.end > start.offset, time.Now())
	at := &position{ackTracker: r.progress, topicID: in.topicID, reading: r.prefetcher.tries, end: r.prefetcher.told, meter: meter}
	if !i.follow(ctx, k, at) {
		return ctx.Err()
	}
	log.Info().Str("topic", k.topic).Int32("partition", k.partition).Int64("offset", start.offset).Str("event", "input_opened").Msg("reading input")
	err = r.run(ctx)
	if wire.Lasting(err) {
		// The next opening starts from the committed offset, and so needs this router's position
		// and topic.
		return errors.Join(err, i.commitOne(ctx, k, i.inputOffset(k, at)))
	}
	return err
}

// note remembers the ids of the input topics, as far as infos has them.
func (i *inputs) note(infos map[string]topic.Info) {
	for _, name := range i.app.Inputs {
		i.noteID(name, infos[name].ID)
	}
}

// noteID remembers the id of an input topic. A zero id says nothing: the topic is
// missing at the moment, or the broker has not heard of it yet.
func (i *inputs) noteID(name string, id [16]byte) {
	if id == [16]byte{} {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ids[name] = id
}

// id returns the id of an input topic as last looked up.
func (i *inputs) id(name string) [16]byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ids[name]
}

// lookUp looks the ids of the input topics up.
func (i *inputs) lookUp(ctx context.Context) error {
	meta, err := i.client.Topics(ctx, i.app.Inputs...)
	if err != nil {
		return fmt.Errorf("look up the input topics: %w", err)
	}
	for _, name := range i.app.Inputs {
		if meta[name].Err == nil {
			i.noteID(name, meta[name].ID)
		}
	}
	return nil
}

// unfollow makes the committer forget the partition, unless the run ends: an old position must
// not overtake the next opening. At the end of the run the position is still to be committed.
func (i *inputs) unfollow(k inputKey) {
	if i.routers.ctx.Err() != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.positions, k)
	i.alignment.forget(k, time.Now())
}

// follow makes the committer commit the partition's position; false: ctx has ended.
func (i *inputs) follow(ctx context.Context, k inputKey, p *position) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	i.positions[k] = p
	return true
}

// inputOffset is the offset of an input partition that may be committed, with the event
// time that its acknowledged records have come to, for the other instances.
func (i *inputs) inputOffset(k inputKey, p *position) group.Offset {
	at, clock := p.reachedTime()
	m := inputMetadata{topicID: p.topicID, clock: clock}
	if i.alignment != nil {
		t := i.alignment.state(k)
		m.backlog, m.waiting, m.steps = t.backlog, t.waiting, t.steps
	}
	return inputOffset(at, m)
}

// commitOne commits the position of one input partition.
func (i *inputs) commitOne(ctx context.Context, k inputKey, o group.Offset) error {
	return i.member.Commit(ctx, k.topic, map[int32]group.Offset{k.partition: o})
}

// reads tells whether a topic is one of the app's inputs, as last looked up. A topic that
// had an input's name before the input was made again is none.
func (i *inputs) reads(topicID [16]byte) bool {
	return slices.ContainsFunc(i.app.Inputs, func(name string) bool { return i.id(name) == topicID })
}

// reached returns the positions to commit: the next owner of a partition starts there.
func (i *inputs) reached() (all []movement) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, p := range i.positions {
		all = append(all, movement{k, i.inputOffset(k, p), &p.committed, p.ackTracker})
	}
	return all
}

// look is for the watch: it returns the partitions that another instance should have, all of them
// while outputs are stuck, and adds to unread those with records that their routers have not read.
func (i *inputs) look(patience int, outputsStuck bool, now time.Time, unread map[inputKey]*logEnd) (give []inputKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.routers.keys() {
		p := i.positions[k]
		if p == nil {
			o := i.openings[k]
			if o == nil {
				o = i.opensAfter(k)
			}
			if o.look() {
				i.alignment.moves(k, now)
			}
			if outputsStuck || o.stuck(patience) {
				give = append(give, k)
			}
			continue
		}
		seen, moved := p.look()
		if moved {
			i.alignment.moves(k, now)
		}
		p.meter.SetLag(p.lag())
		if seen.unread > 0 {
			unread[k] = p.end
		}
		if outputsStuck || p.stuck(patience) && !answers(p.reading.trouble()) {
			give = append(give, k)
		}
	}
	return give
}

// stalled returns the partitions without progress. An open transaction is logged once it
// has lasted for long.
func (i *inputs) stalled() (all []stall) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.routers.keys() {
		name := fmt.Sprintf("input %s partition %d", k.topic, k.partition)
		if p := i.positions[k]; p != nil {
			logged := p.pulse.stillness() != "" || p.silence.stillness() != "" || p.held.looks >= remedyLooks
			all = append(all, stall{partInput, name, p.stillness(), logged})
		} else if o := i.openings[k]; o != nil {
			all = append(all, stall{partInput, name, o.pulse.stillness(), true})
		}
	}
	return all
}

// problem returns the first partition that is not being read, or makes no progress; nil: none.
func (i *inputs) problem() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.routers.keys() {
		p := i.positions[k]
		if p == nil {
			return i.openingProblem(k)
		}
		if err := p.reading.trouble(); err != nil {
			return fmt.Errorf("input %s partition %d cannot be read: %w", k.topic, k.partition, err)
		}
		if err := i.stall(p.stillness()); err != nil {
			return fmt.Errorf("input %s partition %d stands still: %w", k.topic, k.partition, err)
		}
	}
	return nil
}

// statuses returns the status of each partition assigned, in order.
func (i *inputs) statuses() []InputStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []InputStatus{}
	for _, k := range i.routers.keys() {
		in := InputStatus{Topic: k.topic, Partition: k.partition, Next: -1}
		if p := i.positions[k]; p != nil {
			in.Next, in.Lag, in.Problem = p.position(), p.lag(), sentence(cmp.Or(p.reading.trouble(), i.stall(p.stillness())))
			in.Idle = p.told()
			in.Waiting = i.alignment.waits(k)
		} else if o := i.openings[k]; o != nil {
			in.Problem = sentence(cmp.Or(i.stall(o.pulse.stillness()), o.tries.trouble()))
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b InputStatus) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}
