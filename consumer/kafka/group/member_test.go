package group

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake, on which these tests always run, is
// harder than Kafka on a static member that comes back: unless its subscription is
// the same to the byte it starts a rebalance, where Kafka only compares the chosen
// protocol; and in a rebalance it drops static members that have not joined again,
// where Kafka waits for their session to end. It is kinder in that the groups do not
// move when their coordinator does.

func TestMembersComeAndGo(t *testing.T) {
	each(t, 8, 4, func(b *bench) {
		counts := []int{8, 4}
		one := b.start("")
		alone := b.settle(counts, one)
		two := b.start("")
		both := b.settle(counts, one, two)
		if n := moved(alone, both); n != 6 {
			b.Errorf("the second member moved %d partitions; want 4 shards and 2 inputs", n)
		}
		three := b.start("")
		all := b.settle(counts, one, two, three)
		if n := moved(both, all); n != 3 {
			b.Errorf("the third member moved %d partitions; want 2 shards and 1 input", n)
		}
		two.kill()
		left := b.settle(counts, one, three)
		for p, m := range all {
			if m != two && left[p] != m {
				b.Errorf("%v moved when another member left; want it to stay", p)
			}
		}
		for _, topic := range b.topics {
			if n := spread(left, topic, one, three); n > 1 {
				b.Errorf("spread of %s = %d; want at most 1", topic, n)
			}
		}
		for i, m := range []*member{one, two, three} {
			for _, a := range m.history() {
				if a.MemberID == "" {
					b.Errorf("member %d was told that its membership is lost; want work to go on through rebalances", i)
				}
			}
		}
	})
}

func TestShardsFollowFreshness(t *testing.T) {
	each(t, 4, 0, func(b *bench) {
		fresh := func(shards map[int32]int64) func(*Member) {
			return func(m *Member) { m.Freshness = func() map[int32]int64 { return shards } }
		}
		one := b.start("", fresh(map[int32]int64{0: 5, 1: 5, 2: 5, 3: 5}))
		b.settle([]int{4}, one)
		two := b.start("", fresh(map[int32]int64{0: 9, 3: 7}))
		b.settle([]int{4}, one, two)
		if got, want := two.confirm().Partitions[b.shards], []int32{0, 3}; !reflect.DeepEqual(got, want) {
			b.Errorf("the member with fresher state has shards %v; want %v", got, want)
		}
	})
}

// TestStaticMemberRestarts: on Kafka no other member notices, with any state that the new
// process reports.
func TestStaticMemberRestarts(t *testing.T) {
	each(t, 8, 4, func(b *bench) {
		counts := []int{8, 4}
		for _, leader := range []bool{false, true} {
			one, two, three := b.start("one"), b.start("two"), b.start("three")
			b.settle(counts, one, two, three)
			victim, others := b.leader(one, two, three)
			if !leader {
				victim, others[0] = others[0], victim
			}
			before := victim.confirm()
			seen := [][]Assignment{others[0].history(), others[1].history()}
			victim.kill()
			back := b.start(victim.Instance, func(m *Member) {
				m.Freshness = func() map[int32]int64 { return map[int32]int64{0: 1 << 30, 7: 3} }
			})
			b.settle(counts, append(others, back)...)
			after := back.confirm()
			if !reflect.DeepEqual(after.Partitions, before.Partitions) && b.kafka {
				b.Errorf("leader %v: restarted member has %v; want its old %v", leader, after.Partitions, before.Partitions)
			}
			if b.kafka && after.Generation != before.Generation {
				b.Errorf("leader %v: generation %d after the restart; want still %d", leader, after.Generation, before.Generation)
			}
			for i, m := range others {
				m.confirm()
				if n := len(m.history()); b.kafka && n != len(seen[i]) {
					b.Errorf("leader %v: another member was told %d assignments; want none after the %d before the restart", leader, n, len(seen[i]))
				}
			}
			for _, m := range append(others, back) {
				m.kill()
			}
			b.group += "-again"
		}
	})
}

