package state

// timelineEntry is a timeline in a Tx: its current form, and the difference from the disk.
// Within a Tx no number is given to a second block, so that none is written and deleted.
type timelineEntry struct {
	entry
	saved  *timelineEntry // as it was before the open Scope, once that has changed it
	now    timeline
	blocks map[uint64]timelineBlockEntry // that were read or written
	fresh  uint64                        // blocks from this number on are not on disk
	next   uint64                        // number of the next new block
	gone   []uint64                      // blocks on disk that are to be deleted
	write  estimate                      // of the blocks that are to be written
}

// timelineBlockEntry is a block in a Tx. Its entries are not changed in place.
type timelineBlockEntry struct {
	entries []Entry
	dirty   bool
	size    int // if dirty: estimate of its record
}

// timelineAt gives the timeline of this changelog key.
func (t *Tx) timelineAt(key []byte) *timelineEntry {
	if e, ok := t.timelines[string(key)]; ok {
		return e
	}
	e := &timelineEntry{entry: entry{key: string(key)}, blocks: map[uint64]timelineBlockEntry{}}
	if value, ok := t.get(key); ok {
		l, err := decodeTimeline(value)
		t.damaged(key, err)
		e.now = l
		e.file = filing{exists: true, at: l.filed}
		for i := range l.blocks {
			e.fresh = max(e.fresh, l.blocks[i].number+1)
		}
		e.next = e.fresh
	}
	t.timelines[e.key] = e
	return e
}

// timelineBlockAt gives the entries of a block, nil when the Tx has failed.
func (t *Tx) timelineBlockAt(e *timelineEntry, extent blockExtent) []Entry {
	if b, ok := e.blocks[extent.number]; ok {
		return b.entries
	}
	t.key = appendTimelineBlockKey(t.key[:0], e.key, extent.number)
	value, ok := t.get(t.key)
	if t.err != nil {
		return nil
	}
	var entries []Entry
	err := ErrDamaged // a block that the directory names is there
	if ok {
		entries, err = decodeTimelineBlock(value)
	}
	if err == nil && extentOf(extent.number, entries) != extent {
		err = ErrDamaged
	}
	if err != nil {
		t.damaged(t.key, err)
		return nil
	}
	e.blocks[extent.number] = timelineBlockEntry{entries: entries}
	return entries
}

func (e *timelineEntry) remove() {
	for i := range e.now.blocks {
		e.removeBlock(e.now.blocks[i].number)
	}
	e.now, e.dirty = timeline{}, true
}

func (t *Tx) writeBlock(e *timelineEntry, number uint64, entries []Entry) {
	size := len(e.key) + sizeOf(entries)
	t.undo.blocks = saveItem(t.undo.blocks, e.blocks, number)
	if b := e.blocks[number]; b.dirty {
		e.write.size -= b.size
	} else {
		e.write.n++
	}
	e.write.size += size
	e.blocks[number] = timelineBlockEntry{entries, true, size}
}

// dropBlock removes a block in an evaluation.
func (t *Tx) dropBlock(e *timelineEntry, number uint64) {
	t.undo.blocks = saveItem(t.undo.blocks, e.blocks, number)
	e.removeBlock(number)
}

func (e *timelineEntry) removeBlock(number uint64) {
	if b := e.blocks[number]; b.dirty {
		e.write.n--
		e.write.size -= b.size
	}
	delete(e.blocks, number)
	if number < e.fresh {
		e.gone = append(e.gone, number)
	}
}

func (t *Tx) buildTimeline(e *timelineEntry) {
	if !e.dirty {
		return
	}
	for _, number := range e.gone {
		t.key = appendTimelineBlockKey(t.key[:0], e.key, number)
		t.remove(t.key)
	}
	for number, b := range e.blocks {
		if b.dirty {
			t.key = appendTimelineBlockKey(t.key[:0], e.key, number)
			t.value = appendEntries(append(t.value[:0], formatVersion), b.entries)
			t.put(t.key, t.value)
		}
	}
	if !e.now.exists {
		t.drop(&e.entry)
		return
	}
	e.now.filed = t.file(&e.entry, e.now.deadline(t.shard.store.lifetime))
	t.value = e.now.append(t.value[:0])
	t.put(t.named(e.key), t.value)
}

func (t *Tx) estimateTimeline(e *timelineEntry) {
	const extentSize = 20
	n := 1 + e.write.n + len(e.gone)
	size := (1+len(e.gone))*len(e.key) + valueOverhead + extentSize*len(e.now.blocks) + sizeOf(e.now.head) + e.write.size
	if !e.now.exists && !e.file.exists {
		n, size = 0, 0
	}
	t.estimate(&e.entry, n, size)
}

// sizeOf estimates the size of entries in a record, in bytes.
func sizeOf(entries []Entry) (size int) {
	const entrySize = 32
	for i := range entries {
		size += entrySize + len(entries[i].Label)
		if n := len(entries[i].ID); n != 36 {
			size += n
		}
	}
	return size
}
