package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options.
const (
	DefaultCacheBytes    = 16 << 20
	DefaultLifetime      = 90 * 24 * time.Hour
	DefaultMaxLateness   = 168 * time.Hour
	DefaultMaxSetMembers = 10_000
)

// Options tell where a Store is and what bounds it keeps. Lifetime and
// MaxLateness have a part in the answers: all members of an app need the same.
type Options struct {
	Dir           string               // directory of the database; made if it is not there
	FS            vfs.FS               // nil: the disk
	CacheBytes    int64                // block cache; 0: DefaultCacheBytes
	Lifetime      time.Duration        // of a value without an own expiry, in event time after its last write; 0: DefaultLifetime
	MaxLateness   time.Duration        // how far stream time passes an expiry before Sweep removes the value; 0: DefaultMaxLateness
	MaxSetMembers int                  // 0: DefaultMaxSetMembers
	Warn          func(message string) // told of failures in the background, such as a full disk; nil: nobody is
}

// Store is one database with the shards of one instance. It may be used by
// several goroutines.
type Store struct {
	db            *pebble.DB
	dir           string
	lifetime      time.Duration
	maxLateness   time.Duration
	maxSetMembers int

	mu     sync.Mutex
	shards map[int]*Shard
}

// localFormat is the version of what is in the directory and not in the
// changelog: index entries, markers, and the shard number before each key.
const localFormat = 1

// storeShard is a shard number that no shard has; its range is the Store's own.
const storeShard = 0xffff

var formatKey = []byte{0xff, 0xff, 'f'}

// Open opens the database, and makes it if the directory is empty. One Store
// has the directory at a time. A directory that a newer build has written is
// refused.
func Open(o Options) (*Store, error) {
	s := &Store{
		dir:           o.Dir,
		lifetime:      orDefault(o.Lifetime, DefaultLifetime),
		maxLateness:   orDefault(o.MaxLateness, DefaultMaxLateness),
		maxSetMembers: orDefault(o.MaxSetMembers, DefaultMaxSetMembers),
		shards:        map[int]*Shard{},
	}
	if s.lifetime < 0 || s.maxLateness < 0 || s.maxSetMembers < 0 {
		return nil, fmt.Errorf("open state %s: lifetime, lateness and set members must not be negative", o.Dir)
	}
	db, err := pebble.Open(o.Dir, pebbleOptions(o))
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", o.Dir, err)
	}
	s.db = db
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(fmt.Errorf("open state %s: %w", o.Dir, err), db.Close())
	}
	return s, nil
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

func (s *Store) checkFormat() error {
	v, closer, err := s.db.Get(formatKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return s.db.Set(formatKey, []byte{localFormat}, pebble.NoSync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if !bytes.Equal(v, []byte{localFormat}) {
		return fmt.Errorf("it has local format %d and this build reads format %d: run the build that wrote it, or remove the directory and let the changelog restore it", v, localFormat)
	}
	return nil
}

// Close closes the database; the shards end with it. What was applied and not
// yet written out goes to disk.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close state %s: %w", s.dir, err)
	}
	return nil
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
	h := &Shard{store: s, number: n}
	binary.BigEndian.PutUint16(h.prefix[:], uint16(n))
	if err := h.reload(); err != nil {
		return nil, fmt.Errorf("open shard %d of state %s: %w", n, s.dir, err)
	}
	s.shards[n] = h
	return h, nil
}

// Shards gives the numbers of the shards that have anything on disk, sorted.
func (s *Store) Shards() (numbers []int, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, fmt.Errorf("list shards of state %s: %w", s.dir, err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			numbers, err = nil, fmt.Errorf("list shards of state %s: %w", s.dir, e)
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

// Metrics gives the database's own metrics.
func (s *Store) Metrics() *pebble.Metrics { return s.db.Metrics() }