// leader tells the leader of a settled group from the others.
func (b *bench) leader(members ...*member) (leader *member, others []*member) {
	b.Helper()
	for _, m := range members {
		if a, _ := m.Current(); m.plan.generation == a.Generation {
			leader = m
		} else {
			others = append(others, m)
		}
	}
	if leader == nil || len(others) != len(members)-1 {
		b.Fatalf("%d of %d members lead; want one", len(members)-len(others), len(members))
	}
	return leader, others
}

// TestStaticMemberRestartsUnchanged is the part of static membership that kfake has.
func TestStaticMemberRestartsUnchanged(t *testing.T) {
	each(t, 4, 0, func(b *bench) {
		one := b.start("one")
		b.settle([]int{4}, one)
		before := one.confirm()
		one.kill()
		two := b.start("one")
		b.settle([]int{4}, two)
		after := two.confirm()
		if after.Generation != before.Generation || after.MemberID == before.MemberID || !reflect.DeepEqual(after.Partitions, before.Partitions) {
			b.Errorf("restarted member has %+v; want that of %+v under a new member id", after, before)
		}
	})
}

func TestZombieIsFenced(t *testing.T) {
	each(t, 4, 0, func(b *bench) {
		zombie := b.start("one")
		b.settle([]int{4}, zombie)
		heir := b.start("one")
		b.settle([]int{4}, heir)
		select {
		case <-zombie.ended:
		case <-b.ctx.Done():
			b.Fatalf("the first of two members with one instance id runs on; want it fenced")
		}
		if !errors.Is(zombie.err, kafka.FencedInstanceID) || !strings.Contains(zombie.err.Error(), `instance id "one"`) {
			b.Errorf("Run() = %v; want FENCED_INSTANCE_ID with the instance id and the way out", zombie.err)
		}
		told := zombie.history()
		if last := told[len(told)-1]; last.MemberID != "" || len(last.Partitions) > 0 {
			b.Errorf("the fenced member was last told %+v; want an empty assignment", last)
		}
		if _, err := zombie.Confirm(b.ctx); !errors.Is(err, errEnded) {
			b.Errorf("Confirm() after Run = %v; want %v", err, errEnded)
		}
		heir.confirm()
	})
}

func TestNewPartitions(t *testing.T) {
	each(t, 2, 3, func(b *bench) {
		watch := func(m *Member) { m.WatchInterval = 200 * time.Millisecond }
		one, two := b.start("", watch), b.start("", watch)
		before := b.settle([]int{2, 3}, one, two)
		b.grow(b.topics[1], 7)
		after := b.settle([]int{2, 7}, one, two)
		for p, m := range before {
			if after[p] != m {
				b.Errorf("%v moved when partitions were added; want it to stay", p)
			}
		}
		if n := spread(after, b.topics[1], one, two); n > 1 {
			b.Errorf("spread of the grown topic = %d; want at most 1", n)
		}
	})
}

// TestNewPartitionsAfterLeaderRestarted: a static leader that was restarted does not know
// that it leads, so the others have to look too.
func TestNewPartitionsAfterLeaderRestarted(t *testing.T) {
	each(t, 2, 3, func(b *bench) {
		watch := func(m *Member) { m.WatchInterval = 200 * time.Millisecond }
		one := b.start("one", watch)
		b.settle([]int{2, 3}, one)
		one.kill()
		again := b.start("one", watch)
		b.settle([]int{2, 3}, again)
		b.grow(b.topics[1], 5)
		b.settle([]int{2, 5}, again)
	})
}

