package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"trailhound/consumer/kafka/wire"
)

// The part of a topic in which the rate counts: before it the program starts, after it the first partitions are empty.
const steadyFrom, steadyTo = 0.1, 0.9

// reading is the result of one run over a topic.
type reading struct {
	span
	peak   figure        // MB of resident memory
	behind time.Duration // until the records read were evaluated; of the product only
	alerts int
	load   figure // when it began
	all    []sample
}

// fillTopic makes a topic and fills it as the options say; first is a number of principals that are denied once before.
func (b *bench) fillTopic(ctx context.Context, first int, span time.Duration) (in input, err error) {
	topic := fmt.Sprintf("%s-input-%d", b.id, len(b.topics)+1)
	if err := b.createTopic(ctx, topic, b.partitions); err != nil {
		return in, err
	}
	o, err := newOracle(b.binary, b.sets)
	if err != nil {
		return in, err
	}
	if b.Hot {
		span = min(span, briefSpan)
	}
	f := filling{mix: b.mix, partitions: b.partitions, events: b.events, first: first, span: span, codec: wire.Codecs[b.codec], batchBytes: b.batchBytes}
	in, err = fill(ctx, b.client, topic, f, o)
	if err != nil {
		o.kill()
		return in, err
	}
	b.say("%s events of %s bytes are in a topic of %d partitions: %s MB as %s; they make %s alerts (%s events/s written)",
		figure(in.records).text(0), figure(float64(in.json)/float64(in.records)).text(0), in.partitions, figure(float64(in.sent)/1e6).text(0), b.codec,
		figure(in.want.count).text(0), figure(float64(in.records)/in.took.Seconds()).text(0))
	return in, nil
}

// readAlone measures consuming alone.
func (b *bench) readAlone(ctx context.Context, in input) (r reading, err error) {
	b.quiet(ctx)
	r.load = loadAverage()
	c, err := b.launchAlone(in)
	if err != nil {
		return r, err
	}
	defer c.kill()
	if r.all, err = b.watch(ctx, c, aloneSeries, float64(in.records)); err != nil {
		return r, err
	}
	if err := r.settle(c, 0, float64(in.records)); err != nil {
		return r, err
	}
	return r, c.stop()
}

// readProduct measures the product from the record first on, and checks its alerts.
func (b *bench) readProduct(ctx context.Context, in input, first int) (r reading, err error) {
	s, err := b.newSubject(ctx, in.topic)
	if err != nil {
		return r, err
	}
	b.quiet(ctx)
	r.load = loadAverage()
	c, err := b.launch(s)
	if err != nil {
		return r, err
	}
	defer c.kill()
	if r.all, err = b.watch(ctx, c, productRead, float64(in.records)); err != nil {
		return r, err
	}
	if r.behind, err = b.drain(ctx, c, s); err != nil {
		return r, err
	}
	if err := r.settle(c, float64(first), float64(in.records)); err != nil {
		return r, err
	}
	if err := c.stop(); err != nil {
		return r, err
	}
	got, err := committedAlerts(ctx, b.client, s.alerts)
	if err != nil {
		return r, err
	}
	r.alerts = got.count
	if got.count != in.want.count || in.keyed && got.digest != in.want.digest {
		return r, fmt.Errorf("WRONG ALERTS: the topic holds %d, trailhound detect finds %d in the same events, and they are to be the same ones; the rate of a wrong answer means nothing", got.count, in.want.count)
	}
	return r, b.discard(ctx, s)
}

// settle computes the figures from the samples, of the records from first to last.
func (r *reading) settle(c *child, first, last float64) error {
	r.peak = memoryOf(c.pid(), "VmHWM")
	var ok bool
	if r.span, ok = steady(r.all, first+steadyFrom*(last-first), first+steadyTo*(last-first)); !ok {
		return fmt.Errorf("%s was through the topic before it could be looked at twice; give more --events", c.name)
	}
	return nil
}

// sayReading prints a reading, with warnings where it is doubtful.
func (b *bench) sayReading(name string, run int, r reading) {
	b.say("%s, run %d: %s events/s, %s CPU s per 1 M, peak %s MB", name, run, r.rate().text(0), r.perMillion(r.child).text(2), r.peak.text(0))
	if r.seconds < 2 {
		b.say("WARNING: that was measured over %.2f s only; give more --events", r.seconds)
	}
	if share := r.others / figure(r.seconds) / figure(runtime.NumCPU()); share > busyShare {
		b.say("WARNING: other processes used %s %% of the machine meanwhile", (100 * share).text(0))
	}
}

// pair is consuming alone and the product, one after the other.
type pair struct{ alone, product reading }

