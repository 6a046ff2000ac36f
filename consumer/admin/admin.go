// Package admin lets people and programs look into a running instance: the
// metrics, and an HTTP server with probes, metrics and the state of things.
//
// Its one guarantee: looking costs the pipeline nothing but the counting, and
// a restore of any length never makes /livez fail.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server answers over HTTP:
//
//	/livez    200 as long as the process runs; a long restore is no reason to kill it
//	/readyz   200 once every partition and shard assigned to this instance is worked on, else 503 and the reason
//	/metrics  Prometheus text or OpenMetrics
//	/status   what the instance works on, as JSON
//	/loglevel the least level that is logged; PUT /loglevel?level=debug, from this host, changes it
//	/debug/pprof/  profiles, if switched on (https://pkg.go.dev/net/http/pprof)
type Server struct {
	Metrics *Metrics
	// Ready returns nil, or a sentence that says what is still missing.
	Ready func() error
	// Status returns what encoding/json makes /status of; nil: there is none.
	Status func() any
	// Level is shown and changed by /loglevel; nil: there is none.
	Level *LogLevel
	// Pprof serves the profiles of the Go runtime too.
	Pprof bool
}

// Serve listens on l until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.registry, promhttp.HandlerOpts{}))
	if s.Status != nil {
		mux.HandleFunc("GET /status", s.status)
	}
	if s.Level != nil {
		mux.Handle("GET /loglevel", s.Level)
		mux.Handle("PUT /loglevel", s.Level)
	}
	if s.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		// Not the command line: --set may have a password in it.
		mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		server.Close()
	})
	err := server.Serve(l)
	if !stop() {
		<-closed // Serve returns before the last connections are closed
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(s.Status()) // the reader has gone
}
