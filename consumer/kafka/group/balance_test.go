package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const shardTopic = "app.work"

func TestBalance(t *testing.T) {
	work := map[string][]int32{shardTopic: {0, 1, 2, 3}}
	topics := []string{shardTopic}
	type shares = map[string]map[string][]int32
	for _, c := range []struct {
		name    string
		members []MemberState
		want    shares
	}{
		{"nobody", nil, shares{}},
		{"alone", []MemberState{{ID: "a", Topics: topics}}, shares{"a": {shardTopic: {0, 1, 2, 3}}}},
		{
			"the freshest state attracts",
			[]MemberState{
				{ID: "a", Topics: topics, Freshness: map[int32]int64{0: 10, 1: 10, 2: 90, 3: 80}},
				{ID: "b", Topics: topics, Freshness: map[int32]int64{0: 90, 1: 11}},
			},
			shares{"a": {shardTopic: {2, 3}}, "b": {shardTopic: {0, 1}}},
		},
		{
			"who has too many keeps those it is furthest ahead with",
			[]MemberState{
				{ID: "a", Topics: topics, Freshness: map[int32]int64{0: 90, 1: 90, 2: 90, 3: 90}},
				{ID: "b", Topics: topics, Freshness: map[int32]int64{0: 80, 1: 10, 2: 85}},
			},
			shares{"a": {shardTopic: {1, 3}}, "b": {shardTopic: {0, 2}}},
		},
		{
			"equally fresh stays with the owner",
			[]MemberState{
				{ID: "a", Topics: topics, Freshness: map[int32]int64{0: 9, 1: 9, 2: 9, 3: 9}},
				{ID: "b", Topics: topics, Freshness: map[int32]int64{0: 9, 1: 9, 2: 9, 3: 9}, Generation: 4, Owned: map[string][]int32{shardTopic: {0, 2}}},
			},
			shares{"a": {shardTopic: {1, 3}}, "b": {shardTopic: {0, 2}}},
		},
		{
			"the newer generation owns",
			[]MemberState{
				{ID: "a", Topics: topics, Generation: 3, Owned: map[string][]int32{shardTopic: {0, 1}}},
				{ID: "b", Topics: topics, Generation: 4, Owned: map[string][]int32{shardTopic: {0, 1}}},
			},
			shares{"a": {shardTopic: {2, 3}}, "b": {shardTopic: {0, 1}}},
		},
		{
			"more members than shards",
			[]MemberState{{ID: "a", Topics: topics}, {ID: "b", Topics: topics}, {ID: "c", Topics: topics}, {ID: "d", Topics: topics}, {ID: "e", Topics: topics}},
			shares{"a": {shardTopic: {0}}, "b": {shardTopic: {1}}, "c": {shardTopic: {2}}, "d": {shardTopic: {3}}, "e": {}},
		},
		{
			"what is owned but gone is nobody's",
			[]MemberState{{ID: "a", Topics: topics, Owned: map[string][]int32{shardTopic: {7, -1}, "gone": {0}}}, {ID: "b", Topics: topics}},
			shares{"a": {shardTopic: {0, 2}}, "b": {shardTopic: {1, 3}}},
		},
		{
			"only who takes a topic gets it",
			[]MemberState{{ID: "a", Topics: topics}, {ID: "b", Topics: nil}},
			shares{"a": {shardTopic: {0, 1, 2, 3}}, "b": {}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Balance(c.members, work, shardTopic); !reflect.DeepEqual(got, c.want) {
				t.Errorf("Balance(%+v) = %v; want %v", c.members, got, c.want)
			}
		})
	}
}

// drawPartitions draws a shard topic and a few others.
func drawPartitions(t *rapid.T) map[string][]int32 {
	partitions := map[string][]int32{shardTopic: upTo(rapid.Int32Range(1, 24).Draw(t, "shards"))}
	for i := range rapid.IntRange(0, 3).Draw(t, "inputs") {
		partitions[fmt.Sprintf("input-%d", i)] = upTo(rapid.Int32Range(0, 12).Draw(t, "partitions"))
	}
	return partitions
}

