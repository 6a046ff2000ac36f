package state

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
)

// memberEvents is the events that the members of a set remember: how many they are, and
// the newest of them. All members are read to find them, once for a Tx, or for several
// where the shard keeps the result; changes are followed from then on.
type memberEvents struct {
	members map[uint64]int32 // by the hash of an event: how many members remember it
	newest  []memberEvent    // each once, in their order: those from bound on
	bound   memberEvent      // if not whole
	whole   bool             // newest has all of them
	topic   string           // of the event read last
}

// memberEvent is one event that members remember.
type memberEvent struct {
	at, offset       int64
	partition, index int32
	topic            string
	uuid             [16]byte // if id is ""
	id               string
}

// An evaluation that is counted without reading all members has changed at most maxEvidence
// of them, and so taken at most twice as many events away: of leastEvents events, as many
// remain as evidence lists.
const (
	keptEvents  = 4 * maxEvidence
	leastEvents = 3 * maxEvidence
)

// compare orders events as evidence does, and tells those of one source apart.
func (e *memberEvent) compare(o *memberEvent) int {
	if e.at != o.at {
		return cmp.Compare(e.at, o.at)
	}
	return cmp.Or(strings.Compare(e.topic, o.topic), cmp.Compare(e.partition, o.partition), cmp.Compare(e.offset, o.offset),
		cmp.Compare(e.index, o.index), strings.Compare(string(e.uuid[:]), string(o.uuid[:])), strings.Compare(e.id, o.id))
}

func (e *memberEvent) ref() Ref {
	id := e.id
	if e.uuid != [16]byte{} {
		id = unpackUUID(e.uuid[:])
	}
	return Ref{ID: id, Time: instant(e.at), Source: Source{Topic: e.topic, Partition: e.partition, Offset: e.offset, Index: e.index}}
}

// eventOf gives an event of a block as one of its own.
func (v *memberEvents) eventOf(b blockRef) memberEvent {
	if string(b.topic) != v.topic {
		v.topic = string(b.topic)
	}
	e := memberEvent{at: b.at, offset: b.offset, partition: b.partition, index: b.index, topic: v.topic}
	if b.packed && string(b.id) != string(e.uuid[:]) {
		copy(e.uuid[:], b.id)
	} else if b.packed {
		e.id = unpackUUID(b.id) // the UUID of zeros
	} else {
		e.id = string(b.id)
	}
	return e
}

// hashSeed makes hashes that an event's sender cannot foresee. No two of the events that
// a set remembers have the same one.
var hashSeed = maphash.MakeSeed()

// eachEvent calls fn for the events of a member's block, with their hashes.
func eachEvent(block []byte, fn func(hash uint64, b blockRef)) error {
	var scratch [128]byte
	r := reader{b: block}
	topic := r.part()
	for n := 0; n < 2 && (n == 0 || len(r.b) > 0); n++ {
		b := r.ref(topic)
		if r.bad {
			break
		}
		key := binary.BigEndian.AppendUint64(scratch[:0], uint64(b.at))
		key = binary.BigEndian.AppendUint32(key, uint32(b.partition))
		key = binary.BigEndian.AppendUint64(key, uint64(b.offset))
		key = binary.BigEndian.AppendUint32(key, uint32(b.index))
		fn(maphash.Bytes(hashSeed, append(appendPart(key, b.topic), b.id...)), b)
	}
	return r.close()
}

// add takes in the events of a member's block; sort must follow.
func (v *memberEvents) add(block []byte) error {
	return eachEvent(block, func(hash uint64, b blockRef) {
		n := v.members[hash]
		v.members[hash] = n + 1
		if n > 0 || !v.whole && b.at < v.bound.at {
			return
		}
		if e := v.eventOf(b); v.whole || e.compare(&v.bound) > 0 {
			v.newest = append(v.newest, e)
		}
		if len(v.newest) >= 4*keptEvents {
			v.sort()
		}
	})
}

// sort brings the newest events into order, and drops those beyond the bound.
func (v *memberEvents) sort() {
	slices.SortFunc(v.newest, func(a, b memberEvent) int { return a.compare(&b) })
	if over := len(v.newest) - keptEvents; over > 0 {
		v.newest = slices.Delete(v.newest, 0, over)
		v.bound, v.whole = v.newest[0], false
	}
}

