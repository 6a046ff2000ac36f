package state

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"
)

// run is some thousand events on disk, in blocks by the first bits of their hashes.
type run struct {
	number uint64 // of the first page that is not in it, nor in a run before it
	newest int64  // instant until which any of its events is remembered
	bits   byte   // that tell the blocks apart
	filter seenFilter
}

const (
	runBlockEvents = 128       // of a block, about, or up to twice as many
	mostRunBits    = 15        // of a run with more than some million events
	runFilter      = 1<<16 - 1 // in place of a block: the filter
	runEventSize   = 16 + 8
)

// block gives the number of the block in which an event is.
func (r *run) block(event *[16]byte) uint16 {
	return binary.BigEndian.Uint16(event[:]) >> (16 - r.bits)
}

// appendNumberKey gives the key of a run, or of the first page with this number or a later
// one.
func appendNumberKey(dst []byte, kind byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), number)
}

// appendRunBlockKey gives the key of a block, or, for runFilter, of the filter.
func appendRunBlockKey(dst []byte, number uint64, block uint16) []byte {
	return binary.BigEndian.AppendUint16(appendNumberKey(dst, kindRunBlock, number), block)
}

// writeRun puts a run of these events into a batch.
func (h *Shard) writeRun(b *pebble.Batch, number uint64, events []remembered) (run, error) {
	r := run{number: number, newest: noTime, filter: newSeenFilter(len(events))}
	r.bits = byte(min(bits.Len(uint(len(events)-1)/runBlockEvents), mostRunBits))
	blocks := make([][]byte, 1<<r.bits)
	for i := range events {
		e := &events[i]
		r.filter.add(&e.hash)
		r.newest = max(r.newest, e.until)
		block := &blocks[r.block(&e.hash)]
		if *block == nil {
			*block = append(make([]byte, 0, 1+len(events)*runEventSize*5/4>>r.bits), formatVersion)
		}
		*block = appendInstant(append(*block, e.hash[:]...), e.until)
	}
	var key []byte
	for i, block := range blocks {
		if block == nil {
			continue
		}
		key = appendRunBlockKey(key[:0], number, uint16(i))
		if err := h.set(b, key, block); err != nil {
			return r, err
		}
	}
	key = appendRunBlockKey(key[:0], number, runFilter)
	if err := h.set(b, key, r.filter.append([]byte{formatVersion})); err != nil {
		return r, err
	}
	key = appendNumberKey(key[:0], kindRun, number)
	return r, h.set(b, key, append(appendInstant([]byte{formatVersion}, r.newest), r.bits))
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
	r.newest, r.bits = v.instant(), v.byte()
	if r.bits > mostRunBits {
		v.fail()
	}
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

// removeRuns removes all runs of the shard.
func (h *Shard) removeRuns(b *pebble.Batch) error {
	from := append(h.prefix[:len(h.prefix):len(h.prefix)], kindRun)
	to := append(h.prefix[:len(h.prefix):len(h.prefix)], kindRunBlock+1)
	return b.DeleteRange(from, to, nil)
}

func (h *Shard) removeRun(b *pebble.Batch, r *run) error {
	var key []byte
	for i := range uint16(1 << r.bits) {
		key = appendRunBlockKey(key[:0], r.number, i)
		if err := h.remove(b, key); err != nil {
			return err
		}
	}
	key = appendRunBlockKey(key[:0], r.number, runFilter)
	if err := h.remove(b, key); err != nil {
		return err
	}
	return h.remove(b, appendNumberKey(key[:0], kindRun, r.number))
}

// until looks the event up in its block of the run.
func (r *run) until(h *Shard, event [16]byte) (int64, error) {
	until := int64(noTime)
	err := r.each(h, r.block(&event), func(e remembered) bool {
		if e.hash == event {
			until = e.until
		}
		return until == noTime
	})
	return until, err
}

// each gives the events of a block, until fn gives false.
func (r *run) each(h *Shard, block uint16, fn func(remembered) bool) error {
	value, ok, err := h.get(appendRunBlockKey(nil, r.number, block))
	if !ok || err != nil {
		return err
	}
	v, err := open(value)
	for err == nil && len(v.b) > 0 {
		e := remembered{v.hash(), v.instant()}
		if v.bad {
			break
		}
		if !fn(e) {
			return nil
		}
	}
	if err == nil {
		err = v.close()
	}
	return r.broken(h, err)
}