func TestOffsets(t *testing.T) {
	each(t, 2, 3, func(b *bench) {
		input := b.topics[1]
		one := b.start("one")
		if got, err := one.Committed(b.ctx, input, []int32{0, 1}); err != nil || got[0].At != -1 || got[1].At != -1 {
			b.Fatalf("Committed() of a new group = %v, %v; want none", got, err)
		}
		b.settle([]int{2, 3}, one)
		old := one.confirm()
		want := map[int32]Offset{0: {At: 17, LeaderEpoch: 3, Metadata: "topic id"}, 2: {At: 1 << 40, LeaderEpoch: -1}}
		if err := one.Commit(b.ctx, input, want); err != nil {
			b.Fatalf("Commit(%v) = %v; want nil", want, err)
		}
		want[1] = Offset{At: -1, LeaderEpoch: -1}
		if got, err := one.Committed(b.ctx, input, []int32{0, 1, 2}); err != nil || !maps.Equal(got, want) {
			b.Errorf("Committed() = %v, %v; want %v", got, err, want)
		}

		two := b.start("two")
		b.settle([]int{2, 3}, one, two)
		for _, p := range two.confirm().Partitions[input] {
			if err := one.Commit(b.ctx, input, map[int32]Offset{p: {At: 1}}); !errors.Is(err, kafka.IllegalGeneration) {
				b.Errorf("Commit() of a partition of another member = %v; want ILLEGAL_GENERATION", err)
			}
		}
		late := offsetcommit.RequestTopic{Name: input, Partitions: []offsetcommit.RequestPartition{{PartitionIndex: 0, CommittedOffset: 5, CommittedLeaderEpoch: -1}}}
		if err := one.commitAs(b.ctx, old, late); !errors.Is(err, kafka.IllegalGeneration) {
			b.Errorf("Commit() with the generation before = %v; want ILLEGAL_GENERATION", err)
		}
		if got, err := two.Committed(b.ctx, input, []int32{0, 1, 2}); err != nil || !maps.Equal(got, want) {
			b.Errorf("Committed() seen by another member = %v, %v; want still %v", got, err, want)
		}
	})
}

// TestForeignMember: another application joins under our protocol's name with a
// subscription of its own.
func TestForeignMember(t *testing.T) {
	each(t, 4, 0, func(b *bench) {
		one := b.start("")
		b.settle([]int{4}, one)
		theirs := kmsg.ConsumerMemberMetadata{Version: 0, Topics: b.topics, UserData: []byte{1, 255, 255, 255}}
		subscriptions := [][]byte{nil, theirs.AppendTo(nil)}
		if !b.kafka { // Kafka 4.1 answers all members of the group UNKNOWN_SERVER_ERROR from then on
			subscriptions = append(subscriptions, []byte("nonsense"))
		}
		for _, metadata := range subscriptions {
			c := b.client()
			join := func(id string) *joingroup.Response {
				r, err := roundTrip[*joingroup.Response](b.ctx, c, &joingroup.Request{
					GroupID: b.group, SessionTimeoutMS: 6000, RebalanceTimeoutMS: 6000, MemberID: id, ProtocolType: protocolType,
					Protocols: []joingroup.RequestProtocol{{Name: Protocol, Metadata: metadata}},
				})
				if err != nil {
					b.Fatalf("JoinGroup() = %v; want an answer", err)
				}
				return r
			}
			r := join("")
			if kafka.Error(r.ErrorCode) == kafka.MemberIDRequired {
				r = join(r.MemberID)
			}
			if r.ErrorCode != 0 || r.LeaderID == r.MemberID {
				b.Fatalf("JoinGroup() = %v, leader %s; want to follow", kafka.Error(r.ErrorCode), r.LeaderID)
			}
			stranger := Member{Client: c, Group: b.group}
			got, err := stranger.syncGroup(b.ctx, entry{id: r.MemberID, generation: r.GenerationID}, nil)
			understood := len(metadata) > 10
			if err != nil || (len(got.partitions[b.shards]) == 2) != understood {
				b.Errorf("a member with the subscription %q got %v, %v; want shards: %v", metadata, got.partitions, err, understood)
			}
			if err := c.LeaveGroup(b.ctx, b.group, r.MemberID, ""); err != nil {
				b.Fatalf("LeaveGroup() = %v; want nil", err)
			}
			b.settle([]int{4}, one)
		}
	})
}

