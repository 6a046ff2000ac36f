package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"

	"trailhound/consumer/kafka/wire"
)

// Description is a group as its coordinator knows it.
type Description struct {
	State   string            // Kafka's name: Stable, PreparingRebalance, CompletingRebalance, Empty or Dead
	Members []DescribedMember // by instance, then by member id; a dead member is listed until its session ends
}

// DescribedMember is a member of a group, seen from outside.
type DescribedMember struct {
	ID         string             // member id
	Instance   string             // group instance id; "" for a dynamic member
	Client     string             // client id
	Host       string             // address, as the broker sees it
	Topics     []string           // topics that the member takes partitions of; nil while the group rebalances
	Partitions map[string][]int32 // assigned, sorted, by topic; nil while the group rebalances
}

// Describe returns the group as its coordinator knows it. It needs no membership, and
// repeats the request while the coordinator moves, until ctx ends. A group that is not
// there is Dead and has no members. A member of another protocol has no topics and no
// partitions. Errors wrap the broker's kafka.Error.
func (m *Member) Describe(ctx context.Context) (Description, error) {
	var d Description
	err := m.repeat(ctx, func(ctx context.Context) error {
		r, err := roundTrip[*describegroups.Response](ctx, m.Client, &describegroups.Request{Groups: []string{m.Group}})
		if err != nil {
			return err
		}
		d = Description{State: "Dead"}
		for _, g := range r.Groups {
			if code := kafka.Error(g.ErrorCode); errors.Is(code, kafka.GroupIdNotFound) {
				continue
			} else if code != 0 {
				return wire.Denied(code, wire.Right{Operation: "Describe", Resource: "group", Name: m.Group})
			}
			d.State = g.GroupState
			for i := range g.Members {
				d.Members = append(d.Members, describe(&g.Members[i]))
			}
		}
		return nil
	})
	if err != nil {
		return Description{}, fmt.Errorf("ask for the members of group %s: %w", m.Group, err)
	}
	slices.SortFunc(d.Members, func(x, y DescribedMember) int {
		return cmp.Or(cmp.Compare(x.Instance, y.Instance), cmp.Compare(x.ID, y.ID))
	})
	return d, nil
}

func describe(g *describegroups.ResponseGroupMember) DescribedMember {
	d := DescribedMember{ID: g.MemberID, Instance: g.GroupInstanceID, Client: g.ClientID, Host: g.ClientHost}
	if s, err := decodeSubscription(g.MemberMetadata); err == nil {
		d.Topics = s.topics
	}
	if a, err := decodeAssignment(g.MemberAssignment); err == nil {
		d.Partitions = a.partitions
	}
	return d
}
