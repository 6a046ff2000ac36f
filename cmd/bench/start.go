package main

import (
	"context"
	"fmt"
	"time"

	"trailhound/cmd/internal/testbed"
)

const (
	startEvents = 200_000              // that the state is made of, unless given otherwise
	readyEvery  = 2 * time.Millisecond // how often /readyz is asked, and so how exact the figure is
)

// start is the mode that measures how soon an instance with local state is ready.
func (b *bench) start(ctx context.Context) error {
	given := b.options
	defer func() { b.options = given }()
	if b.rate > 0 { // after throughput, which takes a larger topic
		b.events = min(b.events, startEvents)
	}
	in, err := b.fillTopic(ctx, 0, usualSpan)
	if err != nil {
		return err
	}
	s, err := b.newSubject(ctx, in.topic)
	if err != nil {
		return err
	}
	b.quiet(ctx)
	c, err := b.launch(s)
	if err != nil {
		return err
	}
	defer func() { c.kill() }()
	if _, err := b.watch(ctx, c, productRead, float64(in.records)); err != nil {
		return err
	}
	if _, err := b.drain(ctx, c, s); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("\nStart, until /readyz answers 200: %d shards, %d input partitions, state of %s events", b.shards, b.partitions, figure(in.records).text(0)),
		"after", "times", "median ms", "longest ms")
	for _, way := range []struct {
		name string
		end  func() error
	}{{"an orderly stop", func() error { return c.stop() }}, {"kill -9", func() error { c.kill(); return nil }}} {
		var took []time.Duration
		for run := range b.runs {
			if err := way.end(); err != nil {
				return err
			}
			if c, err = b.launch(s); err != nil {
				return err
			}
			if err := c.ready(ctx, readyEvery); err != nil {
				return err
			}
			d := time.Since(c.Begun)
			took = append(took, d)
			b.say("ready %s after its start, which came after %s", d.Round(time.Millisecond), way.name)
			if err := b.record("start", map[string]any{"after": way.name, "run": run + 1, "ready_ms": milliseconds(d)}); err != nil {
				return err
			}
			if !testbed.Sleep(ctx, time.Second) { // an instance that has just begun has not much to stop
				return context.Cause(ctx)
			}
		}
		t.row(way.name, fmt.Sprint(len(took)), milliseconds(testbed.Quantile(took, 0.5)).text(0), milliseconds(testbed.Quantile(took, 1)).text(0))
	}
	if err := c.stop(); err != nil {
		return err
	}
	return t.write(b.stdout)
}

func milliseconds(d time.Duration) figure { return figure(d.Seconds() * 1000) }
