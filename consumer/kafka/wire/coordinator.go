package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/internal/primitive"
)

// coordinatorKey names a group or a transactional id.
type coordinatorKey struct {
	transactional bool
	name          string
}

// coordinate sends k to the coordinator of a group or transactional id. It remembers the
// coordinator until that one denies its office or does not answer: kafka-go looks it up
// before each request, which doubles the round trips of a transaction. verdict returns the
// error in the answer, once there is one.
func (c *Client) coordinate(ctx context.Context, key coordinatorKey, k *call, verdict func() error) error {
	id, err := c.coordinator(ctx, key)
	if err != nil {
		return fmt.Errorf("%s: %w", k.request, err)
	}
	k.toBroker(id)
	if err := c.do(ctx, k, 0); err != nil {
		c.forgetCoordinator(key)
		return err
	}
	err = verdict()
	if errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) {
		c.forgetCoordinator(key)
	}
	return err
}

func (c *Client) coordinator(ctx context.Context, key coordinatorKey) (int32, error) {
	c.mu.Lock()
	id, ok := c.coordinators[key]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err := c.findCoordinator(ctx, key)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.coordinators == nil {
		c.coordinators = make(map[coordinatorKey]int32)
	}
	c.coordinators[key] = id
	return id, nil
}

func (c *Client) forgetCoordinator(key coordinatorKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.coordinators, key)
}

func (c *Client) findCoordinator(ctx context.Context, key coordinatorKey) (int32, error) {
	var (
		code    int16
		message string
		id      int32
	)
	k := &call{
		api:     apiFindCoordinator,
		request: fmt.Sprintf("find the coordinator of %q", key.name),
		write: func(b []byte, _ int16) []byte {
			return appendBool(appendString(b, key.name), key.transactional) // key type 0: group, 1: transaction
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			code, message, id = r.Int16(), r.Text(), r.Int32()
			r.Raw()
			r.Int32()
		},
	}
	if err := c.do(ctx, k, 0); err != nil {
		return 0, err
	}
	// Describe is enough to find a coordinator; the requests that follow take Write and
	// Read, which contain it.
	return id, Denied(answered(k.request, code, message), Right{"Write", "transactional-id", key.name}, Right{"Read", "group", key.name})
}
