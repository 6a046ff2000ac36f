package state

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
)

// Change is one record of the changelog: the value that a key has from now on,
// never a difference. It starts with a format version; nil is a tombstone.
type Change struct{ Key, Value []byte }

// indexChange is one entry of an index that comes or goes with the changes. It
// is local.
type indexChange struct {
	key, value []byte
	remove     bool
}

// changeSet holds the records that a Tx adds to the changelog, and the index entries and
// hints that go to disk with them. A change set takes about as much memory as all the rest
// of a large Tx, and is needed from the end of the work to the commit only: the shards of a
// store share a few.
type changeSet struct {
	changes []Change
	index   []indexChange
	pages   []page // of events
	hints   hints  // of both indexes
	arena   arena  // of changes and index
}

func (s *Store) takeSet() *changeSet {
	s.setsMu.Lock()
	defer s.setsMu.Unlock()
	last := len(s.sets) - 1
	if last < 0 {
		return &changeSet{hints: noHints}
	}
	c := s.sets[last]
	s.sets = s.sets[:last]
	return c
}

// giveSet takes a change set back, for the next Tx.
func (s *Store) giveSet(c *changeSet) {
	clear(c.changes) // or they would keep chunks that the arena has left
	clear(c.index)
	clear(c.pages) // their events are those of a Tx
	c.changes, c.index, c.pages, c.hints = c.changes[:0], c.index[:0], c.pages[:0], noHints
	c.arena.reset()
	s.setsMu.Lock()
	defer s.setsMu.Unlock()
	if len(s.sets) < keptSets {
		s.sets = append(s.sets, c)
	}
}

// Changes gives the final value of each key that the Tx has changed, and the
// positions, sorted by key. Call it after the last write. The slices are valid
// until Apply or Discard, and must not be changed.
func (t *Tx) Changes() iter.Seq[Change] {
	t.materialize()
	return slices.Values(t.changes)
}

// Empty tells that nothing but the work offset has changed.
func (t *Tx) Empty() bool {
	t.materialize()
	switch len(t.changes) {
	case 0:
	case 1:
		if t.changes[0].Key[0] != kindPosition || !t.pos.same(&t.shard.pos) { // no pages, or they were changes too
			return false
		}
	default:
		return false
	}
	t.invalidate() // it may be long until the set is asked for
	return true
}

// Len gives about how many changes there are; after Changes, exactly.
func (t *Tx) Len() int {
	if t.materialized() {
		return len(t.changes)
	}
	return t.n + 1
}

// Bytes gives about how many bytes the keys and values of the changes have.
func (t *Tx) Bytes() int { return t.size + 64 + len(t.pos.fingerprint) }

// materialized tells whether the changes are built.
func (t *Tx) materialized() bool { return t.changeSet != nil }

// invalidate drops the built changes when the Tx changes.
func (t *Tx) invalidate() {
	if t.materialized() {
		t.shard.store.giveSet(t.changeSet)
		t.changeSet = nil
	}
}

// materialize makes the changes of all values that the Tx holds, once.
func (t *Tx) materialize() {
	t.rollback()
	if t.materialized() {
		return
	}
	t.changeSet = t.shard.store.takeSet()
	t.buildSwept() // first: a value may be filed where a restore has left an entry that goes
	for _, e := range t.headers {
		t.buildHeader(e)
	}
	for _, r := range t.ringPool.items[:t.ringPool.used] {
		t.buildRing(r)
	}
	for _, e := range t.suppressions {
		t.buildSuppression(e)
	}
	for _, e := range t.timelines {
		t.buildTimeline(e)
	}
	t.buildPages()
	t.buildPositions()
	slices.SortFunc(t.changes, func(a, b Change) int { return bytes.Compare(a.Key, b.Key) })
}

func (t *Tx) put(key, value []byte) {
	t.changes = append(t.changes, Change{t.arena.keep(key), t.arena.keep(value)})
}

func (t *Tx) remove(key []byte) {
	t.changes = append(t.changes, Change{Key: t.arena.keep(key)})
}

