// Package group is the consumer group client: it decides, together with the
// other instances, which partitions each instance works on.
//
// A Member joins a Kafka consumer group (JoinGroup, SyncGroup, Heartbeat of the classic
// protocol) and reports its assignment; the member that the broker makes the leader
// computes the assignments of all with Balance. Members may be static (KIP-345: a group
// instance id): a static member that restarts within its session gets its old partitions
// back and no other member notices. Shards, that is the partitions of one chosen topic, go
// to the member with their freshest state.
//
// An assignment is a suggestion, nothing more: between two heartbeats a member's copy may
// be out of date. A member that must not act twice needs a fence of its own (here: the
// epoch of a transactional id) and calls Confirm before it raises that fence.
package group

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/wire"
)

// Assignment is the share of one member during one generation of the group.
type Assignment struct {
	Generation int32
	MemberID   string             // the broker's name for this member; "" when membership is lost
	Partitions map[string][]int32 // topic to partitions, sorted; must not be changed
}

// Has reports whether the assignment contains a partition.
func (a Assignment) Has(topic string, partition int32) bool {
	return slices.Contains(a.Partitions[topic], partition)
}

// Defaults of a Member's times.
const (
	DefaultSessionTimeout   = 10 * time.Second
	DefaultRebalanceTimeout = 30 * time.Second
	DefaultWatchInterval    = 30 * time.Second

	// DefaultHeartbeatInterval is a small part of the session timeout because a member
	// learns only from its next heartbeat that another has left: until then the partitions
	// of the other stand still. A heartbeat costs a broker about as much as an empty fetch.
	DefaultHeartbeatInterval = 300 * time.Millisecond
)

// Member is one instance's membership of a group. Its exported fields are set
// before Run and not changed after.
type Member struct {
	Client   *wire.Client
	Group    string
	Instance string   // group.instance.id, unique in the group; "" makes a dynamic member
	Leave    bool     // a static member, too, leaves the group at the end of Run
	Topics   []string // topics to share in
	// Protocols are the names that this member offers in JoinGroup, the preferred first;
	// empty: trailhound. A group admits no member that shares none with the others.
	Protocols []string

	SessionTimeout    time.Duration // without a heartbeat for this long membership is lost; 0: DefaultSessionTimeout
	RebalanceTimeout  time.Duration // how long a rebalance waits for members; 0: DefaultRebalanceTimeout
	HeartbeatInterval time.Duration // 0: DefaultHeartbeatInterval, at most a third of SessionTimeout
	WatchInterval     time.Duration // how often to look for new partitions of Topics; 0: DefaultWatchInterval

	// ShardTopic is the topic with partitions placed by the freshness of their state; those
	// of all other topics stay where they are and are balanced.
	ShardTopic string
	// Freshness returns the next changelog offset of each shard with local state. It is
	// called before each join. May be nil.
	Freshness func() map[int32]int64
	// Avoid returns the partitions that this member cannot work on: another one should have
	// them, if one can. It is called before each join. May be nil.
	Avoid func() map[string][]int32

	// Assigned is called after each rebalance with the new assignment, and with
	// Assignment{} when membership is lost. It is never called concurrently and must return
	// at once: no heartbeat is sent meanwhile. During a rebalance it is not called: work
	// goes on with the assignment at hand.
	Assigned func(Assignment)

	// Tried is called with the error of each join and heartbeat that is repeated, nil after
	// a success. It must return at once. May be nil.
	Tried func(error)

	Log zerolog.Logger

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced by update
	current   Assignment
	held      bool   // current is an assignment of a living membership
	begun     uint64 // number of the newest heartbeat that was sent
	beating   bool   // it has not been answered yet
	confirmed uint64 // number of the newest heartbeat that confirmed current
	ended     error  // why Run has returned
	wake      chan struct{}
	again     chan struct{} // holds a token: join again
	retired   atomic.Bool

	// Of the goroutine in Run.
	id     string           // member id, "" when the broker is to give one
	proven string           // member id of the last join that succeeded
	alive  time.Time        // when the newest request that proved membership was sent
	counts map[string]int32 // partitions of each topic that current was computed from
	seen   map[string]int32 // partitions of each topic as this member saw them last
	plan   plan             // shares that this member gave out last, as leader
	tries  int              // joins since the last one that succeeded
}

// Current returns the assignment at hand; false when this is not, or not any
// more, a member of the group.
func (m *Member) Current() (Assignment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.held
}

// init makes the channels; Run, Confirm and Rejoin may come in any order.
func (m *Member) init() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake == nil {
		m.wake, m.changed = make(chan struct{}, 1), make(chan struct{})
		m.again = make(chan struct{}, 1)
	}
}

// update changes the shared state and wakes the callers that wait for a change.
func (m *Member) update(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	close(m.changed)
	m.changed = make(chan struct{})
}

// nudge makes Run send its next heartbeat now.
func (m *Member) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// subscription returns the metadata of this member's JoinGroup, for the leader.
func (m *Member) subscription() subscription {
	s := subscription{topics: slices.Sorted(slices.Values(m.Topics)), generation: -1, seen: maps.Clone(m.seen)}
	if a, ok := m.Current(); ok {
		s.generation, s.owned = a.Generation, a.Partitions
	}
	if m.Freshness != nil {
		s.freshness = m.Freshness()
	}
	if m.Avoid != nil {
		s.avoid = m.Avoid()
	}
	return s
}

func (m *Member) sessionTimeout() time.Duration {
	return cmp.Or(m.SessionTimeout, DefaultSessionTimeout)
}

func (m *Member) rebalanceTimeout() time.Duration {
	return cmp.Or(m.RebalanceTimeout, DefaultRebalanceTimeout)
}

func (m *Member) heartbeatInterval() time.Duration {
	return cmp.Or(m.HeartbeatInterval, min(m.sessionTimeout()/3, DefaultHeartbeatInterval))
}

func (m *Member) watchInterval() time.Duration {
	return cmp.Or(m.WatchInterval, DefaultWatchInterval)
}