// drawMember draws a member with any report, a contradictory one included.
func drawMember(t *rapid.T, id string, topics []string) MemberState {
	m := MemberState{
		ID: id, Topics: topics,
		Generation: rapid.Int32Range(-1, 3).Draw(t, "generation"),
		Owned:      make(map[string][]int32),
		Freshness:  rapid.MapOfN(rapid.Int32Range(-1, 25), rapid.Int64Range(-5, 20), 0, 12).Draw(t, "freshness"),
	}
	if rapid.Bool().Draw(t, "static") {
		m.Instance = "instance-" + id
	}
	for _, topic := range topics {
		if rapid.Bool().Draw(t, "owns some of "+topic) {
			m.Owned[topic] = rapid.SliceOfN(rapid.Int32Range(-1, 25), 0, 12).Draw(t, "owned")
		}
	}
	return m
}

func drawMembers(t *rapid.T, topics []string, differ bool) []MemberState {
	var members []MemberState
	for i := range rapid.IntRange(1, 6).Draw(t, "members") {
		take := topics
		if differ {
			take = slices.DeleteFunc(slices.Clone(topics), func(string) bool { return rapid.IntRange(0, 3).Draw(t, "skip") == 0 })
		}
		members = append(members, drawMember(t, fmt.Sprintf("m%d", i), take))
	}
	return members
}

// ownersIn maps each partition of a result to its member, and fails when it has two.
func ownersIn(t *rapid.T, result map[string]map[string][]int32) map[partition]string {
	owners := make(map[partition]string)
	for id, share := range result {
		for topic, numbers := range share {
			for _, n := range numbers {
				p := partition{topic, n}
				if other, twice := owners[p]; twice {
					t.Fatalf("Balance gave %v to %s and to %s; want one of them", p, other, id)
				}
				owners[p] = id
			}
		}
	}
	return owners
}

func TestBalanceGivesEveryPartitionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := drawPartitions(t)
		members := drawMembers(t, slices.Sorted(maps.Keys(partitions)), true)
		result := Balance(members, partitions, shardTopic)
		owners := ownersIn(t, result)
		takes := func(id, topic string) bool {
			i := slices.IndexFunc(members, func(m MemberState) bool { return m.ID == id })
			return slices.Contains(members[i].Topics, topic)
		}
		given := 0
		for topic, numbers := range partitions {
			taken := slices.ContainsFunc(members, func(m MemberState) bool { return slices.Contains(m.Topics, topic) })
			for _, n := range numbers {
				id, ok := owners[partition{topic, n}]
				if ok != taken {
					t.Fatalf("Balance gave out %s/%d: %v; want %v", topic, n, ok, taken)
				}
				if ok {
					given++
				}
				if ok && !takes(id, topic) {
					t.Fatalf("Balance gave %s/%d to %s; want a member that takes the topic", topic, n, id)
				}
			}
		}
		if given != len(owners) || len(result) != len(members) {
			t.Fatalf("Balance gave out %d partitions to %d members; want %d to %d", len(owners), len(result), given, len(members))
		}
	})
}

func TestBalanceSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := drawPartitions(t)
		members := drawMembers(t, slices.Sorted(maps.Keys(partitions)), false)
		result := Balance(members, partitions, shardTopic)
		var shards, others []int
		for _, m := range members {
			n := 0
			for topic, numbers := range result[m.ID] {
				if topic != shardTopic {
					n += len(numbers)
				}
			}
			shards, others = append(shards, len(result[m.ID][shardTopic])), append(others, n)
		}
		if slices.Max(shards)-slices.Min(shards) > 1 || slices.Max(others)-slices.Min(others) > 1 {
			t.Fatalf("Balance gave %v shards and %v other partitions; want each to differ by at most 1", shards, others)
		}
	})
}

func TestBalanceIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := drawPartitions(t)
		members := drawMembers(t, slices.Sorted(maps.Keys(partitions)), true)
		want := Balance(members, partitions, shardTopic)
		seed := rapid.Uint64().Draw(t, "order")
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		for _, numbers := range partitions {
			r.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		}
		if got := Balance(members, partitions, shardTopic); !reflect.DeepEqual(got, want) {
			t.Fatalf("Balance of the same members in another order = %v; want %v", got, want)
		}
	})
}

// settled makes members that report the partitions of a result of Balance, with the state
// of their shards at hand and older copies of some others.
func settled(t *rapid.T, members []MemberState, result map[string]map[string][]int32, generation int32) []MemberState {
	for i := range members {
		m := &members[i]
		m.Generation, m.Owned, m.Freshness = generation, result[m.ID], make(map[int32]int64)
		for _, s := range rapid.SliceOfN(rapid.Int32Range(0, 24), 0, 4).Draw(t, "old copies") {
			m.Freshness[s] = rapid.Int64Range(1, 99).Draw(t, "old")
		}
		for _, s := range m.Owned[shardTopic] {
			m.Freshness[s] = 100 + rapid.Int64Range(0, 50).Draw(t, "fresh")
		}
	}
	return members
}

