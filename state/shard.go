package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Shard is one range of the database: the local copy of one partition of the
// changelog. One goroutine at a time may use it; shards do not see each other.
type Shard struct {
	store  *Store
	number int
	name   string // as sentences name it
	prefix [2]byte

	pos       position
	changelog int64
	epoch     epochMark
	sources   sources
	reads     func(topicID [16]byte) bool // the topic is an input of the owner; nil: each is
	caughtUp  int64                       // machine clock; noTime: never
	restoring int64                       // machine clock; noTime: not
	hints     hints
	turn      int // which kind of leftovers the next Sweep begins with

	known  dedupIndex // events
	values valueCache

	setEvents keptSetEvents

	open *Tx
	work *work // of the next Tx

	key   []byte // scratch: key with prefix
	value []byte // scratch: value of the last get
}

const noEpoch = -1 // a leader epoch that is not known

// epochMark is the place up to which the changelog is known to be that of a leader epoch.
type epochMark struct {
	epoch  int32 // of the record before offset; noEpoch: not known
	offset int64
}

func (m epochMark) encode() []byte {
	return binary.AppendVarint(encodeLocal(int64(m.epoch)), m.offset)
}

func decodeEpochMark(value []byte) (epochMark, error) {
	r, err := open(value)
	if err != nil {
		return epochMark{epoch: noEpoch}, err
	}
	m := epochMark{epoch: r.int32(), offset: r.varint()}
	return m, r.close()
}

// reload reads the parts of the shard that are kept in memory.
func (h *Shard) reload() error {
	h.pos, h.changelog, h.epoch, h.hints = noPosition, 0, epochMark{epoch: noEpoch}, unknownHints
	h.values.clear()
	clear(h.setEvents)
	h.caughtUp, h.restoring = noTime, noTime
	h.sources = sources{}
	value, ok, err := h.get(positionKey)
	if ok {
		h.pos, err = decodePosition(value)
	}
	if err != nil {
		return fmt.Errorf("read position: %w", err)
	}
	if err := h.reloadLocal(); err != nil {
		return err
	}
	if err := h.known.reload(h); err != nil {
		return fmt.Errorf("read runs of events: %w", err)
	}
	return h.scan([]byte{kindSource}, nil, func(key, value []byte) (bool, error) {
		k, err := parseKey(key)
		if err != nil {
			return false, err
		}
		s, err := decodeSource(value)
		e, _ := h.sources.put(origin{k.hash, k.partition})
		s.origin = e.origin
		*e = s
		return true, err
	})
}

// reloadLocal reads the records that are not in the changelog.
func (h *Shard) reloadLocal() error {
	for kind, to := range map[byte]*int64{kindChangelog: &h.changelog, kindCaughtUp: &h.caughtUp, kindRestoring: &h.restoring} {
		value, ok, err := h.get([]byte{kind})
		if ok {
			*to, err = decodeLocal(value)
		}
		if err != nil {
			return fmt.Errorf("read local record %#x: %w", kind, err)
		}
	}
	value, ok, err := h.get([]byte{kindEpoch})
	if ok {
		h.epoch, err = decodeEpochMark(value)
	}
	if err != nil {
		return fmt.Errorf("read local record %#x: %w", kindEpoch, err)
	}
	return nil
}

func encodeLocal(n int64) []byte {
	return binary.AppendVarint([]byte{formatVersion}, n)
}

func decodeLocal(value []byte) (int64, error) {
	r, err := open(value)
	if err != nil {
		return 0, err
	}
	n := r.varint()
	return n, r.close()
}

// Position tells how far the shard has come: up to the last Apply or Load.
func (h *Shard) Position() Position {
	return Position{
		Work:        h.pos.work,
		WorkEpoch:   h.pos.workEpoch,
		Changelog:   h.changelog,
		Epoch:       h.epoch.epoch,
		EpochTo:     h.epoch.offset,
		StreamTime:  instant(h.pos.stream),
		Fingerprint: slices.Clone(h.pos.fingerprint),
	}
}

// Meta gives the record that PutMeta keeps under name; nil: there is none.
func (h *Shard) Meta(name string) ([]byte, error) {
	value, ok, err := h.get(append([]byte{kindMeta}, name...))
	if !ok || err != nil {
		return nil, err
	}
	r, err := open(value)
	if err != nil {
		return nil, fmt.Errorf("read record %q of shard %d: %w", name, h.number, err)
	}
	return append([]byte{}, r.b...), nil
}

// get reads one key of the shard. The value is valid until the next get.
func (h *Shard) get(key []byte) (value []byte, ok bool, err error) {
	if !h.store.uses.begin() {
		return nil, false, h.store.closedError()
	}
	defer h.store.uses.end()
	h.key = append(append(h.key[:0], h.prefix[:]...), key...)
	v, closer, err := h.store.db.Get(h.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, h.store.broken(fmt.Errorf("read shard %d of state %s: %w", h.number, h.store.dir, err))
	}
	h.value = append(h.value[:0], v...)
	return h.value, true, closer.Close()
}

