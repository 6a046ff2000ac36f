package state

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// run is some thousand events on disk, in blocks by their hashes.
type run struct {
	number uint64 // of the first page that is not in it, nor in a run before it
	newest int64  // instant until which any of its events is remembered
	filter seenFilter
}

const (
	runBlocks    = 64
	runFilter    = runBlocks // in place of a block: the filter
	runEventSize = 16 + 8
)

// runBlock gives the number of the block of a run in which an event is.
func runBlock(event *[16]byte) byte { return event[0] >> 2 }

func appendRunKey(dst []byte, kind byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), number)
}

func appendRunBlockKey(dst []byte, number uint64, block byte) []byte {
	return append(appendRunKey(dst, kindRunBlock, number), block)
}

// writeRun puts a run into a batch.
func (h *Shard) writeRun(b *pebble.Batch, number uint64, events []remembered) (run, error) {
	r := run{number: number, newest: noTime, filter: newSeenFilter(len(events))}
	var blocks [runBlocks][]byte
	for i := range events {
		e := &events[i]
		r.filter.add(&e.hash)
		r.newest = max(r.newest, e.until)
		block := &blocks[runBlock(&e.hash)]
		if *block == nil {
			*block = append(make([]byte, 0, 1+len(events)*runEventSize*5/4/runBlocks), formatVersion)
		}
		*block = appendInstant(append(*block, e.hash[:]...), e.until)
	}
	var key []byte
	for i, block := range blocks {
		if block == nil {
			continue
		}
		key = appendRunBlockKey(key[:0], number, byte(i))
		if err := h.set(b, key, block); err != nil {
			return r, err
		}
	}
	key = appendRunBlockKey(key[:0], number, runFilter)
	if err := h.set(b, key, r.filter.append([]byte{formatVersion})); err != nil {
		return r, err
	}
	key = appendRunKey(key[:0], kindRun, number)
	return r, h.set(b, key, appendInstant([]byte{formatVersion}, r.newest))
}

func decodeRun(key, value []byte) (run, error) {
	k := reader{b: key}
	k.byte()
	r := run{number: k.fixed64()}
	if err := k.close(); err != nil {
		return r, err
	}
	v, err := open(value)
	if err != nil {
		return r, err
	}
	r.newest = v.instant()
	return r, v.close()
}

// load reads the run's filter.
func (r *run) load(h *Shard) error {
	value, ok, err := h.get(appendRunBlockKey(nil, r.number, runFilter))
	if err == nil && !ok {
		err = ErrDamaged
	}
	var v reader
	if err == nil {
		v, err = open(value)
	}
	if err == nil {
		r.filter, err = v.filter(), v.close()
	}
	return r.broken(h, err)
}

// broken names the run that cannot be read.
func (r *run) broken(h *Shard, err error) error {
	if err == nil {
		return nil
	}
	return h.store.broken(fmt.Errorf("read shard %d of state %s, run %d of events: %w", h.number, h.store.dir, r.number, err))
}

// removeRuns removes all of them.
func (h *Shard) removeRuns(b *pebble.Batch) error {
	from := append(h.prefix[:len(h.prefix):len(h.prefix)], kindRun)
	to := append(h.prefix[:len(h.prefix):len(h.prefix)], kindRunBlock+1)
	return b.DeleteRange(from, to, nil)
}

func (h *Shard) removeRun(b *pebble.Batch, number uint64) error {
	for i := range byte(runFilter + 1) {
		if err := h.remove(b, appendRunBlockKey(nil, number, i)); err != nil {
			return err
		}
	}
	return h.remove(b, appendRunKey(nil, kindRun, number))
}

// until asks the run's block of the event.
func (r *run) until(h *Shard, event [16]byte) (int64, error) {
	value, ok, err := h.get(appendRunBlockKey(nil, r.number, runBlock(&event)))
	if !ok || err != nil {
		return noTime, err
	}
	v, err := open(value)
	for err == nil && len(v.b) > 0 {
		hash, until := v.hash(), v.instant()
		if v.bad {
			break
		}
		if hash == event {
			return until, nil
		}
	}
	if err == nil {
		err = v.close()
	}
	return noTime, r.broken(h, err)
}
