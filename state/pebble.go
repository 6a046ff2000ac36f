package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

const memTableBytes = 16 << 20

// pebbleOptions keeps the memory small, two memtables and the cache, and the
// look-up of a key that is not there cheap: most events are seen for the first
// time.
func pebbleOptions(o Options) *pebble.Options {
	log := logger{warn: o.Warn}
	p := &pebble.Options{
		FS: o.FS,
		// Pebble takes the memtables out of the cache: one that is written to,
		// one on its way to disk.
		CacheSize:                   orDefault(o.CacheBytes, DefaultCacheBytes) + 2*memTableBytes,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                512,
		Logger:                      log,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { log.Errorf("state %s: background work fails and is tried again: %v", o.Dir, err) },
		},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].IndexBlockSize = 256 << 10 // one level of index for each table
	}
	return p
}

// logger passes on what somebody has to act upon. Pebble's notes on flushes
// and compactions are not of that kind; Metrics counts them.
type logger struct{ warn func(string) }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	if l.warn != nil {
		l.warn(fmt.Sprintf(format, args...))
	}
}

// Fatalf must not return: Pebble calls it when it cannot go on, as after a
// write that failed half-way. The changelog has everything, so the process may
// end here.
func (l logger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
