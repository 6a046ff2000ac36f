package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"

	"trailhound/consumer/kafka/wire"
)

const (
	protocolType = "consumer" // makes Kafka's tools read subscriptions and assignments

	// Protocol is the default of Member.Protocols. A member that has none in common with
	// the others is of another application.
	Protocol = "trailhound"
)

// entry is the result of one attempt to enter the group.
type entry struct {
	id         string // member id, as far as one was given
	generation int32
	share      assignment
	plan       plan      // the shares given out, as leader
	sent       time.Time // of the SyncGroup request
	protocol   string    // chosen by the broker; "": it does not tell
}

// join enters the group, with the heartbeats of the old generation beside it, and
// reports the new assignment.
func (m *Member) join(ctx context.Context) error {
	var e entry
	id, s := m.id, m.subscription()
	err := m.beside(ctx, func(ctx context.Context) (err error) {
		e, err = m.enter(ctx, id, s)
		return err
	})
	if e.id != "" {
		m.id = e.id
	}
	if errors.Is(err, kafka.FencedInstanceID) && m.id != m.proven {
		m.id = ""
		return fmt.Errorf("%w: %s", errForgotten, err.Error())
	}
	if err != nil {
		return err
	}
	m.proven = m.id
	m.alive, m.counts = e.sent, e.share.counts
	if e.plan.shares != nil {
		m.plan = e.plan
	}
	a := Assignment{Generation: e.generation, MemberID: e.id, Partitions: e.share.partitions}
	m.update(func() { m.current, m.held, m.confirmed = a, true, 0 })
	m.tell(a)
	return nil
}

// enter sends JoinGroup and SyncGroup; that of the leader has the assignments of all
// members.
func (m *Member) enter(ctx context.Context, id string, s subscription) (entry, error) {
	// The broker answers either request when all have joined, at the latest after
	// the longest rebalance timeout in the group.
	ctx, cancel := context.WithTimeout(ctx, 2*m.rebalanceTimeout()+m.sessionTimeout())
	defer cancel()
	joined, err := m.joinGroup(ctx, id, s)
	if err != nil {
		return entry{id: joined.MemberID}, fmt.Errorf("join group %s: %w", m.Group, err)
	}
	e := entry{id: joined.MemberID, generation: joined.GenerationID, protocol: joined.ProtocolName}
	var shares []syncgroup.RequestAssignment
	if joined.LeaderID == joined.MemberID {
		if shares, e.plan, err = m.lead(ctx, joined); err != nil {
			return e, fmt.Errorf("share out the partitions in group %s: %w", m.Group, err)
		}
	}
	e.sent = time.Now()
	if e.share, err = m.syncGroup(ctx, e, shares); err != nil {
		return e, fmt.Errorf("learn the assignment in group %s: %w", m.Group, err)
	}
	return e, nil
}

func (m *Member) protocols() []string {
	if len(m.Protocols) == 0 {
		return []string{Protocol}
	}
	return m.Protocols
}

// requestProtocols offers each protocol with the same subscription.
func (m *Member) requestProtocols(subscription []byte) (offers []joingroup.RequestProtocol) {
	for _, name := range m.protocols() {
		offers = append(offers, joingroup.RequestProtocol{Name: name, Metadata: subscription})
	}
	return offers
}

// joinGroup sends JoinGroup. The response names the member id also with the error
// MEMBER_ID_REQUIRED (KIP-394: the broker wants a new member to show that it has received
// its id).
func (m *Member) joinGroup(ctx context.Context, id string, s subscription) (*joingroup.Response, error) {
	r, err := roundTrip[*joingroup.Response](ctx, m.Client, &joingroup.Request{
		GroupID:            m.Group,
		SessionTimeoutMS:   int32(m.sessionTimeout().Milliseconds()),
		RebalanceTimeoutMS: int32(m.rebalanceTimeout().Milliseconds()),
		MemberID:           id,
		GroupInstanceID:    m.Instance,
		ProtocolType:       protocolType,
		Protocols:          m.requestProtocols(s.encode()),
	})
	switch {
	case err != nil:
		return new(joingroup.Response), err
	case r.ErrorCode != 0:
		return r, m.denied(kafka.Error(r.ErrorCode), "")
	}
	return r, nil
}

