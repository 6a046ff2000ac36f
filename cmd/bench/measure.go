package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer"
	"trailhound/consumer/kafka/topic"
)

const (
	stuckAfter  = time.Minute // without any progress
	productRead = "trailhound_input_records_total"
)

// sample is one look at a child and at the machine.
type sample struct {
	at                         time.Duration // since the child was started
	records                    float64       // read by then
	child, broker, self, whole figure        // CPU seconds
	resident                   figure        // MB
}

// span is the difference between two samples.
type span struct {
	seconds, records float64
	child, broker    figure // CPU seconds
	others           figure // likewise, of all that has nothing to do with the measurement
}

// steady returns the span from the first sample with at least from records until the first with at
// least to. Without two samples that differ, ok is false: the child was faster than the sampling.
func steady(samples []sample, from, to float64) (s span, ok bool) {
	reached := func(n float64) int {
		return slices.IndexFunc(samples, func(s sample) bool { return s.records >= n })
	}
	first, last := reached(from), reached(to)
	if first < 0 || last <= first {
		return span{}, false
	}
	a, b := samples[first], samples[last]
	s = span{seconds: (b.at - a.at).Seconds(), records: b.records - a.records, child: b.child - a.child, broker: b.broker - a.broker}
	s.others = b.whole - a.whole - s.child - s.broker - (b.self - a.self)
	return s, s.seconds > 0
}

func (s span) rate() figure { return figure(s.records / s.seconds) }

// perMillion is CPU seconds per million records.
func (s span) perMillion(cpu figure) figure { return cpu / figure(s.records) * 1e6 }

// look takes a sample of a child.
func (b *bench) look(c *child, records float64) sample {
	return sample{
		at: time.Since(c.Begun), records: records, child: cpuOf(c.pid()), broker: cpuOf(b.brokerPIDs...), self: cpuOf(os.Getpid()), whole: cpuOfAll(),
		resident: memoryOf(c.pid(), "VmRSS"),
	}
}

// watch samples a child until it has read so many records, as its counters of that name say.
func (b *bench) watch(ctx context.Context, c *child, series string, until float64) (all []sample, err error) {
	last, since := -1.0, time.Now()
	for {
		m, err := testbed.Metrics(ctx, c.listen)
		n := sum(m, series)
		if n != last {
			last, since = n, time.Now()
		}
		if err == nil {
			all = append(all, b.look(c, n))
		}
		switch {
		case !c.Running():
			return all, c.ended()
		case n >= until:
			return all, nil
		case time.Since(since) > stuckAfter:
			return all, errors.Join(fmt.Errorf("%s is stuck: it has read %.0f of %.0f records, and none for %s", c.name, max(0, last), until, stuckAfter), err)
		case !testbed.Sleep(ctx, b.every):
			return all, context.Cause(ctx)
		}
	}
}

// sum adds up the metrics of one name.
func sum(metrics map[string]float64, name string) (n float64) {
	for series, v := range metrics {
		if series == name || strings.HasPrefix(series, name+"{") {
			n += v
		}
	}
	return n
}

// drain waits until all that the product has read is evaluated and committed, and returns how long the evaluation took:
// the commits of positions come a second later and hold nothing up.
func (b *bench) drain(ctx context.Context, c *child, s *subject) (behind time.Duration, err error) {
	begun, last, since := time.Now(), "", time.Now()
	for {
		m, err := testbed.Metrics(ctx, c.listen)
		waiting := sum(m, "trailhound_matches_total") - sum(m, "trailhound_evaluations_total")
		if err == nil && waiting <= 0 && behind == 0 {
			behind = time.Since(begun)
		}
		lag, lagErr := consumer.Lag(ctx, b.client, topic.App{ID: s.app, Inputs: []string{s.input}})
		if err = errors.Join(err, lagErr); err == nil && lag == 0 && waiting <= 0 {
			return behind, nil
		}
		if now := fmt.Sprintf("%d records that are not committed and %.0f evaluations to do", lag, waiting); now != last {
			last, since = now, time.Now()
		}
		switch {
		case !c.Running():
			return 0, c.ended()
		case time.Since(since) > stuckAfter:
			return 0, errors.Join(fmt.Errorf("%s is stuck, with %s", c.name, last), err)
		case !testbed.Sleep(ctx, b.every):
			return 0, context.Cause(ctx)
		}
	}
}
