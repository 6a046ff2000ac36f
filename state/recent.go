package state

import (
	"bytes"
	"hash/maphash"
)

// recent keeps what the disk has under the keys that were last read or written. Some
// principals and roles are busier than others by far, and a look-up in the database
// costs more than the whole of their rule. It is one slot for each hash: what is put
// in takes the place of what was there. The zero value is empty.
type recent struct{ slots []recentValue }

// recentValue is a key, empty if the slot is, and its value.
type recentValue struct {
	key    []byte
	value  []byte
	exists bool
}

const (
	recentSlots = 1 << 10 // of one shard
	recentMost  = 1 << 10 // bytes of a key and its value: a counter with ten events as evidence has 800
)

// recentSeed is of no consequence for any answer.
var recentSeed = maphash.MakeSeed()

// recentKind tells whether values of this kind are read again soon. Events and their
// evidence are many, and each is read once or never.
func recentKind(kind byte) bool {
	switch kind {
	case kindCounter, kindSet, kindMember, kindSuppression:
		return true
	}
	return false
}

func (r *recent) slot(key []byte) *recentValue {
	return &r.slots[maphash.Bytes(recentSeed, key)%recentSlots]
}

// get gives what the disk has under the key; not known: it has to be asked. The value
// is valid until the next put.
func (r *recent) get(key []byte) (value []byte, exists, known bool) {
	if r.slots == nil {
		return nil, false, false
	}
	s := r.slot(key)
	return s.value, s.exists, bytes.Equal(s.key, key)
}

// put notes what the disk has under the key.
func (r *recent) put(key, value []byte, exists bool) {
	if r.slots == nil {
		r.slots = make([]recentValue, recentSlots)
	}
	s := r.slot(key)
	if len(key)+len(value) > recentMost {
		if bytes.Equal(s.key, key) {
			s.key = s.key[:0]
		}
		return
	}
	s.key, s.value, s.exists = append(s.key[:0], key...), append(s.value[:0], value...), exists
}

// wrote notes a change. What was removed takes nobody's place: most of it is swept, and
// not asked for again.
func (r *recent) wrote(c Change) {
	if !recentKind(c.Key[0]) {
		return
	}
	if _, _, known := r.get(c.Key); c.Value != nil || known {
		r.put(c.Key, c.Value, c.Value != nil)
	}
}

// clear forgets everything.
func (r *recent) clear() { r.slots = nil }
