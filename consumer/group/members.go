package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"

	"trailhound/consumer/wire"
)

// Members returns how many members the group has, dead ones whose session has not
// ended among them. It needs no membership, and repeats itself while the coordinator
// moves, until ctx ends. Errors wrap the broker's kafka.Error.
func (m *Member) Members(ctx context.Context) (int, error) {
	members := 0
	err := m.repeat(ctx, func(ctx context.Context) error {
		r, err := roundTrip[*describegroups.Response](ctx, m.Client, &describegroups.Request{Groups: []string{m.Group}})
		if err != nil {
			return err
		}
		for _, g := range r.Groups {
			if code := kafka.Error(g.ErrorCode); code != 0 && !errors.Is(code, kafka.GroupIdNotFound) {
				return wire.Denied(code, wire.Right{Operation: "Describe", Resource: "group", Name: m.Group})
			}
			members = len(g.Members)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the members of group %s: %w", m.Group, err)
	}
	return members, nil
}
