package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Subscriptions and assignments are written in the ConsumerProtocol of Kafka's own consumer
// (ConsumerProtocolSubscription.json, version 2, and ConsumerProtocolAssignment.json,
// version 1), so that Kafka's tools show them. The fields of trailhound stand in their user
// data:
//
//	subscription: version 1, freshness {shard, offset}…, seen {topic, count}…,
//	              and if there is any: avoid {topic, {partition}…}…
//	assignment:   version 1, counts {topic, count}…
//
// with a byte for the version, uvarints for numbers and lengths, and each list
// behind its length. User data of another version is ignored.
const (
	subscriptionVersion = 2 // 1 brought owned partitions (KIP-429), 2 their generation (KIP-792)
	assignmentVersion   = 1
	userDataVersion     = 1
)

var errMalformed = errors.New("malformed")

// subscription is the metadata that a member sends to the leader.
type subscription struct {
	topics     []string
	owned      map[string][]int32
	generation int32              // generation of owned; -1: none
	freshness  map[int32]int64    // next changelog offset of the local state, by shard
	seen       map[string]int32   // partitions per topic as the member saw them last
	avoid      map[string][]int32 // partitions that another member should have
}

func (s subscription) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, subscriptionVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.topics)))
	for _, t := range s.topics {
		b = appendString(b, t)
	}
	b = appendBytes(b, s.userData())
	b = appendPartitions(b, s.owned)
	return binary.BigEndian.AppendUint32(b, uint32(s.generation))
}

func (s subscription) userData() []byte {
	b := []byte{userDataVersion}
	b = binary.AppendUvarint(b, uint64(len(s.freshness)))
	for _, shard := range slices.Sorted(maps.Keys(s.freshness)) {
		b = binary.AppendUvarint(b, uint64(shard))
		b = binary.AppendUvarint(b, uint64(s.freshness[shard]))
	}
	b = appendCounts(b, s.seen)
	if len(s.avoid) == 0 {
		return b
	}
	return appendPartitions(b, s.avoid)
}

// decodeSubscription reads a subscription of any version. User data of another application
// reads as none.
func decodeSubscription(b []byte) (subscription, error) {
	r := reader{rest: b}
	version := r.int16()
	s := subscription{generation: -1}
	for range r.length(2) {
		s.topics = append(s.topics, r.string())
	}
	user := r.bytes()
	if version >= 1 {
		s.owned = r.partitions()
	}
	if version >= 2 {
		s.generation = r.int32()
	}
	if r.bad || version < 0 {
		return subscription{}, fmt.Errorf("subscription of %d bytes, version %d: %w", len(b), version, errMalformed)
	}
	s.freshness, s.seen, s.avoid = decodeUserData(user)
	return s, nil
}

func decodeUserData(b []byte) (freshness map[int32]int64, seen map[string]int32, avoid map[string][]int32) {
	r := reader{rest: b}
	if r.byte() != userDataVersion {
		return nil, nil, nil
	}
	n := r.uvarint()
	freshness = make(map[int32]int64)
	for ; n > 0 && !r.bad; n-- {
		shard, offset := r.uvarint(), r.uvarint()
		if shard > 1<<31-1 || offset > 1<<63-1 {
			r.bad = true
			break
		}
		freshness[int32(shard)] = int64(offset)
	}
	seen = r.counts()
	if r.bad {
		return nil, nil, nil
	}
	if len(r.rest) > 0 {
		if avoid = r.partitions(); r.bad {
			avoid = nil // of another release
		}
	}
	return freshness, seen, avoid
}

// assignment is the metadata that the leader sends to a member.
type assignment struct {
	partitions map[string][]int32
	counts     map[string]int32 // partitions per topic that the assignment was computed from; nil: not told
}

func (a assignment) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, assignmentVersion)
	b = appendPartitions(b, a.partitions)
	return appendBytes(b, appendCounts([]byte{userDataVersion}, a.counts))
}

// decodeAssignment reads an assignment. Zero bytes are an empty assignment: the broker
// answers so when the leader left a member out.
func decodeAssignment(b []byte) (assignment, error) {
	if len(b) == 0 {
		return assignment{}, nil
	}
	r := reader{rest: b}
	version := r.int16()
	a := assignment{partitions: r.partitions()}
	user := reader{rest: r.bytes()}
	if r.bad || version < 0 {
		return assignment{}, fmt.Errorf("assignment of %d bytes, version %d: %w", len(b), version, errMalformed)
	}
	if user.byte() == userDataVersion {
		if counts := user.counts(); !user.bad {
			a.counts = counts
		}
	}
	for _, p := range a.partitions {
		slices.Sort(p)
	}
	return a, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

func appendPartitions(b []byte, byTopic map[string][]int32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic)))
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		b = appendString(b, topic)
		b = binary.BigEndian.AppendUint32(b, uint32(len(byTopic[topic])))
		for _, p := range byTopic[topic] {
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		}
	}
	return b
}

func appendCounts(b []byte, counts map[string]int32) []byte {
	b = binary.AppendUvarint(b, uint64(len(counts)))
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		b = binary.AppendUvarint(b, uint64(len(topic)))
		b = append(b, topic...)
		b = binary.AppendUvarint(b, uint64(counts[topic]))
	}
	return b
}
