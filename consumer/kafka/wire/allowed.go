package wire

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// Operations is the set of operations that this client may do on a topic, a bit for each of
// Kafka's AclOperation codes.
type Operations int32

// operationCodes are the AclOperation codes of the operations on topics.
var operationCodes = map[string]int{
	"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11,
}

// Has says whether an operation, such as DescribeConfigs, is in the set.
func (o Operations) Has(operation string) bool {
	code, ok := operationCodes[operation]
	return ok && o&(1<<code) != 0
}

// Allowed asks a broker for this client's operations on topics (KIP-430). A topic that does
// not exist, or of which the broker does not tell, is left out; a topic that this client
// may not even describe has no operations.
func (c *Client) Allowed(ctx context.Context, names ...string) (map[string]Operations, error) {
	topics, err := c.topics(ctx, true, names)
	if err != nil {
		return nil, err
	}
	allowed := make(map[string]Operations)
	for name, t := range topics {
		switch {
		case errors.Is(t.Err, kafka.TopicAuthorizationFailed):
			allowed[name] = 0
		case t.Err == nil && t.operations != math.MinInt32:
			allowed[name] = Operations(t.operations)
		}
	}
	return allowed, nil
}

// Transactional returns a *NoTransactionsError if the brokers have no coordinator for a
// transactional id, and otherwise the error of the look-up.
func (c *Client) Transactional(ctx context.Context, id string) error {
	err := c.Coordinated(ctx, id, true)
	for _, code := range []kafka.Error{kafka.InvalidRequest, kafka.UnsupportedVersion, kafka.Error(115)} {
		if errors.Is(err, code) {
			return &NoTransactionsError{Err: err}
		}
	}
	return err
}

// Coordinated looks up the coordinator of a group or a transactional id: its error tells
// whether this client may use it, and whether the brokers have transactions at all. It
// waits a moment for brokers that are about to make the coordinators' topic.
func (c *Client) Coordinated(ctx context.Context, name string, transactional bool) error {
	wait := Backoff{Least: 50 * time.Millisecond, Most: 500 * time.Millisecond}
	for began := time.Now(); ; {
		_, err := c.findCoordinator(ctx, coordinatorKey{transactional, strings.TrimSuffix(name, "*")})
		if !errors.Is(err, kafka.GroupCoordinatorNotAvailable) || time.Since(began) > coordinatorWithin || wait.Sleep(ctx) != nil {
			return err
		}
	}
}

const coordinatorWithin = 3 * time.Second