func (m *Member) syncGroup(ctx context.Context, e entry, shares []syncgroup.RequestAssignment) (assignment, error) {
	r, err := roundTrip[*syncgroup.Response](ctx, m.Client, &syncgroup.Request{
		GroupID:         m.Group,
		GenerationID:    e.generation,
		MemberID:        e.id,
		GroupInstanceID: m.Instance,
		ProtocolType:    protocolType,
		ProtocolName:    cmp.Or(e.protocol, m.protocols()[0]),
		Assignments:     shares,
	})
	switch {
	case err != nil:
		return assignment{}, err
	case r.ErrorCode != 0:
		return assignment{}, m.denied(kafka.Error(r.ErrorCode), "")
	}
	return decodeAssignment(r.Assignments)
}

// roundTrip sends a request through the client's transport, which routes it to
// the group's coordinator.
func roundTrip[R protocol.Message](ctx context.Context, c *wire.Client, req protocol.Message) (R, error) {
	var none R
	r, err := c.Transport.RoundTrip(ctx, c.Addr, req)
	if err != nil {
		return none, err
	}
	res, ok := r.(R)
	if !ok {
		return none, fmt.Errorf("the broker answered %T to a request of %T", r, req)
	}
	return res, nil
}

// plan remembers the shares that a leader gave out, for a static member that restarts in
// the midst of a rebalance and reports no partitions.
type plan struct {
	generation int32
	shares     map[string]map[string][]int32 // by identity: instance id, else member id
}

// lead computes the assignment of all members.
func (m *Member) lead(ctx context.Context, joined *joingroup.Response) ([]syncgroup.RequestAssignment, plan, error) {
	states, topics := m.members(joined)
	counts, err := m.partitions(ctx, topics)
	if err != nil {
		return nil, plan{}, err
	}
	partitions := make(map[string][]int32, len(counts))
	for topic, n := range counts {
		partitions[topic] = upTo(n)
	}
	m.plan.fill(states)
	balanced := Balance(states, partitions, m.ShardTopic)
	p := plan{generation: joined.GenerationID, shares: make(map[string]map[string][]int32, len(states))}
	for _, s := range states {
		p.shares[s.identity()] = balanced[s.ID]
	}
	shares := make([]syncgroup.RequestAssignment, 0, len(joined.Members))
	for _, member := range joined.Members {
		share := assignment{partitions: balanced[member.MemberID], counts: counts}
		shares = append(shares, syncgroup.RequestAssignment{MemberID: member.MemberID, Assignment: share.encode()})
	}
	return shares, p, nil
}

// members reads the subscriptions of all members and lists their topics. A member with an
// unreadable subscription gets nothing.
func (m *Member) members(joined *joingroup.Response) (states []MemberState, topics []string) {
	for _, member := range joined.Members {
		s, err := decodeSubscription(member.Metadata)
		if err != nil {
			m.Log.Error().Err(err).Str("group", m.Group).Str("member", member.MemberID).Str("instance", member.GroupInstanceID).
				Str("event", "member_unreadable").Msg("the subscription of a group member cannot be read; it gets no partitions")
			continue
		}
		topics = append(topics, s.topics...)
		states = append(states, MemberState{
			ID: member.MemberID, Instance: member.GroupInstanceID, Topics: s.topics,
			Generation: s.generation, Owned: s.owned, Freshness: s.freshness, Avoid: s.avoid,
		})
	}
	slices.Sort(topics)
	return states, slices.Compact(topics)
}

// fill gives the plan's partitions to members that report an older generation than the
// plan's, unless a generation has passed that this member did not lead.
func (p *plan) fill(states []MemberState) {
	for _, s := range states {
		if s.Generation > p.generation {
			return
		}
	}
	for i := range states {
		s := &states[i]
		if owned := p.shares[s.identity()]; owned != nil && s.Generation < p.generation {
			s.Owned, s.Generation = owned, p.generation
		}
	}
}

func upTo(n int32) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}
