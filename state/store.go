package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options.
const (
	DefaultLifetime      = 90 * 24 * time.Hour
	DefaultMaxLateness   = 168 * time.Hour
	DefaultMaxSetMembers = 10_000
)

// Options tell where a Store is and which bounds it keeps. Lifetime and MaxLateness have a
// part in the answers: all members of an app need the same.
type Options struct {
	Dir           string               // directory of the database; made if it is not there
	FS            vfs.FS               // nil: the disk
	CacheBytes    int64                // block cache; 0: DefaultCacheBytes
	Lifetime      time.Duration        // of a value without an own expiry, in event time after its last write; 0: DefaultLifetime
	MaxLateness   time.Duration        // how far the horizon passes an expiry before Sweep removes the value; 0: DefaultMaxLateness
	NoHorizon     bool                 // nothing is forgotten: events may come in any order, however late
	MaxSetMembers int                  // 0: DefaultMaxSetMembers
	Warn          func(message string) // told the messages for an operator, such as that a damaged copy was deleted; nil: none
	Stall         time.Duration        // that a call to the disk, or a write that waits for one, may take before the Store has failed (ErrStalled); 0: DefaultStall

	// Fatal is told why the database has come to a standstill in the middle of a
	// write, with its locks held: only the end of the process helps. It must not
	// return. nil: a panic.
	Fatal func(error)
}

// Store is one database with the shards of one instance. It may be used by
// several goroutines.
type Store struct {
	db            *pebble.DB
	lock          *pebble.Lock
	fs            vfs.FS
	disk          *disk
	failure       *failure
	stalls        atomic.Int64
	unwritten     atomic.Bool // a change was applied since the last flush began
	timer         *time.Timer // of the next flush
	dir           string
	lifetime      time.Duration
	maxLateness   time.Duration
	maxSetMembers int
	noHorizon     bool
	runEvents     int

	uses *uses

	mu     sync.Mutex
	shards map[int]*Shard

	setsMu sync.Mutex
	sets   []*changeSet // free ones
}

// localFormat is the version of the local records, which are not in the changelog: index
// entries, markers, and the shard number before each key.
const localFormat = 4

// storeShard is a shard number that no shard has; its range is the Store's own.
const storeShard = 0xffff

var formatKey = []byte{0xff, 0xff, 'f'}

// Open opens the database, and makes it if the directory is empty. One Store
// has the directory at a time. A directory that a newer build has written is
// refused. One that is damaged is emptied, and Warn is told: the changelog has
// everything. After an error that is ErrStalled the directory is still in use until
// the process ends.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	s := &Store{
		dir:           o.Dir,
		lifetime:      cmp.Or(o.Lifetime, DefaultLifetime),
		maxLateness:   cmp.Or(o.MaxLateness, DefaultMaxLateness),
		maxSetMembers: cmp.Or(o.MaxSetMembers, DefaultMaxSetMembers),
		noHorizon:     o.NoHorizon,
		runEvents:     runEvents,
		shards:        map[int]*Shard{},
		uses:          newUses(),
	}
	if s.lifetime < 0 || s.maxLateness < 0 || s.maxSetMembers < 0 {
		return nil, fmt.Errorf("open state %s: lifetime, lateness and set members must not be negative", o.Dir)
	}
	s.disk = watchDisk(o.FS, cmp.Or(o.Stall, DefaultStall))
	o.FS, s.fs = s.disk, s.disk
	if err := s.disk.within(func() error { return s.open(o) }); err != nil {
		s.disk.end()
		return nil, fmt.Errorf("open state %s: %w", o.Dir, err)
	}
	go func() {
		select {
		case <-s.disk.stuck:
			s.failure.report(s.disk.err)
		case <-s.disk.ended:
		}
	}()
	return s, nil
}

// open takes the lock before anything else: the work of another process in the directory
// must not be taken for damage.
func (s *Store) open(o Options) (err error) {
	if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	if s.lock, err = pebble.LockDirectory(o.Dir, o.FS); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	reason, damaged := marked(o.FS, o.Dir)
	if !damaged {
		if err = s.load(o); err == nil || !isDamage(err) {
			return err
		}
		reason = err.Error()
	}
	if errors.Is(err, errOlder) {
		o.Warn(fmt.Sprintf("the local state in %s is deleted and restored from the changelog: %s", o.Dir, reason))
	} else {
		o.Warn(fmt.Sprintf("the local state in %s is damaged and is deleted; it is restored from the changelog. The damage: %s", o.Dir, reason))
	}
	if err = wipe(o.FS, o.Dir, reason); err != nil {
		return fmt.Errorf("delete what is damaged: %w", err)
	}
	return s.load(o)
}

// load opens the database as it stands on disk.
func (s *Store) load(o Options) (err error) {
	s.failure = newFailure(o.Dir, o.FS)
	if err := checkPebbleFormat(o); err != nil {
		return err
	}
	defer func() {
		// Pebble trusts some of the bytes that it reads. After a panic of any cause the
		// directory is of no use as it is.
		if p := recover(); p != nil {
			err = asError(p)
		}
	}()
	if s.db, err = pebble.Open(o.Dir, s.pebbleOptions(o)); err != nil {
		return err
	}
	if err := s.checkFormat(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	s.unwritten.Store(true)
	s.timer = time.AfterFunc(flushEvery, s.flush) //nolint:forbidigo // when something goes to disk is no part of any answer
	return nil
}

func asError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	return fmt.Errorf("%v", p)
}

