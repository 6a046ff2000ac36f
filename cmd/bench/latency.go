package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer/kafka/wire"
)

const (
	triggerEvery = 10 // events: one in so many is a denial of a new principal
	denials      = 10 // of one such principal, the last of which is to alert: the rule's threshold by itself
	lastAlert    = 15 * time.Second
	queued       = 10_000 // events that may wait for a partition before the pace is given up
	settled      = 3 * time.Second
)

// trigger is an event that is to alert.
type trigger struct{ sent, seen time.Time }

// pacer feeds events at a rate and waits for the alerts of some.
type pacer struct {
	*bench
	g     *generator
	topic string
	ctx   context.Context
	fail  context.CancelCauseFunc
	lanes []chan outgoing

	mu       sync.Mutex
	triggers map[string]*trigger // by eventID
	counted  []*trigger
}

// outgoing is an event on its way to a partition.
type outgoing struct{ key, value []byte }

// latency is the mode that measures how long an alert takes.
func (b *bench) latency(ctx context.Context) error {
	topic := fmt.Sprintf("%s-input-%d", b.id, len(b.topics)+1)
	if err := b.createTopic(ctx, topic, b.partitions, stampedByBroker); err != nil {
		return err
	}
	s, err := b.newSubject(ctx, topic)
	if err != nil {
		return err
	}
	b.quiet(ctx)
	load := loadAverage()
	c, err := b.launch(s)
	if err != nil {
		return err
	}
	defer c.kill()
	if err := c.ready(ctx, b.every); err != nil {
		return err
	}
	idle := unknown
	if b.idle > 0 {
		if idle, err = b.idleShare(ctx, c); err != nil {
			return err
		}
	}
	m, err := b.paced(ctx, c, s, topic)
	if err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	ms := func(at float64) figure { return milliseconds(testbed.Quantile(m.took, at)) }
	t := newTable(fmt.Sprintf("\nLatency, from an event's hand-over to the producer until its alert is read: %d partitions, %d shards", b.partitions, b.shards),
		"events/s", "alerts", "p50 ms", "p90 ms", "p99 ms", "longest ms", "CPU, % of a core", "idle")
	t.row(m.rate.text(0), fmt.Sprint(len(m.took)), ms(0.5).text(1), ms(0.9).text(1), ms(0.99).text(1), ms(1).text(1), (100 * m.share).text(1), (100 * idle).text(2))
	if err := b.record("latency", map[string]any{
		"events_per_s": m.rate, "alerts": len(m.took), "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "max_ms": ms(1), "cpu_share": m.share,
		"idle_cpu_share": idle, "load_before": load,
	}); err != nil {
		return err
	}
	return errors.Join(t.write(b.stdout), b.discard(ctx, s), b.deleteTopics(ctx, topic))
}

// idleShare is how much of a core the child uses while nothing comes.
func (b *bench) idleShare(ctx context.Context, c *child) (figure, error) {
	b.say("nothing comes for %s", b.idle)
	if !testbed.Sleep(ctx, settled) {
		return unknown, context.Cause(ctx)
	}
	begun, before := time.Now(), cpuOf(c.pid())
	if !testbed.Sleep(ctx, b.idle) {
		return unknown, context.Cause(ctx)
	}
	return (cpuOf(c.pid()) - before) / figure(time.Since(begun).Seconds()), nil
}

// pacing is the result of a pacer.
type pacing struct {
	took        []time.Duration
	rate, share figure
}

// paced feeds events, and returns the delays of the alerts after the warm-up.
func (b *bench) paced(ctx context.Context, c *child, s *subject, topic string) (m pacing, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	p := &pacer{bench: b, g: newGenerator(b.mix), topic: topic, ctx: ctx, fail: fail, triggers: make(map[string]*trigger)}
	var readers, senders sync.WaitGroup
	defer readers.Wait()
	defer fail(nil)
	found, err := b.client.Topics(ctx, s.alerts)
	if err != nil {
		return m, err
	}
	for _, one := range found[s.alerts].Partitions {
		readers.Go(func() { p.read(s.alerts, one.Index) })
	}
	b.say("%d events/s for %s, then for %s that count", b.rate+b.background, b.warm, b.duration)
	bg, err := newBackground(ctx, p.g, b.options, b.warm+b.duration)
	if err != nil {
		return m, err
	}
	for i := range b.partitions {
		lane := make(chan outgoing, queued)
		p.lanes = append(p.lanes, lane)
		senders.Go(func() { p.send(int32(i), lane) })
	}
	senders.Go(func() {
		if err := bg.send(ctx, b.client, topic, time.Now()); err != nil {
			fail(err)
		}
	})
	m, err = p.feed(c)
	for _, lane := range p.lanes {
		close(lane)
	}
	senders.Wait()
	m.rate += figure(bg.sent.Load()) / figure((b.warm + b.duration).Seconds())
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return m, err
	}
	m.took, err = p.await(c)
	return m, err
}

// feed hands events over until the time is over.
func (p *pacer) feed(c *child) (m pacing, err error) {
	begun := time.Now()
	end := begun.Add(p.warm + p.duration)
	var counting bool
	var since time.Time
	var cpu figure
	first, n := 0, 0
	for now := begun; now.Before(end); now = time.Now() {
		if !c.Running() {
			return m, c.ended()
		}
		if !counting && now.Sub(begun) >= p.warm {
			counting, since, cpu, first = true, now, cpuOf(c.pid()), n
		}
		for due := int(now.Sub(begun).Seconds() * float64(p.rate)); n < due; n++ {
			if !p.hand(n, counting) {
				return m, fmt.Errorf("the producer does not keep up with %d events/s; lower --rate", p.rate)
			}
		}
		if !testbed.Sleep(p.ctx, time.Until(begun.Add(time.Duration(float64(n+1)/float64(p.rate)*1e9)))) {
			return m, context.Cause(p.ctx)
		}
	}
	took := time.Since(since).Seconds()
	return pacing{rate: figure(float64(n-first) / took), share: (cpuOf(c.pid()) - cpu) / figure(took)}, nil
}

// hand gives the n-th event to the sender of its partition, unless too many wait there.
func (p *pacer) hand(n int, counting bool) bool {
	now := time.Now()
	var e event
	if n%triggerEvery != 0 {
		e = p.g.next(now)
	} else {
		k := n / triggerEvery
		e = p.g.make(now, denial, p.Principals+k/denials)
		if k%denials == denials-1 {
			p.expect(eventID(e.value), now, counting)
		}
	}
	select {
	case p.lanes[wire.PartitionOf(e.key, p.partitions)] <- outgoing{bytes.Clone(e.key), bytes.Clone(e.value)}:
		return true
	default:
		return false
	}
}

func (p *pacer) expect(id string, now time.Time, counting bool) {
	t := &trigger{sent: now}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.triggers[id] = t
	if counting {
		p.counted = append(p.counted, t)
	}
}

// eventID takes the id out of an event of a generator.
func eventID(value []byte) string {
	_, rest, _ := bytes.Cut(value, []byte(`"eventID":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}

// send writes the events that come through the lane; all that wait share one batch.
func (p *pacer) send(partition int32, lane chan outgoing) {
	b := wire.Batch{Codec: wire.Codecs[p.codec]}
	var buffer []byte
	for next := range lane {
		b.Reset()
		for more := true; more; {
			b.Append(time.Now().UnixMilli(), next.key, next.value)
			more = false
			if b.Size() < p.batchBytes {
				select {
				case next, more = <-lane:
				default:
				}
			}
		}
		var err error
		if buffer, err = produce(p.ctx, p.client, p.topic, partition, &b, buffer[:0]); err != nil {
			p.fail(err)
		}
	}
}

// read looks for the alerts of triggers in one partition of the alerts topic.
func (p *pacer) read(topic string, partition int32) {
	var got wire.Fetched
	for p.ctx.Err() == nil {
		err := p.client.Fetch(p.ctx, wire.FetchRequest{Topic: topic, Partition: partition, Offset: got.Next, MaxWait: time.Second, ReadCommitted: true}, &got)
		now := time.Now()
		if err == nil {
			err = got.Each(func(r *wire.Record) bool {
				var alert struct {
					EventID string `json:"event_id"`
				}
				if json.Unmarshal(r.Value, &alert) == nil {
					p.seen(alert.EventID, now)
				}
				return true
			})
		}
		if err != nil && p.ctx.Err() == nil {
			p.fail(fmt.Errorf("read topic %s partition %d: %w", topic, partition, err))
		}
	}
}

func (p *pacer) seen(id string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.triggers[id]; t != nil && t.seen.IsZero() {
		t.seen = now
	}
}

// await returns the delays of the triggers that count, once all have their alert.
func (p *pacer) await(c *child) (took []time.Duration, err error) {
	deadline := time.Now().Add(lastAlert)
	for {
		took = took[:0]
		p.mu.Lock()
		for _, t := range p.counted {
			if !t.seen.IsZero() {
				took = append(took, t.seen.Sub(t.sent))
			}
		}
		want := len(p.counted)
		p.mu.Unlock()
		switch {
		case len(took) == want && want > 0:
			return slices.Clone(took), nil
		case want == 0:
			return nil, errors.New("no alert was due; give a higher --rate or a longer --duration")
		case !c.Running():
			return nil, c.ended()
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%d of %d alerts have not come %s after the last event", want-len(took), want, lastAlert)
		case !testbed.Sleep(p.ctx, 20*time.Millisecond):
			return nil, context.Cause(p.ctx)
		}
	}
}