// drop takes the events of a member's block away.
func (v *memberEvents) drop(block []byte) error {
	return eachEvent(block, func(hash uint64, b blockRef) {
		if n := v.members[hash]; n > 1 {
			v.members[hash] = n - 1
			return
		}
		delete(v.members, hash)
		v.newest = without(v.newest, v.eventOf(b))
	})
}

// without takes an event out of sorted ones.
func without(events []memberEvent, gone memberEvent) []memberEvent {
	at, found := slices.BinarySearchFunc(events, gone, func(a, b memberEvent) int { return a.compare(&b) })
	if found {
		return slices.Delete(events, at, at+1)
	}
	return events
}

// readEvents gives the events that members remember; each calls its argument for every such
// member.
func (t *Tx) readEvents(e *setEntry, n int64, each func(func(name, block []byte))) *memberEvents {
	v := &memberEvents{members: make(map[uint64]int32, n), whole: true}
	each(func(_, block []byte) { t.brokenMember(e, v.add(block)) })
	v.sort()
	return v
}

// eventsOf gives the events that the members of a set in the Tx remember.
func (t *Tx) eventsOf(e *setEntry) *memberEvents {
	if e.events == nil {
		e.events = t.kept(e)
	}
	if v := e.events; v == nil || !v.whole && len(v.newest) < leastEvents {
		e.events = t.readEvents(e, e.now.count, func(fn func(name, block []byte)) { t.eachMember(e, nil, fn) })
	}
	return e.events
}

// takeEvents follows changes that become part of the Tx.
func (t *Tx) takeEvents(e *setEntry, changes map[string]member) {
	if e.events == nil || len(changes) == 0 {
		return
	}
	for name := range changes {
		if was, ok := t.memberOf(e, name); ok {
			t.brokenMember(e, e.events.drop(was.block))
		}
	}
	for _, now := range changes {
		if now.in {
			t.brokenMember(e, e.events.add(now.block))
		}
	}
	e.events.sort()
}

func (t *Tx) brokenMember(e *setEntry, err error) { t.damaged([]byte(e.header.key), err) }

// appendEvidence adds the newest events that the members remember as the evaluation sees
// them, in no order: n of them or more, or all; and gives the number of all.
func (m *scopeSet) appendEvidence(dst []Ref, n int) (total int64, newest []Ref) {
	t := m.scope.tx
	var all *memberEvents
	var changes map[uint64]eventChange
	if m.replaced || len(m.members) > maxEvidence {
		all = t.readEvents(m.entry, m.count, m.each)
	} else {
		all = t.eventsOf(m.entry)
		changes = m.eventChanges(all)
		n += 2 * len(changes)
	}
	total = int64(len(all.members))
	had := len(dst) // the events of other values stay, also where members no longer remember them
	for i := max(0, len(all.newest)-n); i < len(all.newest); i++ {
		dst = append(dst, all.newest[i].ref())
	}
	for hash, c := range changes {
		switch before := all.members[hash]; {
		case before == 0 && c.members > 0:
			total++
			dst = append(dst, c.event.ref())
		case before > 0 && before+c.members == 0:
			total--
			gone := c.event.ref()
			own := slices.DeleteFunc(dst[had:], func(r Ref) bool { return compareEvents(r, gone) == 0 })
			dst = dst[:had+len(own)]
		}
	}
	return total, dst
}

// eventChange is how many more members remember an event than before an evaluation.
type eventChange struct {
	event   memberEvent
	members int32
}

// eventChanges gives the evaluation's changes to the events that members remember.
func (m *scopeSet) eventChanges(all *memberEvents) map[uint64]eventChange {
	if len(m.members) == 0 {
		return nil
	}
	t, changes := m.scope.tx, make(map[uint64]eventChange, 2*len(m.members))
	count := func(block []byte, n int32) {
		t.brokenMember(m.entry, eachEvent(block, func(hash uint64, b blockRef) {
			changes[hash] = eventChange{all.eventOf(b), changes[hash].members + n}
		}))
	}
	for name, now := range m.members {
		if was, ok := t.memberOf(m.entry, name); ok {
			count(was.block, -1)
		}
		if now.in {
			count(now.block, 1)
		}
	}
	return changes
}
