package state

import "math"

// header is the record of one name: its set without the members, and the newest window of
// its counter. Both stand under one key, so that SetKeyExpiration, which concerns both, asks
// for one key, and one index entry serves both. The record of an older window is a header
// with nothing but the window.
type header struct {
	set     set
	counter counter
}

const (
	headerSet     = 1 << iota // the set is there
	headerCounter             // the counter is there
)

// append writes the parts that are there. The first one has the instant under which the
// header is filed.
func (h *header) append(dst []byte) []byte {
	at := len(dst) + 1
	dst = append(dst, formatVersion, 0)
	if h.set.exists {
		dst = h.set.append(dst)
		dst[at] |= headerSet
		h.counter.filed = h.counter.expiry
	}
	if h.counter.kept() {
		dst = h.counter.append(dst)
		dst[at] |= headerCounter
	}
	return dst
}

// decodeHeader reads a header, and the instant under which it is filed. The counter's
// evidence aliases the value.
func decodeHeader(value []byte) (h header, filed int64, err error) {
	r, err := open(value)
	if err != nil {
		return h, 0, err
	}
	there := r.byte()
	if there&headerSet != 0 {
		h.set = r.set()
		filed = h.set.filed
	}
	if there&headerCounter != 0 {
		h.counter = r.counter()
		if there == headerCounter {
			filed = h.counter.filed
		} else if h.counter.filed != h.counter.expiry {
			r.fail()
		}
	}
	if there == 0 || there > headerSet|headerCounter || filed == noTime {
		r.fail()
	}
	if err := r.close(); err != nil {
		return header{}, 0, err
	}
	return h, filed, nil
}

// decodeWindow reads the record of an older window.
func decodeWindow(value []byte) (c counter, filed int64, err error) {
	h, filed, err := decodeHeader(value)
	if err == nil && (h.set.exists || !h.counter.exists || h.counter.older.ttl > 0) {
		err = ErrDamaged
	}
	return h.counter, filed, err
}

// headerEntry is a header in a Tx: as it is on disk, and as it is now. That of a name has
// the newest window of the counter; older windows have keys of their own.
type headerEntry struct {
	entry
	saved  *savedHeader // as it was before the open Scope, once that has changed it
	now    counter
	ring   *ring          // full blocks of its evidence; nil: none
	opened []*headerEntry // of a name: older windows that this Tx has put beside it
	set    *setEntry      // nil: there is none, and none was asked for
}

// headerAt gives the header of this changelog key.
func (t *Tx) headerAt(key []byte) *headerEntry {
	if e, ok := t.headers[string(key)]; ok {
		return e
	}
	value, ok := t.get(key)
	return t.loadHeader(key, value, ok)
}

// loadHeader takes a header that the Tx does not have yet from the disk.
func (t *Tx) loadHeader(key, value []byte, ok bool) *headerEntry {
	e := t.headerPool.next()
	head := e.now.head[:0]
	*e = headerEntry{entry: entry{key: string(key)}, opened: e.opened[:0]}
	if ok {
		h, filed, err := decodeHeader(value)
		t.damaged(key, err)
		e.now = h.counter
		e.file = filing{exists: true, at: filed}
		if h.counter.number != 0 {
			e.ring = t.ringOf(h.counter.number, h.counter.slots())
		}
		if h.set.exists {
			e.set = t.newSet(e, h.set)
		}
	}
	e.now.head = append(head, e.now.head...)
	t.headers[e.key] = e
	return e
}

// dropHeader removes the parts of a header that expired before an instant, and files the
// others again.
func (t *Tx) dropHeader(e *headerEntry, limit int64) (removed int) {
	lifetime := t.shard.store.lifetime
	if c := &e.now; c.kept() && c.deadline(lifetime) < limit {
		removed++
		if c.older.ttl > 0 && c.older.until >= limit {
			e.vacate() // an older window was given a later expiry
		} else {
			e.remove()
		}
	}
	if m := e.set; m != nil && m.now.exists && m.now.deadline(lifetime) < limit {
		removed++
		m.remove()
	}
	e.file.renew, e.dirty = true, true
	t.estimateHeader(e)
	return removed
}

// header gives the header as it is now.
func (e *headerEntry) header() header {
	h := header{counter: e.now}
	if e.set != nil {
		h.set = e.set.now
	}
	return h
}

func (t *Tx) buildHeader(e *headerEntry) {
	if !e.dirty {
		return
	}
	if e.set != nil {
		t.buildSet(e.set)
	}
	h, deadline := e.header(), int64(math.MaxInt64)
	if !h.counter.kept() && !h.set.exists {
		t.drop(&e.entry)
		return
	}
	if h.counter.kept() {
		deadline = h.counter.deadline(t.shard.store.lifetime)
	}
	if h.set.exists {
		deadline = min(deadline, h.set.deadline(t.shard.store.lifetime))
	}
	filed := t.file(&e.entry, deadline)
	h.counter.filed, h.set.filed = filed, filed
	t.value = h.append(t.value[:0])
	t.put(t.named(e.key), t.value)
}

func (t *Tx) estimateHeader(e *headerEntry) {
	n, size := 1, len(e.key)+valueOverhead+len(e.now.head)
	if e.ring != nil {
		for _, block := range e.ring.pending {
			if len(block) > 0 {
				n++
				size += blockOverhead + len(block)
			}
		}
	}
	if e.set != nil {
		n += len(e.set.members)
		size += e.set.bytes
	}
	t.estimate(&e.entry, n, size)
}
