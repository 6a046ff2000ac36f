package admin

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// LogLevel is the least level that is logged, which may change while the program
// runs, and counts the lines logged. As a hook of a logger it is the logger's level.
type LogLevel struct {
	metrics *Metrics
	least   atomic.Int32
}

// LogLevel returns a hook that lets lines of at least a level pass, and counts them.
func (m *Metrics) LogLevel(least zerolog.Level) *LogLevel {
	l := &LogLevel{metrics: m}
	for level := zerolog.DebugLevel; level <= zerolog.ErrorLevel; level++ {
		m.logged.WithLabelValues(level.String())
	}
	l.Set(least)
	return l
}

// Set changes the least level.
func (l *LogLevel) Set(least zerolog.Level) { l.least.Store(int32(least)) }

// Get returns the least level.
func (l *LogLevel) Get() zerolog.Level { return zerolog.Level(l.least.Load()) }

// Run is of zerolog.Hook.
func (l *LogLevel) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if level < l.Get() {
		e.Discard()
		return
	}
	l.metrics.logged.WithLabelValues(level.String()).Inc()
}

// ServeHTTP tells the level to GET; PUT with ?level= changes it.
func (l *LogLevel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		level, err := zerolog.ParseLevel(r.URL.Query().Get("level"))
		if err != nil || level < zerolog.DebugLevel || level > zerolog.ErrorLevel {
			http.Error(w, fmt.Sprintf("level %q is not one of debug, info, warn, error: PUT /loglevel?level=debug", r.URL.Query().Get("level")), http.StatusBadRequest)
			return
		}
		l.Set(level)
	}
	fmt.Fprintln(w, l.Get())
}
