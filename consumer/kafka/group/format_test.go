package group

import (
	"flag"
	"fmt"
	"testing"

	"trailhound/state/formattest"
)

var _ = flag.Bool("update", false, "write the files of new formats")

// Members of two releases exchange these bytes; either release may have the leader.
func TestFormatOfSubscriptions(t *testing.T) {
	var samples []formattest.Sample
	for _, s := range []struct {
		name string
		subscription
	}{
		{"of a new member", subscription{topics: []string{"cloudtrail"}, generation: -1}},
		{"of a member with shards", subscription{
			topics: []string{"cloudtrail", "app.work"}, owned: map[string][]int32{"cloudtrail": {0}, "app.work": {1, 5}}, generation: 7,
			freshness: map[int32]int64{1: 1 << 40, 5: 3}, seen: map[string]int32{"cloudtrail": 2, "app.work": 8},
		}},
	} {
		samples = append(samples, formattest.Sample{Name: s.name, Bytes: s.encode()})
	}
	formattest.Written(t, "subscription", userDataVersion, samples, meaningOfSubscription)
	formattest.Read(t, "subscription", userDataVersion, meaningOfSubscription)
}

func meaningOfSubscription(s formattest.Sample) (string, error) {
	got, err := decodeSubscription(s.Bytes)
	return fmt.Sprintf("topics %v owned %v generation %d freshness %v seen %v", got.topics, got.owned, got.generation, got.freshness, got.seen), err
}

func TestFormatOfAssignments(t *testing.T) {
	samples := []formattest.Sample{
		{Name: "of nothing", Bytes: assignment{}.encode()},
		{Name: "of shards", Bytes: assignment{partitions: map[string][]int32{"cloudtrail": {0, 1}, "app.work": {3}}, counts: map[string]int32{"cloudtrail": 2}}.encode()},
	}
	formattest.Written(t, "assignment", userDataVersion, samples, meaningOfAssignment)
	formattest.Read(t, "assignment", userDataVersion, meaningOfAssignment)
}

func meaningOfAssignment(s formattest.Sample) (string, error) {
	got, err := decodeAssignment(s.Bytes)
	return fmt.Sprintf("partitions %v counts %v", got.partitions, got.counts), err
}

// Fields of a newer release are passed over: a lost hint costs the best place of a shard,
// never the shard.
func TestNewerUserDataIsPassedOver(t *testing.T) {
	s := subscription{topics: []string{"t"}, generation: 3, freshness: map[int32]int64{1: 9}, seen: map[string]int32{"t": 4}}
	more := append(s.userData(), "a field more"...)
	if freshness, seen, _ := decodeUserData(more); freshness[1] != 9 || seen["t"] != 4 {
		t.Errorf("decodeUserData(with a field more) = %v, %v; want what this build knows of it", freshness, seen)
	}
	more[0] = userDataVersion + 1
	if freshness, seen, _ := decodeUserData(more); freshness != nil || seen != nil {
		t.Errorf("decodeUserData(version %d) = %v, %v; want none", more[0], freshness, seen)
	}
}
