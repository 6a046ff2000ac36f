package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules"
	"trailhound/state"
)

// A transaction of the feed ends when it holds this much; each ends with a bounded sweep, as in the service.
const (
	feedChanges    = 4096
	feedBytes      = 4 << 20
	sweepPerCommit = 512
)

// feed runs records through the rules with a state of its own in memory, shard by shard as the service does: the
// same records give the same alerts. Not for concurrent use.
type feed struct {
	engine  *rules.Engine
	decoder rules.Decoder
	store   *state.Store
	shards  []feedShard
	tally   *tally

	// alert and rejected are called as it happens. What they are given is valid until they return.
	alert    func(*rules.Alert) error
	rejected func(at state.Source, index int, reason rules.Reason, detail string)

	matches, mine []rules.Match
}

type feedShard struct {
	*state.Shard
	tx *state.Tx // nil: none is open
}

// newFeed returns a feed with the rules and shards of the settings. The caller closes it.
func newFeed(s *settings, t *tally) (*feed, error) {
	limits := s.pastLimits()
	engine, err := s.engine(limits)
	if err != nil {
		return nil, err
	}
	options := s.stateOptions(limits)
	options.Dir, options.FS = "feed", vfs.NewMem()
	store, err := state.Open(options)
	if err != nil {
		return nil, err
	}
	f := &feed{engine: engine, decoder: rules.Decoder{MaxUnpacked: int64(s.Limits.MaxUnpacked)}, store: store, tally: t}
	f.shards = make([]feedShard, s.Shards)
	for n := range f.shards {
		if f.shards[n].Shard, err = store.Shard(n); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	return f, nil
}

// record evaluates all events of one record. The time is that of a Kafka record, zero for none.
func (f *feed) record(at state.Source, recordTime time.Time, value []byte) error {
	var failed error
	f.decoder.Decode(value, func(ev *rules.Event, err error) bool {
		if err != nil {
			bad, ok := errors.AsType[*rules.DecodeError](err)
			if !ok {
				failed = err
				return false
			}
			f.rejected(at, bad.Index, bad.Reason, bad.Detail)
			return true
		}
		index := ev.At.Index
		ev.At, ev.RecordTime = at, recordTime
		ev.At.Index = index
		failed = f.event(ev)
		return failed == nil
	})
	return failed
}

// event evaluates the event in each shard that owns one of its matches.
func (f *feed) event(ev *rules.Event) error {
	f.tally.events++
	var unmatched []rules.Rejection
	f.matches, unmatched = f.engine.Match(ev, f.matches[:0])
	for _, r := range unmatched {
		f.rejected(ev.At, int(ev.At.Index), r.Reason, r.Detail)
	}
	f.tally.matches += int64(len(f.matches))
	for len(f.matches) > 0 {
		n := f.take()
		if err := f.evaluate(ev, &f.shards[n]); err != nil {
			return fmt.Errorf("evaluate record %d of %s: %w", ev.At.Offset, printable(ev.At.Topic), err)
		}
	}
	return nil
}

// take moves the matches of the first match's shard to mine, and returns that shard.
func (f *feed) take() int {
	shard := func(m rules.Match) int { return rules.ShardOf(m.Rule, m.Key, len(f.shards)) }
	first := shard(f.matches[0])
	others := f.matches[:0]
	f.mine = f.mine[:0]
	for _, m := range f.matches {
		if shard(m) == first {
			f.mine = append(f.mine, m)
		} else {
			others = append(others, m)
		}
	}
	f.matches = others
	return first
}

func (f *feed) evaluate(ev *rules.Event, s *feedShard) error {
	if s.tx == nil {
		s.tx = s.Begin()
	}
	out := f.engine.Evaluate(ev, f.mine, s.tx)
	for _, v := range out.Verdicts {
		if v.Kind == rules.VerdictDuplicate || v.Kind == rules.VerdictSuppressed {
			f.tally.unheeded[v.Kind]++
		}
	}
	for _, r := range out.Rejected {
		f.rejected(ev.At, int(ev.At.Index), r.Reason, r.Detail)
	}
	for i := range out.Alerts {
		f.tally.alerts[out.Alerts[i].RuleID]++
		if err := f.alert(&out.Alerts[i]); err != nil {
			return err
		}
	}
	if s.tx.Len() < feedChanges && s.tx.Bytes() < feedBytes {
		return s.tx.Err()
	}
	return s.commit()
}

// commit ends the shard's transaction. The position is of no use to a state that dies with the process.
func (s *feedShard) commit() error {
	s.tx.Sweep(sweepPerCommit)
	err := s.tx.Apply(0)
	s.tx = nil
	return err
}

// close ends what is open, and lets go of the state.
func (f *feed) close() error {
	var failed error
	for n := range f.shards {
		if s := &f.shards[n]; s.tx != nil {
			failed = errors.Join(failed, s.commit())
		}
	}
	return errors.Join(failed, f.store.Close())
}
