package state

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Entry is one event of a timeline.
type Entry struct {
	Label string
	Ref
}

// A timeline is kept in parts, each a record of its own: the head has the newest entries,
// blocks have older ones. An evaluation reads and writes the parts that are near its event.
const (
	timelineHead  = 64 // entries of the head, from which on half of them move to a block
	timelineBlock = 128
)

// timeline is one part. The fields from reach on are those of a head.
type timeline struct {
	exists bool
	life
	entries []Entry // by time, then source; not changed in place

	reach int64 // longest span that was asked for, in nanoseconds
	until int64 // no entry of a block is later; noTime: there are no blocks
	span  int64 // from the first to the last entry of any block, at most, in nanoseconds
	count int64 // of all entries, at most
}

func (l *timeline) append(dst []byte) []byte {
	dst = l.life.append(append(dst, formatVersion))
	dst = binary.AppendUvarint(dst, uint64(l.reach))
	dst = binary.AppendUvarint(dst, uint64(l.count))
	if l.until == noTime {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(appendTime(append(dst, 1), l.until), uint64(l.span))
	}
	var refs []byte
	labelled := byte(0)
	for i := range l.entries {
		e := &l.entries[i]
		refs = appendRef(refs, &e.Ref, nanos(e.Time))
		if e.Label != "" {
			labelled = 1
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.entries)))
	dst = appendPart(dst, refs)
	if dst = append(dst, labelled); labelled == 0 {
		return dst
	}
	for i := range l.entries {
		dst = appendPart(dst, l.entries[i].Label)
	}
	return dst
}

func decodeTimeline(value []byte) (timeline, error) {
	r, err := open(value)
	if err != nil {
		return timeline{}, err
	}
	l := timeline{exists: true, life: r.life(), reach: r.nonNegative(), count: r.nonNegative(), until: noTime}
	switch r.byte() {
	case 0:
	case 1:
		l.until, l.span = r.time(), r.nonNegative()
	default:
		r.fail()
	}
	n, refs := r.uvarint(), r.part()
	if n > uint64(len(refs)) { // each takes some bytes
		r.fail()
	}
	if r.bad {
		return timeline{}, ErrDamaged
	}
	if n > 0 {
		if err := checkBlock(refs, int(n)); err != nil {
			return timeline{}, err
		}
		all, err := appendRefs(nil, refs, int(n))
		if err != nil {
			return timeline{}, err
		}
		l.entries = make([]Entry, n)
		for i := range all {
			l.entries[i].Ref = all[i]
		}
	} else if len(refs) > 0 || l.until == noTime {
		r.fail()
	}
	l.readLabels(&r)
	if !slices.IsSortedFunc(l.entries, compareEntries) {
		r.fail()
	}
	return l, r.close()
}

func (l *timeline) readLabels(r *reader) {
	switch r.byte() {
	case 0:
		return
	case 1:
	default:
		r.fail()
	}
	some := false
	for i := range l.entries {
		l.entries[i].Label = string(r.part())
		some = some || l.entries[i].Label != ""
	}
	if !some {
		r.fail()
	}
}

func (r *reader) nonNegative() int64 {
	v := r.uvarint()
	if int64(v) < 0 {
		r.fail()
		return 0
	}
	return int64(v)
}

func compareEntries(a, b Entry) int {
	return cmp.Or(compareRefs(a.Ref, b.Ref), strings.Compare(a.Label, b.Label))
}

// settle makes the life of a part follow its entries: it is absent once no event in reach
// of the newest of them can come.
func (l *timeline) settle(reach int64) {
	at := l.until
	if n := len(l.entries); n > 0 {
		at = max(at, nanos(l.entries[n-1].Time))
	}
	if l.exists = at != noTime; !l.exists {
		return
	}
	l.newest, l.expiry = at, noTime
	if reach > 0 {
		l.expiry = after(at, time.Duration(reach))
	}
}

// timelineEntry is a part in a Tx.
type timelineEntry struct {
	entry
	now timeline
}

