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
	sorted  bool
	topic   string // of the event read last
}

// memberEvent is one event that members remember.
type memberEvent struct {
	at, offset       int64
	partition, index int32
	topic            string
	uuid             [16]byte // if id is ""
	id               string
}

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

// add takes in the events of a member's block.
func (v *memberEvents) add(block []byte) error {
	return eachEvent(block, func(hash uint64, b blockRef) {
		n := v.members[hash]
		v.members[hash] = n + 1
		if n > 0 || !v.whole && b.at < v.bound.at {
			return
		}
		if e := v.eventOf(b); v.whole || e.compare(&v.bound) > 0 {
			v.newest, v.sorted = append(v.newest, e), false
		}
		if len(v.newest) >= 4*keptEvents {
			v.sort()
		}
	})
}

// sort brings the newest events into order, and drops those beyond the bound.
func (v *memberEvents) sort() {
	if v.sorted {
		return
	}
	v.sorted = true
	slices.SortFunc(v.newest, func(a, b memberEvent) int { return a.compare(&b) })
	if over := len(v.newest) - keptEvents; over > 0 {
		v.newest = slices.Delete(v.newest, 0, over)
		v.bound, v.whole = v.newest[0], false
	}
}

// drop takes the events of a member's block away.
func (v *memberEvents) drop(block []byte) error {
	v.sort()
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

// eventsOf gives the events that the members of a set in the Tx remember, sorted.
func (t *Tx) eventsOf(e *setEntry) *memberEvents {
	if e.events == nil {
		e.events = t.kept(e)
	}
	if v := e.events; v != nil {
		v.sort()
	}
	if v := e.events; v == nil || !v.whole && len(v.newest) < leastEvents {
		v = &memberEvents{members: make(map[uint64]int32, e.now.count), whole: true}
		t.eachMember(e, func(_, block []byte) { t.brokenMember(e, v.add(block)) })
		v.sort()
		e.events = v
	}
	return e.events
}

// changeEvents makes the events follow a member that comes, is met again, or goes.
func (t *Tx) changeEvents(e *setEntry, name string, now member) {
	if e.events == nil {
		return
	}
	if was, ok := t.memberOf(e, name); ok {
		t.brokenMember(e, e.events.drop(was.block))
	}
	if now.in {
		t.brokenMember(e, e.events.add(now.block))
	}
}

func (t *Tx) brokenMember(e *setEntry, err error) {
	if err != nil {
		t.damaged([]byte(e.header.key), err)
	}
}

// memberEvidence adds the n newest events that the members of a set remember, or all, and
// gives the number of all.
func (t *Tx) memberEvidence(e *setEntry, dst []Ref, n int) (total int64, newest []Ref) {
	all := t.eventsOf(e)
	for i := max(0, len(all.newest)-n); i < len(all.newest); i++ {
		dst = append(dst, all.newest[i].ref())
	}
	return int64(len(all.members)), dst
}
