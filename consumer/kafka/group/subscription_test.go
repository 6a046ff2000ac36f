package group

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSubscriptionIsConsumerProtocol(t *testing.T) {
	s := subscription{
		topics: []string{"app.work", "cloudtrail"}, generation: 12,
		owned:     map[string][]int32{"app.work": {0, 3}, "cloudtrail": {1}},
		freshness: map[int32]int64{0: 1 << 40, 3: 7}, seen: map[string]int32{"cloudtrail": 4},
	}
	var theirs kmsg.ConsumerMemberMetadata
	if err := theirs.ReadFrom(s.encode()); err != nil {
		t.Fatalf("kmsg reads the subscription: %v", err)
	}
	if theirs.Version != 2 || !reflect.DeepEqual(theirs.Topics, s.topics) || theirs.Generation != 12 || len(theirs.OwnedPartitions) != 2 {
		t.Errorf("kmsg reads %+v; want version 2 of %+v", theirs, s)
	}
	ours, err := decodeSubscription(s.encode())
	if err != nil || !reflect.DeepEqual(ours, s) {
		t.Errorf("decodeSubscription(encode(%+v)) = %+v, %v; want the same", s, ours, err)
	}
}

func TestAssignmentIsConsumerProtocol(t *testing.T) {
	a := assignment{partitions: map[string][]int32{"app.work": {0, 3}, "cloudtrail": {1}}, counts: map[string]int32{"app.work": 8, "cloudtrail": 4}}
	var theirs kmsg.ConsumerMemberAssignment
	if err := theirs.ReadFrom(a.encode()); err != nil {
		t.Fatalf("kmsg reads the assignment: %v", err)
	}
	if len(theirs.Topics) != 2 || theirs.Topics[0].Topic != "app.work" || !reflect.DeepEqual(theirs.Topics[0].Partitions, []int32{0, 3}) {
		t.Errorf("kmsg reads %+v; want %+v", theirs, a)
	}
	ours, err := decodeAssignment(a.encode())
	if err != nil || !reflect.DeepEqual(ours, a) {
		t.Errorf("decodeAssignment(encode(%+v)) = %+v, %v; want the same", a, ours, err)
	}
}

// TestForeignUserData: with any bytes in place of our user data, the standard part is read
// and the rest reads as none.
func TestForeignUserData(t *testing.T) {
	for _, user := range [][]byte{
		nil, {}, {0}, {2, 1, 2, 3}, []byte("sticky"),
		{1},            // ends behind the version
		{1, 1, 0},      // ends within the freshness
		{1, 1, 0, 5},   // ends before the counts
		{1, 0, 1, 200}, // a name longer than the bytes left
		{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0},    // 2^64-1 shards
		{1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0}, // a shard above 2^31
		{1, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0}, // an offset above 2^63
	} {
		for version := range int16(4) {
			theirs := kmsg.ConsumerMemberMetadata{
				Version: version, Topics: []string{"cloudtrail"}, UserData: user, Generation: 5,
				OwnedPartitions: []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "cloudtrail", Partitions: []int32{2}}},
			}
			s, err := decodeSubscription(theirs.AppendTo(nil))
			if err != nil || !reflect.DeepEqual(s.topics, theirs.Topics) || len(s.freshness) != 0 || len(s.seen) != 0 {
				t.Errorf("decodeSubscription(version %d, user data %v) = %+v, %v; want its topics and nothing from the user data", version, user, s, err)
			}
			if owns := reflect.DeepEqual(s.owned["cloudtrail"], []int32{2}); owns != (version >= 1) || (s.generation == 5) != (version >= 2) {
				t.Errorf("decodeSubscription(version %d) = %+v; want owned partitions since version 1, their generation since version 2", version, s)
			}
		}
		theirs := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "cloudtrail", Partitions: []int32{4, 2}}}, UserData: user}
		if a, err := decodeAssignment(theirs.AppendTo(nil)); err != nil || !reflect.DeepEqual(a.partitions, map[string][]int32{"cloudtrail": {2, 4}}) {
			t.Errorf("decodeAssignment(user data %v) = %+v, %v; want partitions 2 and 4", user, a, err)
		}
	}
}

func TestMalformedSubscription(t *testing.T) {
	whole := subscription{topics: []string{"a"}, owned: map[string][]int32{"a": {1}}, generation: 1}.encode()
	cases := [][]byte{nil, {0}, {255, 255, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 127, 255, 255, 255}, {0, 0, 0, 0, 0, 1, 255, 255}}
	for n := range whole {
		cases = append(cases, whole[:n])
	}
	for _, b := range cases {
		if s, err := decodeSubscription(b); !errors.Is(err, errMalformed) {
			t.Errorf("decodeSubscription(%v) = %+v, %v; want %v", b, s, err, errMalformed)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(subscription{topics: []string{"a"}, owned: map[string][]int32{"a": {1}}, freshness: map[int32]int64{1: 2}, seen: map[string]int32{"a": 2}}.encode())
	f.Add(assignment{partitions: map[string][]int32{"a": {1}}, counts: map[string]int32{"a": 2}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSubscription(b); err == nil {
			again, err := decodeSubscription(s.encode())
			if err != nil || !bytes.Equal(again.encode(), s.encode()) {
				t.Errorf("decodeSubscription(encode(%+v)) = %+v, %v; want the same", s, again, err)
			}
		}
		if a, err := decodeAssignment(b); err == nil {
			again, err := decodeAssignment(a.encode())
			if err != nil || !bytes.Equal(again.encode(), a.encode()) {
				t.Errorf("decodeAssignment(encode(%+v)) = %+v, %v; want the same", a, again, err)
			}
		}
	})
}
