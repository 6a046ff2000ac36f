package group

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// count tells how often a member was given an assignment and how often it lost its
// membership.
func (m *member) count() (given, lost int) {
	for _, a := range m.history() {
		if a.MemberID == "" {
			lost++
		} else {
			given++
		}
	}
	return given, lost
}

func (m *member) mustCount(when string, given, lost int) {
	m.bench.Helper()
	if g, l := m.count(); g != given || l != lost {
		m.bench.Errorf("%s: Assigned was called with %d assignments and %d losses; want %d and %d", when, g, l, given, lost)
	}
}

// TestHeartbeatErrors: the effect of each answer to a heartbeat.
func TestHeartbeatErrors(t *testing.T) {
	for _, c := range []struct {
		err         *kerr.Error
		count       int // of heartbeats with the error
		given, lost int // after it, with the first assignment
		newID       bool
	}{
		{kerr.RebalanceInProgress, 1, 2, 0, false},
		{kerr.IllegalGeneration, 1, 2, 1, false},
		{kerr.UnknownMemberID, 1, 2, 1, true},
		{kerr.CoordinatorNotAvailable, 5, 1, 0, false},
		{kerr.CoordinatorLoadInProgress, 5, 1, 0, false},
		{kerr.NotCoordinator, 5, 1, 0, false},
		{kerr.GroupAuthorizationFailed, 5, 1, 0, false},
		{kerr.UnknownServerError, 5, 1, 0, false},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
				m := b.start("")
				b.settle([]int{4}, m)
				before := m.confirm()
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: c.err, Count: c.count})
				pass(5 * time.Second)
				after := m.confirm()
				m.mustCount("after "+c.err.Message, c.given, c.lost)
				if (after.MemberID != before.MemberID) != c.newID {
					t.Errorf("member id %s after %s after %s; want a new one: %v", after.MemberID, before.MemberID, c.err.Message, c.newID)
				}
			})
		})
	}
}

// TestJoinErrors: passing errors are repeated, at each step.
func TestJoinErrors(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.FindCoordinator} {
		for _, err := range []*kerr.Error{
			kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator,
			kerr.GroupAuthorizationFailed, kerr.GroupMaxSizeReached, kerr.UnknownServerError,
			kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress,
		} {
			t.Run(fmt.Sprintf("%s/%s", key.Name(), err.Message), func(t *testing.T) {
				bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
					cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: 3})
					m := b.start("one")
					b.settle([]int{4}, m)
					m.mustCount("after three "+err.Message, 1, 0)
				})
			})
		}
	}
}

// TestForgottenMember: a coordinator that moves between JoinGroup and SyncGroup has not
// written down the member id that it gave out, and takes it back: the broker answers
// FENCED_INSTANCE_ID although no other process uses the instance id (seen on Kafka 4.1,
// "Reverting to old member id"). An instance that had just been restarted ended with that.
func TestForgottenMember(t *testing.T) {
	for _, times := range []int{1, 5} {
		bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.FencedInstanceID, Count: times})
			m := b.start("one")
			b.settle([]int{4}, m)
			m.mustCount("after being forgotten", 1, 0)
		})
	}
}

// TestFatalJoinErrors: an error that no repetition mends ends Run with the way out.
func TestFatalJoinErrors(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		want string
	}{
		{kerr.FencedInstanceID, "another process uses the instance id \"one\""},
		{kerr.InconsistentGroupProtocol, "choose another app_id"},
		{kerr.InvalidGroupID, "choose another app_id"},
		{kerr.InvalidSessionTimeout, "group.min.session.timeout.ms"},
		{kerr.UnsupportedVersion, "Kafka 2.3"},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: c.err})
				m := b.start("one")
				<-m.ended
				if m.err == nil || !strings.Contains(m.err.Error(), c.want) || !errors.Is(m.err, kafka.Error(c.err.Code)) {
					t.Errorf("Run() = %v; want %v and the way out: %s", m.err, c.err, c.want)
				}
			})
		})
	}
}

// TestSessionEnds: when no heartbeat is answered for the session timeout, the membership is
// gone without a word of the broker, and not before.
func TestSessionEnds(t *testing.T) {
	bubble(t, func(b *bench, _ *kfake.Cluster, n *network) {
		m := b.start("one")
		b.settle([]int{4}, m)
		m.confirm()
		n.cut(true)
		pass(m.SessionTimeout - m.HeartbeatInterval - time.Millisecond)
		m.mustCount("shortly before the end of the session", 1, 0)
		pass(m.HeartbeatInterval + 10*time.Millisecond)
		m.mustCount("after the end of the session", 1, 1)
		if a, ok := m.Current(); ok {
			t.Errorf("Current() after the end of the session = %+v; want nothing", a)
		}
		pass(20 * time.Second)
		m.mustCount("a while later", 1, 1)
		n.cut(false)
		b.settle([]int{4}, m)
		m.mustCount("with the network back", 2, 1)
	})
}

// TestOutageWithinSession: a network that is back in time costs nothing.
func TestOutageWithinSession(t *testing.T) {
	bubble(t, func(b *bench, _ *kfake.Cluster, n *network) {
		m := b.start("one")
		b.settle([]int{4}, m)
		before := m.confirm()
		n.cut(true)
		pass(m.SessionTimeout / 2)
		n.cut(false)
		pass(m.SessionTimeout)
		if after := m.confirm(); !same(before, after) {
			t.Errorf("after an outage within the session: %+v; want still %+v", after, before)
		}
		m.mustCount("after an outage within the session", 1, 0)
	})
}

