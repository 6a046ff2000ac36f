package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Constants for the tests outside the package.
const (
	MaxString   = maxString
	MaxEventID  = maxEventID
	MaxEvidence = maxEvidence
)

// Dump gives the shard's records on disk, the local ones only if asked.
func Dump(h *Shard, local bool) (records []Change, err error) {
	err = h.scan(nil, nil, func(key, value []byte) (bool, error) {
		if key[0] < kindLocal || local {
			records = append(records, Change{bytes.Clone(key), append([]byte{}, value...)})
		}
		return true, nil
	})
	return records, err
}

// Check gives the first record on disk that does not fit the others: a value that Sweep
// would never find, a set with a wrong number of members, a member or a block of evidence
// that would never be removed, an event of a page that the shard does not know.
func Check(h *Shard) error {
	records, err := Dump(h, true)
	if err != nil {
		return err
	}
	c := checker{h: h, keys: map[string][]byte{}, members: map[uint64]int64{}, alive: map[uint64]int64{}, blocks: map[uint64]int{}}
	for _, r := range records {
		c.keys[string(r.Key)] = r.Value
	}
	for _, r := range records {
		if r.Key[0] == kindPageIndex {
			c.filed++
		}
		if r.Key[0] >= kindLocal {
			continue
		}
		if err := c.record(r); err != nil {
			return fmt.Errorf("record %q: %w", r.Key, err)
		}
	}
	if c.pages != c.filed {
		return fmt.Errorf("%d entries in the index of %d pages", c.filed, c.pages)
	}
	for number, n := range c.blocks {
		if n != 0 {
			return fmt.Errorf("evidence number %d has %d blocks more than a window uses", number, n)
		}
	}
	for number, n := range c.members {
		if want, ok := c.alive[number]; !ok || want >= 0 && want != n {
			return fmt.Errorf("set number %d has %d members; want %d (known: %t)", number, n, want, ok)
		}
	}
	return nil
}

// See remembers an event that was not seen, as an evaluation that ends well does.
func See(t *Tx, rule, key, eventID string, eventTime time.Time, within time.Duration) bool {
	if eventID == "" {
		return false
	}
	k := t.EventKey(rule, key, eventID)
	if t.Seen(k) {
		return true
	}
	t.Remember(k, eventTime, within)
	return false
}

// checkRecord reports the error that Load would give.
func checkRecord(k *parts, value []byte) (at int64, indexed bool, err error) {
	if k.kind == kindPage {
		_, err := decodePage(nil, value, k.page.end)
		return 0, false, err
	}
	return checkValue(k.kind, value)
}

type checker struct {
	h       *Shard
	keys    map[string][]byte
	pages   int
	filed   int              // pages in the index
	members map[uint64]int64 // as found
	alive   map[uint64]int64 // as told; -1: dead, any number
	blocks  map[uint64]int   // of evidence, by number: as found less as told
}

func (c *checker) record(r Change) error {
	k, err := parseKey(r.Key)
	if err != nil {
		return err
	}
	at, indexed, err := checkRecord(&k, r.Value)
	if err != nil {
		return err
	}
	if indexed {
		return c.indexed(k, r, at)
	}
	switch k.kind {
	case kindPage:
		return c.page(k.page, r.Value)
	case kindMember:
		c.members[k.set]++
	case kindDeadSet:
		c.alive[k.set] = -1
	case kindEvidence:
		c.blocks[k.set]++
	case kindTimelineBlock:
		return c.timelineBlock(k)
	}
	return nil
}

func (c *checker) page(p pageID, value []byte) error {
	c.pages++
	events, err := decodePage(nil, value, p.end)
	if err != nil {
		return err
	}
	if next := c.h.pos.next; next > noPosition.next && p.number >= next { // else the pages are those of a dump
		return fmt.Errorf("page %d, and the next number is %d", p.number, next)
	}
	key, count := p.appendIndex(nil, nil, len(events))
	if got, ok := c.keys[string(key)]; !ok || !bytes.Equal(got, count) {
		return fmt.Errorf("in the index of pages it has %x, %t; want %x", got, ok, count)
	}
	for _, e := range events {
		e.until = c.h.pos.rewound.limit(p.number, e.until)
		until, err := c.h.known.until(c.h, e.hash)
		if err != nil {
			return err
		}
		if e.until >= c.h.pos.reached && until < e.until {
			return fmt.Errorf("event %x is known until %s; want %s", e.hash, when(until), when(e.until))
		}
	}
	return nil
}