// TestToolsReadTheGroup: kafka-consumer-groups.sh shows the fields of DescribeGroups, and
// reads them as ConsumerProtocol.
func TestToolsReadTheGroup(t *testing.T) {
	each(t, 4, 2, func(b *bench) {
		one := b.start("one")
		b.settle([]int{4, 2}, one)
		c := b.client()
		r, err := roundTrip[*describegroups.Response](b.ctx, c, &describegroups.Request{Groups: []string{b.group}})
		if err != nil || len(r.Groups) != 1 || len(r.Groups[0].Members) != 1 {
			b.Fatalf("DescribeGroups() = %+v, %v; want one member", r, err)
		}
		g := r.Groups[0]
		if g.GroupState != "Stable" || g.ProtocolType != "consumer" || g.ProtocolData != "trailhound" || g.Members[0].GroupInstanceID != "one" {
			b.Errorf("DescribeGroups() = %+v; want a stable group of trailhound consumers", g)
		}
		var s kmsg.ConsumerMemberMetadata
		if err := s.ReadFrom(g.Members[0].MemberMetadata); err != nil || !slices.Equal(s.Topics, slices.Sorted(slices.Values(b.topics))) {
			b.Errorf("the subscription reads %+v, %v; want the topics %v", s, err, b.topics)
		}
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(g.Members[0].MemberAssignment); err != nil || len(a.Topics) != 2 {
			b.Errorf("the assignment reads %+v, %v; want the partitions of %v", a, err, b.topics)
		}
	})
}

func TestConfirm(t *testing.T) {
	each(t, 4, 0, func(b *bench) {
		one := b.start("")
		first := one.confirm() // waits for the membership
		if a, ok := one.Current(); !ok || !same(a, first) || len(first.Partitions[b.shards]) != 4 {
			b.Errorf("Confirm() = %+v; want the current assignment %+v", first, a)
		}
		two := b.start("")
		b.settle([]int{4}, one, two)
		if a := one.confirm(); a.Generation <= first.Generation || len(a.Partitions[b.shards]) != 2 {
			b.Errorf("Confirm() = %+v; want two shards in a generation after %d", a, first.Generation)
		}
		ended, cancel := context.WithCancel(b.ctx)
		cancel()
		stranger := &Member{Client: b.client(), Group: b.group}
		if _, err := stranger.Confirm(ended); !errors.Is(err, context.Canceled) {
			b.Errorf("Confirm() of a member that does not run = %v; want %v", err, context.Canceled)
		}
	})
}

// Offsets of a group without members say of each whether its leader epoch is known.
// kafka-go's own call commits epoch 0 for all, and a log that has had leaders since seems
// to have been cut back below them.
func TestSetOffsets(t *testing.T) {
	each(t, 2, 3, func(b *bench) {
		m := &Member{Client: b.dial(), Group: b.group, Instance: "zero"} // of no account: no instance has joined
		want := map[int32]Offset{0: {At: 17, LeaderEpoch: 3, Metadata: "topic id"}, 1: {At: 1, LeaderEpoch: 0}, 2: {At: 5, LeaderEpoch: -1}}
		if err := m.SetOffsets(b.ctx, map[string]map[int32]Offset{b.topics[1]: want, b.topics[0]: {1: {At: 9, LeaderEpoch: -1}}}); err != nil {
			b.Fatalf("SetOffsets(%v) = %v; want nil", want, err)
		}
		if got, err := m.Committed(b.ctx, b.topics[1], []int32{0, 1, 2}); err != nil || !maps.Equal(got, want) {
			b.Errorf("Committed() = %v, %v; want %v", got, err, want)
		}
		one := b.start("one")
		b.settle([]int{2, 3}, one)
		if err := m.SetOffsets(b.ctx, map[string]map[int32]Offset{b.topics[1]: {0: {At: 1}}}); !errors.Is(err, kafka.UnknownMemberId) {
			b.Errorf("SetOffsets() of a group with a member = %v; want UNKNOWN_MEMBER_ID", err)
		}
		if got, err := m.Committed(b.ctx, b.topics[1], []int32{0, 1, 2}); err != nil || !maps.Equal(got, want) {
			b.Errorf("Committed() = %v, %v; want still %v", got, err, want)
		}
	})
}