// named gives a changelog key in the scratch buffer.
func (t *Tx) named(key string) []byte {
	t.key = append(t.key[:0], key...)
	return t.key
}

// buildSet makes changes of the members that came and went.
func (t *Tx) buildSet(e *setEntry) {
	alive := e.now.exists && e.now.number == e.disk.number
	if e.disk.count > 0 && !alive {
		t.key = binary.BigEndian.AppendUint64(append(t.key[:0], kindDeadSet), e.disk.number)
		t.put(t.key, []byte{formatVersion})
		t.hints.dead = true
	}
	for member, now := range e.members {
		t.key = appendMemberKey(t.key[:0], e.now.number, member)
		if now.in {
			t.value = append(append(t.value[:0], formatVersion), now.block...)
			t.put(t.key, t.value)
		} else if alive && e.disk.count > 0 {
			t.remove(t.key)
		}
	}
}

func (t *Tx) buildSuppression(e *suppressionEntry) {
	if !e.dirty {
		return
	}
	if !e.now.exists {
		t.drop(&e.entry)
		return
	}
	e.now.filed = t.file(&e.entry, e.now.deadline(t.shard.store.lifetime))
	t.value = e.now.append(t.value[:0])
	t.put(t.named(e.key), t.value)
}

// file moves the index entry of a value with this deadline if it has to, and gives its
// instant.
func (t *Tx) file(e *entry, deadline int64) (at int64) {
	at = e.file.next(deadline)
	if e.file.exists && e.file.at == at {
		return at
	}
	key := t.named(e.key)
	if e.file.exists {
		t.indexChange(e.file.at, key, true)
	}
	t.indexChange(at, key, false)
	t.hints.values = min(t.hints.values, at)
	return at
}

// drop removes a value from disk, if it is there, with its index entry.
func (t *Tx) drop(e *entry) {
	if e.file.exists {
		key := t.named(e.key)
		t.remove(key)
		t.indexChange(e.file.at, key, true)
	}
}

func (t *Tx) indexChange(at int64, key []byte, remove bool) {
	t.value = appendIndexKey(t.value[:0], kindValueIndex, at, key)
	t.index = append(t.index, indexChange{key: t.arena.keep(t.value), remove: remove})
}

func (t *Tx) buildPositions() {
	t.buildSources()
	for name, value := range t.meta {
		t.buildMeta(name, value)
	}
	if base, pos := &t.shard.pos, t.position(); !pos.same(base) || pos.work != base.work || pos.workEpoch != base.workEpoch {
		t.value = pos.append(t.value[:0])
		t.put(positionKey, t.value)
	}
}

// position gives the shard's position after the changes: their pages have taken numbers
// too.
func (t *Tx) position() position {
	pos := t.pos
	pos.next += uint64(len(t.pages))
	return pos
}

// buildMeta leaves a record alone that keeps its value.
func (t *Tx) buildMeta(name string, value []byte) {
	t.key = append(append(t.key[:0], kindMeta), name...)
	old, ok := t.get(t.key)
	if value == nil {
		if ok {
			t.remove(t.key)
		}
		return
	}
	if ok && len(old) > 0 && bytes.Equal(old[1:], value) {
		return
	}
	t.value = append(append(t.value[:0], formatVersion), value...)
	t.put(t.key, t.value)
}

const (
	valueOverhead  = 48 // bytes of a value besides its evidence
	blockOverhead  = 11 // bytes of a block's key and version
	alertSpanSize  = 7  // bytes of a span of alerts of a suppression
	memberOverhead = 11 // bytes of a member's key and value besides the member
)

// estimate is a value's part in Len and Bytes.
type estimate struct{ n, size int }

func (t *Tx) grow(n, size int) {
	t.n += n
	t.size += size
}

// estimate replaces the estimate of one value.
func (t *Tx) estimate(e *entry, n, size int) {
	t.grow(n-e.part.n, size-e.part.size)
	e.part = estimate{n, size}
}

func (t *Tx) estimateSuppression(e *suppressionEntry) {
	t.estimate(&e.entry, 1, len(e.key)+valueOverhead+len(e.now.alerts)*alertSpanSize)
}
