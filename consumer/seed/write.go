package seed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/txn"
	"trailhound/state"
)

// batchBytes is how much one transaction holds.
const batchBytes = 4 << 20

// Finish replaces the app's state by that of the shards that built returns. On an error
// the app has the state that it had, unless the error says otherwise, and a seed may
// start again. The end of ctx counts as long as nothing has been written.
func (s *Seeder) Finish(ctx context.Context, built func(n int) (*state.Shard, error)) (Written, error) {
	w := &writer{Seeder: s}
	if err := s.standsStill(ctx); err != nil {
		return w.Written, err
	}
	if s.shards == nil {
		// Before the first claim: an app with records in its changelog is not new, and
		// would read its inputs from their start.
		if err := s.startLatest(ctx); err != nil {
			return w.Written, err
		}
		if err := s.take(ctx); err != nil {
			return w.Written, err
		}
	}
	w.producer = s.producer(".seed")
	if err := w.producer.Init(ctx); err != nil {
		return w.Written, err
	}
	if ctx.Err() != nil {
		return w.Written, context.Cause(ctx)
	}
	// From here on an end of ctx would leave an app that no instance can run. Each step that
	// follows has a time-out of its own.
	ctx = context.WithoutCancel(ctx)
	for _, h := range s.shards {
		if err := s.mark(ctx, h); err != nil {
			return w.Written, err
		}
	}
	if err := s.refresh(ctx); err != nil {
		return w.Written, interrupted(err)
	}
	for _, h := range s.shards {
		if err := w.shard(ctx, h, built); err != nil {
			return w.Written, interrupted(err)
		}
	}
	if err := w.end(ctx, built); err != nil {
		return w.Written, interrupted(err)
	}
	if err := s.goOnBehind(ctx); err != nil {
		return w.Written, fmt.Errorf("the state is seeded, but the group's offsets are not set: %w; run reads the range once more and evaluates nothing of it twice", err)
	}
	return w.Written, nil
}

// interrupted adds the way out to an error behind the marks.
func interrupted(err error) error {
	if errors.Is(err, txn.ErrFenced) {
		err = fmt.Errorf("another seed of the app has begun: %w", err)
	}
	return fmt.Errorf("%w; the state is incomplete, and run refuses it until trailhound state seed is started again and comes to its end", err)
}

// mark makes each instance refuse the shard.
func (s *Seeder) mark(ctx context.Context, h *shard) error {
	tx := h.old.Begin()
	defer tx.Discard()
	// Each mark is unique: an equal one would be no change, and with no record to write
	// the loss of the shard to another owner would not be noticed.
	changelog.MarkSeeding(tx, fmt.Sprintf("%s %s", s.Owner, time.Now().UTC().Format(time.RFC3339Nano)))
	for c := range tx.Changes() {
		h.log.Producer.Add(s.to(h), time.Now().UnixMilli(), c.Key, c.Value)
	}
	_, err := h.log.Producer.Commit(ctx)
	if errors.Is(err, txn.ErrFenced) {
		return fmt.Errorf("an instance of app %s, or another seed, has taken shard %d meanwhile: %w", s.App.ID, h.number, err)
	}
	return err
}

