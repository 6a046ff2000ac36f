package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// largeEvents bounds the bytes of a variant with large events, so that it ends on the same day.
const largeEvents = 2_000_000_000

// variant is the default with one thing changed.
type variant struct {
	name   string
	change func(*options)
	refill bool // the change needs another topic
}

// variants are the configurations that scale goes through, without those equal to the options.
func variants(o options) (all []variant) {
	add := func(refill bool, name string, same bool, change func(*options)) {
		if !same {
			all = append(all, variant{name: name, change: change, refill: refill})
		}
	}
	all = append(all, variant{name: "as given", change: func(*options) {}})
	for _, n := range []int{1, 2} {
		add(false, fmt.Sprintf("GOMAXPROCS %d", n), n == runtime.NumCPU(), func(o *options) { o.procs = n })
	}
	for _, n := range []int{1, 8, 64} {
		add(false, fmt.Sprintf("shards %d", n), n == o.shards, func(o *options) { o.shards = n })
	}
	for _, n := range []int{1, 4, 64} {
		add(true, fmt.Sprintf("partitions %d", n), n == o.partitions, func(o *options) { o.partitions = n })
	}
	for _, n := range []int{10_000, 1_000_000} {
		add(true, fmt.Sprintf("principals %d", n), n == o.Principals, func(o *options) { o.Principals = n })
	}
	for _, n := range []int{500, 1700, 20_000} {
		usual := n == 1700 && o.Size == 0
		add(true, fmt.Sprintf("size %d", n), n == o.Size || usual, func(o *options) { o.Size = n })
	}
	for _, codec := range []string{"none", "lz4", "zstd", "gzip"} {
		add(true, "codec "+codec, codec == o.codec, func(o *options) { o.codec = codec })
	}
	return all
}

// scale is the mode that measures throughput with one thing varied at a time.
func (b *bench) scale(ctx context.Context) error {
	given := b.options
	defer func() { b.options = given }()
	t := newTable(fmt.Sprintf("\nThroughput with one thing varied at a time; as given: %s events, %s, %d partitions, %d shards, %d principals, GOMAXPROCS %d",
		figure(b.events).text(0), b.codec, b.partitions, b.shards, b.Principals, runtime.GOMAXPROCS(0)),
		"", "events/s", "consuming alone", "of alone", "MB/s of JSON", "CPU s per 1 M", "alone's", "peak MB")
	var in input
	for _, v := range variants(given) {
		b.options = given
		v.change(&b.options)
		if v.refill && b.Size > 0 {
			b.events = min(b.events, largeEvents/b.Size)
		}
		b.say("%s", v.name)
		var err error
		if v.refill || in.topic == "" {
			if in.topic != "" {
				if err := b.deleteTopics(ctx, in.topic); err != nil {
					return err
				}
			}
			if in, err = b.fillTopic(ctx, 0, usualSpan); err != nil {
				return err
			}
		}
		all, err := b.pairs(ctx, "scale", v.name, in)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		rate := medianOf(all, func(p pair) figure { return p.product.rate() })
		t.row(v.name, rate.text(0), medianOf(all, func(p pair) figure { return p.alone.rate() }).text(0), medianOf(all, pair.ratio).text(2),
			(rate * figure(in.json) / figure(in.records) / 1e6).text(0),
			medianOf(all, func(p pair) figure { return p.product.perMillion(p.product.child) }).text(2),
			medianOf(all, func(p pair) figure { return p.alone.perMillion(p.alone.child) }).text(2),
			medianOf(all, func(p pair) figure { return p.product.peak }).text(0))
	}
	return t.write(b.stdout)
}

// memory is the mode that measures throughput and resident memory with many live keys.
func (b *bench) memory(ctx context.Context) error {
	given := b.options
	defer func() { b.options = given }()
	b.Principals = max(b.Principals, b.keys)
	in, err := b.fillTopic(ctx, b.keys, briefSpan)
	if err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("\nMemory: %s principals denied once, then %s events of %s bytes; %d shards", figure(b.keys).text(0), figure(b.events).text(0),
		figure(float64(in.json)/float64(in.records)).text(0), b.shards),
		"run", "peak MB", "least MB, last 80 %", "most MB, last 80 %", "keys/s", "events/s", "CPU s per 1 M", "alerts")
	for run := range b.runs {
		r, err := b.readProduct(ctx, in, b.keys)
		if err != nil {
			return err
		}
		b.sayReading("trailhound", run+1, r)
		least, most := residents(r.all)
		keys := unknown
		if s, ok := steady(r.all, 0.1*float64(b.keys), float64(b.keys)); ok {
			keys = s.rate()
		}
		t.row(fmt.Sprint(run+1), r.peak.text(0), least.text(0), most.text(0), keys.text(0), r.rate().text(0), r.perMillion(r.child).text(2), fmt.Sprint(r.alerts))
		fields := r.fields(in)
		fields["run"], fields["keys"], fields["least_rss_mb"], fields["most_rss_mb"], fields["alerts"] = run+1, b.keys, least, most, r.alerts
		fields["rss_mb"] = series(r.all)
		if err := b.record("memory", fields); err != nil {
			return err
		}
	}
	return t.write(b.stdout)
}

// residents returns the least and the most resident memory in the last 80 % of the time.
func residents(all []sample) (least, most figure) {
	least, most = unknown, unknown
	from := all[0].at + (all[len(all)-1].at-all[0].at)/5
	for _, s := range all {
		if s.at < from || !s.resident.known() {
			continue
		}
		if !least.known() {
			least, most = s.resident, s.resident
		}
		least, most = min(least, s.resident), max(most, s.resident)
	}
	return least, most
}

// series is the resident memory second by second.
func series(all []sample) (mb []figure) {
	for _, s := range all {
		if s.at >= time.Duration(len(mb))*time.Second {
			mb = append(mb, s.resident)
		}
	}
	return mb
}
