package state

import (
	"bytes"
	"hash/maphash"
)

// valueCache is a cache of the disk's values for the keys that were last read or written. Some
// principals and roles are busier than others by far, and a look-up in the database costs
// more than the whole of their rule. There are two slots for each hash, the one that was
// used last first; a new key takes the place of the other. That finds as much as twice as
// many slots of one. When the data is too large in all, slots are emptied in turn. The zero
// value is empty.
type valueCache struct {
	sets  [][2]cachedValue
	size  int    // bytes of all slots' data
	hand  int    // slot to be emptied next
	spare []byte // the data of the slot emptied last, for the next one that does not waste it
}

// cachedValue is a key, empty if the slot is, and its value.
type cachedValue struct {
	data   []byte // key, value
	key    int32  // bytes of the key
	exists bool
}

// cacheSeed has no part in any answer.
var cacheSeed = maphash.MakeSeed()

// cachedKind tells whether values of this kind are read again soon. Events and their
// evidence are many, and each is read once or never.
func cachedKind(kind byte) bool {
	switch kind {
	case kindHeader, kindMember, kindSuppression, kindTimeline:
		return true
	}
	return false
}

func (r *valueCache) set(key []byte) *[2]cachedValue {
	return &r.sets[maphash.Bytes(cacheSeed, key)%(cacheSlots/2)]
}

// holds reports whether the slot is that of the key.
func (v *cachedValue) holds(key []byte) bool { return bytes.Equal(v.data[:v.key], key) }

// first brings the key's slot, if one of the set is, to the front.
func first(set *[2]cachedValue, key []byte) bool {
	if set[0].holds(key) {
		return true
	}
	if !set[1].holds(key) {
		return false
	}
	set[0], set[1] = set[1], set[0]
	return true
}

// get gives the disk's value under the key; not known: the disk has to be asked. The value
// is valid until the next put.
func (r *valueCache) get(key []byte) (value []byte, exists, known bool) {
	if r.sets == nil {
		return nil, false, false
	}
	if s := r.set(key); first(s, key) {
		return s[0].data[s[0].key:], s[0].exists, true
	}
	return nil, false, false
}

// put notes the disk's value under the key.
func (r *valueCache) put(key, value []byte, exists bool) {
	if r.sets == nil {
		r.sets = make([][2]cachedValue, cacheSlots/2)
	}
	s := r.set(key)
	known := first(s, key)
	if len(key)+len(value) > cacheMost {
		if known {
			r.empty(&s[0])
		}
		return
	}
	if !known {
		s[0], s[1] = s[1], s[0]
	}
	v := &s[0]
	if n := len(key) + len(value); v.data == nil && n <= cap(r.spare) && cap(r.spare) <= 4*n {
		v.data, r.spare = r.spare, nil
	} else {
		r.size -= cap(v.data)
	}
	v.data, v.key, v.exists = append(append(v.data[:0], key...), value...), int32(len(key)), exists
	r.size += cap(v.data)
	for r.size > cacheBytes {
		if old := &r.sets[r.hand/2][r.hand%2]; old != v {
			r.empty(old)
		}
		r.hand = (r.hand + 1) % cacheSlots
	}
}

func (r *valueCache) empty(v *cachedValue) {
	r.size -= cap(v.data)
	if v.data != nil {
		r.spare = v.data
	}
	*v = cachedValue{}
}

// update notes a change. A removed key is noted only where the cache has the key already:
// most removals are of the sweep, and their keys are not asked for again.
func (r *valueCache) update(c Change) {
	if !cachedKind(c.Key[0]) {
		return
	}
	if _, _, known := r.get(c.Key); c.Value != nil || known {
		r.put(c.Key, c.Value, c.Value != nil)
	}
}

func (r *valueCache) clear() { *r = valueCache{} }
