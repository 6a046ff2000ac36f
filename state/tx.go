package state

import (
	"errors"
	"fmt"
)

// Tx is all changes of one batch of work. None of them is visible outside before Apply;
// after Apply, or after a crash, all or none are. One goroutine uses it; after Apply or
// Discard only Err and Discard may be called.
//
// A value is read from disk once and then lives in the Tx, so that events of
// one key in one batch cost no second look.
type Tx struct {
	shard *Shard
	err   error
	*work
}

// work is the memory of a Tx. The shard's next Tx takes it over.
type work struct {
	pos          position
	sources      sources
	lastSource   int   // place in sources of the partition that was last asked for
	horizonAt    int64 // if horizonKnown
	horizonKnown bool
	meta         map[string][]byte
	seen         map[EventKey]int64 // until when events are remembered that this Tx remembers
	events       []remembered       // the same events, in their order
	rewound      bool               // Rewind has set a bound for the events of all pages so far
	headers      map[string]*headerEntry
	headerPool   pool[headerEntry]
	ringPool     pool[ring] // full blocks of evidence of these counters
	setPool      pool[setEntry]
	suppressions map[string]*suppressionEntry
	timelines    map[string]*timelineEntry
	scope        Scope
	undo         undoLog // of the scope
	memberKey    []byte  // of the member that was last read from disk: a rule looks at one, and renews it
	memberBlock  []byte  // its events
	sweep        sweep

	n, size int // estimate of the changes

	*changeSet        // the changes of the Tx, once they are built; else nil
	key        []byte // scratch
	value      []byte // scratch
}

func newWork() *work {
	return &work{
		meta:         map[string][]byte{},
		seen:         map[EventKey]int64{},
		headers:      map[string]*headerEntry{},
		suppressions: map[string]*suppressionEntry{},
		timelines:    map[string]*timelineEntry{},
	}
}

// reset forgets everything but the buffers. The change set is not among it.
func (w *work) reset() {
	w.lastSource, w.horizonKnown, w.rewound = 0, false, false
	clear(w.meta)
	clear(w.seen)
	w.events = w.events[:0]
	clear(w.headers)
	clear(w.suppressions)
	clear(w.timelines)
	w.headerPool.reset()
	w.ringPool.reset()
	w.setPool.reset()
	w.undo.reset()
	w.memberKey = w.memberKey[:0]
	w.scope.reset()
	w.scope.at = Ref{} // its strings are those of an event
	w.sweep.reset()
	w.n, w.size = 0, 0
}

// Begin begins a Tx. A shard has one at a time: an earlier one that is still
// open is discarded.
func (h *Shard) Begin() *Tx {
	h.discard()
	w := h.work
	if h.work = nil; w == nil {
		w = newWork()
	}
	w.pos = h.pos
	w.sources.assign(&h.sources)
	h.open = &Tx{shard: h, work: w}
	return h.open
}

func (h *Shard) discard() {
	if h.open != nil {
		h.open.Discard()
	}
}

// end gives the memory back to the shard.
func (t *Tx) end() {
	t.invalidate()
	t.work.reset()
	t.shard.work, t.work = t.work, nil
	t.shard.open = nil
}

// ended tells whether Apply or Discard was called.
func (t *Tx) ended() bool { return t.work == nil }

// Discard ends the Tx; nothing is kept of it. After Apply or Discard it does
// nothing.
func (t *Tx) Discard() {
	if !t.ended() {
		t.end()
	}
}

// Err gives the first error of the store that this Tx has met. It sticks:
// helpers give zero values from then on, and Apply refuses.
func (t *Tx) Err() error { return t.err }

func (t *Tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// damaged notes a record on disk that cannot be read.
func (t *Tx) damaged(key []byte, err error) {
	if err != nil {
		t.fail(t.shard.store.broken(fmt.Errorf("read shard %d of state %s, key %q: %w", t.shard.number, t.shard.store.dir, key, err)))
	}
}

// get reads one key from disk. The value is valid until the next get.
func (t *Tx) get(key []byte) (value []byte, ok bool) {
	if t.err != nil {
		return nil, false
	}
	value, ok, err := t.shard.read(key, !t.sweep.going)
	if err != nil {
		t.fail(err)
		return nil, false
	}
	return value, ok
}

// scan gives each key on disk with this prefix, from the key from on
// unless that is empty, until fn gives false.
func (t *Tx) scan(prefix, from []byte, fn func(key, value []byte) bool) {
	if t.err != nil {
		return
	}
	err := t.shard.scan(prefix, from, func(key, value []byte) (bool, error) { return fn(key, value), nil })
	if err != nil {
		t.fail(err)
	}
}

// nextNumber gives a number that no set, page or full block of evidence of the shard has
// had before.
func (t *Tx) nextNumber() uint64 {
	t.pos.next++
	return t.pos.next - 1
}

var errEnded = errors.New("the transaction has ended")

// Apply writes the changes to disk, all at once, together with the next offset of the
// changelog: the one behind the records of these changes. It ends the Tx, also when it
// fails. The write is not synced.
func (t *Tx) Apply(nextChangelog int64) error {
	if t.ended() {
		return fmt.Errorf("apply changes: %w", errEnded)
	}
	defer t.end()
	t.materialize()
	if t.err != nil {
		return fmt.Errorf("apply changes to shard %d: %w", t.shard.number, t.err)
	}
	if err := t.write(nextChangelog); err != nil {
		t.fail(err)
		return err
	}
	if err := t.afterApply(nextChangelog); err != nil {
		t.fail(err)
		return err
	}
	return nil
}

func (t *Tx) write(nextChangelog int64) error {
	h := t.shard
	b := h.store.db.NewBatch()
	defer b.Close()
	for _, c := range t.changes {
		var err error
		if c.Value == nil {
			err = h.remove(b, c.Key)
		} else {
			err = h.set(b, c.Key, c.Value)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range t.index {
		var err error
		if c.remove {
			err = h.remove(b, c.key)
		} else {
			err = h.set(b, c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	if t.rewound {
		if err := h.removeRuns(b); err != nil {
			return err
		}
	}
	if err := h.set(b, []byte{kindChangelog}, encodeLocal(nextChangelog)); err != nil {
		return err
	}
	return h.commit(b)
}

// afterApply makes the shard's caches, and the indexes derived from its records, follow the
// changes.
func (t *Tx) afterApply(nextChangelog int64) error {
	h := t.shard
	h.pos, h.changelog = t.position(), nextChangelog
	h.sources.assign(&t.sources)
	for _, c := range t.changes {
		h.values.update(c)
	}
	for _, e := range t.headers {
		if e.set != nil {
			h.keep(e.set)
		}
	}
	t.sweep.afterApply(&h.hints)
	h.hints.merge(t.hints)
	if t.rewound {
		h.known.clear()
	}
	return h.learn(t.pages, t.sweep.pages > 0)
}
