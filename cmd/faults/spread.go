package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// spread says how a set of events becomes a larger input: copies in time, and the order and the partitions in which they
// come. The same values give the same input.
type spread struct {
	Copies     int           // of the set, each with eventIDs of its own
	Apart      time.Duration // from one copy to the next, in event time
	Shuffle    time.Duration // every event comes up to so much late
	Doubled    bool          // every event comes twice
	LateShare  float64       // of the events, that comes Late after its time
	Late       time.Duration
	Regions    time.Duration // each region comes so much after the one before
	Partitions int
	How        string // by which the partition is chosen: round-robin, hash (of the eventID) or time
	Seed       uint64
}

// The ways to spread events over partitions.
var spreads = []string{"round-robin", "hash", "time"}

// original is an event of the set.
type original struct {
	raw          []byte
	stamp, event string
	at           time.Time
	ids          []string // its own first
	region       int
}

// delivery is one arrival of a copy of an event.
type delivery struct {
	event, copy int32
	partition   int32
	again       bool // it came before
	at, arrival int64
}

// readSet reads events, one a line. Those without a time are left out, as are lines that are no event.
func readSet(names []string) (set []original, err error) {
	regions := make(map[string]int)
	for _, name := range names {
		err := eachLine(name, func(line []byte) error {
			parts := unwrap(line)
			if len(parts) != 1 || parts[0].event == nil {
				return nil
			}
			e := parts[0].event
			at, ok := e.happened()
			if !ok {
				return nil
			}
			if _, known := regions[e.Region]; !known {
				regions[e.Region] = len(regions)
			}
			o := original{raw: bytes.Clone(parts[0].raw), stamp: cmp.Or(e.Time, e.Stamp), at: at, event: e.ID, region: regions[e.Region]}
			for _, id := range []string{e.ID, e.Addendum.Original, e.Shared} {
				if id != "" {
					o.ids = append(o.ids, id)
				}
			}
			set = append(set, o)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("there are no events in %q", names)
	}
	return set, nil
}

// idSpace is the UUID name space for the ids of copies.
var idSpace = uuid.MustParse("8c4b8dd0-6c0e-4f56-8f0a-57d6c0a9e6b1")

// copyID is the id that takes the place of an id in the n-th copy.
func copyID(id string, n int32) string {
	return uuid.NewSHA1(idSpace, fmt.Appendf(nil, "%d %s", n, id)).String()
}

// value is the record value of a delivery: the event with another time and other ids.
func (s *spread) value(set []original, d *delivery) []byte {
	o := &set[d.event]
	quoted := func(text string) []byte { return []byte(`"` + text + `"`) }
	v := bytes.ReplaceAll(o.raw, quoted(o.stamp), quoted(time.Unix(0, d.at).UTC().Format(time.RFC3339Nano)))
	for _, id := range o.ids {
		v = bytes.ReplaceAll(v, quoted(id), quoted(copyID(id, d.copy)))
	}
	return v
}

// deliveries returns all arrivals in their order, at least one for each event of each copy.
func (s *spread) deliveries(set []original) []delivery {
	rng := rand.New(rand.NewPCG(s.Seed, 5))
	var all []delivery
	for c := range int32(s.Copies) {
		for i := range set {
			at := set[i].at.Add(time.Duration(c) * s.Apart).UnixNano()
			d := delivery{event: int32(i), copy: c, at: at, arrival: at + int64(set[i].region)*int64(s.Regions)}
			if s.Shuffle > 0 {
				d.arrival += rng.Int64N(int64(s.Shuffle))
			}
			if s.LateShare > 0 && rng.Float64() < s.LateShare {
				d.arrival += int64(s.Late)
			}
			all = append(all, d)
			if s.Doubled {
				d.again = true
				d.arrival += rng.Int64N(int64(max(s.Shuffle, time.Second)))
				all = append(all, d)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return cmp.Compare(a.arrival, b.arrival) })
	for i := range all {
		all[i].partition = s.partition(set, &all[i], i, len(all))
	}
	return all
}

func (s *spread) partition(set []original, d *delivery, i, n int) int32 {
	switch s.How {
	case "hash":
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%s %d", set[d.event].event, d.copy) // a hash takes everything
		return int32(h.Sum64() % uint64(s.Partitions))
	case "time":
		return int32(i * s.Partitions / n)
	}
	return int32(i % s.Partitions)
}

// produce sends the deliveries to a topic, and returns the end of each partition.
func (s *spread) produce(ctx context.Context, brokers []string, topic string, set []original, all []delivery) (map[int32]int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends := make(map[int32]int64)
	var failed error // written by one goroutine of the client, read after Flush
	for i := range all {
		d := &all[i]
		client.Produce(ctx, &kgo.Record{Partition: d.partition, Value: s.value(set, d)}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
		ends[d.partition]++
	}
	return ends, errors.Join(client.Flush(ctx), failed)
}

// writeSorted writes each event once, in the order of event time: live input would be
// evaluated like this, but for lateness.
func (s *spread) writeSorted(name string, set []original, all []delivery) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.write(f, set, slices.SortedStableFunc(slices.Values(slices.DeleteFunc(slices.Clone(all), func(d delivery) bool { return d.again })),
		func(a, b delivery) int { return cmp.Compare(a.at, b.at) }))
}

// write writes deliveries one a line.
func (s *spread) write(w io.Writer, set []original, all []delivery) error {
	b := bufio.NewWriterSize(w, 1<<20)
	for i := range all {
		if _, err := b.Write(append(s.value(set, &all[i]), '\n')); err != nil {
			return err
		}
	}
	return b.Flush()
}