func (p pair) ratio() figure { return p.product.rate() / p.alone.rate() }

// pairs measures both in turn, as often as --runs says.
func (b *bench) pairs(ctx context.Context, mode, variant string, in input) (all []pair, err error) {
	for run := range b.runs {
		var p pair
		if p.alone, err = b.readAlone(ctx, in); err != nil {
			return all, err
		}
		b.sayReading("consuming alone", run+1, p.alone)
		if p.product, err = b.readProduct(ctx, in, 0); err != nil {
			return all, err
		}
		b.sayReading("trailhound", run+1, p.product)
		all = append(all, p)
		if err := b.recordPair(mode, variant, run+1, in, p); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (b *bench) recordPair(mode, variant string, run int, in input, p pair) error {
	alone, product := p.alone.fields(in), p.product.fields(in)
	alone["what"], product["what"] = "consuming alone", "trailhound"
	product["of_alone"], product["alerts"], product["behind_s"] = p.ratio(), p.product.alerts, figure(p.product.behind.Seconds())
	for _, fields := range []map[string]any{alone, product} {
		fields["variant"], fields["run"] = variant, run
		if err := b.record(mode, fields); err != nil {
			return err
		}
	}
	return nil
}

// fields are the figures of a reading for its line of JSON.
func (r reading) fields(in input) map[string]any {
	return map[string]any{
		"events": in.records, "partitions": in.partitions, "bytes_per_event": figure(float64(in.json) / float64(in.records)),
		"events_per_s": r.rate(), "cpu_s_per_million": r.perMillion(r.child), "broker_cpu_s_per_million": r.perMillion(r.broker),
		"others_cpu_s": r.others, "span_s": figure(r.seconds), "peak_rss_mb": r.peak, "load_before": r.load,
	}
}

// throughput is the mode that measures how many events a second one instance works off.
func (b *bench) throughput(ctx context.Context) error {
	in, err := b.fillTopic(ctx, 0, usualSpan)
	if err != nil {
		return err
	}
	all, err := b.pairs(ctx, "throughput", "", in)
	if err != nil {
		return err
	}
	if err := b.deleteTopics(ctx, in.topic); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("\nThroughput: %s events of %s bytes, %s, %d partitions, %d shards; every run gave the %s alerts that trailhound detect finds",
		figure(in.records).text(0), figure(float64(in.json)/float64(in.records)).text(0), b.codec, b.partitions, b.shards, figure(in.want.count).text(0)),
		"", "run", "events/s", "of alone", "CPU s per 1 M", "broker's", "peak MB", "s behind", "alerts", "load")
	for i, p := range all {
		t.row("consuming alone", fmt.Sprint(i+1), p.alone.rate().text(0), "", p.alone.perMillion(p.alone.child).text(2), p.alone.perMillion(p.alone.broker).text(2),
			p.alone.peak.text(0), "", "", p.alone.load.text(1))
		t.row("trailhound", fmt.Sprint(i+1), p.product.rate().text(0), p.ratio().text(2), p.product.perMillion(p.product.child).text(2), p.product.perMillion(p.product.broker).text(2),
			p.product.peak.text(0), figure(p.product.behind.Seconds()).text(1), fmt.Sprint(p.product.alerts), p.product.load.text(1))
	}
	for _, of := range []struct {
		name  string
		which func(pair) reading
	}{{"consuming alone", func(p pair) reading { return p.alone }}, {"trailhound", func(p pair) reading { return p.product }}} {
		m := func(value func(reading) figure) figure {
			return medianOf(all, func(p pair) figure { return value(of.which(p)) })
		}
		ratio := ""
		if of.name == "trailhound" {
			ratio = medianOf(all, pair.ratio).text(2)
		}
		t.row(of.name, "median", m(func(r reading) figure { return r.rate() }).text(0), ratio, m(func(r reading) figure { return r.perMillion(r.child) }).text(2),
			m(func(r reading) figure { return r.perMillion(r.broker) }).text(2), m(func(r reading) figure { return r.peak }).text(0), "", "", "")
	}
	return t.write(b.stdout)
}

// medianOf is the median of a figure of all elements.
func medianOf[T any](all []T, of func(T) figure) figure {
	values := make([]figure, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	return median(values)
}

// median is the middle one of the values that are known, or the mean of the two in the middle.
func median(values []figure) figure {
	known := slices.DeleteFunc(slices.Clone(values), func(f figure) bool { return !f.known() })
	if len(known) == 0 {
		return unknown
	}
	slices.Sort(known)
	middle := len(known) / 2
	if len(known)%2 == 1 {
		return known[middle]
	}
	return (known[middle-1] + known[middle]) / 2
}