// refresh brings the copies of the shards up to their marks.
func (s *Seeder) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.TransactionTimeout+stableWithin)
	defer cancel()
	for _, h := range s.shards {
		if err := h.log.Take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writer writes under the transactional id of the seed.
type writer struct {
	*Seeder
	Written

	producer *txn.Producer
}

// shard writes the new records of a shard, and removes all others.
func (w *writer) shard(ctx context.Context, h *shard, built func(int) (*state.Shard, error)) error {
	fresh, err := built(h.number)
	if err != nil {
		return err
	}
	for c, err := range differences(h.old.Dump(), fresh.Dump()) {
		if err != nil {
			return err
		}
		w.producer.Add(w.to(h), time.Now().UnixMilli(), c.Key, c.Value)
		if c.Value == nil {
			w.Removed++
		} else {
			w.Records++
		}
		w.Bytes += int64(len(c.Key) + len(c.Value))
		if _, size := w.producer.Pending(); size >= batchBytes {
			if _, err := w.producer.Commit(ctx); err != nil {
				return err
			}
		}
	}
	_, err = w.producer.Commit(ctx)
	return err
}

// differences gives the changes that turn the records of was into those of is; both are
// sorted by key.
func differences(was, is iter.Seq2[state.Change, error]) iter.Seq2[state.Change, error] {
	return func(yield func(state.Change, error) bool) {
		old, stopOld := newCursor(was)
		defer stopOld()
		fresh, stopFresh := newCursor(is)
		defer stopFresh()
		for old.more || fresh.more {
			order := old.compare(fresh)
			if err := errors.Join(old.err, fresh.err); err != nil {
				yield(state.Change{}, err)
				return
			}
			c, same := fresh.Change, order == 0 && bytes.Equal(old.Value, fresh.Value)
			if order < 0 {
				c = state.Change{Key: old.Key}
			}
			if !same && !yield(c, nil) {
				return
			}
			if order <= 0 {
				old.advance()
			}
			if order >= 0 {
				fresh.advance()
			}
		}
	}
}

// cursor is at one record of a sequence.
type cursor struct {
	state.Change
	err  error
	more bool // there is a record, or an error
	next func() (state.Change, error, bool)
}

func newCursor(records iter.Seq2[state.Change, error]) (c *cursor, stop func()) {
	c = &cursor{}
	c.next, stop = iter.Pull2(records)
	c.advance()
	return c, stop
}

func (c *cursor) advance() { c.Change, c.err, c.more = c.next() }

// compare orders two records by key; a sequence that has ended comes last.
func (c *cursor) compare(d *cursor) int {
	switch {
	case !c.more:
		return 1
	case !d.more:
		return -1
	}
	return bytes.Compare(c.Key, d.Key)
}

// end writes the shards' positions and takes the marks away, in one transaction.
func (w *writer) end(ctx context.Context, built func(int) (*state.Shard, error)) error {
	ends, err := w.ends(ctx)
	if err != nil {
		return err
	}
	for _, h := range w.shards {
		fresh, err := built(h.number)
		if err != nil {
			return err
		}
		work, epoch, err := w.workOffset(ctx, h)
		if err != nil {
			return err
		}
		tx := fresh.Begin()
		tx.SetWorkOffset(work, epoch)
		tx.SetFingerprint(w.Fingerprint)
		w.identity.Put(tx)
		for _, src := range ends {
			tx.Advance(src)
		}
		w.addChanges(h, tx)
		unmark := h.old.Begin()
		changelog.EndSeeding(unmark)
		w.addChanges(h, unmark)
		err = errors.Join(tx.Err(), unmark.Err())
		tx.Discard()
		unmark.Discard()
		if err != nil {
			return err
		}
	}
	_, err = w.producer.Commit(ctx)
	return err
}

// ends are the last sources of the history.
func (w *writer) ends(ctx context.Context) (last []state.Source, err error) {
	for i := range w.Ranges {
		r := &w.Ranges[i]
		if r.To == 0 {
			continue
		}
		epoch, err := topic.EpochBefore(ctx, w.Client, r.Topic, r.TopicID, r.Partition, r.To)
		if err != nil {
			return nil, err
		}
		last = append(last, state.Source{TopicID: r.TopicID, Partition: r.Partition, Epoch: epoch, Offset: r.To - 1, Index: math.MaxInt32})
	}
	return last, nil
}

func (w *writer) addChanges(h *shard, tx *state.Tx) {
	for c := range tx.Changes() {
		w.producer.Add(w.to(h), time.Now().UnixMilli(), c.Key, c.Value)
	}
}

// workOffset returns the offset at which the shard goes on in its work partition, and the
// leader epoch of the record before it; -1: not known. Work records that wait are kept. If the
// app goes on behind Ranges they are skipped: their events are in the history, or come again.
func (w *writer) workOffset(ctx context.Context, h *shard) (offset int64, epoch int32, err error) {
	if w.Ranges == nil {
		at := h.old.Position()
		return at.Work, at.WorkEpoch, nil
	}
	_, end, err := topic.Bounds(ctx, w.Client, w.App.WorkTopic(), int32(h.number))
	return end, -1, err
}
