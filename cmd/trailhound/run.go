package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/consumer"
	"trailhound/consumer/admin"
	"trailhound/state"
)

func runCommand(a *app) *cobra.Command {
	var acceptLoss, acceptChange bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the service: events from the input topics in, alerts out, exactly once",
		Long: "Run joins the consumer group named after app_id, reads the input topics, evaluates the rules and publishes\n" +
			"alerts, until SIGTERM or SIGINT; SIGHUP does nothing. Start as many instances as you like, each with a\n" +
			"state_dir of its own: they share the partitions and shards.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if acceptLoss {
				a.set = append(a.set, "accept_loss=true")
			}
			if acceptChange {
				a.set = append(a.set, "accept_change=true")
			}
			signal.Ignore(syscall.SIGHUP) // a service needs no terminal, and reloads nothing at a signal
			s, err := a.setup()
			if err != nil {
				return err
			}
			err = serve(c.Context(), a, s)
			if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // asked to end before its start
			}
			return err
		},
	}
	c.Flags().BoolVar(&acceptLoss, "accept-loss", false, "go on although records were deleted before they were read (accept_loss)")
	c.Flags().BoolVar(&acceptChange, "accept-change", false, "accept other topics than the stored state was made with (accept_change)")
	return c
}

// serve opens the client, the state and the topics, runs the service and its HTTP server,
// and closes all of them.
func serve(ctx context.Context, a *app, s *setup) (err error) {
	log, bar, err := serviceLog(a, s)
	if err != nil {
		return err
	}
	metrics := admin.NewMetrics(version())
	level := metrics.LogLevel(log.GetLevel())
	log = log.Level(zerolog.DebugLevel).Hook(level)
	client, err := s.connect(log.WithContext(ctx))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := s.checkTopics(ctx, client); err != nil {
		return s.allRights(ctx, client, "run", err)
	}
	if err := s.preflight(ctx, client); err != nil {
		return s.allRights(ctx, client, "run", err)
	}
	s.warnOfRights(ctx, client, log)
	collectOften(a)
	if problem := s.tightMemory(); problem != "" {
		log.Warn().Str("problem", problem).Str("event", "memory_tight").Msg("a record may take more memory than the process has")
	}
	store, err := s.openState(log)
	if err != nil {
		return err
	}
	closed := endWhenStuck(ctx, store, log)
	defer func() {
		if failed := store.Close(); err == nil || !errors.Is(failed, state.ErrStalled) { // logged already
			err = errors.Join(err, failed)
		}
		closed()
	}()

	service, err := s.service(client, store, metrics, log)
	if err != nil {
		return err
	}
	if service.Unpacking, err = consumer.OpenUnpacking(s.config.StateDir); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err := s.settleTopics(ctx, client, service.Verify, log); err != nil {
		return err
	}
	s.warnOfFewFiles(ctx, client, log)
	if bar != nil {
		service.Restoring = bar.restoring
	}
	metrics.Watch(admin.Instance{Ready: service.Ready, Store: store.Stats})
	stopServing, err := listenHTTP(a, s, &admin.Server{
		Metrics: metrics, Ready: service.Ready, Status: func() any { return service.Status() }, Level: level, Pprof: s.config.HTTP.Pprof, Log: log,
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServing()) }()
	log.Info().Str("version", versionLine()).Str("app_id", s.config.AppID).Str("instance_id", s.config.InstanceID).Strs("input", s.config.Topics.Input).Str("event", "started").Msg("started")
	if len(s.active) == 0 {
		log.Warn().Str("event", "no_rules").Msg("no rule is on: nothing is evaluated")
	}
	announced := announceStop(ctx, log)
	err = service.Run(ctx)
	announced()
	if err != nil {
		return err
	}
	log.Info().Str("event", "stopped").Msg("stopped")
	return nil
}

// garbagePercent is the garbage that triggers a collection, in percent of the live heap.
// Nearly all of that heap is a few large buffers without pointers, which cost the collector
// next to nothing: 10 instead of 100 saved nearly a third of the memory, and 16 spares some
// rounds.
const garbagePercent = 16