// timelineAt gives the part of this changelog key.
func (t *Tx) timelineAt(key []byte) *timelineEntry {
	if e, ok := t.timelines[string(key)]; ok {
		return e
	}
	e := &timelineEntry{entry: entry{key: string(key)}, now: timeline{until: noTime}}
	if value, ok := t.get(key); ok {
		l, err := decodeTimeline(value)
		t.damaged(key, err)
		if err == nil {
			e.now = l
		}
		e.file = filing{exists: true, at: l.filed}
	}
	t.timelines[e.key] = e
	return e
}

func (e *timelineEntry) remove() { e.now, e.dirty = timeline{until: noTime}, true }

func (t *Tx) buildTimeline(e *timelineEntry) {
	switch {
	case !e.dirty:
	case !e.now.exists:
		t.drop(&e.entry)
	default:
		t.file(&e.entry, &e.now.life)
		t.value = e.now.append(t.value[:0])
		t.put(t.named(e.key), t.value)
	}
}

func (t *Tx) measureTimeline(e *timelineEntry) {
	size := len(e.key) + valueOverhead
	for i := range e.now.entries {
		size += 40 + len(e.now.entries[i].Label)
	}
	t.measure(&e.entry, 1, size)
}

// timelinePart is a part as one evaluation sees it.
type timelinePart struct {
	entry *timelineEntry
	timeline
	dirty bool
}

// scopeTimeline is a timeline as one evaluation sees it.
type scopeTimeline struct {
	scope  *Scope
	name   string
	head   *timelinePart
	blocks map[int64]*timelinePart // those that were read, by the instant in their keys

	alone    bool // the event lies too far back to be kept
	own      Entry
	given    []Entry // by Within
	consumed []Entry
}

// timeline gives the timeline of this name, nil when the scope has failed.
func (s *Scope) timeline(name string) *scopeTimeline {
	for _, l := range s.timelines {
		if l.name == name {
			return l
		}
	}
	if !s.name(kindTimeline, name) {
		return nil
	}
	e := s.tx.timelineAt(s.key)
	if s.failed() {
		return nil
	}
	l := &scopeTimeline{scope: s, name: name, head: &timelinePart{entry: e, timeline: e.now}, blocks: map[int64]*timelinePart{}}
	s.timelines = append(s.timelines, l)
	return l
}

// block gives the block whose key has this instant.
func (l *scopeTimeline) block(first int64) *timelinePart {
	if b := l.blocks[first]; b != nil {
		return b
	}
	t := l.scope.tx
	t.key = appendTimelineKey(t.key[:0], l.head.entry.key, first)
	e := t.timelineAt(slices.Clone(t.key))
	b := &timelinePart{entry: e, timeline: e.now}
	l.blocks[first] = b
	return b
}