// checkFormat reads the version of the local format. The version is written first, so that
// a database without it must be empty.
func (s *Store) checkFormat() error {
	v, closer, err := s.db.Get(formatKey)
	if errors.Is(err, pebble.ErrNotFound) {
		if numbers, err := s.Shards(); err != nil || len(numbers) > 0 {
			return errors.Join(err, fmt.Errorf("shards %v are there, and the record of the local format is not", numbers))
		}
		return s.db.Set(formatKey, []byte{localFormat}, pebble.NoSync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	switch {
	case bytes.Equal(v, []byte{localFormat}):
		return nil
	case len(v) == 1 && v[0] > localFormat:
		return fmt.Errorf("it has local format %d and this build reads format %d: %w", v[0], localFormat, errNewer)
	case len(v) == 1:
		return fmt.Errorf("%w: it has local format %d and this build reads format %d", errOlder, v[0], localFormat)
	}
	return fmt.Errorf("the record of the local format is %q", v)
}

// flushSoon sees to it that applied changes are written out before long.
func (s *Store) flushSoon() {
	if s.unwritten.CompareAndSwap(false, true) {
		s.timer.Reset(flushEvery)
	}
}

// flush begins to write out the changes that were applied.
func (s *Store) flush() {
	if !s.uses.begin() {
		return
	}
	defer s.uses.end()
	if s.failure.get() != nil {
		return
	}
	s.unwritten.Store(false)
	if _, err := s.db.AsyncFlush(); err != nil {
		_ = s.broken(fmt.Errorf("flush state %s: %w", s.dir, err))
	}
}

// Failed is closed when the database can be used no more; Err says why.
func (s *Store) Failed() <-chan struct{} { return s.failure.is }

// Err gives a *FailedError once the database can be used no more.
func (s *Store) Err() error { return s.failure.get() }

// broken notes an error of the database, or of its content, if it is damage that the next
// look at it would find again. It gives the error back.
func (s *Store) broken(err error) error {
	if err != nil && (isDamage(err) || errors.Is(err, ErrFormat)) {
		s.failure.report(err)
	}
	return err
}

// Hung is closed when a call to the disk, or a write that waits for one, has not returned for
// Options.Stall. The Store fails with it.
func (s *Store) Hung() <-chan struct{} { return s.disk.stuck }

// Stalled tells of a call to the disk, or a write that waits for one, that has not returned
// for a sixth of Options.Stall; "": there is none.
func (s *Store) Stalled() string { return s.disk.oldest(looksPerNotice) }

// Close writes out the changes that were applied, and closes the database; the shards end
// with it. With a disk that does not answer it gives an error that is ErrStalled, and
// leaves the database as it is.
func (s *Store) Close() error {
	s.timer.Stop()
	err := s.disk.within(s.close)
	s.disk.end()
	if err != nil {
		return fmt.Errorf("close state %s: %w", s.dir, err)
	}
	return nil
}

func (s *Store) close() error {
	err := s.writeOut()
	s.uses.close()
	return errors.Join(err, s.db.Close(), s.lock.Close())
}

func (s *Store) closedError() error { return fmt.Errorf("state %s is closed", s.dir) }

// writeOut flushes, unless the database has failed or does so meanwhile.
func (s *Store) writeOut() error {
	if s.failure.get() != nil {
		return nil
	}
	done, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.failure.is:
		return s.failure.err
	}
}

// Shard gives shard n, from 0 to 65534: always the same *Shard. A shard that
// was never written to is empty.
func (s *Store) Shard(n int) (*Shard, error) {
	if n < 0 || n >= storeShard {
		return nil, fmt.Errorf("open shard %d of state %s: a shard number is between 0 and %d", n, s.dir, storeShard-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.shards[n]; h != nil {
		return h, nil
	}
	h := &Shard{store: s, number: n, name: fmt.Sprintf("shard %d", n)}
	binary.BigEndian.PutUint16(h.prefix[:], uint16(n))
	if err := h.reload(); err != nil {
		return nil, s.broken(fmt.Errorf("open shard %d of state %s: %w", n, s.dir, err))
	}
	s.shards[n] = h
	return h, nil
}

// Shards gives the numbers of the shards that have anything on disk, sorted.
func (s *Store) Shards() (numbers []int, err error) {
	if !s.uses.begin() {
		return nil, s.closedError()
	}
	defer s.uses.end()
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, s.broken(fmt.Errorf("list shards of state %s: %w", s.dir, err))
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			numbers, err = nil, s.broken(fmt.Errorf("list shards of state %s: %w", s.dir, e))
		}
	}()
	for ok := it.First(); ok; {
		n := binary.BigEndian.Uint16(it.Key())
		if n == storeShard {
			break
		}
		numbers = append(numbers, int(n))
		ok = it.SeekGE(binary.BigEndian.AppendUint16(nil, n+1))
	}
	return numbers, nil
}
