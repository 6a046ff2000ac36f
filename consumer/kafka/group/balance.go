package group

import (
	"cmp"
	"maps"
	"slices"
)

// MemberState is the input of Balance about one member, as the leader has read it from its
// subscription.
type MemberState struct {
	ID         string             // member id: the key of Balance's result
	Instance   string             // group instance id, "" for a dynamic member
	Topics     []string           // topics the member takes partitions of
	Generation int32              // of Owned; of two claims to one partition that of the higher generation wins
	Owned      map[string][]int32 // partitions at hand
	Freshness  map[int32]int64    // next changelog offset of the local state, by shard
	Avoid      map[string][]int32 // partitions that this member cannot work on, while another perhaps can
}

// identity names a member across restarts: the instance id of a static one, else the member
// id.
func (s MemberState) identity() string {
	return cmp.Or(s.Instance, s.ID)
}

// Balance computes the assignment of all members. The result has an entry for every member,
// and every partition of a topic that any member takes is in exactly one entry. It depends
// on the arguments alone, and not on the order of members.
//
// A partition of shardTopic goes to the member with the freshest state, a tie to its owner;
// a partition of any other topic stays with its owner. Both hold as far as balance allows:
// among members with the same topics the numbers of shards differ by at most one, and so do
// the numbers of other partitions taken together. A member with too many keeps its own
// partitions before others, and of either kind those with the greatest lead over the next
// best member; the rest go to their next best member with room, then to the least loaded
// one. A partition that some members avoid goes to one of the others without regard to
// balance; a partition that all avoid is shared out like any other.
func Balance(members []MemberState, partitions map[string][]int32, shardTopic string) map[string]map[string][]int32 {
	b := balancer{members: slices.Clone(members), shardTopic: shardTopic, result: make(map[string]map[string][]int32, len(members))}
	slices.SortFunc(b.members, func(x, y MemberState) int {
		return cmp.Or(cmp.Compare(x.identity(), y.identity()), cmp.Compare(x.ID, y.ID))
	})
	for _, m := range b.members {
		b.result[m.ID] = make(map[string][]int32)
	}
	b.total = make([]int, len(b.members))
	owners := b.owners()
	for _, topics := range b.classes(partitions) {
		b.place(topics, partitions, owners)
	}
	for _, share := range b.result {
		for _, numbers := range share {
			slices.Sort(numbers)
		}
	}
	return b.result
}

type balancer struct {
	members    []MemberState // by identity
	shardTopic string
	total      []int // partitions given to each member so far
	result     map[string]map[string][]int32
}

type partition struct {
	topic  string
	number int32
}

// owners maps each partition to the member that owns it.
func (b *balancer) owners() map[partition]int {
	owners := make(map[partition]int)
	for i, m := range b.members {
		for topic, numbers := range m.Owned {
			for _, n := range numbers {
				p := partition{topic, n}
				if other, ok := owners[p]; !ok || m.Generation > b.members[other].Generation {
					owners[p] = i
				}
			}
		}
	}
	return owners
}

// takers returns the members that take partitions of a topic.
func (b *balancer) takers(topic string) []int {
	var takers []int
	for i, m := range b.members {
		if slices.Contains(m.Topics, topic) {
			takers = append(takers, i)
		}
	}
	return takers
}

// classes splits the topics into sets that are balanced each for itself: the shard topic,
// then the others by the members that take them. While all members have the same
// configuration there are two.
func (b *balancer) classes(partitions map[string][]int32) [][]string {
	var shards, classes [][]string
	var takers [][]int
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		t := b.takers(topic)
		if len(t) == 0 {
			continue
		}
		if topic == b.shardTopic {
			shards = [][]string{{topic}}
			continue
		}
		i := slices.IndexFunc(takers, func(other []int) bool { return slices.Equal(t, other) })
		if i < 0 {
			i, takers, classes = len(takers), append(takers, t), append(classes, nil)
		}
		classes[i] = append(classes[i], topic)
	}
	return append(shards, classes...)
}

// place shares out the partitions of one class of topics.
func (b *balancer) place(topics []string, partitions map[string][]int32, owners map[partition]int) {
	c := class{balancer: b, takers: b.takers(topics[0]), load: make(map[int]int)}
	for _, topic := range topics {
		for _, n := range slices.Compact(slices.Sorted(slices.Values(partitions[topic]))) {
			c.claims = append(c.claims, b.claim(partition{topic, n}, c.takers, owners))
		}
	}
	c.floor, c.extra = len(c.claims)/len(c.takers), len(c.claims)%len(c.takers)
	c.place()
}