func drawSettled(t *rapid.T) (partitions map[string][]int32, members []MemberState, result map[string]map[string][]int32) {
	partitions = drawPartitions(t)
	members = drawMembers(t, slices.Sorted(maps.Keys(partitions)), false)
	result = Balance(members, partitions, shardTopic)
	return partitions, settled(t, members, result, 1), result
}

func TestBalanceStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions, members, before := drawSettled(t)
		if after := Balance(members, partitions, shardTopic); !reflect.DeepEqual(after, before) {
			t.Fatalf("Balance of a settled group = %v; want it unchanged: %v", after, before)
		}
	})
}

// TestBalanceMovesToNewcomerOnly: when a member is added, nothing moves between the
// others, and it gets no more than it must to be balanced.
func TestBalanceMovesToNewcomerOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions, members, before := drawSettled(t)
		all := slices.Sorted(maps.Keys(partitions))
		after := Balance(append(members, MemberState{ID: "new", Topics: all, Generation: -1}), partitions, shardTopic)
		old, got := ownersIn(t, before), ownersIn(t, after)
		moved := map[bool]int{}
		size := map[bool]int{}
		for p, id := range got {
			size[p.topic == shardTopic]++
			if id == old[p] {
				continue
			}
			if id != "new" {
				t.Fatalf("Balance moved %v from %s to %s; want it to move to the new member or not at all", p, old[p], id)
			}
			moved[p.topic == shardTopic]++
		}
		for _, shards := range []bool{true, false} {
			if most := size[shards] / (len(members) + 1); moved[shards] > most {
				t.Fatalf("Balance moved %d of %d partitions (shards: %v) to the new one of %d members; want %d", moved[shards], size[shards], shards, len(members)+1, most)
			}
		}
	})
}

// TestBalanceMovesFromLeaverOnly: when a member is gone, the others keep all that
// they have.
func TestBalanceMovesFromLeaverOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions, members, before := drawSettled(t)
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		left := slices.Delete(slices.Clone(members), gone, gone+1)
		after := ownersIn(t, Balance(left, partitions, shardTopic))
		for p, id := range ownersIn(t, before) {
			if id != members[gone].ID && after[p] != id {
				t.Fatalf("Balance moved %v from %s to %s; want only those of %s to move", p, id, after[p], members[gone].ID)
			}
		}
	})
}

// TestBalanceFindsStateAgain: a dynamic member that was away and comes back under
// another id gets shards that it has the state of.
func TestBalanceFindsStateAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions, members, before := drawSettled(t)
		i := rapid.IntRange(0, len(members)-1).Draw(t, "back")
		was := members[i].ID
		members[i].ID, members[i].Instance, members[i].Generation, members[i].Owned = "back", "", -1, nil
		after := Balance(members, partitions, shardTopic)
		if got, want := after["back"][shardTopic], before[was][shardTopic]; !slices.Equal(got, want) {
			t.Fatalf("Balance gave the member that is back shards %v; want those it has the state of, %v", got, want)
		}
	})
}

func TestPlanFill(t *testing.T) {
	owned := func(n ...int32) map[string][]int32 { return map[string][]int32{"in": n} }
	p := plan{generation: 7, shares: map[string]map[string][]int32{"one": owned(1), "two": owned(2)}}
	for _, c := range []struct {
		name   string
		states []MemberState
		want   []map[string][]int32
	}{
		{"restarted", []MemberState{{ID: "x", Instance: "one", Generation: -1}, {ID: "y", Instance: "two", Generation: 7, Owned: owned(2)}}, []map[string][]int32{owned(1), owned(2)}},
		{"reports an assignment before the last", []MemberState{{ID: "x", Instance: "one", Generation: 6, Owned: owned(9)}}, []map[string][]int32{owned(1)}},
		{"the plan is outdated", []MemberState{{ID: "x", Instance: "one", Generation: -1}, {ID: "y", Instance: "two", Generation: 8, Owned: owned(1)}}, []map[string][]int32{nil, owned(1)}},
		{"unknown member", []MemberState{{ID: "x", Generation: -1}}, []map[string][]int32{nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.fill(c.states)
			for i, s := range c.states {
				if !reflect.DeepEqual(s.Owned, c.want[i]) {
					t.Errorf("fill: %s owns %v; want %v", s.ID, s.Owned, c.want[i])
				}
			}
		})
	}
}
