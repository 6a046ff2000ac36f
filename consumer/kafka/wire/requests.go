package wire

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/internal/primitive"
)

// Heartbeat tells the group's coordinator that a member lives. instance is "" for
// a dynamic member. The error is the coordinator's (kafka.RebalanceInProgress,
// kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.FencedInstanceID …) or
// tells why there was no answer. kafka-go's own heartbeat goes to the wrong broker
// and hides the error code.
func (c *Client) Heartbeat(ctx context.Context, group string, generation int32, member, instance string) error {
	var code int16
	k := &call{
		api:     apiHeartbeat,
		request: "heartbeat to group " + group,
		write: func(b []byte, _ int16) []byte {
			b = appendInt32(appendString(b, group), generation)
			return appendNullable(appendString(b, member), instance)
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			code = r.Int16()
		},
	}
	return c.coordinate(ctx, coordinatorKey{name: group}, k, func() error { return Denied(answered(k.request, code, ""), Right{"Read", "group", group}) })
}

// LeaveGroup takes a member out of its group at once, so that the others need not
// wait for the end of its session. For a static member, instance names it and
// member may be "".
func (c *Client) LeaveGroup(ctx context.Context, group, member, instance string) error {
	var code int16
	k := &call{
		api:     apiLeaveGroup,
		request: "leave group " + group,
		write: func(b []byte, _ int16) []byte {
			b = appendInt32(appendString(b, group), 1)
			return appendNullable(appendString(b, member), instance)
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			code = r.Int16()
			for range r.Array(6) {
				r.Raw() // member
				r.Raw() // instance
				if own := r.Int16(); code == 0 {
					code = own
				}
			}
		},
	}
	return c.coordinate(ctx, coordinatorKey{name: group}, k, func() error { return Denied(answered(k.request, code, ""), Right{"Read", "group", group}) })
}

// DeleteRecords deletes the records of a partition below an offset. A repeated deletion is
// no error.
func (c *Client) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	code := int16(kafka.Unknown)
	k := &call{
		api:     apiDeleteRecords,
		request: fmt.Sprintf("delete records of %s partition %d below offset %d", topic, partition, before),
		write: func(b []byte, _ int16) []byte {
			b = appendString(appendInt32(b, 1), topic)
			b = appendInt32(appendInt32(b, 1), partition)
			b = appendInt64(b, before)
			return appendInt32(b, milliseconds(c.requestTimeout()))
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			for range r.Array(6) {
				r.Raw() // topic
				for range r.Array(14) {
					r.Int32() // partition
					r.Int64() // low watermark
					code = r.Int16()
				}
			}
		},
	}
	k.toLeader(topic, partition)
	if err := c.do(ctx, k, 0); err != nil {
		return err
	}
	err := Denied(answered(k.request, code, ""), Right{"Delete", "topic", topic})
	if misled(err) {
		c.Refresh(ctx)
	}
	return err
}

// milliseconds returns d as a field of the protocol.
func milliseconds(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), 0), math.MaxInt32))
}