func (c *checker) indexed(k parts, r Change, at int64) error {
	entry, deadline := appendIndexKey(nil, kindValueIndex, at, r.Key), at
	switch k.kind {
	case kindHeader, kindWindow:
		h, _, _ := decodeHeader(r.Value)
		deadline = math.MaxInt64
		if v := &h.counter; v.kept() {
			deadline = v.deadline(c.h.store.lifetime)
			if v.exists && v.number != 0 {
				c.blocks[v.number] -= v.slots()
			}
			if err := c.window(k, v, deadline); err != nil {
				return err
			}
		}
		if v := &h.set; v.exists {
			deadline = min(deadline, v.deadline(c.h.store.lifetime))
			if v.number != 0 {
				c.alive[v.number] = v.count
			}
		}
	case kindTimeline:
		v, _ := decodeTimeline(r.Value)
		deadline = v.deadline(c.h.store.lifetime)
		if err := c.timeline(k, &v); err != nil {
			return err
		}
	case kindSuppression:
		v, _ := decodeSuppression(r.Value)
		deadline = v.deadline(c.h.store.lifetime)
	}
	if _, ok := c.keys[string(entry)]; !ok {
		return fmt.Errorf("no index entry at %s", instant(at))
	}
	if deadline < at {
		return fmt.Errorf("filed at %s, after its deadline %s", instant(at), instant(deadline))
	}
	return nil
}

// window reports an older window that the counter's own key does not lead to.
func (c *checker) window(k parts, v *counter, deadline int64) error {
	if k.kind != kindWindow {
		return nil
	}
	if deadline < addSaturating(c.h.pos.reached, -int64(c.h.store.maxLateness)) {
		return nil // the counter's own key may have been swept before it, and have come anew
	}
	if v.first != k.first {
		return fmt.Errorf("the window starts at %s", instant(v.first))
	}
	if deadline <= v.first {
		return nil // it holds nothing, so no event looks for it, and the counter's own may begin before it
	}
	k.kind = kindHeader
	h, _, err := decodeHeader(c.keys[string(k.append(nil))])
	own := &h.counter
	if err != nil || !own.kept() {
		return nil // swept, and so is this window soon
	}
	if own.exists && own.first <= v.first || own.older.until < deadline || own.older.ttl < stretch(v.first, deadline) {
		return fmt.Errorf("the counter's own key starts at %s and leads to windows of %s until %s, and one is from %s to %s", instant(own.first), time.Duration(own.older.ttl), instant(own.older.until), instant(v.first), instant(deadline))
	}
	return nil
}

// timeline checks that the blocks of a directory are there, as it says.
func (c *checker) timeline(k parts, l *timeline) error {
	k.kind = kindTimelineBlock
	for i, extent := range l.blocks {
		k.set = extent.number
		entries, err := decodeTimelineBlock(c.keys[string(k.append(nil))])
		if err != nil || extentOf(extent.number, entries) != extent {
			return fmt.Errorf("block %d is not as the directory says, %+v (%v)", i, extent, err)
		}
		if i > 0 && l.blocks[i-1].count+extent.count <= timelineBlock/2 {
			return fmt.Errorf("blocks %d and %d of %d have %d and %d entries", i-1, i, len(l.blocks), l.blocks[i-1].count, extent.count)
		}
	}
	return nil
}

// timelineBlock checks that a directory has the block.
func (c *checker) timelineBlock(k parts) error {
	number := k.set
	k.kind = kindTimeline
	l, err := decodeTimeline(c.keys[string(k.append(nil))])
	if err != nil || !slices.ContainsFunc(l.blocks, func(b blockExtent) bool { return b.number == number }) {
		return fmt.Errorf("a block of a timeline that does not have it (%v)", err)
	}
	return nil
}

// Damage breaks a record on disk.
func Damage(t interface{ Fatal(...any) }, h *Shard, key []byte) {
	b := h.store.db.NewBatch()
	defer b.Close()
	if err := errors.Join(h.set(b, key, []byte{formatVersion}), h.commit(b)); err != nil {
		t.Fatal(err)
	}
	h.values.clear() // the disk is to be asked
}

// Remembers tells whether the shard need not ask the disk for a key.
func Remembers(h *Shard, key []byte) bool {
	_, _, known := h.values.get(key)
	return known
}

// SmallRuns lets runs of events have n events at most.
func SmallRuns(s *Store, n int) { s.runEvents = n }

// Runs gives the number of runs of events that the shard has.
func Runs(h *Shard) int { return len(h.known.runs) }

// Flush waits until applied changes are on disk.
func Flush(t interface{ Fatal(...any) }, s *Store) {
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
}

// BeginFlush does not wait.
func BeginFlush(s *Store) { s.flush() }

// Compact begins to merge all tables. The caller stops that before it closes the
// store: of tables that are damaged, it never comes to an end.
func Compact(s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.db.Compact(ctx, []byte{0}, []byte{0xff, 0xff, 0xff}, false)
	}()
	return func() {
		cancel()
		<-done
	}
}
