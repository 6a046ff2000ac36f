package group_test

import (
	"fmt"
	"testing"

	"trailhound/consumer/kafka/group"
)

// A partition that a member cannot work on goes to a member that can, without regard to
// balance, and stays there; a partition that all avoid stays where it is.
func TestBalanceAvoids(t *testing.T) {
	partitions := map[string][]int32{"work": {0, 1, 2, 3}, "input": {0, 1}}
	member := func(id string, shards, inputs []int32, avoid map[string][]int32) group.MemberState {
		return group.MemberState{
			ID: id, Topics: []string{"input", "work"}, Generation: 3, Owned: map[string][]int32{"work": shards, "input": inputs},
			Freshness: map[int32]int64{0: 100, 1: 100, 2: 100, 3: 100}, Avoid: avoid,
		}
	}
	for _, tt := range []struct {
		name  string
		avoid [2]map[string][]int32 // of a and b
		work  string                // of a
		input string
	}{
		{"nothing", [2]map[string][]int32{}, "[0 1]", "[0]"},
		{"a shard", [2]map[string][]int32{{"work": {0}}}, "[1 3]", "[0]"},
		{"all shards", [2]map[string][]int32{{"work": {0, 1, 2, 3}}}, "[]", "[0]"},
		{"an input", [2]map[string][]int32{{"input": {0}}}, "[0 1]", "[1]"},
		{"a shard that b cannot have either", [2]map[string][]int32{{"work": {0}}, {"work": {0}}}, "[0 1]", "[0]"},
	} {
		got := group.Balance([]group.MemberState{
			member("a", []int32{0, 1}, []int32{0}, tt.avoid[0]), member("b", []int32{2, 3}, []int32{1}, tt.avoid[1]),
		}, partitions, "work")
		if work, input := fmt.Sprint(got["a"]["work"]), fmt.Sprint(got["a"]["input"]); work != tt.work || input != tt.input {
			t.Errorf("%s: Balance() gives a work %s and input %s; want %s and %s", tt.name, work, input, tt.work, tt.input)
		}
		if n := len(got["a"]["work"]) + len(got["b"]["work"]); n != 4 {
			t.Errorf("%s: Balance() gives %d shards in all; want 4", tt.name, n)
		}
	}
}
