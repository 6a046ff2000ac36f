package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"trailhound/cmd/internal/testbed"
)

// play starts brokers and instances with the product's own time-outs, lets a mode do its
// work, and tidies up. The work tells whether the product has passed.
func play(ctx context.Context, o options, stdout, stderr io.Writer, work func(context.Context, *suite) (bool, error), settings ...func(*suite)) int {
	dir, err := testbed.MakeDir(o.dir, dirPrefix)
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "everything is kept in %s while it runs\n", dir)
	s := &suite{options: o, log: &lines{w: stderr, begun: time.Now()}, dir: dir, config: commonConfig, report: newReport(o.seed)}
	for _, set := range settings {
		set(s)
	}
	ok, err := s.play(ctx, work)
	s.report.mu.Lock()
	defer s.report.mu.Unlock()
	for _, e := range s.report.Exits {
		ok = ok && e.Why != ""
		fmt.Fprintln(stdout, e)
	}
	if err == nil && ok {
		if o.dir == "" {
			err = os.RemoveAll(dir)
		}
		if err == nil {
			return exitDone
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
	}
	fmt.Fprintf(stderr, "FAILED. Logs, state and the brokers' data are in %s\n", dir)
	return exitFailed
}

func (s *suite) play(ctx context.Context, work func(context.Context, *suite) (bool, error)) (ok bool, err error) {
	if err := s.start(ctx); err != nil {
		return false, err
	}
	defer func() {
		s.halt()
		if ok && err == nil {
			err = s.cluster.stop()
		} else {
			s.cluster.halt()
		}
	}()
	return work(ctx, s)
}