// TestCoordinatorMoves: heartbeats and commits find the new one, and no member lets go.
func TestCoordinatorMoves(t *testing.T) {
	bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
		one, two := b.start("one"), b.start("two")
		b.settle([]int{4}, one, two)
		before := []Assignment{one.confirm(), two.confirm()}
		was := cluster.CoordinatorFor(b.group)
		for cluster.CoordinatorFor(b.group) == was {
			cluster.RehashCoordinators()
		}
		p := before[0].Partitions[b.shards][0]
		if err := one.Commit(b.ctx, b.shards, map[int32]Offset{p: {At: 9}}); err != nil {
			t.Errorf("Commit() after the coordinator has moved = %v; want nil", err)
		}
		pass(2 * one.SessionTimeout)
		for i, m := range []*member{one, two} {
			if after := m.confirm(); !same(before[i], after) {
				t.Errorf("after the coordinator has moved: %+v; want still %+v", after, before[i])
			}
			m.mustCount("after the coordinator has moved", len(m.history()), 0)
		}
	})
}

// TestWorkGoesOnThroughSlowRebalance: a member that neither joins again nor dies holds the
// rebalance up for longer than a session; the others keep their partitions.
func TestWorkGoesOnThroughSlowRebalance(t *testing.T) {
	bubble(t, func(b *bench, _ *kfake.Cluster, _ *network) {
		slow := b.client()
		r, err := roundTrip[*joingroup.Response](b.ctx, slow, &joingroup.Request{
			GroupID: b.group, SessionTimeoutMS: 60_000, RebalanceTimeoutMS: 30_000, GroupInstanceID: "slow", ProtocolType: protocolType,
			Protocols: []joingroup.RequestProtocol{{Name: Protocol, Metadata: subscription{generation: -1}.encode()}},
		})
		if err != nil || r.ErrorCode != 0 {
			t.Fatalf("JoinGroup() = %+v, %v; want to join", r, err)
		}
		stranger := &Member{Client: slow, Group: b.group, Instance: "slow", SessionTimeout: time.Minute}
		patient := func(m *Member) { m.RebalanceTimeout = 30 * time.Second }
		m := b.start("one", patient)
		pass(time.Second) // it waits for the slow member to join again
		if r, err = stranger.joinGroup(b.ctx, r.MemberID, subscription{generation: -1}); err != nil {
			t.Fatalf("JoinGroup() = %v; want to join again", err)
		}
		shares, _, err := (&Member{Client: slow, Group: b.group, ShardTopic: b.shards}).lead(b.ctx, r)
		if err != nil {
			t.Fatalf("lead() = %v; want assignments", err)
		}
		if _, err = stranger.syncGroup(b.ctx, entry{id: r.MemberID, generation: r.GenerationID}, shares); err != nil {
			t.Fatalf("SyncGroup() = %v; want an assignment", err)
		}
		b.settle([]int{4}, m)
		before := m.confirm()
		other := b.start("two", patient) // starts a rebalance that the slow member ignores
		pass(3 * m.SessionTimeout)
		if a, ok := m.Current(); !ok || !same(a, before) {
			t.Errorf("during the rebalance: %+v, %v; want still %+v", a, ok, before)
		}
		m.mustCount("during the rebalance", 1, 0)
		b.settle([]int{4}, m, other) // kfake drops the slow member at the rebalance timeout
		m.mustCount("after the rebalance", 2, 0)
	})
}

// TestConfirmIsFresh: a heartbeat under way when Confirm was called confirms nothing for
// it; many callers share the one that is sent after.
func TestConfirmIsFresh(t *testing.T) {
	bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
		m := b.start("one", func(m *Member) { m.HeartbeatInterval = 2 * time.Second })
		b.settle([]int{4}, m)
		m.confirm()
		gate := make(chan struct{})
		var beats, confirmed atomic.Int32
		cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			beats.Add(1)
			<-gate
			return nil, nil, false
		})
		call := func(n int) {
			for range n {
				go func() {
					if _, err := m.Confirm(b.ctx); err != nil {
						t.Errorf("Confirm() = %v; want the assignment", err)
					}
					confirmed.Add(1)
				}()
			}
			synctest.Wait()
		}
		call(1)
		call(19) // while the heartbeat for the first is under way
		for i, want := range []int32{0, 1, 20} {
			if b, c := beats.Load(), confirmed.Load(); b != min(int32(i)+1, 2) || c != want {
				t.Errorf("with %d heartbeats answered: %d sent, %d of 20 calls of Confirm returned; want %d", i, b, c, want)
			}
			if i < 2 {
				gate <- struct{}{}
				synctest.Wait()
			}
		}
		close(gate)
	})
}

// TestRunEnds: a dynamic member leaves, a static one stays unless it is to leave.
func TestRunEnds(t *testing.T) {
	for _, c := range []struct {
		instance    string
		leave, left bool
	}{{"", false, true}, {"one", false, false}, {"one", true, true}} {
		t.Run(fmt.Sprintf("instance %s leave %t", c.instance, c.leave), func(t *testing.T) {
			bubble(t, func(b *bench, cluster *kfake.Cluster, _ *network) {
				m := b.start(c.instance, func(m *Member) { m.Leave = c.leave })
				b.settle([]int{4}, m)
				m.kill()
				if m.err != nil {
					t.Errorf("Run() = %v at the end of its context; want nil", m.err)
				}
				left := len(cluster.GroupInfo(b.group).Members) == 0
				if left != c.left {
					t.Errorf("member with instance id %q has left: %t; want %t", c.instance, left, c.left)
				}
				if a, ok := m.Current(); ok {
					t.Errorf("Current() after Run = %+v; want nothing", a)
				}
			})
		})
	}
}