// near gives the instants in the keys of the blocks that are there from one instant to
// another, in their order.
func (l *scopeTimeline) near(from, to int64) (firsts []int64) {
	if l.head.until == noTime || from > to {
		return nil
	}
	t := l.scope.tx
	prefix := append([]byte{kindTimelineBlock}, l.head.entry.key[1:]...)
	note := func(key []byte) bool {
		first := instantOf(key)
		if first <= to && l.blocks[first] == nil {
			firsts = append(firsts, first)
		}
		return first <= to
	}
	t.scan(prefix, appendInstant(slices.Clone(prefix), from), func(key, _ []byte) bool { return note(key) })
	for key, e := range t.timelines {
		if e.file.exists || !strings.HasPrefix(key, string(prefix)) || instantOf([]byte(key)) < from {
			continue
		}
		note([]byte(key))
	}
	for first := range l.blocks {
		if first >= from && first <= to {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return slices.DeleteFunc(slices.Compact(firsts), func(first int64) bool { return !l.block(first).exists })
}

// instantOf gives the instant at the end of a block's key.
func instantOf(key []byte) int64 {
	r := reader{b: key[len(key)-8:]}
	return r.instant()
}

// Observe adds the event to the timeline of this name, under a label, which may be "". An
// event that is there already under the label is not added again. One that lies further
// behind the newest of the timeline than any event in reach of it can still come, which is
// the longest span that Within was asked for and the store's MaxLateness, is not kept: it
// stands alone.
func (s *Scope) Observe(name, label string) {
	l := s.timeline(name)
	switch {
	case l == nil:
		return
	case len(label) > maxString:
		s.refuse(reasonMemberTooLong, "a label of timeline %q has %d bytes, at most %d are kept", name, len(label), maxString)
		return
	case len(s.at.ID) > maxEventID:
		s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
		return
	}
	l.own = Entry{Label: strings.Clone(label), Ref: s.at}
	l.own.ID = strings.Clone(s.at.ID)
	l.own.Source = Source{Topic: strings.Clone(s.at.Source.Topic), Partition: s.at.Source.Partition, Offset: s.at.Source.Offset, Index: s.at.Source.Index}
	if l.own.Time = instant(s.now); l.tooLate() {
		l.alone = true
		s.alone++
		return
	}
	if l.head.until != noTime && s.now < l.head.until {
		l.insertBlock()
		return
	}
	if l.insert(l.head, l.own) {
		l.head.count++
	}
	if len(l.head.entries) > timelineHead {
		l.spill()
	}
	l.bound()
}

// tooLate tells whether no event in reach of the event at hand can come any more.
func (l *scopeTimeline) tooLate() bool {
	h := l.head
	return h.exists && l.scope.now < addSaturating(h.newest, -addSaturating(h.reach, int64(l.scope.tx.shard.store.maxLateness)))
}

// insert adds an entry to a part; false: it has been there.
func (l *scopeTimeline) insert(p *timelinePart, e Entry) bool {
	for i := range p.entries {
		if e.ID != "" && p.entries[i].ID == e.ID && p.entries[i].Label == e.Label {
			return false
		}
	}
	i, _ := slices.BinarySearchFunc(p.entries, e, compareEntries)
	p.entries = slices.Insert(slices.Clip(slices.Clone(p.entries)), i, e)
	l.changed(p)
	return true
}

func (l *scopeTimeline) changed(p *timelinePart) {
	p.settle(l.head.reach)
	p.dirty = true
	if n := len(p.entries); p != l.head && n > 0 {
		l.head.span = max(l.head.span, nanos(p.entries[n-1].Time)-nanos(p.entries[0].Time))
		l.head.dirty = true
	}
}

// insertBlock adds the event to the block that it belongs to, or a new one.
func (l *scopeTimeline) insertBlock() {
	now := l.scope.now
	at := now
	if firsts := l.near(addSaturating(now, -l.head.span), now); len(firsts) > 0 {
		at = firsts[len(firsts)-1]
	}
	b := l.block(at)
	if !l.insert(b, l.own) {
		return
	}
	l.head.count++
	l.head.dirty = true
	if len(b.entries) > timelineBlock {
		l.move(b, b.entries[len(b.entries)/2:], b.entries[:len(b.entries)/2])
	}
	l.bound()
}

// spill moves the older half of the head to a block.
func (l *scopeTimeline) spill() {
	half := len(l.head.entries) / 2
	moved := l.head.entries[:half]
	l.head.until = max(l.head.until, nanos(moved[half-1].Time))
	l.move(l.head, moved, l.head.entries[half:])
}

// move takes entries out of a part, where others stay, to the block of their first instant.
func (l *scopeTimeline) move(from *timelinePart, moved, stay []Entry) {
	to := l.block(nanos(moved[0].Time))
	if to == from {
		return // all of one instant: the block becomes larger
	}
	from.entries = slices.Clone(stay)
	to.entries = slices.Concat(to.entries, moved)
	slices.SortFunc(to.entries, compareEntries)
	l.changed(to)
	l.changed(from)
}

// bound keeps the timeline within as many entries as a set may have members. Before one is
// refused, those go that are too old to matter.
func (l *scopeTimeline) bound() {
	store := l.scope.tx.shard.store
	limit := int64(store.maxSetMembers)
	if l.head.count <= limit {
		return
	}
	lateness := min(int64(store.maxLateness), int64(DefaultMaxLateness))
	old := addSaturating(l.head.newest, -addSaturating(l.head.reach, lateness))
	l.head.count = int64(len(l.head.entries))
	for _, first := range l.near(noTime+1, l.head.until) {
		b := l.block(first)
		kept := slices.DeleteFunc(slices.Clone(b.entries), func(e Entry) bool { return nanos(e.Time) < old })
		if len(kept) < len(b.entries) {
			b.entries = kept
			l.changed(b)
		}
		l.head.count += int64(len(kept))
	}
	l.head.dirty = true
	if l.head.count > limit {
		l.scope.refuse(reasonSetFull, "timeline %q has its %d entries already", l.name, limit)
	}
}

// Within gives the entries from d before the event to d after it, both instants included,
// oldest first. Of an event that stands alone it gives the event. The entries are valid
// until Commit.
func (s *Scope) Within(name string, d time.Duration) []Entry {
	l := s.timeline(name)
	if l == nil || d < 0 {
		return nil
	}
	if l.alone {
		l.given = []Entry{l.own}
		return slices.Clone(l.given)
	}
	if int64(d) > l.head.reach {
		l.head.reach = int64(d)
		if l.head.exists {
			l.changed(l.head)
		}
	}
	from, to := addSaturating(s.now, -int64(d)), addSaturating(s.now, int64(d))
	var out []Entry
	for _, first := range l.near(addSaturating(from, -l.head.span), min(to, l.head.until)) {
		out = appendWithin(out, l.block(first).entries, from, to)
	}
	out = appendWithin(out, l.head.entries, from, to)
	l.given = out
	return slices.Clone(out)
}

func appendWithin(dst, entries []Entry, from, to int64) []Entry {
	for i := range entries {
		if at := nanos(entries[i].Time); at >= from && at <= to {
			dst = append(dst, entries[i])
		}
	}
	return dst
}

// Consume removes these entries, which Within has given. What a finding has consumed is
// its evidence.
func (s *Scope) Consume(name string, entries []Entry) {
	l := s.timeline(name)
	if l == nil || len(entries) == 0 {
		return
	}
	l.consumed = append(l.consumed, entries...)
	if l.alone {
		return
	}
	take := func(p *timelinePart) {
		kept := slices.DeleteFunc(slices.Clone(p.entries), func(e Entry) bool {
			return slices.ContainsFunc(entries, func(c Entry) bool { return c.ID == e.ID && compareEntries(c, e) == 0 })
		})
		if n := len(p.entries) - len(kept); n > 0 {
			p.entries = kept
			l.head.count -= int64(n)
			l.head.dirty = true
			l.changed(p)
		}
	}
	take(l.head)
	for _, b := range l.blocks {
		take(b)
	}
}

// evidence gives the events that the timeline has contributed: those that were consumed,
// else those that Within gave.
func (l *scopeTimeline) evidence(dst []Ref) []Ref {
	entries := l.consumed
	if len(entries) == 0 {
		entries = l.given
	}
	for i := range entries {
		dst = append(dst, entries[i].Ref)
	}
	return dst
}

// commit hands what the evaluation did to the Tx.
func (l *scopeTimeline) commit() {
	t := l.scope.tx
	keep := func(p *timelinePart) {
		if p.dirty {
			p.entry.now, p.entry.dirty = p.timeline, true
			t.measureTimeline(p.entry)
		}
	}
	keep(l.head)
	for _, b := range l.blocks {
		keep(b)
	}
}

// StoodAlone gives how many events this evaluation has found too late for their timelines.
func (s *Scope) StoodAlone() int { return s.alone }
