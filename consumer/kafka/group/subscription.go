package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"trailhound/consumer/kafka/internal/primitive"
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
	r := primitive.Reader{Rest: b}
	version := r.Int16()
	s := subscription{generation: -1}
	for range r.Array(2) {
		s.topics = append(s.topics, r.Text())
	}
	user := r.Bytes()
	if version >= 1 {
		s.owned = readPartitions(&r)
	}
	if version >= 2 {
		s.generation = r.Int32()
	}
	if r.Bad || version < 0 {
		return subscription{}, fmt.Errorf("subscription of %d bytes, version %d: %w", len(b), version, errMalformed)
	}
	s.freshness, s.seen, s.avoid = decodeUserData(user)
	return s, nil
}

func decodeUserData(b []byte) (freshness map[int32]int64, seen map[string]int32, avoid map[string][]int32) {
	r := primitive.Reader{Rest: b}
	if r.Int8() != userDataVersion {
		return nil, nil, nil
	}
	freshness = make(map[int32]int64)
	for n := r.Uvarint(math.MaxUint64); n > 0 && !r.Bad; n-- {
		shard := r.Length()
		freshness[int32(shard)] = int64(r.Uvarint(math.MaxInt64))
	}
	seen = readCounts(&r)
	if r.Bad {
		return nil, nil, nil
	}
	if len(r.Rest) > 0 {
		if avoid = readPartitions(&r); r.Bad {
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
	r := primitive.Reader{Rest: b}
	version := r.Int16()
	a := assignment{partitions: readPartitions(&r)}
	user := primitive.Reader{Rest: r.Bytes()}
	if r.Bad || version < 0 {
		return assignment{}, fmt.Errorf("assignment of %d bytes, version %d: %w", len(b), version, errMalformed)
	}
	if user.Int8() == userDataVersion {
		if counts := readCounts(&user); !user.Bad {
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

// readPartitions reads a list of topics with their partitions.
func readPartitions(r *primitive.Reader) map[string][]int32 {
	n := r.Array(6)
	byTopic := make(map[string][]int32, n)
	for range n {
		topic := r.Text()
		for range r.Array(4) {
			byTopic[topic] = append(byTopic[topic], r.Int32())
		}
	}
	return byTopic
}

// readCounts reads a list of topics with a count each.
func readCounts(r *primitive.Reader) map[string]int32 {
	counts := make(map[string]int32)
	for n := r.Uvarint(math.MaxUint64); n > 0 && !r.Bad; n-- {
		topic := string(r.Take(r.Length()))
		if count := r.Uvarint(math.MaxInt32); !r.Bad {
			counts[topic] = int32(count)
		}
	}
	return counts
}