// collectOften sets garbagePercent, unless the environment has GOGC.
func collectOften(a *app) {
	if a.getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// openState opens the local state, which the caller closes.
func (s *setup) openState(log zerolog.Logger) (*state.Store, error) {
	options := s.stateOptions(s.limits())
	options.Dir = s.config.StateDir
	options.Warn = func(message string) { log.Error().Str("event", "state_damaged").Msg(message) }
	options.Fatal = func(err error) { endNow(log, fmt.Errorf("state_dir: %w", err)) }
	store, err := state.Open(options)
	switch {
	case err == nil:
		return store, nil
	case errors.Is(err, syscall.EAGAIN):
		return nil, fmt.Errorf("state_dir %s is in use by another instance; give each a state_dir of its own", s.config.StateDir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return nil, fmt.Errorf("state_dir: %w; make space there or name a directory on another disk, with --set state_dir=DIR", err)
	}
	if unusable(err) {
		return nil, config.Problems{{Origin: s.config.Origin("state_dir"), Path: "state_dir", Text: err.Error() + "; name a directory that can be written, with --set state_dir=DIR"}}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("state_dir: %w; name a directory that can be written, with --set state_dir=DIR", err)
	}
	return nil, fmt.Errorf("state_dir: %w", err)
}

// endWithin bounds the end of a run after its local state has failed. A write that waits
// for a full disk holds locks.
const endWithin = 10 * time.Second

// endNow ends the process as a kill would. The changelog has all state, so nothing is lost.
func endNow(log zerolog.Logger, err error) {
	log.Error().Str("event", "state_failed").Msg(err.Error())
	os.Exit(exitFailed) //nolint:forbidigo // a goroutine that holds the database's locks can neither go on nor return
}

// stopWithin bounds the end of a run after it was asked to stop: within the minute that
// systemd and Kubernetes give it, and longer than its own time-outs take together.
const stopWithin = 45 * time.Second

// endWhenStuck ends the process when the local state has failed, or ctx has ended, and the
// run does not end in time. The caller calls the returned function once the state is
// closed.
func endWhenStuck(ctx context.Context, store *state.Store, log zerolog.Logger) func() {
	done := make(chan struct{})
	endAfter := func(limit time.Duration, why func() error) {
		select {
		case <-done:
		case <-time.After(limit):
			endNow(log, why())
		}
	}
	go func() {
		select {
		case <-done:
			return
		case <-store.Failed():
		}
		endAfter(endWithin, func() error { return fmt.Errorf("state_dir: %w", store.Err()) })
	}()
	context.AfterFunc(ctx, func() {
		endAfter(stopWithin, func() error {
			if call := store.Stalled(); call != "" {
				return fmt.Errorf("state_dir: it could not be closed within %s, %s: see to the disk; nothing is lost", stopWithin, call)
			}
			return fmt.Errorf("the instance has not stopped within %s and is ended; nothing is lost", stopWithin)
		})
	})
	return func() { close(done) }
}

// announceStop logs that ctx has ended, at which the service begins to stop. The caller
// calls the returned function once the service has ended.
func announceStop(ctx context.Context, log zerolog.Logger) func() {
	working, end := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		<-working.Done()
		if ctx.Err() != nil {
			log.Info().Str("event", "stopping").Msg("stopping: what was read is being committed; a second signal ends it at once")
		}
	})
	return func() {
		end()
		waiting.Wait()
	}
}

// listen starts the HTTP server, if one is configured, and returns the function that stops
// it.
func listenHTTP(a *app, s *setup, server *admin.Server, log zerolog.Logger) (stop func() error, err error) {
	if s.config.HTTP.Listen == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", s.config.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen %s: %w; choose another address, or an empty one for no server", s.config.HTTP.Listen, err)
	}
	server.Name, _, _ = net.SplitHostPort(s.config.HTTP.Listen)
	// The server outlasts the run, so that probes are answered while it ends.
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	var failed error
	serving.Go(func() { failed = server.Serve(ctx, l) })
	log.Info().Stringer("address", l.Addr()).Str("event", "http_listening").Msg("HTTP server listens")
	return func() error {
		cancel()
		serving.Wait()
		return failed
	}, nil
}
