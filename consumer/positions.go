package consumer

import (
	"context"
	"fmt"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// routedFor is how long the sources read from the changelogs are taken for true, so that
// the partitions that an instance opens together read them once.
const routedFor = time.Minute

// evaluatedPositions is how far each shard has come in each input partition, by the changelogs.
type evaluatedPositions struct {
	turn   chan struct{}    // a mutex, of capacity 1, that is waited for with a context
	at     time.Time        // when the ends were reached; zero: not yet
	shards []evaluatedShard // up to the changelog offset reached: an error does not throw that away
	// work has the ends of the work partitions when a loss of the input partition was first
	// suspected.
	work map[evaluatedKey][]int64
}

// evaluatedShard is the content of one changelog partition that recall needs.
type evaluatedShard struct {
	next    int64 // changelog offset to go on at
	work    int64 // next offset of the work partition; -1: none yet
	sources map[evaluatedKey]state.Source
}

type evaluatedKey struct {
	topicID   [16]byte
	partition int32
}

// recall returns the position of an input partition that the group has no offset for. The
// group's offsets expire (offsets.retention.minutes), but the state of the shards has the
// sources that they have evaluated: all records before the earliest of them have had their
// effect (PROTOCOL R7). An offset of -1: the partition has never been read.
func (i *inputs) recall(ctx context.Context, in input, was group.Offset) (group.Offset, error) {
	if was.At >= 0 {
		return was, nil
	}
	r, k := &i.evaluated, evaluatedKey{in.topicID, in.partition}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return was, ctx.Err()
	}
	if err := i.readRouted(ctx); err != nil {
		return was, err
	}
	to, silent, ok := evaluatedTo(r.shards, k)
	if !ok {
		return was, nil
	}
	at := to.offset
	first, _, err := topic.Bounds(ctx, i.client, in.topic, in.partition)
	if err != nil {
		return was, err
	}
	log := i.log.With().Str("topic", in.topic).Int32("partition", in.partition).Int64("position", at).Int64("start", first).Logger()
	m := inputMetadata{topicID: in.topicID, clock: noNewest}
	was = inputOffset(logPosition{max(at, first), noEpoch}, m)
	switch {
	case at >= first:
		delete(r.work, k)
		was = inputOffset(to, m)
		log.Warn().Str("event", "offsets_gone").Msg("the group has no offset for this partition any more (see offsets.retention.minutes); going on where the state stands")
		return was, nil
	case i.accept.Loss:
		log.Error().Str("event", "input_lost").Msg("input records were deleted before they were read; going on behind them, as accepted")
		return was, nil
	}
	if err := i.awaitWork(ctx, k); err != nil {
		return was, err
	}
	return was, i.offsetsLost(in, at, first, silent)
}

// offsetsLost returns the error for records that were deleted while the group's offsets
// were gone. silent is a shard that has no source of the partition; -1: all have one.
func (i *inputs) offsetsLost(in input, at, first int64, silent int) error {
	what := fmt.Sprintf("records %d to %d were deleted before they were read, as far as the state tells", at, first-1)
	if silent >= 0 {
		what = fmt.Sprintf("records up to %d may have been deleted before they were read: shard %d knows nothing of this partition", first-1, silent)
	}
	return fatal.Errorf("input %s partition %d: the offsets of group %s are gone (they expire after offsets.retention.minutes), and %s; make offsets.retention.minutes longer than the topic's retention, then start once with --accept-loss to go on at %d",
		in.topic, in.partition, i.app.ID, what, first)
}

// awaitWork returns an error while work that may be of the input partition is to be
// evaluated: until then the state is behind the records read, and proves no loss. It is the
// work up to the time at which the loss was first suspected, as the partition is not read
// since; other partitions go on, and under a steady load some shard always has work.
func (i *inputs) awaitWork(ctx context.Context, k evaluatedKey) error {
	r := &i.evaluated
	if r.work[k] == nil {
		ends := make([]int64, len(r.shards))
		for n := range ends {
			var err error
			if _, ends[n], err = topic.Bounds(ctx, i.client, i.app.WorkTopic(), int32(n)); err != nil {
				return err
			}
		}
		if r.work == nil {
			r.work = make(map[evaluatedKey][]int64)
		}
		r.work[k] = ends
	}
	for n, end := range r.work[k] {
		if at := max(r.shards[n].work, 0); at < end {
			return fmt.Errorf("the offsets of group %s are gone, and what has been read cannot be told before shard %d has evaluated its work (it stands at %d of %d)", i.app.ID, n, at, end)
		}
	}
	return nil
}

// evaluatedTo returns the position up to which all shards have evaluated a partition,
// exclusive, and a shard without a source of it, which counts as having evaluated no record
// of it; -1: all have one. Not ok: no shard has one.
func evaluatedTo(shards []evaluatedShard, k evaluatedKey) (to logPosition, silent int, ok bool) {
	silent = -1
	var first state.Source
	for n, shard := range shards {
		src, known := shard.sources[k]
		if !known {
			silent = n
			continue
		}
		if !ok || src.Compare(first) < 0 {
			first, ok = src, true
		}
	}
	if !ok || silent >= 0 {
		return logPosition{0, noEpoch}, silent, ok
	}
	to = logPosition{first.Offset, first.Epoch} // the rest of the record may not have been evaluated
	if first.Index >= busyIndex {
		to.offset++ // a mark: the whole record was evaluated
	}
	return to, silent, ok
}

// readRouted reads the changelogs of all shards, of all owners, up to their stable ends,
// from where it has come to before, unless the last reading is younger than routedFor. It
// holds a source per shard and input partition.
func (i *inputs) readRouted(ctx context.Context) error {
	r := &i.evaluated
	if !r.at.IsZero() && time.Since(r.at) < routedFor {
		return nil
	}
	changes := i.topics[i.app.StateTopic()]
	if r.shards == nil {
		r.shards = make([]evaluatedShard, len(changes.Partitions))
	}
	for n := range r.shards {
		first, end, err := topic.Readable(ctx, i.client, changes.Name, int32(n))
		if err != nil {
			return err
		}
		h := &r.shards[n]
		if h.sources == nil || h.next < first || h.next > end {
			*h = evaluatedShard{next: first, work: -1, sources: make(map[evaluatedKey]state.Source)}
		}
		peek := changelog.Peek{Client: i.client, Topic: changes.Name, TopicID: changes.ID, Partition: int32(n)}
		if err := peek.Each(ctx, h.next, end, h.learn); err != nil {
			return err
		}
		h.next = end
	}
	r.at = time.Now() // of the end, so that a reading that takes longer than routedFor is of use too
	return nil
}

// learn notes the work offset or the source in a record of the changelog.
func (h *evaluatedShard) learn(rec *wire.Record) error {
	next, moved, err := state.WorkOf(rec.Key, rec.Value)
	if err != nil {
		return err
	}
	src, ok, err := state.SourceOf(rec.Key, rec.Value)
	switch {
	case err != nil:
		return err
	case moved:
		h.work = next
	case ok:
		h.sources[evaluatedKey{src.TopicID, src.Partition}] = src
	}
	h.next = rec.Offset + 1
	return nil
}