// claim is a partition and the members with a reason to have it, best first.
type claim struct {
	partition
	by    []int
	able  []int // members that do not avoid the partition, if others do; nil: any taker may have it
	lead  int64 // offsets by which the first is ahead of the second
	stays bool  // the first owns the partition
}

func (b *balancer) claim(p partition, takers []int, owners map[partition]int) claim {
	owner, owned := owners[p]
	owns := func(i int) bool { return owned && i == owner }
	fresh := func(i int) int64 {
		if p.topic != b.shardTopic {
			return 0
		}
		return max(0, b.members[i].Freshness[p.number])
	}
	c := claim{partition: p, able: b.able(p, takers)}
	if c.able != nil {
		takers = c.able
	}
	for _, i := range takers {
		if owns(i) || fresh(i) > 0 {
			c.by = append(c.by, i)
		}
	}
	if len(c.by) == 0 {
		return c
	}
	slices.SortStableFunc(c.by, func(i, j int) int {
		return cmp.Or(cmp.Compare(fresh(j), fresh(i)), yesFirst(owns(i), owns(j)))
	})
	c.lead, c.stays = fresh(c.by[0]), owns(c.by[0])
	if len(c.by) > 1 {
		c.lead -= fresh(c.by[1])
	}
	return c
}

// able returns the members that do not avoid a partition; nil: no member does, or all do.
func (b *balancer) able(p partition, takers []int) []int {
	able := slices.DeleteFunc(slices.Clone(takers), func(i int) bool { return slices.Contains(b.members[i].Avoid[p.topic], p.number) })
	if len(able) == 0 || len(able) == len(takers) {
		return nil
	}
	return able
}

// class places the partitions of some topics among the members that take them.
type class struct {
	*balancer
	takers []int
	claims []claim
	load   map[int]int // partitions of this class given to each member
	floor  int         // partitions that every member gets
	extra  int         // how many members may still get one more
}

func (c *class) place() {
	c.claims = slices.DeleteFunc(c.claims, func(p claim) bool {
		if p.able == nil {
			return false
		}
		if len(p.by) > 0 {
			c.give(p.by[0], p.partition)
		} else {
			c.give(c.leastLoaded(p.able), p.partition)
		}
		return true
	})
	for _, left := range c.firstChoices() {
		if i := slices.IndexFunc(left.by, c.hasRoom); i >= 0 {
			c.give(left.by[i], left.partition)
			continue
		}
		c.give(c.leastLoaded(c.takers), left.partition)
	}
}

// firstChoices gives each member the partitions of which it is the best claimant, as far as
// there is room, and returns the rest. The member with the most to keep comes first:
// without one of the extra places it would lose some of its own.
func (c *class) firstChoices() (left []claim) {
	first := make(map[int][]claim)
	for _, p := range c.claims {
		if len(p.by) == 0 {
			left = append(left, p)
			continue
		}
		first[p.by[0]] = append(first[p.by[0]], p)
	}
	order := slices.Clone(c.takers)
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(staying(first[j]), staying(first[i])), cmp.Compare(len(first[j]), len(first[i])))
	})
	var shed []claim
	for _, i := range order {
		slices.SortStableFunc(first[i], func(x, y claim) int {
			return cmp.Or(yesFirst(x.stays, y.stays), cmp.Compare(y.lead, x.lead))
		})
		for _, p := range first[i] {
			if c.hasRoom(i) {
				c.give(i, p.partition)
			} else {
				shed = append(shed, p)
			}
		}
	}
	return append(shed, left...)
}

// staying counts the claims of owners.
func staying(claims []claim) int {
	n := 0
	for _, c := range claims {
		if c.stays {
			n++
		}
	}
	return n
}

func (c *class) hasRoom(i int) bool {
	return c.load[i] < c.floor || c.load[i] == c.floor && c.extra > 0
}

func (c *class) give(i int, p partition) {
	if c.load[i] == c.floor {
		c.extra--
	}
	c.load[i]++
	c.total[i]++
	share := c.result[c.members[i].ID]
	share[p.topic] = append(share[p.topic], p.number)
}

// leastLoaded returns the member with the fewest partitions of this class; a tie goes to
// the one with the fewest of all classes.
func (c *class) leastLoaded(among []int) int {
	return slices.MinFunc(among, func(i, j int) int {
		return cmp.Or(cmp.Compare(c.load[i], c.load[j]), cmp.Compare(c.total[i], c.total[j]), cmp.Compare(i, j))
	})
}

func yesFirst(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}
