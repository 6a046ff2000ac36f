package state

import (
	"encoding/binary"
	"fmt"
)

// A key of the changelog is a kind byte, then the identity of the value within its kind;
// the database puts two bytes of shard number before it. The kinds are frozen.
const (
	kindClaim         = '!' // the fixed key of claims; never stored
	kindEvidence      = 'e' // number, slot: a full block of a window's older evidence
	kindDeadSet       = 'g' // set number: the set's members can be removed
	kindHeader        = 'h' // rule, key, name: the newest window of a counter, and a set without its members
	kindMeta          = 'i' // name: a small named record
	kindMember        = 'm' // set number, member
	kindSource        = 'o' // topic id, partition: the last source evaluated
	kindPosition      = 'p' // the shard's position
	kindPage          = 'r' // number, instant: a page of events that were evaluated
	kindSuppression   = 'u' // rule, key, hash of the dedup string
	kindTimelineBlock = 'b' // rule, key, name, number: a block of older entries of a timeline
	kindTimeline      = 't' // rule, key, name: a timeline with its newest entries
	kindWindow        = 'w' // rule, key, name, instant: an older window of a counter

	// Kinds from here on are local: rebuilt by Load, or told by it.
	kindLocal      = 0x80
	kindValueIndex = 0x81 // instant, then the key of a header, window, timeline or suppression
	kindPageIndex  = 0x82 // instant, number: a page of events, and how many they are
	kindChangelog  = 0x83 // next offset of the changelog
	kindCaughtUp   = 0x84 // when the copy was last complete
	kindRestoring  = 0x85 // since when the copy is incomplete
	kindRun        = 0x86 // number: a run of events that were evaluated
	kindRunBlock   = 0x87 // number of a run, block: a part of its events
	kindEpoch      = 0x88 // leader epoch of the changelog before an offset, and that offset
)

// ClaimKey is the changelog key of claim records, by which an owner finds the end of the
// records that earlier owners wrote. Load accepts and does not store them.
var ClaimKey = []byte{kindClaim}

var positionKey = []byte{kindPosition}

// parts is a key of the changelog, taken apart. Which fields count depends on
// the kind. Slices alias the key.
type parts struct {
	kind            byte
	rule, key, name []byte // meta: name alone
	slot            byte
	first           int64  // of a window
	set             uint64 // of a set, of a window's blocks of evidence, or of a block of a timeline
	member          []byte
	hash            [16]byte // of kindSource: the topic's id
	partition       int32
	page            pageID
}

// parseKey takes a changelog key apart. A kind that it does not know is
// ErrFormat.
func parseKey(key []byte) (parts, error) {
	r := reader{b: key}
	p := parts{kind: r.byte()}
	switch p.kind {
	case kindClaim, kindPosition:
	case kindHeader, kindTimeline:
		p.rule, p.key, p.name = r.part(), r.part(), r.part()
	case kindEvidence:
		p.set, p.slot = r.fixed64(), r.byte()
		if p.slot >= evidenceSlots {
			r.fail()
		}
	case kindTimelineBlock:
		p.rule, p.key, p.name, p.set = r.part(), r.part(), r.part(), r.fixed64()
	case kindWindow:
		p.rule, p.key, p.name, p.first = r.part(), r.part(), r.part(), r.instant()
	case kindSuppression:
		p.rule, p.key, p.hash = r.part(), r.part(), r.hash()
	case kindPage:
		p.page = pageID{number: r.fixed64(), end: r.instant()}
	case kindDeadSet:
		p.set = r.fixed64()
	case kindMember:
		p.set, p.member = r.fixed64(), r.rest()
	case kindSource:
		p.hash, p.partition = r.hash(), int32(r.fixed32())
	case kindMeta:
		p.name = r.rest()
	default:
		if len(key) > 0 {
			return parts{}, fmt.Errorf("%w (kind of key %#02x)", ErrFormat, p.kind)
		}
	}
	return p, r.close()
}

// append writes the key that parseKey reads.
func (p *parts) append(dst []byte) []byte {
	dst = append(dst, p.kind)
	switch p.kind {
	case kindHeader, kindTimeline:
		return appendNamed(dst, p.rule, p.key, p.name)
	case kindEvidence:
		return append(binary.BigEndian.AppendUint64(dst, p.set), p.slot)
	case kindTimelineBlock:
		return binary.BigEndian.AppendUint64(appendNamed(dst, p.rule, p.key, p.name), p.set)
	case kindWindow:
		return appendInstant(appendNamed(dst, p.rule, p.key, p.name), p.first)
	case kindSuppression:
		return append(appendPart(appendPart(dst, p.rule), p.key), p.hash[:]...)
	case kindPage:
		return appendInstant(binary.BigEndian.AppendUint64(dst, p.page.number), p.page.end)
	case kindDeadSet:
		return binary.BigEndian.AppendUint64(dst, p.set)
	case kindMember:
		return append(binary.BigEndian.AppendUint64(dst, p.set), p.member...)
	case kindSource:
		return binary.BigEndian.AppendUint32(append(dst, p.hash[:]...), uint32(p.partition))
	case kindMeta:
		return append(dst, p.name...)
	}
	return dst
}

func appendNamed(dst, rule, key, name []byte) []byte {
	return appendPart(appendPart(appendPart(dst, rule), key), name)
}

func (r *reader) fixed64() uint64 {
	b := r.take(8)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) fixed32() uint32 {
	b := r.take(4)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func appendMemberKey[T []byte | string](dst []byte, set uint64, member T) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, kindMember), set)
	return append(dst, member...)
}

// appendBlockKey gives the key of a block of evidence of this number.
func appendBlockKey(dst []byte, number uint64, slot int) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, kindEvidence), number)
	return append(dst, byte(slot))
}

// appendTimelineBlockKey gives the key of a block of the timeline with this key.
func appendTimelineBlockKey(dst []byte, timeline string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append(dst, kindTimelineBlock), timeline[1:]...), number)
}

// appendWindowKey gives the key of the older window that starts at first, of
// the counter with this key.
func appendWindowKey[T []byte | string](dst []byte, counter T, first int64) []byte {
	return appendInstant(append(append(dst, kindWindow), counter[1:]...), first)
}

// indexHead is the kind and the instant of an entry of an index.
const indexHead = 1 + 8

// appendIndexKey gives an entry of one of the two indexes; entries sort by
// instant.
func appendIndexKey[T []byte | string](dst []byte, kind byte, at int64, rest T) []byte {
	return append(appendInstant(append(dst, kind), at), rest...)
}

// appendInstant turns the sign bit, so that bytes sort as instants do.
func appendInstant(dst []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at)^1<<63)
}

func (r *reader) instant() int64 { return int64(r.fixed64() ^ 1<<63) }

// parseIndexKey is the inverse of appendIndexKey.
func parseIndexKey(key []byte) (at int64, rest []byte, err error) {
	r := reader{b: key}
	r.byte()
	at = r.instant()
	rest = r.rest()
	return at, rest, r.close()
}
