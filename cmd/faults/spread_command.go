package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"os"
	"path/filepath"
)

// flags adds the flags that make an input of a set.
func (s *spread) flags(flags *flag.FlagSet) {
	flags.DurationVar(&s.Apart, "apart", 6*24*time.Hour, "event time from one copy to the next")
	flags.DurationVar(&s.Shuffle, "shuffle", 10*time.Minute, "every event comes up to so much late")
	flags.BoolVar(&s.Doubled, "doubled", false, "every event comes twice")
	flags.Float64Var(&s.LateShare, "late-share", 0, "share of the events, from 0 to 1, that comes --late after its time")
	flags.DurationVar(&s.Late, "late", 2*time.Hour, "how late that is")
	flags.DurationVar(&s.Regions, "regions-apart", 0, "each region comes so much after the one before")
	flags.Uint64Var(&s.Seed, "seed", rand.Uint64N(1_000_000), "decides the order")
}

func (s *spread) check() error {
	switch {
	case s.Copies < 1 || s.Partitions < 1:
		return errors.New("want at least one copy and one partition")
	case !slices.Contains(spreads, s.How):
		return fmt.Errorf("--how %q: want one of %s", s.How, strings.Join(spreads, ", "))
	case s.Apart < 0 || s.Shuffle < 0 || s.Late < 0 || s.Regions < 0 || s.LateShare < 0 || s.LateShare > 1:
		return errors.New("no time is negative, and --late-share is from 0 to 1")
	}
	return nil
}

// spreadCommand makes an input of a set, and sends it to a topic or writes a file for each partition.
func spreadCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("faults spread", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var s spread
	s.flags(flags)
	flags.IntVar(&s.Copies, "copies", 1, "copies of the set, with eventIDs of their own")
	flags.IntVar(&s.Partitions, "partitions", 1, "partitions of the topic, or files")
	flags.StringVar(&s.How, "how", spreads[0], "how events are spread over partitions: "+strings.Join(spreads, ", "))
	names := flags.String("set", "", "files of events, one a line, plain or gzip, comma-separated")
	brokers := flags.String("brokers", "", "brokers of the topic, comma-separated")
	topic := flags.String("topic", "", "topic, which exists")
	dir := flags.String("dir", "", "directory for files N.jsonl, one a partition, in the place of a topic; and sorted.jsonl, each event once by its time")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitDone
		}
		return exitUsage
	}
	err := s.check()
	if err == nil && (flags.NArg() > 0 || *names == "" || (*dir == "") == (*topic == "" || *brokers == "")) {
		err = errors.New("want --set, and either --dir or --brokers and --topic, and no arguments")
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults spread:", err)
		return exitUsage
	}
	set, err := readSet(strings.Split(*names, ","))
	if err == nil {
		all := s.deliveries(set)
		if *dir != "" {
			err = s.writeFiles(*dir, set, all)
		} else {
			_, err = s.produce(ctx, strings.Split(*brokers, ","), *topic, set, all)
		}
		fmt.Fprintf(stdout, "%d deliveries of %d events, seed %d\n", len(all), len(set)*s.Copies, s.Seed)
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults spread:", err)
		return exitFailed
	}
	return exitDone
}

// writeFiles writes a file for each partition, and one of all events by time.
func (s *spread) writeFiles(dir string, set []original, all []delivery) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for p := range s.Partitions {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.jsonl", p)))
		if err != nil {
			return err
		}
		own := slices.DeleteFunc(slices.Clone(all), func(d delivery) bool { return d.partition != int32(p) })
		if err := errors.Join(s.write(f, set, own), f.Close()); err != nil {
			return err
		}
	}
	return s.writeSorted(filepath.Join(dir, "sorted.jsonl"), set, all)
}
