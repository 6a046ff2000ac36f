package state

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Restoring tells since when, by the machine's clock, the shard is being
// restored: until EndRestore its copy is incomplete. Not ok: it is complete.
func (h *Shard) Restoring() (since time.Time, ok bool) {
	return instant(h.restoring), h.restoring != noTime
}

// BeginRestore marks the shard as incomplete. A mark that an interrupted
// restore has left stays as it is.
func (h *Shard) BeginRestore(now time.Time) error {
	if h.restoring != noTime {
		return nil
	}
	return h.mark(kindRestoring, &h.restoring, nanos(now))
}

// EndRestore takes the mark of BeginRestore away.
func (h *Shard) EndRestore() error {
	b := h.store.db.NewBatch()
	defer b.Close()
	if err := h.remove(b, []byte{kindRestoring}); err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	h.restoring = noTime
	return nil
}

// Wipe removes everything of the shard: values, position and marks. An open Tx
// is discarded.
func (h *Shard) Wipe() error {
	h.discard()
	b := h.store.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(h.prefix[:], successor(h.prefix[:]), nil); err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	return h.reload()
}

// Load applies the committed records of the changelog that changes yields, in
// their order, and moves the position to next, the offset behind them, and epoch, the
// leader epoch of the last one before it (-1: not known): all of it or, with an error,
// also that of changes, nothing. A nil value is a tombstone. A record of a format that
// this build does not know is ErrFormat. An open Tx is discarded.
func (h *Shard) Load(next int64, epoch int32, changes func(yield func(key, value []byte) bool) error) error {
	h.discard()
	l := loader{h: h, batch: h.store.db.NewBatch(), hints: noHints, pos: h.pos, removed: noTime}
	defer l.batch.Close()
	var failed error
	err := changes(func(key, value []byte) bool {
		if failed = l.add(key, value); failed != nil {
			failed = fmt.Errorf("load changelog of shard %d before offset %d, key %q: %w", h.number, next, key, failed)
		}
		return failed == nil
	})
	if err = cmp.Or(failed, err); err != nil {
		return err
	}
	if l.rewritten || l.removed > l.pos.stream {
		if err := h.removeRuns(l.batch); err != nil {
			return err
		}
	}
	if err := h.set(l.batch, []byte{kindChangelog}, encodeLocal(next)); err != nil {
		return err
	}
	if err := h.set(l.batch, []byte{kindEpoch}, epochMark{epoch, next}.encode()); err != nil {
		return err
	}
	if err := h.commit(l.batch); err != nil {
		return err
	}
	hints := h.hints
	if err := h.reload(); err != nil {
		return err
	}
	h.hints = hints
	h.hints.merge(l.hints)
	return nil
}

// loader turns records of the changelog into one batch.
type loader struct {
	h     *Shard
	batch *pebble.Batch
	pos   position
	hints hints
	key   []byte // scratch: of an index entry
	value []byte // the same

	events []remembered // scratch: of a page

	// rewritten: a seed of a state writes its history anew. Then the runs of events do not
	// agree with the pages, and have to be made again.
	rewritten bool
	removed   int64 // instant at which the last of the removed pages is due
}

func (l *loader) add(key, value []byte) error {
	k, err := parseKey(key)
	if err != nil || k.kind == kindClaim {
		return err
	}
	if value == nil {
		// The index entry of a value stays and points at nothing, until Sweep comes by.
		return cmp.Or(l.unfile(&k), l.h.remove(l.batch, key))
	}
	if k.kind == kindPage {
		return cmp.Or(l.file(k.page, value), l.h.set(l.batch, key, value))
	}
	at, indexed, err := checkValue(k.kind, value)
	if err != nil {
		return err
	}
	switch {
	case k.kind == kindDeadSet:
		l.hints.dead = true
	case k.kind == kindPosition:
		err = l.position(value)
	case indexed:
		err = l.index(key, at)
	}
	return cmp.Or(err, l.h.set(l.batch, key, value))
}

func (l *loader) position(value []byte) error {
	pos, err := decodePosition(value)
	again := pos.rewound.before > 0 && pos.rewound != l.pos.rewound
	l.rewritten = l.rewritten || again || pos.stream < l.pos.stream || pos.next < l.pos.next
	l.pos = pos
	return err
}

// file puts a page into its index.
func (l *loader) file(p pageID, value []byte) (err error) {
	if l.events, err = decodePage(l.events[:0], value, p.end); err != nil {
		return err
	}
	l.rewritten = l.rewritten || p.number < l.h.known.folded
	l.hints.pages = min(l.hints.pages, p.end)
	l.key, l.value = p.appendIndex(l.key[:0], l.value[:0], len(l.events))
	return l.h.set(l.batch, l.key, l.value)
}

// unfile takes a page out of its index.
func (l *loader) unfile(k *parts) error {
	if k.kind != kindPage {
		return nil
	}
	l.removed = max(l.removed, k.page.end)
	l.key, l.value = k.page.appendIndex(l.key[:0], l.value[:0], 0)
	return l.h.remove(l.batch, l.key)
}

// index files a value. An entry of a value that it replaces may stay behind;
// Sweep sees that the value is not filed there.
func (l *loader) index(key []byte, at int64) error {
	l.hints.values = min(l.hints.values, at)
	l.key = appendIndexKey(l.key[:0], kindValueIndex, at, key)
	return l.h.set(l.batch, l.key, nil)
}

// checkValue reports a value, but for a page, that is not of its key's kind, and tells under
// which instant it is filed.
func checkValue(kind byte, value []byte) (at int64, indexed bool, err error) {
	switch kind {
	case kindHeader:
		_, at, err = decodeHeader(value)
		return at, true, err
	case kindWindow:
		_, at, err = decodeWindow(value)
		return at, true, err
	case kindTimeline:
		l, err := decodeTimeline(value)
		return l.filed, true, err
	case kindTimelineBlock:
		_, err := decodeTimelineBlock(value)
		return 0, false, err
	case kindSuppression:
		u, err := decodeSuppression(value)
		return u.filed, true, err
	case kindEvidence:
		r, err := open(value)
		if err != nil {
			return 0, false, err
		}
		return 0, false, checkBlock(r.b, blockRefs)
	case kindPosition:
		_, err := decodePosition(value)
		return 0, false, err
	case kindSource:
		_, err := decodeSource(value)
		return 0, false, err
	}
	r, err := open(value)
	switch {
	case err != nil:
	case kind == kindMember:
		_, err = checkMember(r.b)
	case kind == kindDeadSet:
		err = r.close()
	}
	return 0, false, err
}
