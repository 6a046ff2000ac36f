package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"trailhound/config"
	"trailhound/consumer/replay"
)

// replayFlags are the flags of replay as they are typed.
type replayFlags struct {
	inputs     []string
	partitions []int32
	from, to   string
	offsets    string
	warm       string
	stateDir   string
	out, topic string
	strict     bool
	acceptLoss bool

	diff    string
	against string // file to compare with; "": the alerts topic
	json    bool
	diffAll bool
}

// alertsTopic, as the value of --diff, stands for the alerts topic. Help shows this value.
const alertsTopic = "alerts topic"

// arguments takes the only argument allowed: the file of --diff FILE.
func (f *replayFlags) arguments(args []string) error {
	if f.diff == alertsTopic && len(args) == 1 {
		f.diff, args = args[0], nil
	}
	if len(args) > 0 {
		return usagef("replay takes no argument; got %q", args)
	}
	if f.diff != alertsTopic {
		f.against = f.diff
	}
	if f.diff == "" && f.diffAll {
		return usagef("--all is about the comparison that --diff makes")
	}
	return nil
}

// check returns the range and the warm-up that the flags give.
func (f *replayFlags) check(s *setup, now time.Time) (b replay.Bounds, warm time.Duration, err error) {
	if len(f.inputs) == 0 {
		f.inputs = s.config.Topics.Input
	}
	for _, name := range f.inputs {
		if !slices.Contains(s.config.Topics.Input, name) {
			return b, 0, usagef("--input %s: topics.input has %q; name others with --set topics.input=%s", name, s.config.Topics.Input, name)
		}
	}
	if b, err = f.bounds(now); err != nil {
		return b, 0, err
	}
	if f.warm != "" {
		if warm, err = config.ParseDuration(f.warm); err != nil || warm <= 0 {
			return b, 0, usagef("--warm %s: a duration is wanted, as in 6h or 7d", f.warm)
		}
		if !b.ByOffset && b.From.IsZero() || b.ByOffset && b.FromOffset == 0 {
			return b, 0, usagef("--warm %s: there is nothing before the beginning of the topics; begin the range later, with --from or --offsets", f.warm)
		}
	}
	if problem := config.TopicName(f.topic); f.topic != "" && problem != "" {
		return b, 0, usagef("--topic: %s", problem)
	}
	if f.topic != "" && slices.Contains(s.ownTopics(), f.topic) {
		return b, 0, usagef("--topic %s: that is a topic of the service itself; name another one", f.topic)
	}
	return b, warm, cmp.Or(f.checkState(s), f.checkFiles())
}

// checkFiles refuses missing files before the replay. It opens none, which may be a pipe.
func (f *replayFlags) checkFiles() error {
	if f.against != "" && f.against != "-" {
		info, err := os.Stat(f.against)
		if err != nil {
			return namedError("--diff", err)
		}
		if info.IsDir() {
			return usagef("--diff %s: it is a directory; a file with one alert a line is wanted", f.against)
		}
	}
	if f.out == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(f.out)); err != nil {
		return outError(f.out, err)
	}
	if info, err := os.Stat(f.out); err == nil && !info.Mode().IsRegular() {
		return usagef("--out %s: it is not a file", f.out)
	}
	return nil
}

// ownTopics are the topics that the service reads or writes.
func (s *setup) ownTopics() []string {
	app := s.topology()
	return append([]string{app.WorkTopic(), app.StateTopic(), app.Alerts, app.DeadLetter}, app.Inputs...)
}

// checkState refuses a directory that is not empty, and the service's own, which the
// service may be about to use.
func (f *replayFlags) checkState(s *setup) error {
	if f.stateDir == "" {
		return nil
	}
	dir, err := filepath.Abs(f.stateDir)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	if own, err := filepath.Abs(s.config.StateDir); err == nil && own == dir {
		return usagef("--state %s: that is state_dir, where the service has its state; name another directory", f.stateDir)
	}
	switch found, err := os.ReadDir(dir); {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return namedError("--state", err)
	case len(found) > 0:
		return usagef("--state %s: the directory is not empty; a replay begins with an empty state", f.stateDir)
	}
	return nil
}

// bounds returns the range that the flags give.
func (f *replayFlags) bounds(now time.Time) (b replay.Bounds, err error) {
	if f.offsets != "" {
		err = f.byOffset(&b)
	} else {
		b, err = byTime(f.from, f.to, now)
	}
	b.Partitions = f.partitions
	return b, err
}

func (f *replayFlags) byOffset(b *replay.Bounds) error {
	if f.from != "" || f.to != "" {
		return usagef("a range is given by times, with --from and --to, or by --offsets")
	}
	if len(f.partitions) != 1 || len(f.inputs) != 1 {
		return usagef("--offsets are those of one partition: name it with --partition, and the topic with --input if there are several")
	}
	from, to, ok := strings.Cut(f.offsets, "..")
	b.ByOffset, b.FromOffset, b.ToOffset = true, 0, -1
	var err error
	if from != "" {
		b.FromOffset, err = strconv.ParseInt(from, 10, 64)
	}
	if to != "" && err == nil {
		b.ToOffset, err = strconv.ParseInt(to, 10, 64)
	}
	if !ok || err != nil || b.FromOffset < 0 || to != "" && b.ToOffset <= b.FromOffset {
		return usagef("--offsets %s: two offsets are wanted, the smaller one first, as in 1000..2000, 1000.. or ..2000", f.offsets)
	}
	return nil
}
