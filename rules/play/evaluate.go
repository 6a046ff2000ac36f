package play

import (
	"context"
	"fmt"

	"trailhound/rules"
	"trailhound/state"
)

// A transaction ends when it holds this much; each ends with a bounded sweep, as in the service.
const (
	txChanges      = 4096
	txBytes        = 4 << 20
	sweepPerCommit = 512
)

type shard struct {
	*state.Shard
	tx *state.Tx // nil: none is open
}

// evaluateAll evaluates the batches of the line in their order.
func (p *Player) evaluateAll(l *line) error {
	for {
		t, err := p.next(l)
		if t == nil || err != nil {
			return err
		}
		close(t.turn)
		if err := p.batch(l, t); err != nil {
			return err
		}
		if t.batch.Done != nil {
			t.batch.Done()
		}
		l.leave(t)
	}
}

// next waits for a batch; nil at the end of the line.
func (p *Player) next(l *line) (*task, error) {
	select {
	case t := <-l.order:
		return t, nil
	default:
	}
	if p.options.Idle != nil {
		if err := p.options.Idle(); err != nil {
			return nil, err
		}
	}
	select {
	case t := <-l.order:
		return t, nil
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
}

// batch evaluates the pages of one batch as they come.
func (p *Player) batch(l *line, t *task) error {
	for {
		select {
		case pg, ok := <-t.pages:
			if !ok {
				return nil
			}
			if err := p.page(pg); err != nil {
				return err
			}
			l.give(pg)
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

func (p *Player) page(pg *page) error {
	p.counts.Records += pg.records
	p.counts.Events += pg.events
	for i := range pg.items {
		it := &pg.items[i]
		if it.from == it.to {
			p.options.Rejected(it.rejected.at, it.rejected.index, it.rejected.reason, it.rejected.detail)
		} else if err := p.event(&it.event, pg.matches[it.from:it.to]); err != nil {
			return err
		}
	}
	return nil
}

// event evaluates the event in each shard that owns one of its matches.
func (p *Player) event(ev *rules.Event, matches []rules.Match) error {
	p.counts.Matches += int64(len(matches))
	for len(matches) > 0 {
		var s *shard
		s, matches = p.take(matches)
		if err := p.evaluate(ev, s); err != nil {
			return err
		}
	}
	return nil
}

// take moves the matches of the first match's shard to mine, and returns that shard and the other matches.
func (p *Player) take(matches []rules.Match) (*shard, []rules.Match) {
	of := func(m rules.Match) int { return rules.ShardOf(m.Key, len(p.shards)) }
	first := of(matches[0])
	others := matches[:0]
	p.mine = p.mine[:0]
	for _, m := range matches {
		if of(m) == first {
			p.mine = append(p.mine, m)
		} else {
			others = append(others, m)
		}
	}
	return &p.shards[first], others
}

func (p *Player) evaluate(ev *rules.Event, s *shard) error {
	if s.tx == nil {
		s.tx = s.Begin()
	}
	out := p.engine.Evaluate(ev, p.mine, s.tx)
	for _, v := range out.Verdicts {
		p.counts.Verdicts[v.Kind]++
	}
	for _, r := range out.Rejected {
		p.options.Rejected(ev.At, int(ev.At.Index), r.Reason, r.Detail)
	}
	for i := range out.Alerts {
		if err := p.options.Alert(ev, &out.Alerts[i]); err != nil {
			return err
		}
	}
	err := s.tx.Err()
	if s.tx.Len() >= txChanges || s.tx.Bytes() >= txBytes {
		err = s.commit()
	}
	if err != nil {
		return fmt.Errorf("evaluate record %d of %q: %w", ev.At.Offset, ev.At.Topic, err)
	}
	return nil
}

// commit ends the shard's transaction, if one is open. The position is of no use to a state that dies with the process.
func (s *shard) commit() error {
	if s.tx == nil {
		return nil
	}
	s.tx.Sweep(sweepPerCommit)
	err := s.tx.Apply(0)
	s.tx = nil
	return err
}