// read is get for keys that are read again and again, as busy says. The look-ups of a sweep
// are not busy: its keys are seldom asked for, and would drive the frequent ones out of the
// cache.
func (h *Shard) read(key []byte, busy bool) (value []byte, ok bool, err error) {
	if !busy || !cachedKind(key[0]) {
		return h.get(key)
	}
	if value, ok, known := h.values.get(key); known {
		return value, ok, nil
	}
	value, ok, err = h.get(key)
	if err == nil {
		h.values.put(key, value, ok)
	}
	return value, ok, err
}

// scan gives each key with this prefix, from the key from on unless that is
// empty, without the shard's number, until fn gives false. Slices are valid
// within the call.
func (h *Shard) scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	if !h.store.uses.begin() {
		return h.store.closedError()
	}
	defer h.store.uses.end()
	lower := slices.Concat(h.prefix[:], prefix)
	o := pebble.IterOptions{LowerBound: lower, UpperBound: successor(lower)}
	if len(from) > 0 {
		o.LowerBound = slices.Concat(h.prefix[:], from)
	}
	it, err := h.store.db.NewIter(&o)
	if err != nil {
		return h.store.broken(fmt.Errorf("scan shard %d of state %s: %w", h.number, h.store.dir, err))
	}
	for more := it.First(); more && err == nil; more = more && it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			more, err = fn(it.Key()[len(h.prefix):], value)
		}
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return h.store.broken(fmt.Errorf("scan shard %d of state %s: %w", h.number, h.store.dir, err))
	}
	return nil
}

// successor gives the first key behind all keys with this prefix.
func successor(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// set puts a key of the shard into a batch.
func (h *Shard) set(b *pebble.Batch, key, value []byte) error {
	op := b.SetDeferred(len(h.prefix)+len(key), len(value))
	copy(op.Key[copy(op.Key, h.prefix[:]):], key)
	copy(op.Value, value)
	return op.Finish()
}

// remove takes a key of the shard away in a batch.
func (h *Shard) remove(b *pebble.Batch, key []byte) error {
	op := b.DeleteDeferred(len(h.prefix) + len(key))
	copy(op.Key[copy(op.Key, h.prefix[:]):], key)
	return op.Finish()
}

// commit applies a batch. It goes to disk some time later: the changelog is the truth, and
// the disk has a prefix of it.
func (h *Shard) commit(b *pebble.Batch) error {
	if !h.store.uses.begin() {
		return h.store.closedError()
	}
	defer h.store.uses.end()
	defer h.store.disk.begin(&callApply, &h.name).end()
	if err := h.store.db.Apply(b, pebble.NoSync); err != nil {
		return h.store.broken(fmt.Errorf("write shard %d of state %s: %w", h.number, h.store.dir, err))
	}
	h.store.flushSoon()
	return nil
}

// hints let Sweep pass over entries that are not due without a look at the disk.
type hints struct {
	values int64 // no entry of the value index is before this instant
	pages  int64 // no entry of the index of pages is
	dead   bool  // dead sets may be there
}

var (
	unknownHints = hints{values: math.MinInt64, pages: math.MinInt64, dead: true}
	noHints      = hints{values: math.MaxInt64, pages: math.MaxInt64}
)

// merge makes the hints hold for the entries of o as well.
func (a *hints) merge(o hints) {
	a.values, a.pages, a.dead = min(a.values, o.values), min(a.pages, o.pages), a.dead || o.dead
}

// CaughtUpAt tells when, by the machine's clock, MarkCaughtUp was last called.
// It is a local mark, not in the changelog: a copy that is older than the
// changelog's tombstones must not be used. Not ok: never.
func (h *Shard) CaughtUpAt() (time.Time, bool) {
	return instant(h.caughtUp), h.caughtUp != noTime
}

// MarkCaughtUp notes that at now, by the machine's clock, the shard's position
// was the end of the changelog.
func (h *Shard) MarkCaughtUp(now time.Time) error {
	return h.mark(kindCaughtUp, &h.caughtUp, nanos(now))
}

// MarkEpoch notes the leader epoch of the record before the shard's position in the
// changelog, by which it can be told later whether the log still holds that record
// (KIP-320). Apply leaves the mark at the position of before: a producer is not told the
// epoch of the records that it writes.
func (h *Shard) MarkEpoch(epoch int32) error {
	m := epochMark{epoch, h.changelog}
	if m == h.epoch {
		return nil
	}
	b := h.store.db.NewBatch()
	defer b.Close()
	if err := h.set(b, []byte{kindEpoch}, m.encode()); err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	h.epoch = m
	return nil
}

func (h *Shard) mark(kind byte, field *int64, n int64) error {
	b := h.store.db.NewBatch()
	defer b.Close()
	if err := h.set(b, []byte{kind}, encodeLocal(n)); err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	*field = n
	return nil
}
