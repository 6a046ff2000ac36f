package state

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleOptions keeps the memory small, two memtables and the cache, and the
// look-up of a key that is not there cheap: most events are seen for the first
// time.
//
// There is no write-ahead log: the changelog is one. The directory holds whole flushes
// only, so that a lost or half-written file cannot leave a gap in the transactions; and
// each change is written once.
func (s *Store) pebbleOptions(o Options) *pebble.Options {
	cache := cmp.Or(o.CacheBytes, DefaultCacheBytes)
	memTable := min(max(cache/2, leastMemTable), mostMemTable)
	p := &pebble.Options{
		FS:         o.FS,
		Lock:       s.lock,
		DisableWAL: true,
		// Pebble takes the memtables out of the cache: one that is written to,
		// one on its way to disk.
		CacheSize:                   cache + 2*memTable,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                uint64(memTable),
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                MaxOpenFiles,
		L0CompactionThreshold:       waitingTables,
		L0StopWritesThreshold:       mostWaiting,
		L0CompactionFileThreshold:   mostFiles,
		Logger:                      logger{warn: o.Warn, fatal: o.Fatal, failure: s.failure},
		EventListener: &pebble.EventListener{
			// Pebble would try again at once and for ever, and writers would wait.
			BackgroundError: s.failure.report,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { s.failure.report(info.Details) },
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { s.stalls.Add(1) },
		},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		p.Levels[i].IndexBlockSize = indexBlock
	}
	return p
}

// checkPebbleFormat refuses a database of a newer Pebble, and one of a Pebble that is
// too old, which Pebble itself does without saying which of its errors that is.
func checkPebbleFormat(o Options) error {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "marker.format-version.")
		_, version, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(version)
		switch {
		case !ok || err != nil:
		case n > int(pebble.FormatNewest):
			return fmt.Errorf("it is a Pebble database of format %d and this build reads formats up to %d: %w", n, pebble.FormatNewest, errNewer)
		case n < int(pebble.FormatMinSupported):
			return fmt.Errorf("%w: it is a Pebble database of format %d and this build reads formats from %d on", errOlder, n, pebble.FormatMinSupported)
		}
	}
	return nil
}

// logger passes on the messages that an operator has to act upon. Pebble's notes on flushes
// and compactions are not of that kind; Stats counts them.
type logger struct {
	warn    func(string)
	fatal   func(error)
	failure *failure
}

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.warn(fmt.Sprintf(format, args...)) }

// Fatalf must not return: Pebble calls it when it cannot go on, as after a write to its
// MANIFEST that failed half-way, or when the data that it reads contradicts itself. The
// changelog has everything, so the process may end here.
func (l logger) Fatalf(format string, args ...any) {
	err := &fatalError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err.cause = cause
		}
	}
	l.failure.report(err)
	if l.fatal == nil {
		panic(err)
	}
	l.fatal(l.failure.err)
	select {}
}

// fatalError is the error with which Pebble reports that it cannot go on.
type fatalError struct {
	text  string
	cause error // nil: it does not say
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }
