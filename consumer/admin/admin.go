// Package admin lets people and programs look into a running instance: the
// metrics, and an HTTP server with probes, metrics and status.
//
// Its one guarantee: a reader costs the pipeline nothing but the counting, and
// a restore of any length never makes /livez fail.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	stdlog "log" //nolint:depguard // the type of http.Server.ErrorLog, which writes to the one log
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Server answers over HTTP:
//
//	/         the paths there are
//	/livez    200 as long as the process runs; a long restore is no reason to kill it
//	/readyz   200 once every partition and shard assigned to this instance is worked on, else 503 and the reason
//	/metrics  Prometheus text
//	/status   what the instance works on, as JSON
//	/loglevel the least level that is logged; PUT /loglevel?level=debug, from this host, changes it
//	/debug/pprof/  profiles, if switched on (https://pkg.go.dev/net/http/pprof)
//
// Callers take a bounded part of the process, however many they are and however slowly
// they write or read: MaxConnections, some seconds a request, a tenth of a processor.
type Server struct {
	Metrics *Metrics
	// Ready returns nil, or a sentence that names the part that is still missing.
	Ready func() error
	// Status returns the value that /status shows as JSON; nil: there is no /status.
	Status func() any
	// Level is shown and changed by /loglevel; nil: there is no /loglevel.
	Level *LogLevel
	// Pprof serves the profiles of the Go runtime too.
	Pprof bool
	// Name is the host name in the listen address. Requests that change something may be
	// sent to it, as to localhost and to IP addresses; "": there is none.
	Name string
	// Log gets the errors of connections. Its zero value is silent.
	Log zerolog.Logger
}

// The time-outs of a connection. A request has no body, an answer some MB at the most.
const (
	headerWithin = 5 * time.Second
	readWithin   = 2 * answerWithin // a request; also the context of its handler ends then
	writeWithin  = 2 * answerWithin // an answer, with the making of it
	idleFor      = 5 * time.Second  // to the next request
	mostHeader   = 8 << 10
)

// Serve listens on l until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	limited := newLimitedListener(l, MaxConnections, s.Log)
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin, IdleTimeout: idleFor,
		MaxHeaderBytes: mostHeader, ConnState: limited.changed, ErrorLog: stdlog.New(errorLog{s.Log}, "", 0),
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		server.Close()
	})
	err := server.Serve(limited)
	if !stop() {
		<-closed // Serve returns before the last connections are closed
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	return nil
}

// handler is the handler of all paths.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	paths := []string{"/livez", "/readyz", "/metrics"}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	// Without a header of the request it is text, not compressed: one answer for all.
	mux.Handle("GET /metrics", &answers{handler: promhttp.HandlerFor(s.Metrics.registry, promhttp.HandlerOpts{DisableCompression: true})})
	if s.Status != nil {
		paths = append(paths, "/status")
		mux.Handle("GET /status", &answers{handler: http.HandlerFunc(s.status)})
	}
	if s.Level != nil {
		paths = append(paths, "/loglevel")
		mux.Handle("GET /loglevel", s.Level)
		mux.Handle("PUT /loglevel", s.fromHere(s.Level))
	}
	if s.Pprof {
		paths = append(paths, "/debug/pprof/")
		one := oneProfile()
		mux.HandleFunc("GET /debug/pprof/", one(pprof.Index))
		// Not the command line: --set may have a password in it.
		mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
		mux.HandleFunc("GET /debug/pprof/profile", one(pprof.Profile))
		mux.HandleFunc("GET /debug/pprof/symbol", one(pprof.Symbol))
		mux.HandleFunc("GET /debug/pprof/trace", one(pprof.Trace))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "trailhound: "+strings.Join(paths, " "))
	})
	return mux
}

// errorLog takes the errors of net/http into the one log.
type errorLog struct{ log zerolog.Logger }

// Write logs one error.
func (l errorLog) Write(line []byte) (int, error) {
	l.log.Warn().Str("event", "http_error").Str("error", strings.TrimSpace(string(line))).Msg("the HTTP server met an error")
	return len(line), nil
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
